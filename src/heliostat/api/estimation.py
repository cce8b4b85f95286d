"""Public functions that simulate observations and estimate poses, directions and positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat.api.arguments import described, is_whole, public
from heliostat.api.localization import build, chosen_antennas, require_single_path
from heliostat.api.sensing_arguments import checked_covariances, checked_reflections
from heliostat.estimation.direction import cosine_grid, likeliest_direction
from heliostat.estimation.matched_pilots import match_pilots
from heliostat.estimation.place_search import place_grid
from heliostat.estimation.pose import locate
from heliostat.estimation.triangulation import (
    PARALLEL,
    iterated_least_squares,
    largest_sine,
    stansfield,
)
from heliostat.observation.echoes import simulate_echo, transmitted_signal
from heliostat.observation.pilots import band_bins
from heliostat.observation.pilots import simulate_pilots as simulated
from heliostat.scenario import AnyScenario, LocalizationScenario, SensingScenario
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.localization import LocalizationScene
from heliostat.scene.sensing import SensingScene


@dataclass(frozen=True)
class Pilots:
    """Pilots received by a user in one alignment stage."""

    samples: np.ndarray
    """Complex samples with noise of variance N0. [config, tx beam, rx beam, bin] [√J]"""
    frequency: np.ndarray
    """Frequency of each bin relative to the carrier. [Hz]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


@dataclass(frozen=True)
class Pose:
    """Maximum-likelihood pose of a user.

    Use the pose only if ``detected and fits and unique`` is true.
    """

    position: np.ndarray
    """Position at the known height. [xyz] [m]"""
    heading: float
    """Heading. [rad]"""
    mirror_heading: float
    """Equally likely heading, due to the left-right ambiguity of a linear array. [rad]"""
    gain: complex
    """Complex gain of the link; the known value if the gain is known. [1]"""
    clock: float
    """Offset of the user's clock, as a distance; 0 if synchronized. [m]"""
    covariance: np.ndarray
    """Covariance of x, y and heading, from the information at the estimate; ``inf`` on the diagonal
    if not identifiable. [m², m rad, rad²]"""
    snr: float
    """Energy of the fitted pilots over the noise density. [1]"""
    reduced_chi2: float
    """Residual energy over its expectation under noise alone; 1 if the model holds. [1]"""
    fits: bool
    """Whether ``reduced_chi2`` is within five standard deviations of 1."""
    detected: bool
    """Whether the fitted pilots exceed the noise threshold; if not, the estimate is meaningless."""
    unique: bool
    """Whether ``log_likelihood_margin`` is so large that noise alone causes it at a wrong position
    with a probability of at most about 1e-6."""
    log_likelihood_margin: float
    """Log-likelihood of the pose minus that of the second-highest peak, in another main or side
    lobe of the surface's response; ``inf`` if there is no other peak. [1]"""
    converged: bool
    """Whether the iteration converged to a maximum at which the covariance is valid."""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


@dataclass(frozen=True)
class Echoes:
    """Echoes received by the base station through each surface."""

    samples: tuple[np.ndarray, ...]
    """Received samples of each surface, complex [pattern, antenna, snapshot]. [√W]"""
    transmitted: tuple[np.ndarray, ...]
    """Transmitted samples of each surface, complex [pattern, antenna, snapshot]. [√W]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


@dataclass(frozen=True)
class Directions:
    """Maximum-likelihood directions of the target at each surface."""

    angles: np.ndarray
    """Elevation and azimuth. [surface, 2] [rad]"""
    covariance: np.ndarray
    """Covariance of both angles, from the information at the estimate. [surface, 2, 2] [rad²]"""
    target_gain: np.ndarray
    """Complex gain of the target. [surface] [1]"""
    snr: np.ndarray
    """SNR of the matched filter's output. [surface] [1]"""
    reduced_chi2: np.ndarray
    """Residual energy over its expectation under noise alone. [surface] [1]"""
    second_echo_p_value: np.ndarray
    """Upper bound on the p-value of a second echo in the best-fitting direction, under noise alone.
    [surface] [1]"""
    fits: np.ndarray
    """Whether ``reduced_chi2`` is within five standard deviations of 1 and ``second_echo_p_value``
    is above 0.001. [surface]"""
    detected: np.ndarray
    """Whether the fitted echo exceeds the noise threshold. [surface]"""
    converged: np.ndarray
    """Whether the maximisation of the likelihood converged. [surface]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


@dataclass(frozen=True)
class Position:
    """Position of a target, estimated from its directions at the surfaces."""

    position: np.ndarray
    """Position. [xyz] [m]"""
    covariance: np.ndarray
    """Covariance, propagated from the covariances of the directions. [m²]"""
    converged: bool
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only approximately, one sentence each."""


