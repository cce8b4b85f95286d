"""Sensing bounds over an area, and where a design sends its power: what a picture shows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import (
    DirectionInformation,
    direction_bound,
    echo_derivatives,
    information_of_matrices,
    position_bound,
)
from heliostat.design.joint_descent import descend_jointly
from heliostat.geometry.frames import Vector
from heliostat.observation.echoes import noise_covariance, target_steering
from heliostat.scenario.sensing.build import moved_target
from heliostat.scene.sensing import EchoLink, SensingScene

SensingQuantity: TypeAlias = Literal["position", "direction"]
DesignUse: TypeAlias = Literal["fixed", "each"]
Covariances: TypeAlias = tuple[Complex[Array, "pattern tx tx"], ...]
Reflections: TypeAlias = tuple[Complex[Array, "pattern _"], ...]

SENSING_UNITS: dict[SensingQuantity, str] = {"position": "m", "direction": "rad"}
CHUNK = 1 << 10
"""Positions computed at once."""
STARTS = 2
"""Random starts of the design at each place of a map; a run's design has eight."""


@dataclass(frozen=True)
class SensingMap:
    """Bounds for a target at each place of a rectangle at the height of the scenario's target."""

    x: np.ndarray
    """[column] [m]"""
    y: np.ndarray
    """[row] [m]"""
    direction_std: np.ndarray
    """Of elevation and azimuth, ``inf`` where there is no bound and behind the surface.
    [row, column, surface, 2] [rad]"""
    position_bound: np.ndarray
    """From all surfaces that face the place; ``inf`` where there is none. [row, column] [m]"""
    facing: np.ndarray
    """Whether the place lies in front of the surface. [row, column, surface]"""
    each: bool
    """Whether a design was made for each place, which takes all surfaces to face it."""

    def value(self, quantity: SensingQuantity) -> np.ndarray:
        """What a map shows: of directions the worst surface's, both angles together. [row, column]

        Args:
            quantity: ``position`` [m] or ``direction`` [rad].
        """
        if quantity == "position":
            return self.position_bound
        return np.sqrt((self.direction_std**2).sum(axis=-1)).max(axis=-1)

    def served(self, quantity: SensingQuantity) -> np.ndarray:
        """Where a bound can be: a direction takes all surfaces, a position two. [row, column]

        Args:
            quantity: ``position`` or ``direction``.
        """
        every = self.each or quantity == "direction"
        return self.facing.sum(axis=-1) >= (self.facing.shape[-1] if every else 2)


# Two compiled stages: products of small matrices for many places at once, then their inverses one
# after the other, because XLA's threads may wait for each other for ever over batches of those.
@jax.jit
def _told(
    scene: SensingScene,
    covariance: Covariances,
    reflection: Reflections,
    whitening: Covariances,
    positions: Float[Array, "place xyz"],
) -> tuple[DirectionInformation, ...]:
    """What each surface tells of a target at each place; nothing if it does not face it."""

    def at(position: Vector) -> tuple[DirectionInformation, ...]:
        there, found = moved_target(scene, position), []
        angles = there.angles()
        for i, surface in enumerate(scene.surfaces):
            link = scene.link(i)

            def matrices(
                psi: Array,
                sent: Array,
                white: Array,
                link: EchoLink = link,
                towards: Array = angles[i],
            ) -> tuple[Array, Array]:
                ways = echo_derivatives(link, psi, towards)
                return jnp.conj(ways) @ white @ ways.T, ways @ sent @ jnp.conj(ways).T

            received, transmitted = jax.vmap(matrices)(reflection[i], covariance[i], whitening[i])
            told = information_of_matrices(
                received, transmitted, there.target_gain[i], link.symbols
            )
            ahead = jnp.dot(position - surface.position, surface.array.normal) > 0
            found.append(jax.tree.map(lambda leaf, seen=ahead: jnp.where(seen, leaf, 0.0), told))
        return tuple(found)

    return jax.vmap(at)(positions)


@jax.jit
def _bounds(
    scene: SensingScene,
    positions: Float[Array, "place xyz"],
    told: tuple[DirectionInformation, ...],
) -> tuple[Float[Array, "place surface 2"], Float[Array, "place"]]:
    """Standard deviations of the angles, and the position bound."""

    def at(given: tuple[Vector, tuple[DirectionInformation, ...]]) -> tuple[Array, Array]:
        position, directions = given
        deviation = jnp.stack([direction_bound(d).direction_std for d in directions])
        return deviation, position_bound(moved_target(scene, position), directions)[0]

    return jax.lax.map(at, (positions, told))


def _whitening(scene: SensingScene, reflection: Reflections) -> Covariances:
    r"""Inverse of the noise covariance of each surface and pattern, :math:`R_w^{-1}`. [1/W]"""
    return tuple(
        jnp.stack([jnp.linalg.inv(noise_covariance(scene.link(i), psi)) for psi in patterns])
        for i, patterns in enumerate(reflection)
    )


def _facing(scene: SensingScene, places: np.ndarray) -> np.ndarray:
    """Whether each place lies in front of each surface. [place surface]"""
    ahead = [(places - np.asarray(s.position)) @ np.asarray(s.array.normal) for s in scene.surfaces]
    return np.stack(ahead, axis=-1) > 0


