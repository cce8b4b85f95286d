r"""The working process over many periods, run on what was really estimated: Fig. 3, Steps 1 to 5.

In every period

1. the surface sweeps around where the user is expected, and the base station sends pilots with as
   many antennas as the last period decided;
2. the user estimates its pose from what it receives, noise included;
3. the surface is focused on the estimate and data flow over the receive beam in which the pilots
   were strongest;
4. the next period's time is shared by what is believed;
5. the user moves on.

Nothing is told to the receiver but the scene's fixed parts. The track is lost where the pilots do
not stand out of the noise, do not fit the model, or point to an unexpected place when another beam
of the surface holds one nearly as likely; and where the data that follow have another SNR than the
estimate promised. Then all antennas send pilots, and

- if something was heard, the next sweep is steered there, once;
- else its beams look everywhere in turn, beginning next to where the user was last seen.

Lost periods are counted, not hidden, and carry no data.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.design.time_allocation import balanced_share
from heliostat.estimation.pose import (
    PlaceGrid,
    PoseEstimate,
    locate,
    pose_covariance,
    simulate_matched,
)
from heliostat.geometry.arrays import linear_steering
from heliostat.geometry.codebooks import best_beam_gain, dft_codebook
from heliostat.geometry.frames import Scalar, Vector, travel, user_axis
from heliostat.observation.pilots import channel_params, pilot_factors, unknowns_at
from heliostat.protocol.errors import ErrorLevels, draw_errors, in_disc
from heliostat.protocol.period import largest_ratio, next_share
from heliostat.rates.effective import (
    available_ratio,
    rate_left,
    single_antenna_snr,
    snr_slope,
    time_ratio,
)
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Steered

CONFIRMED = 2.0
"""The data's SNR must be what the estimate promises to within this factor, either way: in a wrong
place the surface is steered off the user."""


class TradeOffObjective(eqx.Module):
    """How the time is shared: by the paper's weight, or by a unit-free balance."""

    value: Scalar  # (m + rad) s/bit, or 1
    balanced: bool = eqx.field(static=True)


class TrackState(eqx.Module):
    """What one period hands to the next."""

    position: Vector  # where the user was last seen [m]
    heading: Scalar  # [rad]
    active_antennas: Int[Array, ""]
    lost: Int[Array, ""]  # periods since the last detection
    suspect: Vector  # where the pilots of a lost period came from, it seems [m]
    suspected: Bool[Array, ""]  # the next sweep looks there
    searched: Int[Array, ""]  # sweeps spent on a search since the last detection


class PeriodRecord(eqx.Module):
    """What happened in one period."""

    position: Vector  # true [m]
    heading: Scalar  # true [rad]
    estimate: PoseEstimate
    detected: Bool[Array, ""]  # converged, unambiguous, and confirmed by the data that flow
    peb: Scalar  # bound with this period's antennas and sweep [m]
    reb: Scalar  # [rad]
    bound: Float[Array, "pose pose"]  # on the covariance of x, y and heading [m², m rad, rad²]
    snr: Scalar  # energy of the fitted pilots over the noise density [1]
    eadr: Scalar  # what was really sent; 0 if the track was lost [bit/s]
    active_antennas: Int[Array, ""]
    time_ratio: Scalar  # [1]


def initial_state(position: Vector, heading: Scalar, active_antennas: int) -> TrackState:
    """What is known before the first period.

    Args:
        position: Where the user is expected. [m]
        heading: [rad]
        active_antennas: To begin with.
    """
    none = jnp.asarray(0)
    return TrackState(
        position, heading, jnp.asarray(active_antennas), none, position, jnp.asarray(False), none
    )


def search_beams(
    scene: LocalizationScene, state: TrackState, max_range: Scalar
) -> Float[Array, "config 2"]:
    """Direction cosines of the beams of the next sweep of a search. [1]

    A beamwidth apart they cover all directions in which a user of this height may be, those next
    to where it was last seen first, in widening rings; then all over again, half a beam aside.

    Args:
        scene: With a steered surface.
        state: Of the last period.
        max_range: Distance from the surface up to which the user may be. [m]
    """
    array, steered = scene.surface.array, scene.surface.alignment
    assert isinstance(steered, Steered)
    count = len(steered.offset)
    width = 1 / (array.spacing * jnp.array([array.columns, array.rows], dtype=float))
    here = scene.departure(state.position)
    across, up = jnp.meshgrid(
        jnp.arange(-2 * array.columns, 2 * array.columns) + 0.5,
        jnp.arange(-2 * array.rows, 2 * array.rows) + 0.5,
    )
    cell = jnp.stack([across.ravel(), up.ravel()], axis=1)  # the last place is a common corner
    beam = here[None, :] + width[None, :] * cell

    height = scene.user.position[2] - scene.surface.position[2]
    ahead = jnp.sqrt(jnp.maximum(1 - jnp.sum(beam**2, axis=1), 0.0))
    rise = beam[:, 0] * array.horizontal[2] + beam[:, 1] * array.vertical[2]
    rise = (rise + ahead * array.normal[2]) * jnp.sign(height)
    half = jnp.linalg.norm(width) / 2
    visible = jnp.linalg.norm(beam, axis=1) < 1 + half
    visible = visible & (rise > jnp.abs(height) / max_range - half)
    ring = jnp.ceil(jnp.max(jnp.abs(cell), axis=1))
    turn = (jnp.arctan2(cell[:, 1], cell[:, 0]) + jnp.pi) / 7  # below one
    order = jnp.argsort(jnp.where(visible, ring + turn, jnp.inf))
    number = state.searched * count + jnp.arange(count)
    lap, rank = jnp.divmod(number, jnp.maximum(jnp.sum(visible), 1))
    return beam[order[rank]] + (lap % 2)[:, None] * width[None, :] / 2


