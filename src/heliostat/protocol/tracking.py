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

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.design.time_allocation import DEFAULT_WEIGHT, balanced_share
from heliostat.estimation.matched_pilots import simulate_matched
from heliostat.estimation.place_search import PlaceGrid
from heliostat.estimation.pose import PoseEstimate, locate, pose_covariance
from heliostat.geometry.arrays import linear_steering
from heliostat.geometry.codebooks import best_beam_gain, dft_codebook
from heliostat.geometry.frames import Scalar, Vector, travel, user_axis
from heliostat.observation.pilots import channel_params, pilot_factors, unknowns_at
from heliostat.protocol.errors import ErrorLevels, draw_errors, in_disc
from heliostat.protocol.period import largest_ratio, next_share
from heliostat.protocol.user_search import TrackState, near_expected, with_sweep
from heliostat.rates.effective import (
    available_ratio,
    rate_left,
    single_antenna_snr,
    snr_slope,
    time_ratio,
)
from heliostat.scene.localization import LocalizationScene

CONFIRMED = 2.0
"""Largest ratio between the SNR of the data and its prediction, in either direction, that confirms
an estimate. With a wrong estimate the surface is not focused on the user."""


class TradeOffObjective(eqx.Module):
    r"""Objective of the time allocation: the paper's weight, or a unit-free balance.

    Args:
        weight: Weight of the rate against PEB + REB, :math:`\xi`. [(m + rad) s/bit]
        balance: Unit-free alternative to the weight, in [0, 1). [1]

    If neither is given the weight is `DEFAULT_WEIGHT`.

    Raises:
        ValueError: Both are given.
    """

    weight: Scalar | None
    balance: Scalar | None

    def __init__(
        self, weight: float | Scalar | None = None, balance: float | Scalar | None = None
    ) -> None:
        if weight is not None and balance is not None:
            raise ValueError("weight and balance are both given; leave one out.")
        if balance is None:
            weight = DEFAULT_WEIGHT if weight is None else weight
        self.weight = None if weight is None else jnp.asarray(weight, dtype=float)
        self.balance = None if balance is None else jnp.asarray(balance, dtype=float)

    def numbers(self) -> tuple[float | None, float | None]:
        """Weight and balance, one of them None, as arguments of the public functions."""
        weight, balance = (None if at is None else float(at) for at in (self.weight, self.balance))
        return weight, balance


class PeriodRecord(eqx.Module):
    """Outcome of one period."""

    position: Vector  # true [m]
    heading: Scalar  # true [rad]
    estimate: PoseEstimate
    detected: Bool[Array, ""]  # converged, unambiguous, and confirmed by the SNR of the data
    peb: Scalar  # with this period's antennas and sweep [m]
    reb: Scalar  # [rad]
    bound: Float[Array, "pose pose"]  # covariance bound of x, y and heading [m², m rad, rad²]
    snr: Scalar  # energy of the fitted pilots over the noise density [1]
    eadr: Scalar  # rate of the period; 0 if the user was lost [bit/s]
    active_antennas: Int[Array, ""]
    time_ratio: Scalar  # [1]


def initial_state(position: Vector, heading: Scalar, active_antennas: int) -> TrackState:
    """State before the first period.

    Args:
        position: Expected position of the user. [m]
        heading: Expected heading. [rad]
        active_antennas: Number of active antennas in the first period.
    """
    none = jnp.asarray(0)
    return TrackState(
        position, heading, jnp.asarray(active_antennas), none, position, jnp.asarray(False), none
    )


def data_snr(
    scene: LocalizationScene, active_antennas: Scalar, receive_beam: Int[Array, ""]
) -> Scalar:
    """SNR of the data with a given receive beam. [1]

    `rates.effective.codebook_snr` takes the best receive beam for the true pose instead.

    Args:
        scene: The true scene with the surface configured for data.
        active_antennas: :math:`N_B`.
        receive_beam: Index of the receive beam.
    """
    user = scene.user
    direction, _ = travel(scene.surface.position, user.position)
    arrival = jnp.dot(direction, user_axis(user.heading))
    beam = dft_codebook(user.antennas)[:, receive_beam]
    receive = jnp.abs(jnp.vdot(beam, linear_steering(user.antennas, user.spacing, arrival))) ** 2
    step = 2 * jnp.pi * scene.base_station.array.spacing * scene.bs_departure()
    return single_antenna_snr(scene) * best_beam_gain(active_antennas, step) * receive


def estimated_scene(scene: LocalizationScene, estimate: PoseEstimate) -> LocalizationScene:
    """The scene with the estimated pose and gain, the surface focused on the estimate for data.

    Args:
        scene: The scene; its user and gain are replaced.
        estimate: Estimate of this period.
    """
    at = scene.with_user(estimate.position, estimate.heading).focused(data=estimate.position)
    return eqx.tree_at(lambda s: s.surface.gain, at, estimate.gain)


def next_antennas(
    scene: LocalizationScene, estimate: PoseEstimate, objective: TradeOffObjective
) -> Int[Array, ""]:
    """Number of active antennas of the next period, optimal for the estimated scene.

    Args:
        scene: The scene with this period's sweep; its user and gain are replaced.
        estimate: Estimate of this period.
        objective: Objective of the time allocation.
    """
    at = estimated_scene(scene, estimate).focused(alignment=estimate.position)
    if objective.weight is not None:
        share = next_share(at, objective.weight)
    else:
        assert objective.balance is not None
        most = largest_ratio(at)
        share = balanced_share(snr_slope(at), available_ratio(at), objective.balance, most)
    count = jnp.round(share.ratio / time_ratio(at, 1))
    return jnp.clip(count, 1, _most_antennas(at)).astype(int)