def _places(scene: SensingScene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All places of a rectangle at the height of the scene's target, row by row. [place xyz]"""
    across, along = np.meshgrid(x, y)
    height = float(scene.target.position[2])
    return np.stack([across, along, np.full_like(across, height)], axis=-1).reshape(-1, 3)


def _assembled(
    scene: SensingScene,
    x: np.ndarray,
    y: np.ndarray,
    deviation: np.ndarray,
    bound: np.ndarray,
    each: bool,
) -> SensingMap:
    """The map of bounds that were computed place by place."""
    shape = (len(y), len(x))
    facing = _facing(scene, _places(scene, x, y))
    # On a surface itself there is no direction; NaN leaves no function.
    deviation = np.where(facing[:, :, None] & ~np.isnan(deviation), deviation, np.inf)
    bound = np.where(np.isnan(bound), np.inf, bound)
    return SensingMap(
        x,
        y,
        deviation.reshape(*shape, scene.n_surfaces, 2),
        bound.reshape(shape),
        facing.reshape(*shape, scene.n_surfaces),
        each,
    )


def map_design(
    scene: SensingScene,
    covariance: Covariances,
    reflection: Reflections,
    x: Float[np.ndarray, "column"],
    y: Float[np.ndarray, "row"],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SensingMap:
    """Bounds over a rectangle under one design, wherever the target is.

    Args:
        scene: The scene; its target is moved, and the gains with it.
        covariance: Of each surface and pattern. [W]
        reflection: Of each surface and pattern. [1]
        x: Coordinates of the columns. [m]
        y: Coordinates of the rows. [m]
        on_progress: Called with the places done and the places in all.
    """
    places = _places(scene, x, y)
    whitening, size = _whitening(scene, reflection), min(CHUNK, len(places))
    deviation, bound = [], []
    for start in range(0, len(places), size):
        on_progress(start, len(places))
        part = places[start : start + size]
        padded = jnp.asarray(np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)]))
        told = _told(scene, covariance, reflection, whitening, padded)
        angles, position = _bounds(scene, padded, told)
        deviation.append(np.asarray(angles)[: len(part)])
        bound.append(np.asarray(position)[: len(part)])
    on_progress(len(places), len(places))
    return _assembled(scene, x, y, np.concatenate(deviation), np.concatenate(bound), False)


def map_each(
    scene: SensingScene,
    x: Float[np.ndarray, "column"],
    y: Float[np.ndarray, "row"],
    *,
    patterns: int,
    min_snr: float,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SensingMap:
    """Bounds over a rectangle under a design made for each place: what steering there would give.

    ``inf`` also where the surfaces do not all face the place, and where no design was found that
    keeps the SNR.

    Args:
        scene: The scene; its target is moved, and the gains with it.
        x: Coordinates of the columns. [m]
        y: Coordinates of the rows. [m]
        patterns: How many patterns each surface goes through.
        min_snr: Least SNR. [1]
        seed: Of the designs.
        on_progress: Called with the places done and the places in all.
    """
    places = _places(scene, x, y)
    deviation = np.full((len(places), scene.n_surfaces, 2), np.inf)
    bound = np.full(len(places), np.inf)
    for i in np.flatnonzero(_facing(scene, places).all(axis=1)):
        on_progress(int(i), len(places))
        there = jnp.asarray(places[i])
        course = descend_jointly(
            (moved_target(scene, there),),
            patterns=patterns,
            mean=False,
            min_snr=min_snr,
            starts=STARTS,
            seed=seed,
        )
        if course.best is not None:
            sent, coefficients = tuple(course.best.covariance), course.best.reflection
            white = _whitening(scene, coefficients)
            told = _told(scene, sent, coefficients, white, there[None])
            angles, position = _bounds(scene, there[None], told)
            deviation[i], bound[i] = angles[0], position[0]
    on_progress(len(places), len(places))
    return _assembled(scene, x, y, deviation, bound, True)


@partial(jax.jit, static_argnums=1)
def beampattern(
    scene: SensingScene,
    index: int,
    covariance: Complex[Array, "pattern tx tx"],
    reflection: Complex[Array, "pattern element"],
    elevation: Float[Array, "row"],
    azimuth: Float[Array, "column"],
) -> Float[Array, "row column"]:
    r"""Power that a surface sends towards each direction, the mean over its patterns. [W]

    .. math:: a(\theta, \varphi)^T\,\Psi GRG^H\Psi^H\,a(\theta, \varphi)^*,

    the power that an isotropic radiator would need for the same in this direction, every element
    being isotropic itself. Paper eq. (4) with the steering of eqs. (2), (3).

    Args:
        scene: The scene.
        index: Which surface.
        covariance: Of each pattern. [W]
        reflection: Of each pattern. [1]
        elevation: From the vertical axis. [rad]
        azimuth: From the horizontal axis. [rad]
    """
    array = scene.surfaces[index].array
    power, beams = jnp.linalg.eigh(covariance)
    sent = beams * jnp.sqrt(jnp.maximum(power, 0.0))[:, None, :]
    radiated = reflection[:, :, None] * (scene.bs_to_irs[index] @ sent)  # [pattern element beam]

    def row(theta: Array) -> Array:
        steering = jax.vmap(lambda phi: target_steering(array, jnp.stack([theta, phi])))(azimuth)
        towards = jnp.einsum("cn,knb->ckb", steering, radiated)
        return jnp.sum(jnp.abs(towards) ** 2, axis=(1, 2)) / covariance.shape[0]

    return jax.lax.map(row, elevation)
