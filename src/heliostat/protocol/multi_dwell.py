"""Joint target estimation from the echoes of several dwells.

The target does not move, so its gain through a surface is the same in all dwells, and their
patterns are processed coherently, as those of one long dwell. After each dwell, every direction is
estimated again from all echoes, over the whole region.
"""

import math
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray
from scipy.special import chdtri

from heliostat.bounds.direction import direction_bound, position_bound, scene_information
from heliostat.estimation.direction import CosineGrid, DirectionEstimate, likeliest_direction
from heliostat.estimation.peak_search import FALSE_ALARM
from heliostat.estimation.triangulation import (
    PARALLEL,
    PositionEstimate,
    iterated_least_squares,
    largest_sine,
)
from heliostat.geometry.frames import Scalar, Vector, wrapped_angle
from heliostat.observation.echoes import (
    echo_mean,
    noise_covariance,
    simulate_echo,
    transmitted_signal,
)
from heliostat.protocol.search_region import DwellDesign, Patterns, Region
from heliostat.scene.sensing import EchoLink, SensingScene

Samples: TypeAlias = tuple[Complex[Array, "pattern tx snapshot"], ...]
Dwell = TypeVar("Dwell", "Transmission", "Reception")

SMALLEST_CAPACITY = 4
"""Smallest padded number of dwells; the capacity doubles so that few shapes are compiled."""
UNDETECTED_VAR = 1e6
"""Variance assigned to a direction without a detected echo, so that its weight is negligible.
[rad²]"""
REGION_MARGIN = 3.0
"""Number of standard deviations by which an estimate may lie outside the region."""


class Transmission(NamedTuple):
    """Coefficients and transmitted samples of one dwell, or of several dwells in sequence."""

    reflection: Patterns  # one entry per surface [1]
    transmitted: Samples  # one entry per surface [√W]


class Reception(NamedTuple):
    """Transmission and received samples of one dwell or of several dwells."""

    transmission: Transmission
    echoes: Samples  # one entry per surface [√W]


class PositionFix(eqx.Module):
    """Position estimate from the echoes of all dwells, with its tests."""

    position: Vector  # [m]
    covariance: Float[Array, "xyz xyz"]  # inverse of the information at the estimate [m²]
    angles: Float[Array, "surface 2"]  # [rad]
    target_gain: Complex[Array, "surface"]  # [1]
    detected: Bool[Array, "surface"]
    reduced_chi2: Float[Array, "surface"]  # see `DirectionEstimate` [1]
    second_echo_p_value: Float[Array, "surface"]  # see `DirectionEstimate` [1]
    consistent: Bool[Array, ""]
    """Two surfaces or more detect an echo, the model fits each of these, and their lines of sight
    meet in front of them and inside the region, within their errors."""

    @property
    def std(self) -> Scalar:
        """Square root of the covariance's trace; ``inf`` where there is no estimate. [m]"""
        return jnp.sqrt(jnp.trace(self.covariance))


@partial(jax.jit, static_argnames="snapshots")
def transmission_of(design: DwellDesign, snapshots: int) -> Transmission:
    """Transmission of one dwell.

    Args:
        design: Covariances and coefficients of the dwell.
        snapshots: Number of snapshots in each pattern.
    """
    signal = jax.vmap(partial(transmitted_signal, snapshots=snapshots))
    return Transmission(design.reflection, tuple(signal(covar) for covar in design.covariance))


@jax.jit
def simulate_dwell(scene: SensingScene, transmission: Transmission, key: PRNGKeyArray) -> Reception:
    """Echoes of one dwell with noise of the surfaces and of the base station.

    Args:
        scene: The true scene.
        transmission: What is sent.
        key: Key of the noise.
    """
    angles, echoes = scene.angles(), []
    for i, (psi, signal) in enumerate(zip(*transmission, strict=True)):
        simulate = partial(
            simulate_echo, scene.link(i), angles=angles[i], target_gain=scene.target_gain[i]
        )
        keys = jax.random.split(jax.random.fold_in(key, i), psi.shape[0])
        echoes.append(
            jax.vmap(lambda key, p, s, f=simulate: f(reflection=p, transmitted=s, key=key))(
                keys, psi, signal
            )
        )
    return Reception(transmission, tuple(echoes))