def _noise_key(scenario: AnyScenario, key: PRNGKeyArray | None) -> PRNGKeyArray:
    return purpose_key(scenario.link.seed if key is None else key, "noise")


@partial(jax.jit, static_argnums=1)
def _pilots(
    scene: LocalizationScene, antennas: int, frequency: Array, clock: Array, key: PRNGKeyArray
) -> Array:
    return simulated(scene, antennas, frequency, clock=clock, key=key)


@public(LocalizationScenario)
def simulate_pilots(
    scenario: LocalizationScenario,
    active_antennas: int | None = None,
    *,
    bins: int = 16,
    clock: float = 0.0,
    key: PRNGKeyArray | None = None,
) -> Pilots:
    """Simulate noisy pilots for all beam pairs, surface configurations and frequencies.

    Args:
        scenario: A localization scenario.
        active_antennas: :math:`N_B`; default as many as fit into the period.
        bins: Number of frequencies that sample the flat band; delays are ambiguous modulo
            bins/bandwidth.
        clock: Offset of the user's clock, as a distance. [m]
        key: Random key of the noise; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` or ``bins`` is out of range, or the scenario has several
            paths or spherical waves.
    """
    if not is_whole(bins) or bins < 2:
        raise ValueError(f"bins is {described(bins)}; it must be a whole number, 2 or more.")
    require_single_path(scenario, "simulate_pilots")
    scene, antennas = build(scenario), int(chosen_antennas(scenario, active_antennas))
    frequency = band_bins(scene.link.bandwidth, bins)
    samples = _pilots(scene, antennas, frequency, jnp.asarray(clock), _noise_key(scenario, key))
    return Pilots(np.asarray(samples), np.asarray(frequency))


def as_received(scene: LocalizationScene) -> LocalizationScene:
    """Return the scene without knowledge of the user's pose and, if unknown, of the gain.

    The user is one metre in front of the surface, and an unknown gain is one.

    Args:
        scene: The true scene.
    """
    ahead = scene.surface.position + scene.surface.array.normal
    place = jnp.append(ahead[:2], scene.user.position[2])
    known = scene.with_user(place, jnp.zeros(()))
    if scene.link.gain_known:
        return known
    return eqx.tree_at(lambda s: s.surface.gain, known, jnp.ones((), dtype=complex))


