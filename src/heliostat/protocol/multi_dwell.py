"""What is heard over several dwells, and where the target is by all of it together.

The target stands still, so its gain through a surface is the same in all dwells and their echoes
add up coherently: patterns of several dwells are as good as those of one long dwell, whatever was
sent in each. Every direction is estimated from all of them, over the whole region each time.
Nothing that was heard is thrown away, and a wrong belief has to stand against all of it.
"""

from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray
from scipy.special import chdtri

from heliostat.bounds.direction import direction_bound, position_bound, scene_information
from heliostat.estimation.direction import CosineGrid, likeliest_direction
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
from heliostat.protocol.search_region import Patterns, Region, Setting
from heliostat.scene.sensing import EchoLink, SensingScene

Samples: TypeAlias = tuple[Complex[Array, "pattern tx snapshot"], ...]
Dwell = TypeVar("Dwell", "Sent", "Heard")

FEWEST = 4
"""Dwells that arrays are filled up to, then twice as many each time: compiled once for each."""
BLIND = 1e6
"""Variance of a direction that was not heard: of no weight beside any that was. [rad²]"""
INSIDE = 3.0
"""Standard deviations by which an estimate may lie outside of the region."""


class Sent(NamedTuple):
    """What went out in one dwell, or in several one after the other."""

    reflection: Patterns  # one entry a surface [1]
    transmitted: Samples  # likewise [√W]


class Heard(NamedTuple):
    """What went out, and what came back."""

    sent: Sent
    echoes: Samples  # one entry a surface [√W]


class Fix(eqx.Module):
    """Where the target is by all that was heard."""

    position: Vector  # [m]
    covariance: Float[Array, "xyz xyz"]  # by the information at the estimate [m²]
    angles: Float[Array, "surface 2"]  # [rad]
    target_gain: Complex[Array, "surface"]  # [1]
    detected: Bool[Array, "surface"]
    reduced_chi2: Float[Array, "surface"]  # see `DirectionEstimate` [1]
    sound: Bool[Array, ""]  # detected, fits, and the lines of sight meet inside the region

    @property
    def std(self) -> Scalar:
        """Root of the sum of the position's variances, ``inf`` where there is no estimate. [m]"""
        return jnp.sqrt(jnp.trace(self.covariance))


@partial(jax.jit, static_argnames="snapshots")
def sent_in(setting: Setting, snapshots: int) -> Sent:
    """What goes out in one dwell.

    Args:
        setting: Of the dwell.
        snapshots: In each pattern.
    """
    signal = jax.vmap(partial(transmitted_signal, snapshots=snapshots))
    return Sent(setting.reflection, tuple(signal(covar) for covar in setting.covariance))


@jax.jit
def listen(scene: SensingScene, sent: Sent, key: PRNGKeyArray) -> Heard:
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
    return Heard(sent, tuple(echoes))


def together(dwells: list[Dwell]) -> tuple[Dwell, int]:
    """Dwells as one with as many patterns as all of them, filled up with silent ones.

    A pattern in which nothing is sent and the surface absorbs all tells nothing and changes no
    estimate; with it, arrays have few different shapes to compile for.

    Args:
        dwells: At least one.

    Returns:
        All of them, and how many there are with the silent ones.
    """
    capacity = FEWEST
    while capacity < len(dwells):
        capacity *= 2

    def joined(*each: Array) -> Array:
        stacked = jnp.concatenate(each)
        missing = capacity * each[0].shape[0] - stacked.shape[0]
        return jnp.pad(stacked, [(0, missing)] + [(0, 0)] * (stacked.ndim - 1))

    return jax.tree.map(joined, *dwells), capacity


def longer(scene: SensingScene, dwells: int) -> SensingScene:
    """The scene with a dwell as long as several: how patterns of several dwells count.

    Args:
        scene: The scene.
        dwells: How many.
    """
    return eqx.tree_at(lambda s: s.symbols, scene, scene.symbols * dwells)


class Told(NamedTuple):
    """What some dwells can tell about a target at most."""

    bound: Scalar  # on the root mean square error of the position [m]
    worst_crb: Scalar  # of the surfaces' directions [rad²]
    snr: Float[Array, "surface"]  # of the matched filter's output [1]


def told_by(scene: SensingScene, dwells: list[Sent]) -> Told:
    """Bounds at the target's place, by all that was sent.

    Args:
        scene: The scene, its target where the bounds are wanted.
        dwells: What went out, at least one.
    """
    sent, capacity = together(dwells)
    return _told(longer(scene, capacity), sent)