def stack_dwells(dwells: list[Dwell]) -> tuple[Dwell, int]:
    """Stack several dwells into one, padded with patterns without transmission.

    A pattern with zero signal and zero coefficients carries no information and changes no
    estimate. Padding keeps the number of different array shapes small.

    Args:
        dwells: At least one.

    Returns:
        All patterns as one dwell, and the number of dwells with the padding.
    """
    capacity = SMALLEST_CAPACITY
    while capacity < len(dwells):
        capacity *= 2

    def joined(*each: Array) -> Array:
        stacked = jnp.concatenate(each)
        missing = capacity * each[0].shape[0] - stacked.shape[0]
        return jnp.pad(stacked, [(0, missing)] + [(0, 0)] * (stacked.ndim - 1))

    return jax.tree.map(joined, *dwells), capacity


def with_duration(scene: SensingScene, dwells: int) -> SensingScene:
    """Return the scene with a dwell as long as several dwells.

    Args:
        scene: The scene.
        dwells: Number of dwells.
    """
    return eqx.tree_at(lambda s: s.symbols, scene, scene.symbols * dwells)


class DwellBounds(NamedTuple):
    """Bounds and SNR of one dwell or of several dwells."""

    bound: Scalar  # position error bound [m]
    worst_crb: Scalar  # largest CRB of the surfaces' directions [rad²]
    snr: Float[Array, "surface"]  # at the matched filter's output [1]


def dwell_bounds(scene: SensingScene, dwells: list[Transmission]) -> DwellBounds:
    """Bounds at the target's position from several dwells together.

    Args:
        scene: The scene, with the target at which the bounds are evaluated.
        dwells: Transmissions, at least one.
    """
    stacked, capacity = stack_dwells(dwells)
    return _dwell_bounds(with_duration(scene, capacity), stacked)


@jax.jit
def _dwell_bounds(scene: SensingScene, transmission: Transmission) -> DwellBounds:
    covariance = tuple(
        s @ jnp.conj(jnp.swapaxes(s, 1, 2)) / float(s.shape[2]) for s in transmission.transmitted
    )
    directions = scene_information(scene, covariance, transmission.reflection)
    worst = jnp.max(jnp.stack([direction_bound(d).crb for d in directions]))
    snr = jnp.stack([d.snr for d in directions])
    return DwellBounds(position_bound(scene, directions)[0], worst, snr)


@jax.jit
def matched_energy(
    scene: SensingScene, reception: Reception, angles: Float[Array, "surface 2"]
) -> Float[Array, "surface"]:
    """Energy of the echoes from given directions, over the noise density. [1]

    The gain is the one that fits best. Under noise alone the energy is exponentially distributed
    with mean one.

    Args:
        scene: The scene; its target is not used.
        reception: One dwell or several.
        angles: Elevation and azimuth at each surface. [rad]
    """
    matched = []
    for i, each in enumerate(zip(*reception.transmission, reception.echoes, strict=True)):
        link, direction = scene.link(i), angles[i]

        def pattern(
            psi: Array,
            signal: Array,
            echo: Array,
            link: EchoLink = link,
            direction: Array = direction,
        ) -> tuple[Array, Array]:
            factor = jnp.linalg.cholesky(noise_covariance(link, psi))
            white = partial(jax.scipy.linalg.solve_triangular, factor, lower=True)
            mean = white(echo_mean(link, psi, direction, jnp.ones((), dtype=complex), signal))
            return jnp.vdot(mean, white(echo)), jnp.sum(jnp.abs(mean) ** 2)

        overlap, energy = (jnp.sum(part) for part in jax.vmap(pattern)(*each))
        matched.append(jnp.abs(overlap) ** 2 / jnp.maximum(energy, 1e-300))
    return jnp.stack(matched)