@public(LocalizationScenario)
def estimate_pose(
    scenario: LocalizationScenario,
    pilots: Pilots | ArrayLike,
    *,
    max_range: float | None = None,
    believed_heading: float | None = None,
) -> Pose:
    """Estimate position and heading of a user from its pilots by maximum likelihood.

    The user's position and heading in the scenario are not used, and neither is the gain if it is
    unknown. One exception is that the surface is steered to the user's position unless the scenario
    has a ``surface.focus``.

    Args:
        scenario: A localization scenario.
        pilots: Pilots, e.g. from `simulate_pilots`, or their samples alone for the frequencies of
            `simulate_pilots`: [config, tx beam, rx beam, bin]. [√J]
        max_range: Largest distance of the user from the surface; default is the largest one at
            which the bins resolve the delay without ambiguity. [m]
        believed_heading: Expected heading: of the two equally likely headings, the one closer to
            this value is returned as ``heading``. Default the one for which the wave travels to the
            left of the array's axis. [rad]

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: The pilots do not have the shape that the scenario requires or contain numbers
            that are not finite, or ``max_range`` exceeds the unambiguous distance.
    """
    require_single_path(scenario, "estimate_pose")
    scene = as_received(build(scenario))
    if not isinstance(pilots, Pilots):
        given = np.asarray(pilots)
        bins = given.shape[-1] if given.ndim else 0
        pilots = Pilots(given, np.asarray(band_bins(scene.link.bandwidth, bins)))
    samples, frequency = np.asarray(pilots.samples), np.asarray(pilots.frequency)
    configurations = scene.surface.alignment.count
    shape = samples.shape
    sound = (
        samples.ndim == 4
        and shape[0] == configurations
        and 1 <= shape[1] <= scenario.base_station.antennas
        and shape[2:] == (scenario.user.antennas, frequency.size)
    )
    if not sound:
        raise ValueError(
            f"pilots.samples has the shape {shape}; {scenario.name} needs ({configurations} "
            f"configurations, 1 to {scenario.base_station.antennas} active antennas, "
            f"{scenario.user.antennas}, {frequency.size}), the last two being user.antennas and "
            "the length of pilots.frequency."
        )
    if not (np.isfinite(samples).all() and np.isfinite(frequency).all()):
        raise ValueError("pilots contains numbers that are not finite.")
    at = jnp.asarray(frequency)
    heading = None if believed_heading is None else jnp.asarray(float(believed_heading))
    grid = place_grid(scene, frequency.size, max_range)
    found = locate(scene, match_pilots(scene, jnp.asarray(samples), at), at, grid, heading)
    return Pose(
        position=np.asarray(found.position),
        heading=float(found.heading),
        mirror_heading=float(found.mirror_heading),
        gain=complex(found.gain),
        clock=float(found.clock),
        covariance=np.asarray(found.covariance),
        snr=float(found.snr),
        reduced_chi2=float(found.reduced_chi2),
        fits=bool(found.fits),
        detected=bool(found.detected),
        unique=bool(found.unique),
        log_likelihood_margin=float(found.log_likelihood_margin),
        converged=bool(found.converged),
    )