def with_sweep(scene: LocalizationScene, state: TrackState, max_range: Scalar) -> LocalizationScene:
    """The alignment stage steered at where the user is expected, or in search of it.

    Args:
        scene: With a steered surface.
        state: Of the last period.
        max_range: Distance from the surface up to which the user may be. [m]
    """
    steered = scene.surface.alignment
    assert isinstance(steered, Steered)
    expected = scene.departure(jnp.where(state.suspected, state.suspect, state.position))
    beams = search_beams(scene, state, max_range) - expected[None, :]
    searching = (state.lost > 0) & ~state.suspected
    focused = Steered(expected, jnp.where(searching, beams, steered.offset))
    return eqx.tree_at(lambda s: s.surface.alignment, scene, focused)


def _near_expected(
    scene: LocalizationScene, state: TrackState, estimate: PoseEstimate
) -> Bool[Array, ""]:
    """Whether a user that is not lost is found where the sweep looked, or a beamwidth beside."""
    steered, array = scene.surface.alignment, scene.surface.array
    assert isinstance(steered, Steered)
    width = 1 / (array.spacing * jnp.array([array.columns, array.rows], dtype=float))
    aside = jnp.abs(scene.departure(estimate.position) - steered.focus)
    near = aside <= jnp.max(jnp.abs(steered.offset), axis=0) + width
    return (state.lost == 0) & jnp.all(near)


def data_snr(
    scene: LocalizationScene, active_antennas: Scalar, strongest: Int[Array, ""]
) -> Scalar:
    """SNR of the data over the receive beam that was strongest. [1]

    As `rates.effective.codebook_snr`, whose receive beam is the best for the true pose instead.

    Args:
        scene: As it is, the surface as it is set for data.
        active_antennas: :math:`N_B`.
        strongest: The receive beam's number.
    """
    user = scene.user
    direction, _ = travel(scene.surface.position, user.position)
    arrival = jnp.dot(direction, user_axis(user.heading))
    beam = dft_codebook(user.antennas)[:, strongest]
    receive = jnp.abs(jnp.vdot(beam, linear_steering(user.antennas, user.spacing, arrival))) ** 2
    step = 2 * jnp.pi * scene.base_station.array.spacing * scene.bs_departure()
    return single_antenna_snr(scene) * best_beam_gain(active_antennas, step) * receive


def estimated_scene(scene: LocalizationScene, estimate: PoseEstimate) -> LocalizationScene:
    """The scene as the receiver believes it to be, the surface focused on the estimate for data.

    Args:
        scene: Its fixed parts.
        estimate: Of this period.
    """
    at = scene.with_user(estimate.position, estimate.heading).focused(data=estimate.position)
    return eqx.tree_at(lambda s: s.link.gain, at, estimate.gain)


def next_antennas(
    scene: LocalizationScene, estimate: PoseEstimate, objective: TradeOffObjective
) -> Int[Array, ""]:
    """How many antennas the next period's pilots get, by what is believed.

    Args:
        scene: Its fixed parts, the sweep as it was.
        estimate: Of this period.
        objective: What counts how much.
    """
    at = estimated_scene(scene, estimate).focused(alignment=estimate.position)
    if objective.balanced:
        ratio = balanced_share(
            snr_slope(at), available_ratio(at), objective.value, largest_ratio(at)
        ).ratio
    else:
        ratio = next_share(at, objective.value).ratio
    count = jnp.round(ratio / time_ratio(at, 1))
    return jnp.clip(count, 1, _most_antennas(at)).astype(int)


def _most_antennas(scene: LocalizationScene) -> Scalar:
    """As many as there are, and as the period has time for."""
    most = jnp.floor(available_ratio(scene) / time_ratio(scene, 1) * (1 + 1e-12))
    return jnp.minimum(most, float(scene.base_station.array.elements))


def search_antennas(scene: LocalizationScene) -> Int[Array, ""]:
    """How many antennas a lost user's pilots get: all, but for time that proves it found.

    Args:
        scene: Its fixed parts.
    """
    left = available_ratio(scene) / time_ratio(scene, 1) - 1
    return jnp.clip(jnp.floor(left), 1, _most_antennas(scene)).astype(int)