@eqx.filter_jit
def _intersect(
    scene: SensingScene, angles: Float[Array, "surface 2"], covariance: Float[Array, "surface 2 2"]
) -> tuple[PositionEstimate, Scalar, Scalar]:
    """Intersection of the lines of sight, its weighted squared residual, and their largest sine."""
    estimate = iterated_least_squares(scene, angles, covariance)
    residual = wrapped_angle(scene.angles(estimate.position) - angles)
    weight = jax.vmap(jnp.linalg.inv)(covariance)
    squared = jnp.einsum("la,lab,lb->", residual, weight, residual)
    return estimate, squared, largest_sine(scene, angles)


def locate(
    scene: SensingScene, dwells: list[Reception], grids: list[CosineGrid], region: Region
) -> PositionFix:
    """Directions estimated from all dwells together, and the position where they intersect.

    The squared residual of the intersection, weighted by the directions' covariances, is chi-square
    distributed with two degrees of freedom a surface, less three.

    Args:
        scene: The scene; its target and gains are not used.
        dwells: Receptions, at least one.
        grids: Search grid of each surface, see `region_grids`.
        region: Where the target may be.
    """
    reception, capacity = stack_dwells(dwells)
    scene_of_all = with_duration(scene, capacity)
    estimates = []
    for i, each in enumerate(zip(*reception.transmission, reception.echoes, strict=True)):
        estimate = likeliest_direction(scene_of_all.link(i), *each, grids[i])
        estimates.append(
            _without_silence(estimate, each[-1].size, dwells[0].echoes[i].size * len(dwells))
        )
    angles = jnp.stack([e.angles for e in estimates])
    covariance = np.stack([np.asarray(e.covariance) for e in estimates])
    detected = np.array([bool(e.detected) for e in estimates])
    usable = detected & np.isfinite(covariance).all(axis=(1, 2))
    none = PositionFix(
        region.center,
        jnp.diag(jnp.full(3, jnp.inf)),
        angles,
        jnp.stack([e.target_gain for e in estimates]),
        jnp.asarray(detected),
        jnp.stack([e.reduced_chi2 for e in estimates]),
        jnp.stack([e.second_echo_p_value for e in estimates]),
        jnp.asarray(False),
    )
    if usable.sum() < 2:
        return none
    weighted = np.where(usable[:, None, None], covariance, UNDETECTED_VAR * np.eye(2))
    meeting, squared, sine = _intersect(scene, angles, jnp.asarray(weighted))
    if not bool(jnp.all(jnp.isfinite(meeting.position)) & meeting.converged):
        return none
    fits = np.array([bool(e.fits) for e in estimates])
    behind = np.asarray(meeting.behind)
    meets = float(squared) < chdtri(2 * usable.sum() - 3, FALSE_ALARM) and float(sine) > PARALLEL
    std = jnp.sqrt(jnp.trace(meeting.covariance))
    inside = bool(region.contains(meeting.position, REGION_MARGIN * std))
    consistent = meets and inside and bool((fits & ~behind)[usable].all())
    return eqx.tree_at(
        lambda f: (f.position, f.covariance, f.consistent),
        none,
        (meeting.position, meeting.covariance, jnp.asarray(consistent)),
    )


def _without_silence(estimate: DirectionEstimate, padded: int, samples: int) -> DirectionEstimate:
    """Return the estimate with a reduced chi-squared over the samples that are not padding.

    Silent patterns add samples but no energy to the residual. The test for a second echo depends
    on energies alone and needs no correction.

    Args:
        estimate: The estimate from the padded patterns.
        padded: Number of samples, padding included.
        samples: Number of samples without the padding.
    """
    freedom = float(samples - 2)  # two real parameters of the direction
    return eqx.tree_at(
        lambda e: (e.reduced_chi2, e.reduced_chi2_std),
        estimate,
        (estimate.reduced_chi2 * (padded - 2) / freedom, jnp.asarray(1 / math.sqrt(freedom))),
    )
