r"""The working process over many periods, run on what was really estimated: Fig. 3, Steps 1 to 5.

In every period

1. the surface sweeps around where the user is expected, and the base station sends pilots with as
   many antennas as the last period decided;
2. the user estimates its pose from what it receives, noise included;
3. the surface is focused on the estimate and data flow over the receive beam in which the pilots
   were strongest;
4. the next period's time is shared by what is believed;
5. the user moves on.

Nothing is told to the receiver but the scene's fixed parts. Where the pilots do not stand out of
the noise, or the data that follow fall far short of what the estimate promised, the track is lost:
the next sweep searches around where it was last seen, wider and wider, until it is found again.
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
from heliostat.scene import LocalizationScene
from heliostat.surface.passive import Steered

WIDEST = 4
"""Doublings of the search for a lost user, after which it starts anew."""


CONFIRMED = 0.5
"""Part of the rate hoped for below which an estimate is given up: the user is somewhere else."""


class Weighing(eqx.Module):
    """How the time is shared: by the paper's weight, or by a unit-free balance."""

    value: Scalar  # (m + rad) s/bit, or 1
    balanced: bool = eqx.field(static=True)


class Belief(eqx.Module):
    """What one period hands to the next."""

    position: Vector  # where the user is expected [m]
    heading: Scalar  # [rad]
    active_antennas: Int[Array, ""]
    lost: Int[Array, ""]  # periods since the last detection


class PeriodRecord(eqx.Module):
    """What happened in one period."""

    position: Vector  # true [m]
    heading: Scalar  # true [rad]
    estimate: PoseEstimate
    detected: Bool[Array, ""]  # and converged, and confirmed by the rate: data flow
    peb: Scalar  # bound with this period's antennas and sweep [m]
    reb: Scalar  # [rad]
    bound: Float[Array, "pose pose"]  # on the covariance of x, y and heading [m², m rad, rad²]
    snr: Scalar  # energy of the fitted pilots over the noise density [1]
    eadr: Scalar  # what was really sent; 0 if the track was lost [bit/s]
    active_antennas: Int[Array, ""]
    time_ratio: Scalar  # [1]


def believed(position: Vector, heading: Scalar, active_antennas: int) -> Belief:
    """What is known before the first period.

    Args:
        position: Where the user is expected. [m]
        heading: [rad]
        active_antennas: To begin with.
    """
    return Belief(position, heading, jnp.asarray(active_antennas), jnp.asarray(0))


def swept(scene: LocalizationScene, belief: Belief, key: PRNGKeyArray) -> LocalizationScene:
    """The alignment stage steered at where the user is expected, or around it if it is lost.

    The few beams of a sweep cannot cover a wide region. Those of a search are drawn at random from
    a region that doubles with every lost period, and starts anew after `WIDEST` of them.

    Args:
        scene: With a steered surface.
        belief: Of the last period.
        key: Of the search.
    """
    steered, array = scene.surface.alignment, scene.surface.array
    assert isinstance(steered, Steered)
    beamwidth = 1 / (2 * array.spacing * jnp.array([array.columns, array.rows], dtype=float))
    reach = jnp.maximum(jnp.max(jnp.abs(steered.offset), axis=0), beamwidth)
    reach = reach * 2.0 ** (1 + (belief.lost - 1) % WIDEST)
    drawn = jax.random.uniform(key, steered.offset.shape, minval=-1.0, maxval=1.0)
    offset = jnp.where(belief.lost > 0, drawn * reach[None, :], steered.offset)
    aimed = Steered(scene.departure(belief.position), offset)
    return eqx.tree_at(lambda s: s.surface.alignment, scene, aimed)


