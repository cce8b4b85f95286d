"""Sensing bounds of a target at each point of an area, and beampatterns of a design."""

from collections.abc import Callable, Mapping
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
from heliostat.maps.area import Area, area_around, grid_points
from heliostat.observation.echoes import noise_covariance, target_steering
from heliostat.scenario import SensingScenario
from heliostat.scenario.sensing.build import moved_target
from heliostat.scene.sensing import EchoLink, SensingScene

SensingQuantity: TypeAlias = Literal["position", "direction"]
DesignUse: TypeAlias = Literal["fixed", "each"]
Covariances: TypeAlias = tuple[Complex[Array, "pattern tx tx"], ...]
Reflections: TypeAlias = tuple[Complex[Array, "pattern _"], ...]

SENSING_UNITS: dict[SensingQuantity, str] = {"position": "m", "direction": "rad"}
CHUNK = 1 << 10
"""Points computed at once."""
POINTS: Mapping[DesignUse, int] = {"fixed": 10_000, "each": 60}
"""Approximate default number of points of a map: a bound takes half a millisecond, a design a
second or two."""
STARTS = 2
"""Random starts of the design at each point of a map; the design of a run has eight."""


def default_area(scenario: SensingScenario) -> Area:
    """A rectangle that contains base station, surfaces and target, with a margin.

    Args:
        scenario: A loaded scenario.
    """
    surfaces = [surface.position for surface in scenario.surfaces]
    return area_around([scenario.base_station.position, *surfaces, scenario.target.position])


def map_title(scenario: SensingScenario, quantity: SensingQuantity, use: DesignUse) -> str:
    """Title of a map: scenario, quantity and conditions; a semicolon ends a line.

    Args:
        scenario: A loaded scenario.
        quantity: Bound of the map.
        use: One design for all points, or a design for each.
    """
    name = {
        "position": "position error bound",
        "direction": "direction error bound of the worst surface",
    }
    design = {
        "fixed": "one design for the scenario's target",
        "each": f"a design for each point, the best of {STARTS} starts",
    }
    return f"{scenario.name}: {name[quantity]}; {design[use]}"


@dataclass(frozen=True)
class SensingMap:
    """Bounds for a target at each point of a grid at the height of the scenario's target."""

    x: np.ndarray
    """Coordinates of the columns. [column] [m]"""
    y: np.ndarray
    """Coordinates of the rows. [row] [m]"""
    direction_std: np.ndarray
    """Least standard deviation of elevation and azimuth, ``inf`` where there is no bound and behind
    the surface. [row, column, surface, 2] [rad]"""
    position_bound: np.ndarray
    """From all surfaces that face the point; ``inf`` where no bound exists. [row, column] [m]"""
    facing: np.ndarray
    """Whether the point lies in front of the surface. [row, column, surface]"""
    each: bool
    """Whether a design was made for each point, which requires that all surfaces face it."""

    def value(self, quantity: SensingQuantity) -> np.ndarray:
        """Position bound, or the largest root CRB of both angles over surfaces. [row, column]

        Args:
            quantity: ``position`` [m] or ``direction`` [rad].
        """
        if quantity == "position":
            return self.position_bound
        return np.sqrt((self.direction_std**2).sum(axis=-1)).max(axis=-1)

    def served(self, quantity: SensingQuantity) -> np.ndarray:
        """Where a bound can exist: all surfaces face the point, for a position two. [row, column]

        Args:
            quantity: ``position`` or ``direction``.
        """
        every = self.each or quantity == "direction"
        return self.facing.sum(axis=-1) >= (self.facing.shape[-1] if every else 2)


# Two compiled stages: products of small matrices for many points at once, then their inverses one
# after the other, because batches of inverses can deadlock XLA's threads.
@jax.jit
def _information(
    scene: SensingScene,
    covariance: Covariances,
    reflection: Reflections,
    whitening: Covariances,
    positions: Float[Array, "place xyz"],
) -> tuple[DirectionInformation, ...]:
    """Information of each surface about a target at each point; zero if it does not face it."""

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
            own = information_of_matrices(received, transmitted, there.target_gain[i], link.symbols)
            ahead = jnp.dot(position - surface.position, surface.array.normal) > 0
            found.append(jax.tree.map(lambda leaf, seen=ahead: jnp.where(seen, leaf, 0.0), own))
        return tuple(found)

    return jax.vmap(at)(positions)


