r"""Tracking of a user over many periods with simulated estimates: Fig. 3, Steps 1 to 5.

In every period

1. the surface sweeps around the expected position of the user, and the base station sends pilots
   with the number of antennas chosen in the previous period;
2. the user estimates its pose from the noisy pilots;
3. the surface is focused on the estimate, and data are received with the beam in which the pilots
   were strongest;
4. the time of the next period is allocated for the estimated pose;
5. the user moves.

Only the fixed parts of the scene are known to the receiver. The user is lost in a period if the
pilots are not detected or do not fit the model, if the estimate is far from the expected position
and another one is nearly as likely, or if the SNR of the data differs from its prediction. Then all
antennas send pilots, and

- if the pilots were detected, the next sweep is steered at their estimate, once;
- otherwise the sweeps scan all directions in turn, starting next to the last known position.

Lost periods are counted, and no data are sent in them.
"""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from heliostat.bounds.paths import scene_pose_information
from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.estimation.matched_pilots import simulate_matched
from heliostat.estimation.path_pose import locate_over_paths
from heliostat.estimation.path_search import SearchGrid
from heliostat.estimation.place_search import PlaceGrid
from heliostat.estimation.pose import PoseEstimate, locate, pose_covariance
from heliostat.geometry.frames import Scalar, Vector, travel, user_axis
from heliostat.observation.paths import simulate_at_antennas
from heliostat.observation.pilots import channel_params, pilot_factors, unknowns_at
from heliostat.protocol.data_link import data_link
from heliostat.protocol.errors import ErrorLevels, draw_errors
from heliostat.protocol.next_period import (
    TradeOffObjective,
    estimated_scene,
    next_antennas,
    search_antennas,
)
from heliostat.protocol.user_search import TrackState, near_expected, with_sweep
from heliostat.rates.effective import rate_left, time_ratio
from heliostat.scene.localization import LocalizationScene
from heliostat.stored_programs import stored_jit

CONFIRMED = 2.0
"""Largest ratio between the SNR of the data and its prediction, in either direction, that confirms
an estimate. With a wrong estimate the surface is not focused on the user."""


class PeriodRecord(eqx.Module):
    """Outcome of one period."""

    position: Vector  # true [m]
    heading: Scalar  # true [rad]
    estimate: PoseEstimate
    found: Bool[Array, ""]
    """Whether the pilots are detected and fit the model, the estimate has converged and is unique
    or near the expected pose, and the SNR of the data confirms it; with assumed errors, always."""
    peb: Scalar  # with this period's antennas and sweep [m]
    reb: Scalar  # [rad]
    bound: Float[Array, "pose pose"]  # covariance bound of x, y and heading [m², m rad, rad²]
    snr: Scalar  # energy of the fitted pilots over the noise density [1]
    eadr: Scalar  # rate of the period; 0 if the user was lost [bit/s]
    active_antennas: Int[Array, ""]
    time_ratio: Scalar  # [1]
    path_snr: Float[Array, "path"]  # of the data over each path alone; 0 if the user was lost [1]
    visible: Bool[Array, "path"]  # whether the path reaches the user


Grid: TypeAlias = PlaceGrid | tuple[SearchGrid, ...]
"""Search grid of the estimator: for a single path, or for several."""


def max_range(grid: Grid) -> Scalar:
    """Distance from every surface up to which the estimator searches. [m]

    Args:
        grid: The search grid.
    """
    grids = (grid,) if isinstance(grid, PlaceGrid) else tuple(each.polar for each in grid)
    return jnp.min(jnp.stack([each.distance[-1] for each in grids]))


def initial_state(position: Vector, heading: Scalar, active_antennas: int) -> TrackState:
    """State before the first period.

    Args:
        position: Expected position of the user. [m]
        heading: Expected heading. [rad]
        active_antennas: Number of active antennas in the first period.
    """
    none, antennas = jnp.zeros((), int), jnp.array(active_antennas, int)
    return TrackState(position, heading, antennas, none, position, jnp.zeros((), bool), none)


def pilot_snr(scene: LocalizationScene, active_antennas: Scalar) -> Scalar:
    """Energy of the pilots' mean over the noise density; estimated by an estimate's ``snr``. [1]

    Args:
        scene: The true scene with its alignment stage.
        active_antennas: :math:`N_B`.
    """
    channel = channel_params(scene, unknowns_at(scene))
    factors = pilot_factors(scene, channel, 1, jnp.zeros(1))
    response = jnp.sum(jnp.abs(factors.response) ** 2)
    beams = active_antennas * float(scene.user.antennas)
    return beams * jnp.abs(factors.amplitude) ** 2 * response / scene.link.noise_density


def assumed_estimate(
    scene: LocalizationScene, active_antennas: Scalar, levels: ErrorLevels, key: PRNGKeyArray
) -> PoseEstimate:
    """Return the true pose with random errors, which the localization paper uses as estimates.

    Args:
        scene: The true scene.
        active_antennas: :math:`N_B`.
        levels: Sizes of the errors; its mobility is not used.
        key: Key of the errors.
    """
    errors = draw_errors(levels, key)
    user = scene.user
    position = user.position + jnp.append(errors.position, 0.0)
    direction, distance = travel(scene.surface.position, user.position)
    gain = scene.surface.gain + errors.gain / scene.path_amplitude(distance)
    return PoseEstimate(
        position,
        user.heading + errors.heading,
        user.heading + errors.heading,
        jnp.dot(direction, user_axis(user.heading)),
        jnp.reshape(gain, 1),
        jnp.zeros(()),
        pose_covariance(pose_information(scene, active_antennas)),
        pilot_snr(scene, active_antennas),
        jnp.ones(()),
        jnp.zeros(()),
        jnp.asarray(jnp.inf),
        jnp.asarray(True),
        jnp.asarray(True),
        jnp.asarray(True),
    )


