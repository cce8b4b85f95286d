"""The region in which a target is looked for, and the settings that scan it.

A scan is one design for a few places of the region together. Isotropic signals and random phases,
which need no design, leave most echoes so faint that they drown in noise:
`heliostat reproduce estimators dwells` sets both side by side.
"""

import math
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex

from heliostat.design.joint_descent import Incumbent, descend_jointly
from heliostat.estimation.direction import CosineGrid, cosine_grid
from heliostat.geometry.frames import Scalar, Vector
from heliostat.scene.sensing import SensingScene

Patterns: TypeAlias = tuple[Complex[Array, "pattern _"], ...]
Covariances: TypeAlias = tuple[Complex[Array, "pattern tx tx"], ...]

SCAN_POSITIONS = 8
"""Of the region, that one scan is designed for."""
STARTS = 1
"""Random starts of a scan's design, for each surface."""
MIN_FACING_COSINE = 0.05
"""Least cosine between a surface's normal and a place that is looked at. [1]"""


class Region(eqx.Module):
    """A box, along the coordinates of the scene, in which the target may be."""

    low: Vector  # [m]
    high: Vector  # [m]

    @property
    def center(self) -> Vector:
        """Of the box. [m]"""
        return (self.low + self.high) / 2

    def contains(self, position: Vector, margin: Scalar | float = 0.0) -> Bool[Array, ""]:
        """Whether a position lies in it.

        Args:
            position: [m]
            margin: By so much it may lie outside. [m]
        """
        return jnp.all((position >= self.low - margin) & (position <= self.high + margin))


def default_region(scene: SensingScene) -> Region:
    """Where a target may be as far as anybody can tell from the surfaces alone.

    With the distance d from the base station to the farthest surface: a box that holds all of them
    and the places d in front of each surface, and that is nowhere thinner than d.

    Args:
        scene: The surfaces; its target is not used.
    """
    station = np.asarray(scene.base_station.position)
    places = np.stack([np.asarray(s.position) for s in scene.surfaces])
    far = float(np.linalg.norm(places - station, axis=1).max())
    ahead = places + far * np.stack([np.asarray(s.array.normal) for s in scene.surfaces])
    every = np.vstack([station, places, ahead])
    low, high = every.min(axis=0), every.max(axis=0)
    missing = np.maximum(far - (high - low), 0.0)
    return Region(jnp.asarray(low - missing / 2), jnp.asarray(high + missing / 2))


def sample_positions(region: Region, scene: SensingScene, count: int, seed: int) -> np.ndarray:
    """Random places of a region that every surface faces, [place xyz]. [m]

    Args:
        region: The region.
        scene: The surfaces.
        count: How many.
        seed: Of the draws.

    Raises:
        ValueError: Hardly any place of the region lies in front of all surfaces.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(region.low, region.high, (64 * count, 3))
    ahead = np.ones(len(drawn), dtype=bool)
    for surface in scene.surfaces:
        offset = drawn - np.asarray(surface.position)
        along = offset @ np.asarray(surface.array.normal)
        ahead &= along > MIN_FACING_COSINE * np.linalg.norm(offset, axis=1)
    if ahead.sum() < count:
        raise ValueError(
            "the region lies behind a surface, or nearly so; give one that all surfaces face"
        )
    return drawn[ahead][:count]


def region_grids(scene: SensingScene, region: Region) -> list[CosineGrid]:
    """Direction cosines under which the surfaces may see the region, and a little around.

    Of all surfaces together, so that equal panels have equal grids and share a compiled search.

    Args:
        scene: The surfaces.
        region: The region.
    """
    places, seen = sample_positions(region, scene, 1000, 0), []
    for surface in scene.surfaces:
        offset = places - np.asarray(surface.position)
        axes = np.stack([surface.array.horizontal, surface.array.vertical])
        seen.append(offset @ axes.T / np.linalg.norm(offset, axis=1, keepdims=True))
    low, high = np.min(seen, axis=(0, 1)), np.max(seen, axis=(0, 1))
    grids = []
    for surface in scene.surfaces:
        full = cosine_grid(surface.array)
        sides = []
        for cosines, least, most in zip((full.horizontal, full.vertical), low, high, strict=True):
            around = 4 * (cosines[1] - cosines[0])
            sides.append(cosines[(cosines >= least - around) & (cosines <= most + around)])
        grids.append(CosineGrid(*sides))
    return grids


def with_assumed_target(scene: SensingScene, place: np.ndarray, echo: float) -> SensingScene:
    """The scene with a target of a supposed echo at a place.

    Args:
        scene: Its fixed parts.
        place: [m]
        echo: Modulus of the gain at a distance of one metre; it falls with the distance's square.
            [m²]
    """
    anchors = np.stack([np.asarray(s.position) for s in scene.surfaces])
    gain = echo / np.sum((anchors - place) ** 2, axis=1)
    return scene.with_target(jnp.asarray(place), jnp.asarray(gain, dtype=complex))


class DwellDesign(NamedTuple):
    """What is sent in one dwell, and how the surfaces are set."""

    covariance: Covariances  # one entry a surface [W]
    reflection: Patterns  # likewise [1]


def design_of(best: Incumbent | None) -> DwellDesign:
    """What the course of a design has found.

    Args:
        best: Its best; without a least SNR there always is one.
    """
    assert best is not None
    return DwellDesign(tuple(best.covariance), best.reflection)


class Scans:
    """Settings that serve the region, each made when it is first asked for."""

    def __init__(self, scene: SensingScene, region: Region, patterns: int) -> None:
        self.scene, self.region, self.patterns = scene, region, patterns
        self._made: dict[int, DwellDesign] = {}

    def __getitem__(self, number: int) -> DwellDesign:
        """The scan of that number, from 0; each serves other places of the region."""
        if number not in self._made:
            self._made[number] = self.make(number)
        return self._made[number]

    def make(self, number: int) -> DwellDesign:
        """Design a scan.

        Without a least SNR the best design does not depend on how strong the echo is, as long as it
        adds nothing to what a surface radiates; so a square metre at -30 dB a metre is supposed.

        Args:
            number: Of the scan.
        """
        echo = math.sqrt(1e-3 / (4 * math.pi))
        places = sample_positions(self.region, self.scene, SCAN_POSITIONS, number)
        course = descend_jointly(
            tuple(with_assumed_target(self.scene, place, echo) for place in places),
            patterns=self.patterns,
            mean=False,
            min_snr=0.0,
            starts=STARTS,
            seed=number,
        )
        return design_of(course.best)