@jax.jit
def _bounds(
    scene: SensingScene,
    positions: Float[Array, "place xyz"],
    information: tuple[DirectionInformation, ...],
) -> tuple[Float[Array, "place surface 2"], Float[Array, "place"]]:
    """Standard deviations of the angles, and the position bound."""

    def at(given: tuple[Vector, tuple[DirectionInformation, ...]]) -> tuple[Array, Array]:
        position, directions = given
        deviation = jnp.stack([direction_bound(d).direction_std for d in directions])
        return deviation, position_bound(moved_target(scene, position), directions)[0]

    return jax.lax.map(at, (positions, information))


def _whitening(scene: SensingScene, reflection: Reflections) -> Covariances:
    r"""Inverse of the noise covariance of each surface and pattern, :math:`R_w^{-1}`. [1/W]"""
    return tuple(
        jnp.stack([jnp.linalg.inv(noise_covariance(scene.link(i), psi)) for psi in patterns])
        for i, patterns in enumerate(reflection)
    )


def _facing(scene: SensingScene, places: np.ndarray) -> np.ndarray:
    """Whether each point lies in front of each surface. [place surface]"""
    ahead = [(places - np.asarray(s.position)) @ np.asarray(s.array.normal) for s in scene.surfaces]
    return np.stack(ahead, axis=-1) > 0


def _places(scene: SensingScene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All points of a grid at the height of the scene's target, row by row. [place xyz]"""
    return grid_points(x, y, float(scene.target.position[2]))


def _assembled(
    scene: SensingScene,
    x: np.ndarray,
    y: np.ndarray,
    deviation: np.ndarray,
    bound: np.ndarray,
    each: bool,
) -> SensingMap:
    """The map of bounds that were computed point by point."""
    shape = (len(y), len(x))
    facing = _facing(scene, _places(scene, x, y))
    # At the surface itself the direction is undefined, and the bound NaN.
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
    """Bounds over a rectangle under one fixed design.

    Args:
        scene: The scene; its target is moved, and the gains with it.
        covariance: Transmit covariance of each surface and pattern. [W]
        reflection: Coefficients of each surface and pattern. [1]
        x: Coordinates of the columns. [m]
        y: Coordinates of the rows. [m]
        on_progress: Called with the number of finished points and of all points.
    """
    places = _places(scene, x, y)
    whitening, size = _whitening(scene, reflection), min(CHUNK, len(places))
    deviation, bound = [], []
    for start in range(0, len(places), size):
        on_progress(start, len(places))
        part = places[start : start + size]
        padded = jnp.asarray(np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)]))
        information = _information(scene, covariance, reflection, whitening, padded)
        angles, position = _bounds(scene, padded, information)
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
    """Bounds over a rectangle under a separate design for each point.

    Bounds are ``inf`` also where not all surfaces face the point, and where no design was found
    that reaches the SNR.

    Args:
        scene: The scene; its target is moved, and the gains with it.
        x: Coordinates of the columns. [m]
        y: Coordinates of the rows. [m]
        patterns: Number of patterns of each surface.
        min_snr: Smallest permitted SNR. [1]
        seed: Seed of the designs.
        on_progress: Called with the number of finished points and of all points.
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
            information = _information(scene, sent, coefficients, white, there[None])
            angles, position = _bounds(scene, there[None], information)
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
    r"""Power radiated by a surface in each direction, the mean over its patterns. [W]

    .. math:: a(\theta, \varphi)^T\,\Psi GRG^H\Psi^H\,a(\theta, \varphi)^*,

    the power of an isotropic radiator with the same intensity in this direction, for isotropic
    elements. Paper eq. (4) with the steering of eqs. (2), (3).

    Args:
        scene: The scene.
        index: Index of the surface.
        covariance: Transmit covariance of each pattern. [W]
        reflection: Coefficients of each pattern. [1]
        elevation: Elevations, from the vertical axis. [rad]
        azimuth: Azimuths, from the horizontal axis. [rad]
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