@public(SensingScenario)
def simulate_echoes(
    scenario: SensingScenario,
    covariance: ArrayLike | Sequence[ArrayLike],
    reflection: ArrayLike | Sequence[ArrayLike],
    *,
    neglect_reradiated: bool = False,
    key: PRNGKeyArray | None = None,
) -> Echoes:
    """Simulate noisy echoes through each surface.

    The share of ``dwell.symbols`` of each surface and pattern is rounded down to whole snapshots.

    Args:
        scenario: A sensing scenario.
        covariance: Transmit covariances as for `direction_bounds`. [W]
        reflection: Coefficients as for `direction_bounds`. [1]
        neglect_reradiated: Neglect the surfaces' noise that is reflected by the target, as in the
            bounds.
        key: Random key of the noise; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: As for `direction_bounds`.
    """
    settings = checked_reflections(scenario, reflection)
    sent = checked_covariances(scenario, covariance, settings)
    scene, root = scenario.build(), _noise_key(scenario, key)
    samples, transmitted = [], []
    for i, (psi, covar) in enumerate(zip(settings, sent, strict=True)):
        snapshots = max(1, scenario.dwell.symbols // (scene.n_surfaces * len(psi)))
        signal = jax.vmap(partial(transmitted_signal, snapshots=snapshots))(covar)
        own = jax.random.fold_in(root, i)
        samples.append(_echoes(scene, i, psi, signal, neglect_reradiated, own))
        transmitted.append(np.asarray(signal))
    return Echoes(tuple(samples), tuple(transmitted))


def _echoes(
    scene: SensingScene,
    index: int,
    reflection: Array,
    signal: Array,
    neglect_reradiated: bool,
    key: PRNGKeyArray,
) -> np.ndarray:
    def pattern(psi: Array, sent: Array, own: PRNGKeyArray) -> Array:
        return simulate_echo(
            scene.link(index),
            psi,
            scene.angles()[index],
            scene.target_gain[index],
            sent,
            neglect_reradiated=neglect_reradiated,
            key=own,
        )

    keys = jax.random.split(key, len(reflection))
    return np.asarray(jax.vmap(pattern)(reflection, signal, keys))


@public(SensingScenario)
def estimate_direction(
    scenario: SensingScenario, echoes: Echoes, reflection: ArrayLike | Sequence[ArrayLike]
) -> Directions:
    """Estimate the direction of the target at each surface by maximum likelihood.

    Args:
        scenario: A sensing scenario; its target's position is not used.
        echoes: Echoes, e.g. from `simulate_echoes`.
        reflection: Coefficients of the surfaces as for `direction_bounds`. [1]

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: An array has the wrong shape.
    """
    settings = checked_reflections(scenario, reflection)
    scene, found = scenario.build(), []
    counts = (len(echoes.samples), len(echoes.transmitted))
    if counts != (len(settings),) * 2:
        raise ValueError(
            f"echoes have {counts[0]} surfaces received and {counts[1]} sent; {scenario.name} has "
            f"{len(settings)}."
        )
    for i, psi in enumerate(settings):
        samples, sent = np.asarray(echoes.samples[i]), np.asarray(echoes.transmitted[i])
        wanted = (len(psi), scenario.base_station.antennas)
        if samples.shape != sent.shape or samples.shape[:2] != wanted:
            raise ValueError(
                f"echoes of surface {i} have the shapes {samples.shape} received and {sent.shape} "
                f"sent; {scenario.name} needs {wanted} and the snapshots for both: patterns, "
                "base_station.antennas."
            )
        link = scene.link(i)
        grid = cosine_grid(link.array)
        found.append(likeliest_direction(link, psi, jnp.asarray(sent), jnp.asarray(samples), grid))

    def column(name: str) -> np.ndarray:
        return np.stack([np.asarray(getattr(each, name)) for each in found])

    return Directions(
        angles=column("angles"),
        covariance=column("covariance"),
        target_gain=column("target_gain"),
        snr=column("snr"),
        reduced_chi2=column("reduced_chi2"),
        second_echo_p_value=column("second_echo_p_value"),
        fits=column("fits"),
        detected=column("detected"),
        converged=column("converged"),
    )


@public(SensingScenario)
def triangulate(
    scenario: SensingScenario,
    angles: ArrayLike,
    covariance: ArrayLike,
    method: str = "least_squares",
) -> Position:
    """Estimate a target's position from its directions at two or more surfaces.

    Args:
        scenario: A sensing scenario.
        angles: Elevation and azimuth at each surface. [surface, 2] [rad]
        covariance: Covariance of both angles. [surface, 2, 2] [rad²]
        method: "least_squares" for iterated weighted least squares, "stansfield" for the linear
            method.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: The method is unknown, an array has the wrong shape or is not a covariance, or
            the lines of sight do not intersect in front of the surfaces.
    """
    methods: dict[str, Any] = {"least_squares": iterated_least_squares, "stansfield": stansfield}
    if method not in methods:
        raise ValueError(f"method is {method!r}; it may be {' or '.join(map(repr, methods))}.")
    count = len(scenario.surfaces)
    if count < 2:
        raise ValueError(f"{scenario.name} has 1 surface; a position needs 2 or more.")
    seen, spread = np.asarray(angles, dtype=float), np.asarray(covariance, dtype=float)
    for name, array, shape in (
        ("angles", seen, (count, 2)),
        ("covariance", spread, (count, 2, 2)),
    ):
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(
                f"{name} has the shape {array.shape}; {scenario.name} needs {shape}, all finite."
            )
    if not np.allclose(spread, np.swapaxes(spread, 1, 2), rtol=1e-6, atol=0.0):
        raise ValueError("covariance is not symmetric.")
    if np.linalg.eigvalsh(spread).min() <= 0:
        raise ValueError("covariance has an eigenvalue that is not positive.")
    scene = scenario.build()
    sine = float(largest_sine(scene, jnp.asarray(seen)))
    if sine < PARALLEL:
        raise ValueError(
            f"The lines of sight differ by {np.degrees(np.arcsin(sine)):.2g} degrees at most: the "
            "target is on the line through the surfaces, or very far away; use a surface that "
            "sees it from the side."
        )
    found = eqx.filter_jit(methods[method])(scene, jnp.asarray(seen), jnp.asarray(spread))
    if bool(found.behind.any()):
        which = ", ".join(str(i) for i in np.flatnonzero(np.asarray(found.behind)))
        raise ValueError(
            f"The lines of sight diverge: they are nearest to each other behind surface {which}; "
            "at least one direction is wrong."
        )
    return Position(np.asarray(found.position), np.asarray(found.covariance), bool(found.converged))
