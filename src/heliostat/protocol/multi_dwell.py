"""What is heard over several dwells, and where the target is by all of it together.

The target stands still, so its gain through a surface is the same in all dwells and their echoes
add up coherently: patterns of several dwells are as good as those of one long dwell, whatever was
sent in each. Every direction is estimated from all of them, over the whole region each time.
Nothing that was heard is thrown away, and a wrong belief has to stand against all of it.
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
"""Dwells that arrays are filled up to, then twice as many each time: compiled once for each."""
UNDETECTED_VAR = 1e6
"""Variance of a direction that was not heard: of no weight beside any that was. [rad²]"""
REGION_MARGIN = 3.0
"""Standard deviations by which an estimate may lie outside of the region."""


class Transmission(NamedTuple):
    """What went out in one dwell, or in several one after the other."""

    reflection: Patterns  # one entry a surface [1]
    transmitted: Samples  # likewise [√W]


class Reception(NamedTuple):
    """What went out, and what came back."""

    transmission: Transmission
    echoes: Samples  # one entry a surface [√W]


class PositionFix(eqx.Module):
    """Where the target is by all that was heard."""

    position: Vector  # [m]
    covariance: Float[Array, "xyz xyz"]  # by the information at the estimate [m²]
    angles: Float[Array, "surface 2"]  # [rad]
    target_gain: Complex[Array, "surface"]  # [1]
    detected: Bool[Array, "surface"]
    misfit: Float[Array, "surface"]  # see `DirectionEstimate` [1]
    second_echo_p_value: Float[Array, "surface"]  # see `DirectionEstimate` [1]
    consistent: Bool[Array, ""]  # detected, fits, and the lines of sight meet inside the region

    @property
    def std(self) -> Scalar:
        """Root of the sum of the position's variances, ``inf`` where there is no estimate. [m]"""
        return jnp.sqrt(jnp.trace(self.covariance))


@partial(jax.jit, static_argnames="snapshots")
def transmission_of(design: DwellDesign, snapshots: int) -> Transmission:
    """What goes out in one dwell.

    Args:
        design: Of the dwell.
        snapshots: In each pattern.
    """
    signal = jax.vmap(partial(transmitted_signal, snapshots=snapshots))
    return Transmission(design.reflection, tuple(signal(covar) for covar in design.covariance))


@jax.jit
def simulate_dwell(scene: SensingScene, sent: Transmission, key: PRNGKeyArray) -> Reception:
    """One dwell of the scene as it is, every noise included.

    Args:
        scene: The scene.
        sent: What goes out.
        key: Of the noise.
    """
    angles, echoes = scene.angles(), []
    for i, (psi, signal) in enumerate(zip(*sent, strict=True)):
        link, gain = scene.link(i), scene.target_gain[i]

        def pattern(
            own: PRNGKeyArray,
            psi: Array,
            signal: Array,
            link: EchoLink = link,
            towards: Array = angles[i],
            gain: Array = gain,
        ) -> Array:
            return simulate_echo(link, psi, towards, gain, signal, key=own)

        keys = jax.random.split(jax.random.fold_in(key, i), psi.shape[0])
        echoes.append(jax.vmap(pattern)(keys, psi, signal))
    return Reception(sent, tuple(echoes))


