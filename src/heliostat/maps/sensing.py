"""Sensing bounds of a target at each of many positions, and beampatterns of a design."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import (
    DirectionInformation,
    direction_bound,
    direction_information,
    position_bound,
)
from heliostat.design.joint_descent import DesignSearch, Incumbent, descend_from, descend_jointly
from heliostat.geometry.frames import Vector
from heliostat.maps.area import facing, in_chunks
from heliostat.observation.echoes import noise_covariance, target_steering
from heliostat.scenario.sensing.build import moved_target
from heliostat.scene.sensing import EchoLink, SensingScene

Covariances: TypeAlias = tuple[Complex[Array, "pattern tx tx"], ...]
Reflections: TypeAlias = tuple[Complex[Array, "pattern _"], ...]

CHUNK = 1 << 10
"""Points computed at once."""
REFERENCES = 4
"""Number of positions whose designs have random starts; all other designs start from these."""
STARTS = 2
"""Random starts of each reference design; together as many as those of the design of a run."""


class TargetBounds(NamedTuple):
    """Bounds for a target at each of many positions."""

    direction_std: np.ndarray
    """Least standard deviation of elevation and azimuth, ``inf`` where there is no bound and behind
    the surface. [point, surface, 2] [rad]"""
    position_bound: np.ndarray
    """Bound from all surfaces that face the point; ``inf`` if there is none. [point] [m]"""

    @property
    def crb(self) -> np.ndarray:
        """Largest CRB of the direction, the sum of both variances, over surfaces. [point] [rad²]"""
        return np.asarray((self.direction_std**2).sum(axis=-1).max(axis=-1))


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
            own = direction_information(
                scene.link(i),
                reflection[i],
                covariance[i],
                angles[i],
                there.target_gain[i],
                precision=whitening[i],
            )
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


@jax.jit
def _precision(link: EchoLink, psi: Complex[Array, "element"]) -> Complex[Array, "tx tx"]:
    return jnp.linalg.inv(noise_covariance(link, psi))


def _whitening(scene: SensingScene, reflection: Reflections) -> Covariances:
    r"""Inverse of the noise covariance of each surface and pattern, :math:`R_w^{-1}`. [1/W]"""
    return tuple(
        jnp.stack([_precision(scene.link(i), psi) for psi in patterns])
        for i, patterns in enumerate(reflection)
    )


def _finished(
    scene: SensingScene, positions: np.ndarray, deviation: np.ndarray, bound: np.ndarray
) -> TargetBounds:
    """Set the bounds behind a surface, and on it, where the direction is undefined, to inf."""
    seen = facing(scene.surfaces, positions)[:, :, None] & ~np.isnan(deviation)
    return TargetBounds(np.where(seen, deviation, np.inf), np.where(np.isnan(bound), np.inf, bound))


def bounds_at(
    scene: SensingScene,
    covariance: Covariances,
    reflection: Reflections,
    positions: Float[np.ndarray, "point xyz"],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TargetBounds:
    """Compute bounds for a target at each of many positions under one fixed design.

    Args:
        scene: The scene; its target is moved, and the gains with it.
        covariance: Transmit covariance of each surface and pattern. [W]
        reflection: Coefficients of each surface and pattern. [1]
        positions: Positions of the target. [m]
        on_progress: Called with the number of finished positions and of all positions.
    """
    whitening = _whitening(scene, reflection)

    def chunk(part: np.ndarray) -> tuple[np.ndarray, ...]:
        information = _information(scene, covariance, reflection, whitening, jnp.asarray(part))
        deviation, bound = _bounds(scene, jnp.asarray(part), information)
        return np.asarray(deviation), np.asarray(bound)

    found = in_chunks(chunk, positions, CHUNK, on_progress=on_progress)
    return _finished(scene, positions, *found)


def bounds_of_designs(
    scene: SensingScene,
    positions: Float[np.ndarray, "point xyz"],
    *,
    patterns: int,
    min_snr: float,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TargetBounds:
    """Compute bounds for a target at each of many positions, with a separate design for each.

    A few reference positions have designs from random starts. The design for every other position
    starts from the best of these, steered to it, and from random starts too where the minimum SNR
    is active, there or at a reference position. The order of the positions has no effect. Bounds
    are ``inf`` also where a surface does not face the point, and where no design was found that
    reaches the minimum SNR.

    Args:
        scene: The scene; its target is moved, and the gains with it.
        positions: Positions of the target. [m]
        patterns: Number of patterns of each surface.
        min_snr: Minimum SNR. [1]
        seed: Seed of the designs.
        on_progress: Called with the number of finished positions and of all positions.
    """
    deviation = np.full((len(positions), scene.n_surfaces, 2), np.inf)
    bound = np.full(len(positions), np.inf)
    served = [int(i) for i in np.flatnonzero(facing(scene.surfaces, positions).all(axis=1))]
    skipped = len(positions) - len(served)
    on_progress(0, len(positions))
    scenes = {i: _moved_target(scene, jnp.asarray(positions[i])) for i in served}
    gains = {i: np.abs(np.asarray(scenes[i].target_gain)) for i in served}

    def search(i: int, seed: int) -> DesignSearch:
        return descend_jointly(
            (scenes[i],), patterns=patterns, mean=False, min_snr=min_snr, starts=STARTS, seed=seed
        )

    def best_design(i: int) -> Incumbent | None:
        found = [descend_from(references, scenes[i])]
        if found[0].best is None or found[0].snr_limited or limited:
            found.append(search(i, seed))
        each = [design.best for design in found if design.best is not None]
        return min(each, key=lambda design: design.worst, default=None)

    # The largest SNR that designs can reach grows with the gains. If no design reaches the minimum
    # SNR at a position, positions with smaller gains are skipped; so large gains come first.
    order = sorted(served, key=lambda i: (-gains[i].min(), *positions[i]))
    spread = [k * len(order) // REFERENCES for k in range(REFERENCES)]
    references = [search(order[at], seed + k) for k, at in enumerate(spread) if order]
    # Where the minimum SNR is active, a short descent from another position may end far from the
    # optimum, at a design of higher SNR.
    limited = any(each.snr_limited and each.best is not None for each in references)
    on_progress(skipped, len(positions))
    missed: list[np.ndarray] = []  # gains of positions at which no design reaches the SNR
    for done, i in enumerate(order, skipped + 1):
        if not any(np.all(gains[i] <= larger) for larger in missed):
            best = best_design(i)
            if best is None:
                missed.append(gains[i])
            else:
                there = jnp.asarray(positions[i])[None]
                sent, coefficients = tuple(best.covariance), best.reflection
                white = _whitening(scene, coefficients)
                information = _information(scene, sent, coefficients, white, there)
                angles, position = _bounds(scene, there, information)
                deviation[i], bound[i] = angles[0], position[0]
        on_progress(done, len(positions))
    return _finished(scene, positions, deviation, bound)


_moved_target = jax.jit(moved_target)


@partial(jax.jit, static_argnums=1)
def beampattern(
    scene: SensingScene,
    index: int,
    covariance: Complex[Array, "pattern tx tx"],
    reflection: Complex[Array, "pattern element"],
    elevation: Float[Array, "row"],
    azimuth: Float[Array, "column"],
) -> Float[Array, "row column"]:
    r"""Power radiated by a surface in each direction, averaged over its patterns. [W]

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
