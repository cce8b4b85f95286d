"""Public functions that simulate pilots and estimate the pose of a user from them."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat.api.arguments import checked_count, noise_key, public
from heliostat.api.localization import build, chosen_antennas
from heliostat.estimation.matched_pilots import match_pilots
from heliostat.estimation.path_pose import locate_over_paths
from heliostat.estimation.path_search import search_grids
from heliostat.estimation.place_search import place_grid
from heliostat.estimation.pose import locate
from heliostat.observation.paths import at_antennas, simulate_path_pilots
from heliostat.observation.pilots import band_bins
from heliostat.observation.pilots import simulate_pilots as of_one_path
from heliostat.scenario import LocalizationScenario
from heliostat.scene.localization import LocalizationScene

MOST_BINS = 65536
"""Largest number of frequencies."""


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
    """Equally likely heading, due to the left-right ambiguity of a linear array; equal to
    ``heading`` if several paths distinguish the two. [rad]"""
    gains: dict[str, complex]
    """Complex gain of each path; the known values if the gains are known, 0 for a path that is not
    received then. [1]"""
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

    @property
    def gain(self) -> complex:
        """Complex gain of the first path. [1]"""
        return next(iter(self.gains.values()))


@partial(jax.jit, static_argnums=1)
def _pilots(
    scene: LocalizationScene, antennas: int, frequency: Array, clock: Array, key: PRNGKeyArray
) -> Array:
    simulate = of_one_path if scene.single_path else simulate_path_pilots
    return simulate(scene, antennas, frequency, clock=clock, key=key)


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
        ValueError: ``active_antennas`` or ``bins`` is out of range.
    """
    bins = checked_count("bins", bins, 2, MOST_BINS)
    scene, antennas = build(scenario), int(chosen_antennas(scenario, active_antennas))
    frequency = band_bins(scene.link.bandwidth, bins)
    samples = _pilots(scene, antennas, frequency, jnp.asarray(clock), noise_key(scenario, key))
    return Pilots(np.asarray(samples), np.asarray(frequency))


def as_received(scenario: LocalizationScenario) -> LocalizationScene:
    """Build the scene as known to the receiver: without the user's pose and unknown gains.

    The user is one meter in front of the first surface, unknown gains are one, and known gains are
    those without obstacles, as the receiver does not know which paths are blocked.
    """
    scene = build(scenario.without_obstacles())
    ahead = scene.surface.position + scene.surface.array.normal
    place = jnp.append(ahead[:2], scene.user.position[2])
    known = scene.with_user(place, jnp.zeros(()))
    if scene.link.gain_known:
        return known
    return known.with_gains(jnp.ones_like(known.gains()))


@public(LocalizationScenario)
def estimate_pose(
    scenario: LocalizationScenario,
    pilots: Pilots | ArrayLike,
    *,
    max_range: float | None = None,
    expected_heading: float | None = None,
) -> Pose:
    """Estimate position and heading of a user from its pilots by maximum likelihood.

    The user's position and heading in the scenario are not used, and neither is the gain if it is
    unknown. One exception is that the surface is steered to the user's position unless the scenario
    has a ``surface.focus``.

    Args:
        scenario: A localization scenario.
        pilots: Pilots, e.g. from `simulate_pilots`, or their samples alone for the frequencies of
            `simulate_pilots`: [config, tx beam, rx beam, bin]. [√J]
        max_range: Largest distance of the user from each surface, and from the base station if
            there is a direct path; default is the largest one at which the bins resolve the delay
            without ambiguity. [m]
        expected_heading: Expected heading: of two equally likely headings, the one closer to this
            value is returned as ``heading``. Default the one for which the wave travels to the left
            of the array's axis; with several paths the likelier one. [rad]

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: The pilots do not have the shape that the scenario requires or contain numbers
            that are not finite, or ``max_range`` exceeds the unambiguous distance.
    """
    scene = as_received(scenario)
    if not isinstance(pilots, Pilots):
        given = np.asarray(pilots)
        bins = given.shape[-1] if given.ndim else 0
        pilots = Pilots(given, np.asarray(band_bins(scene.link.bandwidth, bins)))
    samples, frequency = np.asarray(pilots.samples), np.asarray(pilots.frequency)
    configurations = scene.surface.alignment.count * scene.surface.code.size
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
    heading = None if expected_heading is None else jnp.asarray(float(expected_heading))
    received = jnp.asarray(samples)
    if scene.single_path:
        grid = place_grid(scene, frequency.size, max_range)
        found = locate(scene, match_pilots(scene, received), at, grid, heading)
    else:
        grids = search_grids(scene, frequency.size, max_range)
        received = at_antennas(received, scenario.base_station.antennas)
        found = locate_over_paths(scene, received, shape[1], at, grids, heading)
    gains = np.asarray(found.gains).tolist()
    names = [name.removeprefix("the ") for name in scenario.path_names]
    return Pose(
        position=np.asarray(found.position),
        heading=float(found.heading),
        mirror_heading=float(found.mirror_heading),
        gains=dict(zip(names, gains, strict=True)),
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