def stack_dwells(dwells: list[Dwell]) -> tuple[Dwell, int]:
    """Dwells as one with as many patterns as all of them, filled up with silent ones.

    A pattern in which nothing is sent and the surface absorbs all tells nothing and changes no
    estimate; with it, arrays have few different shapes to compile for.

    Args:
        dwells: At least one.

    Returns:
        All of them, and how many there are with the silent ones.
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
    """The scene with a dwell as long as several: how patterns of several dwells count.

    Args:
        scene: The scene.
        dwells: How many.
    """
    return eqx.tree_at(lambda s: s.symbols, scene, scene.symbols * dwells)


class DwellBounds(NamedTuple):
    """What some dwells can tell about a target at most."""

    bound: Scalar  # on the root mean square error of the position [m]
    worst_crb: Scalar  # of the surfaces' directions [rad²]
    snr: Float[Array, "surface"]  # of the matched filter's output [1]


def dwell_bounds(scene: SensingScene, dwells: list[Transmission]) -> DwellBounds:
    """Bounds at the target's place, by all that was sent.

    Args:
        scene: The scene, its target where the bounds are wanted.
        dwells: What went out, at least one.
    """
    sent, capacity = stack_dwells(dwells)
    return _dwell_bounds(with_duration(scene, capacity), sent)


@jax.jit
def _dwell_bounds(scene: SensingScene, sent: Transmission) -> DwellBounds:
    covariance = tuple(
        s @ jnp.conj(jnp.swapaxes(s, 1, 2)) / float(s.shape[2]) for s in sent.transmitted
    )
    directions = scene_information(scene, covariance, sent.reflection)
    worst = jnp.max(jnp.stack([direction_bound(d).crb for d in directions]))
    snr = jnp.stack([d.snr for d in directions])
    return DwellBounds(position_bound(scene, directions)[0], worst, snr)


@jax.jit
def matched_energy(
    scene: SensingScene, heard: Reception, angles: Float[Array, "surface 2"]
) -> Float[Array, "surface"]:
    """Energy of the echoes from given directions, over the noise density. [1]

    The gain is the one that fits best. Under noise alone the energy is exponentially distributed
    with mean one.

    Args:
        scene: The scene; its target is not used.
        heard: One dwell or several.
        angles: Elevation and azimuth at each surface. [rad]
    """
    matched = []
    for i, each in enumerate(zip(*heard.transmission, heard.echoes, strict=True)):
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
def _meet(
    scene: SensingScene, angles: Float[Array, "surface 2"], covariance: Float[Array, "surface 2 2"]
) -> tuple[PositionEstimate, Scalar, Scalar]:
    """Where lines of sight meet, how far they miss it in their errors, and their largest sine."""
    found = iterated_least_squares(scene, angles, covariance)
    miss = wrapped_angle(scene.angles(found.position) - angles)
    weighed = jnp.einsum("la,lab,lb->", miss, jax.vmap(jnp.linalg.inv)(covariance), miss)
    return found, weighed, largest_sine(scene, angles)


def locate(
    scene: SensingScene, dwells: list[Reception], grids: list[CosineGrid], region: Region
) -> PositionFix:
    """Directions by the echoes of all dwells together, and the place where they meet.

    Args:
        scene: Its fixed parts; where the target is and its gains are not used.
        dwells: All that was heard.
        grids: Where each surface looks, see `region_grids`.
        region: Where the target may be.
    """
    heard, capacity = stack_dwells(dwells)
    scene_of_all = with_duration(scene, capacity)
    estimates = []
    for i, (psi, sent, echo) in enumerate(zip(*heard.transmission, heard.echoes, strict=True)):
        estimate = likeliest_direction(scene_of_all.link(i), psi, sent, echo, grids[i])
        estimates.append(
            _without_silence(estimate, echo.size, dwells[0].echoes[i].size * len(dwells))
        )
    angles = jnp.stack([e.angles for e in estimates])
    covariance = np.stack([np.asarray(e.covariance) for e in estimates])
    detected = np.array([bool(e.detected) for e in estimates])
    told = detected & np.isfinite(covariance).all(axis=(1, 2))
    nowhere = PositionFix(
        region.center,
        jnp.diag(jnp.full(3, jnp.inf)),
        angles,
        jnp.stack([e.target_gain for e in estimates]),
        jnp.asarray(detected),
        jnp.stack([e.misfit for e in estimates]),
        jnp.stack([e.second_echo_p_value for e in estimates]),
        jnp.asarray(False),
    )
    if told.sum() < 2:
        return nowhere
    usable = np.where(told[:, None, None], covariance, UNDETECTED_VAR * np.eye(2))
    meeting, miss, sine = _meet(scene, angles, jnp.asarray(usable))
    if not bool(jnp.all(jnp.isfinite(meeting.position)) & meeting.converged):
        return nowhere
    fits = np.array([bool(e.fits) for e in estimates])
    behind = np.asarray(meeting.behind)
    meets = float(miss) < chdtri(2 * told.sum() - 3, FALSE_ALARM) and float(sine) > PARALLEL
    std = jnp.sqrt(jnp.trace(meeting.covariance))
    inside = bool(region.contains(meeting.position, REGION_MARGIN * std))
    consistent = meets and inside and bool((fits & ~behind)[told].all())
    return eqx.tree_at(
        lambda f: (f.position, f.covariance, f.consistent),
        nowhere,
        (meeting.position, meeting.covariance, jnp.asarray(consistent)),
    )


def _without_silence(estimate: DirectionEstimate, padded: int, samples: int) -> DirectionEstimate:
    """The estimate with the silent patterns not counted as samples.

    Silent patterns add no energy to the residual, so the energy is spread over fewer samples; the
    test for a second echo does not count samples at all.

    Args:
        estimate: From all patterns.
        padded: Samples with those of silent patterns.
        samples: Samples without them.
    """
    freedom = float(samples - 2)  # two real parameters of the direction
    return eqx.tree_at(
        lambda e: (e.misfit, e.misfit_std),
        estimate,
        (estimate.misfit * (padded - 2) / freedom, jnp.asarray(1 / math.sqrt(freedom))),
    )