def pilot_snr(scene: LocalizationScene, active_antennas: Scalar) -> Scalar:
    """Energy of the pilots' mean over the noise density: what an estimate's ``snr`` estimates. [1]

    Args:
        scene: As it is, the alignment stage included.
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
    """What the papers put in place of an estimate: the truth, and errors of given size.

    Args:
        scene: As it is.
        active_antennas: :math:`N_B`.
        levels: Of the errors; its mobility is not used.
        key: Of the errors.
    """
    errors = draw_errors(levels, key)
    user = scene.user
    position = user.position + jnp.append(errors.position, 0.0)
    direction, distance = travel(scene.surface.position, user.position)
    gain = scene.link.gain + errors.gain / scene.path_amplitude(distance)
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
    invented: ErrorLevels | None,
    key: PRNGKeyArray,
) -> tuple[PeriodRecord, TrackState]:
    """One period: align and localize, transmit, decide.

    Args:
        scene: As it is now; the receiver uses its fixed parts only.
        state: From the last period.
        frequency: Of the pilots' bins. [Hz]
        grid: Where the estimator looks.
        objective: How the next period's time is shared.
        invented: Errors of this size in place of an estimate, as in the papers; None to estimate.
        key: For this period's noise and errors.
    """
    scene = with_sweep(scene, state, grid.distance[-1])
    antennas = state.active_antennas.astype(float)
    noise_key, error_key = jax.random.split(key)
    pilots = simulate_matched(scene, antennas, frequency, key=noise_key)
    # The gain is the receiver's business where it is unknown: it sees a scene without it.
    known = scene.with_user(state.position, state.heading)
    if not scene.link.gain_known:
        known = eqx.tree_at(lambda s: s.link.gain, known, jnp.ones((), dtype=complex))
    if invented is None:
        estimate = locate(known, pilots, frequency, grid, state.heading)
    else:
        estimate = assumed_estimate(scene, antennas, invented, error_key)
    heard = estimate.detected & estimate.converged

    strongest = jnp.argmax(jnp.sum(jnp.abs(pilots.samples) ** 2, axis=(0, 2)))
    snr = data_snr(scene.focused(data=estimate.position), antennas, strongest)
    found = heard
    if invented is None:
        hoped = data_snr(estimated_scene(known, estimate), antennas, strongest)
        confirmed = (snr < CONFIRMED * hoped) & (snr * CONFIRMED > hoped)
        clear = estimate.unique | _near_expected(scene, state, estimate)
        found = heard & estimate.fits & clear & confirmed
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
    searching = (state.lost > 0) & ~state.suspected
    after = TrackState(
        jnp.where(found, estimate.position, state.position),
        jnp.where(found, estimate.heading, state.heading),
        jnp.where(found, next_antennas(known, estimate, objective), search_antennas(known)),
        jnp.where(found, 0, state.lost + 1),
        estimate.position,
        # Look closer at what was heard; if that was in vain, search on.
        ~found & heard & ~state.suspected,
        jnp.where(found, 0, state.searched + searching),
    )
    return record, after


def random_walk(
    scene: LocalizationScene, mobility: Scalar, periods: int, max_range: Scalar, key: PRNGKeyArray
) -> Float[Array, "period xyz"]:
    """A user that jumps anywhere within a disc from period to period, paper eq. (1). [m]

    A jump that would lead behind the surface, or out of reach, goes the opposite way; if that
    does too, the user stays.

    Args:
        scene: The surface, and the user as it starts.
        mobility: Radius of the disc. [m]
        periods: How many.
        max_range: Largest distance from the surface. [m]
        key: Of all jumps.
    """
    surface = scene.surface

    def reachable(position: Vector) -> Bool[Array, ""]:
        offset = position - surface.position
        ahead = jnp.dot(offset, surface.array.normal) > 0.05 * jnp.linalg.norm(offset)
        return ahead & (jnp.linalg.norm(offset) < max_range)

    def move(position: Vector, key: PRNGKeyArray) -> tuple[Vector, Vector]:
        jump = jnp.append(in_disc(key, mobility), 0.0)
        back = jnp.where(reachable(position - jump), position - jump, position)
        moved = jnp.where(reachable(position + jump), position + jump, back)
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
    invented: ErrorLevels | None = None,
) -> PeriodRecord:
    """Periods chained through what was estimated; one record a period.

    Args:
        scene: Its fixed parts.
        start: What is believed before the first period.
        positions: Where the user is in each. [m]
        headings: How it is turned. [rad]
        frequency: Of the pilots' bins. [Hz]
        grid: Where the estimator looks.
        objective: How time is shared.
        key: For all noise and errors.
        invented: See `run_period`.
    """

    def period(state: TrackState, now: _Place) -> tuple[TrackState, PeriodRecord]:
        here = scene.with_user(now.position, now.heading)
        record, after = run_period(here, state, frequency, grid, objective, invented, now.key)
        return after, record

    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(positions)))
    _, records = jax.lax.scan(period, start, _Place(positions, headings, keys))
    return records