@stored_jit
def run_period(
    scene: LocalizationScene,
    visible: Float[Array, "path"],
    state: TrackState,
    frequency: Float[Array, "bin"],
    grid: Grid,
    objective: TradeOffObjective,
    assumed: ErrorLevels | None,
    key: PRNGKeyArray,
) -> tuple[PeriodRecord, TrackState]:
    """One period: align and localize, transmit data, allocate the next period.

    Args:
        scene: The true scene without obstacles; the receiver uses its fixed parts only.
        visible: 1 for paths that reach the user, 0 for blocked ones. [1]
        state: State after the previous period.
        frequency: Frequencies of the pilots' bins. [Hz]
        grid: Search grid of the estimator.
        objective: Objective of the time allocation.
        assumed: Sizes of random errors that replace the estimate, as in the papers; None to
            estimate.
        key: Key of this period's noise and errors.
    """
    swept = with_sweep(scene, state, max_range(grid))
    scene = swept.with_gains(swept.gains() * visible)
    antennas = state.active_antennas.astype(float)
    noise_key, error_key = jax.random.split(key)
    # The receiver does not know which paths are blocked. Where the gains are unknown, its scene
    # must not contain them.
    known = swept.with_user(state.position, state.heading)
    if not scene.link.gain_known:
        known = known.with_gains(jnp.ones_like(known.gains()))
    if isinstance(grid, PlaceGrid):
        pilots = simulate_matched(scene, antennas, frequency, key=noise_key)
        strongest = jnp.argmax(jnp.sum(jnp.abs(pilots.samples) ** 2, axis=(0, 2)))
        if assumed is None:
            estimate = locate(known, pilots, frequency, grid, state.heading)
        else:
            estimate = assumed_estimate(scene, antennas, assumed, error_key)
    else:
        samples = simulate_at_antennas(scene, antennas, frequency, key=noise_key)
        estimate = locate_over_paths(known, samples, antennas, frequency, grid, state.heading)
        strongest = jnp.asarray(0)
    detected = estimate.detected & estimate.converged

    link = data_link(
        scene.focused(data=estimate.position), estimated_scene(known, estimate), antennas, strongest
    )
    found = detected
    if assumed is None:
        confirmed = link.snr < CONFIRMED * link.predicted
        confirmed &= link.snr * CONFIRMED > link.predicted
        clear = estimate.unique | near_expected(scene, state, estimate)
        determined = jnp.all(jnp.isfinite(estimate.covariance))  # the pilots determine the pose
        found = detected & estimate.fits & clear & confirmed & determined
    ratio = time_ratio(scene, antennas)
    rate = jnp.where(found, rate_left(scene, ratio, link.snr), 0.0)
    pose = scene_pose_information(scene, antennas)
    record = PeriodRecord(
        scene.user.position,
        scene.user.heading,
        estimate,
        found,
        *error_bounds(pose),
        pose_covariance(pose),
        estimate.snr,
        rate,
        state.active_antennas,
        ratio,
        jnp.where(found, link.path_snr, 0.0),
        visible > 0,
    )
    searching = (state.lost > 0) & ~state.has_candidate
    after = TrackState(
        jnp.where(found, estimate.position, state.position),
        jnp.where(found, estimate.heading, state.heading),
        jnp.where(found, next_antennas(known, estimate, objective), search_antennas(known)),
        jnp.where(found, 0, state.lost + 1),
        estimate.position,
        # A candidate is tried once; if the user is not found there, the search continues.
        ~found & detected & ~state.has_candidate,
        jnp.where(found, 0, state.searched + searching),
    )
    return record, after


def run_periods(
    scene: LocalizationScene,
    start: TrackState,
    positions: Float[np.ndarray, "period xyz"],
    headings: Float[np.ndarray, "period"],
    visible: Float[np.ndarray, "period path"],
    frequency: Float[Array, "bin"],
    grid: Grid,
    objective: TradeOffObjective,
    key: PRNGKeyArray,
    assumed: ErrorLevels | None = None,
) -> PeriodRecord:
    """Simulate consecutive periods, each of which starts from the estimate of the previous one.

    The leaves of the result have a leading axis over the periods.

    Args:
        scene: The scene; its user is replaced.
        start: State before the first period.
        positions: Position of the user in each period. [m]
        headings: Heading of the user in each period. [rad]
        visible: 1 for paths that reach the user in each period, 0 for blocked ones. [1]
        frequency: Frequencies of the pilots' bins. [Hz]
        grid: Search grid of the estimator.
        objective: Objective of the time allocation.
        key: Key of all noise and errors.
        assumed: See `run_period`.
    """
    state, records = start, []
    for i, (position, heading, paths) in enumerate(zip(positions, headings, visible, strict=True)):
        here = scene.with_user(jnp.asarray(position), jnp.asarray(heading))
        own = jax.random.fold_in(key, i)
        # As NumPy arrays: JAX compiles the program again for its own results as arguments.
        record, state = jax.device_get(
            run_period(here, jnp.asarray(paths), state, frequency, grid, objective, assumed, own)
        )
        records.append(record)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *records)
