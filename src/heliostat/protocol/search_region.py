"""Search region of a target, and the designs that scan it.

A scan is one design for several positions of the region together. Isotropic signals and random
phases need no design, but leave most echoes below the noise; ``heliostat reproduce estimators
dwells`` compares both.
"""

import math
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex

from heliostat.design.joint_descent import descend_jointly
from heliostat.estimation.direction import CosineGrid, cosine_grid
from heliostat.geometry.frames import Scalar, Vector
from heliostat.scene.sensing import SensingScene

Patterns: TypeAlias = tuple[Complex[Array, "pattern _"], ...]
Covariances: TypeAlias = tuple[Complex[Array, "pattern tx tx"], ...]

SCAN_POSITIONS = 8
"""Number of positions that one scan is designed for."""
STARTS = 1
"""Random starts of a scan's design for each surface."""
MIN_FACING_COSINE = 0.05
"""Smallest cosine between a surface's normal and the direction of a position. [1]"""


class Region(eqx.Module):
    """Axis-aligned box that contains the target."""

    low: Vector  # [m]
    high: Vector  # [m]

    @property
    def center(self) -> Vector:
        """Center of the box. [m]"""
        return (self.low + self.high) / 2

    def contains(self, position: Vector, margin: Scalar | float = 0.0) -> Bool[Array, ""]:
        """Whether a position lies in the box.

        Args:
            position: Position to test. [m]
            margin: Distance by which the box is enlarged on every side. [m]
        """
        return jnp.all((position >= self.low - margin) & (position <= self.high + margin))


def default_region(scene: SensingScene) -> Region:
    """Default search region, from the positions of the base station and of the surfaces.

    The region is the smallest box that contains the base station and, for each surface, the points
    at the distances 0 and d in front of it, and whose sides are at least d. The distance d is that
    from the base station to the farthest surface.

    Args:
        scene: The scene; its target is not used.
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
    """Draw random positions of a region in front of all surfaces, [position xyz]. [m]

    Args:
        region: The region.
        scene: The scene; its target is not used.
        count: Number of positions.
        seed: Seed of the draws.

    Raises:
        ValueError: Less than a 64th of the region lies in front of all surfaces.
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
            "the region is behind a surface, or almost; give a region in front of all surfaces"
        )
    return drawn[ahead][:count]


def region_grids(scene: SensingScene, region: Region) -> list[CosineGrid]:
    """Search grids of direction cosines that cover the region with a margin, for each surface.

    The range of cosines is that of all surfaces together, so that equal panels have equal grids
    and share a compiled search.

    Args:
        scene: The scene; its target is not used.
        region: The region.
    """
    places, ranges = sample_positions(region, scene, 1000, 0), []
    for surface in scene.surfaces:
        offset = places - np.asarray(surface.position)
        axes = np.stack([surface.array.horizontal, surface.array.vertical])
        ranges.append(offset @ axes.T / np.linalg.norm(offset, axis=1, keepdims=True))
    low, high = np.min(ranges, axis=(0, 1)), np.max(ranges, axis=(0, 1))
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
    """The scene with an assumed target.

    Args:
        scene: The scene; its target and gains are replaced.
        place: Position of the target. [m]
        echo: Modulus of the gain at a distance of one meter; the gain decreases with the squared
            distance. [m²]
    """
    anchors = np.stack([np.asarray(s.position) for s in scene.surfaces])
    gain = echo / np.sum((anchors - place) ** 2, axis=1)
    return scene.with_target(jnp.asarray(place), jnp.asarray(gain, dtype=complex))


class DwellDesign(NamedTuple):
    """Transmit covariances and surface coefficients of one dwell."""

    covariance: Covariances  # one entry per surface [W]
    reflection: Patterns  # one entry per surface [1]


class Scans:
    """Designs that scan a region, each computed when it is first requested."""

    def __init__(self, scene: SensingScene, region: Region, patterns: int) -> None:
        self.scene, self.region, self.patterns = scene, region, patterns
        self._made: dict[int, DwellDesign] = {}

    def __getitem__(self, number: int) -> DwellDesign:
        """Scan of the given number, from 0; each is for other positions of the region."""
        if number not in self._made:
            self._made[number] = self.make(number)
        return self._made[number]

    def make(self, number: int) -> DwellDesign:
        """Design a scan.

        Without a minimum SNR the optimal design does not depend on the echo's strength, as long as
        the echo's share of a surface's radiated power is negligible. The assumed target has a
        cross-section of 1 m² with a path loss of 30 dB at one meter.

        Args:
            number: Number of the scan.
        """
        echo = math.sqrt(1e-3 / (4 * math.pi))
        places = sample_positions(self.region, self.scene, SCAN_POSITIONS, number)
        best = descend_jointly(
            tuple(with_assumed_target(self.scene, place, echo) for place in places),
            patterns=self.patterns,
            mean=False,
            min_snr=0.0,
            starts=STARTS,
            seed=number,
        ).result()
        return DwellDesign(tuple(best.covariance), best.reflection)