@jax.jit
def _told(scene: SensingScene, sent: Sent) -> Told:
    covariance = tuple(
        s @ jnp.conj(jnp.swapaxes(s, 1, 2)) / float(s.shape[2]) for s in sent.transmitted
    )
    directions = scene_information(scene, covariance, sent.reflection)
    worst = jnp.max(jnp.stack([direction_bound(d).crb for d in directions]))
    snr = jnp.stack([d.snr for d in directions])
    return Told(position_bound(scene, directions)[0], worst, snr)


class Energy(NamedTuple):
    """Of echoes, over the noise's density, by surface; noise alone has one for each sample."""

    matched: Float[Array, "surface"]  # what an echo from a given direction explains [1]
    whole: Float[Array, "surface"]  # [1]


@jax.jit
def matched_energy(scene: SensingScene, heard: Heard, angles: Float[Array, "surface 2"]) -> Energy:
    """What echoes from given directions explain of what was heard, the gain being as it fits best.

    Args:
        scene: Its fixed parts.
        heard: One dwell or several.
        angles: Elevation and azimuth at each surface. [rad]
    """
    matched, whole = [], []
    for i, each in enumerate(zip(*heard.sent, heard.echoes, strict=True)):
        link, towards = scene.link(i), angles[i]

        def pattern(
            psi: Array,
            sent: Array,
            echo: Array,
            link: EchoLink = link,
            towards: Array = towards,
        ) -> tuple[Array, Array, Array]:
            factor = jnp.linalg.cholesky(noise_covariance(link, psi))
            white = partial(jax.scipy.linalg.solve_triangular, factor, lower=True)
            mean = white(echo_mean(link, psi, towards, jnp.ones((), dtype=complex), sent))
            seen = white(echo)
            energies = jnp.sum(jnp.abs(mean) ** 2), jnp.sum(jnp.abs(seen) ** 2)
            return jnp.vdot(mean, seen), *energies

        overlap, energy, every = (jnp.sum(part) for part in jax.vmap(pattern)(*each))
        matched.append(jnp.abs(overlap) ** 2 / jnp.maximum(energy, 1e-300))
        whole.append(every)
    return Energy(jnp.stack(matched), jnp.stack(whole))


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
    scene: SensingScene, dwells: list[Heard], grids: list[CosineGrid], region: Region
) -> Fix:
    """Directions by the echoes of all dwells together, and the place where they meet.

    Args:
        scene: Its fixed parts; where the target is and its gains are not used.
        dwells: All that was heard.
        grids: Where each surface looks, see `region_grids`.
        region: Where the target may be.
    """
    heard, capacity = together(dwells)
    counted, estimates = longer(scene, capacity), []
    for i, (psi, sent, echo) in enumerate(zip(*heard.sent, heard.echoes, strict=True)):
        estimates.append(likeliest_direction(counted.link(i), psi, sent, echo, grids[i]))
    spread = np.stack([np.asarray(e.covariance) for e in estimates])
    detected = np.array([bool(e.detected) for e in estimates])
    told = detected & np.isfinite(spread).all(axis=(1, 2))
    angles = jnp.stack([e.angles for e in estimates])
    gain = jnp.stack([e.target_gain for e in estimates])
    energy = matched_energy(scene, heard, angles)
    # Silent patterns are no samples: the estimator's own reduced_chi2 would count them.
    freedom = np.array([echo.size * len(dwells) - 2.0 for echo in dwells[0].echoes])
    reduced_chi2 = np.asarray(energy.whole - energy.matched) / freedom
    nowhere = Fix(
        region.middle,
        jnp.diag(jnp.full(3, jnp.inf)),
        angles,
        gain,
        jnp.asarray(detected),
        jnp.asarray(reduced_chi2),
        jnp.asarray(False),
    )
    if told.sum() < 2:
        return nowhere
    usable = np.where(told[:, None, None], spread, BLIND * np.eye(2))
    meeting, miss, sine = _meet(scene, angles, jnp.asarray(usable))
    if not bool(jnp.all(jnp.isfinite(meeting.position)) & meeting.converged):
        return nowhere
    fits = np.abs(reduced_chi2 - 1) < 5 / np.sqrt(freedom)
    behind = np.asarray(meeting.behind)
    meets = float(miss) < chdtri(2 * told.sum() - 3, FALSE_ALARM) and float(sine) > PARALLEL
    std = jnp.sqrt(jnp.trace(meeting.covariance))
    inside = bool(region.holds(meeting.position, INSIDE * std))
    sound = meets and inside and bool((fits & ~behind)[told].all())
    return Fix(
        meeting.position,
        meeting.covariance,
        angles,
        gain,
        jnp.asarray(detected),
        jnp.asarray(reduced_chi2),
        jnp.asarray(sound),
    )