def _most_antennas(scene: LocalizationScene) -> Scalar:
    """Largest number of antennas, limited by the array and by the duration of the period."""
    most = jnp.floor(available_ratio(scene) / time_ratio(scene, 1) * (1 + 1e-12))
    return jnp.minimum(most, float(scene.base_station.array.elements))


def search_antennas(scene: LocalizationScene) -> Int[Array, ""]:
    """Number of active antennas while the user is lost.

    As many as there are, less the time for the data that confirm an estimate.

    Args:
        scene: The scene; its user is not used.
    """
    left = available_ratio(scene) / time_ratio(scene, 1) - 1
    return jnp.clip(jnp.floor(left), 1, _most_antennas(scene)).astype(int)


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
        gain,
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


def run_period(
    scene: LocalizationScene,
    state: TrackState,
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
    objective: TradeOffObjective,
    assumed: ErrorLevels | None,
    key: PRNGKeyArray,
) -> tuple[PeriodRecord, TrackState]:
    """One period: align and localize, transmit data, allocate the next period.

    Args:
        scene: The true scene; the receiver uses its fixed parts only.
        state: State after the previous period.
        frequency: Frequencies of the pilots' bins. [Hz]
        grid: Search grid of the estimator.
        objective: Objective of the time allocation.
        assumed: Sizes of random errors that replace the estimate, as in the papers; None to
            estimate.
        key: Key of this period's noise and errors.
    """
    scene = with_sweep(scene, state, grid.distance[-1])
    antennas = state.active_antennas.astype(float)
    noise_key, error_key = jax.random.split(key)
    pilots = simulate_matched(scene, antennas, frequency, key=noise_key)
    # Where the gain is unknown, the receiver's scene must not contain it.
    known = scene.with_user(state.position, state.heading)
    if not scene.link.gain_known:
        known = eqx.tree_at(lambda s: s.surface.gain, known, jnp.ones((), dtype=complex))
    if assumed is None:
        estimate = locate(known, pilots, frequency, grid, state.heading)
    else:
        estimate = assumed_estimate(scene, antennas, assumed, error_key)
    detected = estimate.detected & estimate.converged

    strongest = jnp.argmax(jnp.sum(jnp.abs(pilots.samples) ** 2, axis=(0, 2)))
    snr = data_snr(scene.focused(data=estimate.position), antennas, strongest)
    found = detected
    if assumed is None:
        predicted = data_snr(estimated_scene(known, estimate), antennas, strongest)
        confirmed = (snr < CONFIRMED * predicted) & (snr * CONFIRMED > predicted)
        clear = estimate.unique | near_expected(scene, state, estimate)
        found = detected & estimate.fits & clear & confirmed
    ratio = time_ratio(scene, antennas)
    rate = jnp.where(found, rate_left(scene, ratio, snr), 0.0)
    pose = pose_information(scene, antennas)
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


def random_walk(
    scene: LocalizationScene, mobility: Scalar, periods: int, max_range: Scalar, key: PRNGKeyArray
) -> Float[Array, "period xyz"]:
    """Positions of a user that moves within a disc from period to period, paper eq. (1). [m]

    A step that would lead behind the surface or beyond the largest distance is reversed; if the
    reversed step does too, the user stays.

    Args:
        scene: The scene with the user at its first position.
        mobility: Radius of the disc. [m]
        periods: Number of periods.
        max_range: Largest distance from the surface. [m]
        key: Key of all steps.
    """
    surface = scene.surface

    def reachable(position: Vector) -> Bool[Array, ""]:
        offset = position - surface.position
        ahead = jnp.dot(offset, surface.array.normal) > 0.05 * jnp.linalg.norm(offset)
        return ahead & (jnp.linalg.norm(offset) < max_range)

    def move(position: Vector, key: PRNGKeyArray) -> tuple[Vector, Vector]:
        step = jnp.append(in_disc(key, mobility), 0.0)
        back = jnp.where(reachable(position - step), position - step, position)
        moved = jnp.where(reachable(position + step), position + step, back)
        return moved, position

    return jax.lax.scan(move, scene.user.position, jax.random.split(key, periods))[1]


class _Place(NamedTuple):
    position: Vector
    heading: Scalar
    key: PRNGKeyArray


@eqx.filter_jit
def run_periods(
    scene: LocalizationScene,
    start: TrackState,
    positions: Float[Array, "period xyz"],
    headings: Float[Array, "period"],
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
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
        frequency: Frequencies of the pilots' bins. [Hz]
        grid: Search grid of the estimator.
        objective: Objective of the time allocation.
        key: Key of all noise and errors.
        assumed: See `run_period`.
    """

    def period(state: TrackState, now: _Place) -> tuple[TrackState, PeriodRecord]:
        here = scene.with_user(now.position, now.heading)
        record, after = run_period(here, state, frequency, grid, objective, assumed, now.key)
        return after, record

    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(positions)))
    _, records = jax.lax.scan(period, start, _Place(positions, headings, keys))
    return records