def data_rate(
    scene: LocalizationScene, active_antennas: Scalar, strongest: Int[Array, ""]
) -> Scalar:
    """Effective rate over the receive beam that was strongest. [bit/s]

    As `rates.effective.eadr`, whose receive beam is the best for the true pose instead.

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
    snr = single_antenna_snr(scene) * best_beam_gain(active_antennas, step) * receive
    return rate_left(scene, time_ratio(scene, active_antennas), snr)


def as_estimated(scene: LocalizationScene, estimate: PoseEstimate) -> LocalizationScene:
    """The scene as the receiver believes it to be, the surface focused on the estimate for data.

    Args:
        scene: Its fixed parts.
        estimate: Of this period.
    """
    at = scene.with_user(estimate.position, estimate.heading).focused(data=estimate.position)
    return eqx.tree_at(lambda s: s.link.gain, at, estimate.gain)


def next_antennas(
    scene: LocalizationScene, estimate: PoseEstimate, weighing: Weighing
) -> Int[Array, ""]:
    """How many antennas the next period's pilots get, by what is believed.

    Args:
        scene: Its fixed parts, the sweep as it was.
        estimate: Of this period.
        weighing: What counts how much.
    """
    at = as_estimated(scene, estimate).focused(alignment=estimate.position)
    if weighing.balanced:
        ratio = balanced_share(
            snr_slope(at), available_ratio(at), weighing.value, largest_ratio(at)
        ).ratio
    else:
        ratio = next_share(at, weighing.value).ratio
    count = jnp.round(ratio / time_ratio(at, 1))
    most = jnp.floor(available_ratio(at) / time_ratio(at, 1) * (1 + 1e-12))
    most = jnp.minimum(most, float(scene.base_station.array.elements))
    return jnp.clip(count, 1, most).astype(int)


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


def invented_estimate(
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
        jnp.asarray(True),
        jnp.asarray(True),
    )


def run_period(
    scene: LocalizationScene,
    belief: Belief,
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
    weighing: Weighing,
    invented: ErrorLevels | None,
    key: PRNGKeyArray,
) -> tuple[PeriodRecord, Belief]:
    """One period: align and localize, transmit, decide.

    Args:
        scene: As it is now; the receiver uses its fixed parts only.
        belief: From the last period.
        frequency: Of the pilots' bins. [Hz]
        grid: Where the estimator looks.
        weighing: How the next period's time is shared.
        invented: Errors of this size in place of an estimate, as in the papers; None to estimate.
        key: Of this period's noise and search.
    """
    hearing, searching = jax.random.split(key)
    scene = swept(scene, belief, searching)
    antennas = belief.active_antennas.astype(float)
    pilots = simulate_matched(scene, antennas, frequency, key=hearing)
    # The gain is the receiver's business where it is unknown: it sees a scene without it.
    known = scene.with_user(belief.position, belief.heading)
    if not scene.link.gain_known:
        known = eqx.tree_at(lambda s: s.link.gain, known, jnp.ones((), dtype=complex))
    if invented is None:
        estimate = locate(known, pilots, frequency, grid, belief.heading)
    else:
        estimate = invented_estimate(scene, antennas, invented, key)
    found = estimate.detected & estimate.converged

    served = scene.focused(data=estimate.position)
    strongest = jnp.argmax(jnp.sum(jnp.abs(pilots.samples) ** 2, axis=(0, 2)))
    sent = data_rate(served, antennas, strongest)
    if invented is None:
        hoped = data_rate(as_estimated(known, estimate), antennas, strongest)
        found = found & (sent >= CONFIRMED * hoped)
    rate = jnp.where(found, sent, 0.0)
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
        belief.active_antennas,
        time_ratio(scene, antennas),
    )
    after = Belief(
        jnp.where(found, estimate.position, belief.position),
        jnp.where(found, estimate.heading, belief.heading),
        jnp.where(found, next_antennas(known, estimate, weighing), belief.active_antennas),
        jnp.where(found, 0, belief.lost + 1),
    )
    return record, after


def discs(
    scene: LocalizationScene, mobility: Scalar, periods: int, farthest: Scalar, key: PRNGKeyArray
) -> Float[Array, "period xyz"]:
    """A user that jumps anywhere within a disc from period to period, paper eq. (1). [m]

    A jump that would lead behind the surface, or out of reach, goes the opposite way; if that
    does too, the user stays.

    Args:
        scene: The surface, and the user as it starts.
        mobility: Radius of the disc. [m]
        periods: How many.
        farthest: Largest distance from the surface. [m]
        key: Of all jumps.
    """
    surface = scene.surface

    def reachable(position: Vector) -> Bool[Array, ""]:
        offset = position - surface.position
        ahead = jnp.dot(offset, surface.array.normal) > 0.05 * jnp.linalg.norm(offset)
        return ahead & (jnp.linalg.norm(offset) < farthest)

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
def run_loop(
    scene: LocalizationScene,
    start: Belief,
    positions: Float[Array, "period xyz"],
    headings: Float[Array, "period"],
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
    weighing: Weighing,
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
        weighing: How time is shared.
        key: Of all noise.
        invented: See `run_period`.
    """

    def period(belief: Belief, now: _Place) -> tuple[Belief, PeriodRecord]:
        here = scene.with_user(now.position, now.heading)
        record, after = run_period(here, belief, frequency, grid, weighing, invented, now.key)
        return after, record

    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(positions)))
    _, records = jax.lax.scan(period, start, _Place(positions, headings, keys))
    return records
