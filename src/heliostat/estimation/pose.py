r"""Maximum-likelihood position and heading of a user, from its pilots alone and from a cold start.

In white noise the likeliest pose is that whose mean pilots lie closest to the samples. The mean is
an outer product, :math:`u = A\,s \otimes t \otimes r \otimes e` over configurations, transmit
beams, receive beams and frequencies, so that nothing is ever written out over all of them:

1. The transmit beams' factor t is known: the samples are matched to it once.
2. Matched to every arrival cosine and delay, they show the user's :math:`\psi_{rx}` and, with a
   synchronized clock, the distance.
3. What is left is one complex number a configuration and delay, to be compared with the surface's
   response s over a grid of places around the surface, the gain concentrated out:
   :math:`|s^Hc|^2/\|s\|^2`.
4. The best few of these start a Levenberg-Marquardt climb over position, arrival cosine and clock,
   the gain concentrated out again. It too works on the factors (`estimation.ascent`).

The arrival cosine stands in for the heading, which follows from it in the end: a linear array
cannot tell left from right, so two headings are equally likely.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from heliostat.bounds.fisher import covariance_bound
from heliostat.bounds.pose import PoseInformation, pose_information
from heliostat.estimation.gauss_newton import Factors, Likelihood, Moves, climb, likelihood
from heliostat.estimation.peak_search import detected, peaks, threshold
from heliostat.geometry.arrays import linear_steering
from heliostat.geometry.codebooks import dft_codebook
from heliostat.geometry.frames import Scalar, Vector, travel, wrapped_angle
from heliostat.observation.pilots import (
    PilotFactors,
    channel_params,
    pilot_factors,
    unknowns_at,
)
from heliostat.scene.localization import LocalizationScene
from heliostat.units import SPEED_OF_LIGHT

OVERSAMPLING = 8
"""Of the coarse search: grid points per resolution of the arrays and of the band."""
PEAKS, REFINEMENT = 128, 5
"""Peaks of the coarse search that are looked at again, at so many points a side within a cell."""
CANDIDATES = 24
"""The highest of these, from which the likelihood is climbed."""
SAME_PEAK = 0.1
"""Distance below which two converged ends are the same peak. [surface beamwidths]"""
BEAMWIDTH = 0.5
"""The same distance where one of them has not converged: half the first null's. [beamwidths]"""
END_FIRE = 0.999
"""Largest sine of the arrival angle at which a climb starts: at 1 its slope vanishes."""


class PlaceGrid(eqx.Module):
    """Where the coarse search looks: bearings around the surface, distances from it."""

    bearing: Float[Array, "bearing"]  # from the x axis, anticlockwise [rad]
    distance: Float[Array, "distance"]  # from the surface [m]


class PoseEstimate(eqx.Module):
    """What the pilots say about the user."""

    position: Vector  # at the known height [m]
    heading: Scalar  # [rad]
    mirror_heading: Scalar  # as likely: the array's other side faces the surface [rad]
    arrival: Scalar  # direction cosine along the user's array [1]
    gain: Complex[Array, ""]  # h_1; the known one where it is known [1]
    clock: Scalar
    """Offset as a distance; of those that look the same, the nearest to 0. [m]"""
    covariance: Float[Array, "pose pose"]
    """Inverse of the information at the estimate; ``inf`` on the diagonal where it has none.
    [m², m rad, rad²]"""
    snr: Scalar  # energy of the fitted mean over the noise density [1]
    misfit: Scalar
    """Energy of what the model does not explain, over what noise would leave; one but for a
    standard deviation of ``misfit_std`` if the model is right. [1]"""
    misfit_std: Scalar  # [1]
    log_likelihood_margin: Scalar
    """Log-likelihood of the estimate minus that of the next best peak elsewhere, side lobes of the
    surface's response included; ``inf`` if the search found no other peak. [1]"""
    unique: Bool[Array, ""]
    """Whether the climb converged and the margin exceeds what noise gives a wrong place with
    probability 1e-6."""
    detected: Bool[Array, ""]  # the fitted mean stands out of the noise
    converged: Bool[Array, ""]

    @property
    def fits(self) -> Bool[Array, ""]:
        """Whether the samples may come from the model: misfit within five standard deviations."""
        return jnp.abs(self.misfit - 1) < 5 * self.misfit_std


def place_grid(scene: LocalizationScene, bins: int, farthest: float | None = None) -> PlaceGrid:
    """Bearings and distances fine enough for the surface's beams and the band.

    Args:
        scene: Surface, height of the user, bandwidth.
        bins: Frequencies the pilots come with; they tell delays apart up to bins/bandwidth.
        farthest: Distance from the surface up to which the user may be; by default as far as the
            bins tell delays apart. [m]

    Raises:
        ValueError: The reach holds no place in front of the surface, or more than the bins tell
            apart.
    """
    surface, array = scene.surface, scene.surface.array
    nearest = abs(float(surface.position[2] - scene.user.position[2]))
    resolution = SPEED_OF_LIGHT / float(scene.link.bandwidth)
    reach = nearest + bins * resolution
    if farthest is None:
        farthest = reach
    if not nearest < farthest <= reach * (1 + 1e-9):
        raise ValueError(
            f"farthest is {farthest:g} m; {bins} bins tell distances from {nearest:g} m to "
            f"{reach:g} m apart, give one in between or more bins."
        )
    side = float(np.max(np.asarray(array.spacing) * np.array([array.columns, array.rows])))
    around = max(64, math.ceil(2 * math.pi * OVERSAMPLING * side))
    # Dense enough for the band, and for the surface's beams that a change of distance crosses:
    # the elevation seen from the surface is arcsin(nearest/distance).
    distance = np.linspace(nearest, farthest, 4096)
    elevation = np.arcsin(nearest / distance) if nearest > 0 else np.zeros(distance.size)
    cells = (distance - nearest) / resolution + side * (elevation[0] - elevation)
    steps = max(2, math.ceil(cells[-1] * OVERSAMPLING))
    return PlaceGrid(
        jnp.linspace(-jnp.pi, jnp.pi, around, endpoint=False),
        jnp.asarray(np.interp((np.arange(steps) + 0.5) / steps * cells[-1], cells, distance)),
    )


class MatchedPilots(eqx.Module):
    """All that the pilots say about the pose: samples matched to the transmit beams' factor."""

    samples: Complex[Array, "config rx bin"]  # [√J]
    level: Scalar  # norm of that factor, the root of the number of active antennas [1]
    unexplained: Scalar  # energy of what was left out, which no mean can explain [J]
    left_out: int = eqx.field(static=True)  # how many samples that was


class _Unknowns(eqx.Module):
    """What the climb moves."""

    place: Float[Array, "*candidate 2"]  # x, y [m]
    arrival: Float[Array, "*candidate"]  # [1]
    clock: Float[Array, "*candidate"]  # [m]


def match_pilots(
    scene: LocalizationScene,
    pilots: Complex[Array, "config tx rx bin"],
    frequency: Float[Array, "bin"],
) -> MatchedPilots:
    """Match samples to the transmit beams, whose factor is known; nothing about the pose is lost.

    Args:
        scene: Base station and surface.
        pilots: Samples, see `simulate_pilots`. [√J]
        frequency: Of the bins. [Hz]
    """
    antennas = pilots.shape[1]
    over_tx = pilot_factors(scene, _channel(scene, _ahead(scene)), antennas, frequency).over_tx
    level = jnp.linalg.norm(over_tx)
    samples = jnp.einsum("b,kbmf->kmf", jnp.conj(over_tx) / level, pilots)
    unexplained = jnp.maximum(_energy(pilots) - _energy(samples), 0.0)
    return MatchedPilots(samples, level, unexplained, pilots.size - samples.size)


def simulate_matched(
    scene: LocalizationScene,
    active_antennas: int | Scalar,
    frequency: Float[Array, "bin"],
    *,
    clock: float | Scalar = 0.0,
    key: PRNGKeyArray,
) -> MatchedPilots:
    """`match_pilots` of `simulate_pilots` in one, without a sample for every transmit beam.

    Args:
        scene: The scene as it is.
        active_antennas: :math:`N_B`; may be traced.
        frequency: Of the bins. [Hz]
        clock: Offset of the user's clock, as a distance. [m]
        key: Of the noise.
    """
    unknowns = unknowns_at(scene).at[5].set(clock)
    factors = pilot_factors(scene, channel_params(scene, unknowns), 1, frequency)
    level = jnp.sqrt(jnp.asarray(active_antennas, dtype=float))
    mean = _outer(factors, level)
    noise = jnp.sqrt(scene.link.noise_density)
    drawn = jax.random.normal(key, mean.shape, dtype=mean.dtype)
    return MatchedPilots(mean + noise * drawn, level, jnp.zeros(()), 0)


def _energy(samples: Array) -> Scalar:
    return jnp.sum(jnp.abs(samples) ** 2)


def _ahead(scene: LocalizationScene) -> _Unknowns:
    """Some place in front, for what does not depend on the place."""
    ahead = scene.surface.position + scene.surface.array.normal
    return _Unknowns(ahead[:2], jnp.zeros(()), jnp.zeros(()))


def _position(scene: LocalizationScene, place: Float[Array, "2"]) -> Vector:
    return jnp.append(place, scene.user.position[2])


def _channel(scene: LocalizationScene, at: _Unknowns) -> Float[Array, "param"]:
    """`CHANNEL_PARAMS` for a gain of one, whichever heading gives this arrival cosine."""
    direction, distance = travel(scene.surface.position, _position(scene, at.place))
    _, bs_to_irs = travel(scene.base_station.position, scene.surface.position)
    _, nominal = travel(scene.surface.position, scene.user.position)
    return jnp.stack(
        [
            bs_to_irs + distance + at.clock,
            at.arrival,
            *scene.surface.array.direction_cosines(direction),
            scene.path_amplitude(distance) / scene.path_amplitude(nominal),
            jnp.zeros(()),
        ]
    )


def _outer(factors: PilotFactors, level: Scalar) -> Complex[Array, "config rx bin"]:
    """Mean of the matched samples. [√J]"""
    return (factors.amplitude * level) * jnp.einsum(
        "k,m,f->kmf", factors.response, factors.over_rx, factors.over_band
    )


def _mean(
    scene: LocalizationScene, at: _Unknowns, level: Scalar, frequency: Float[Array, "bin"]
) -> Complex[Array, "config rx bin"]:
    """Mean of the matched samples for a gain of one. [√J]"""
    return _outer(pilot_factors(scene, _channel(scene, at), 1, frequency), level)


def _beams(scene: LocalizationScene, moves: Moves) -> Float[Array, "2"]:
    """Direction cosines of a place seen from the surface, in its beams' widths."""
    array = scene.surface.array
    widths = array.spacing * jnp.array([array.columns, array.rows], dtype=float)
    return scene.departure(_position(scene, _scaled(scene, moves).place)) * widths


def _gain(scene: LocalizationScene, mean: Array, samples: Array) -> Complex[Array, ""]:
    """The known gain, or the one that fits best."""
    if scene.link.gain_known:
        return scene.link.gain
    energy = _energy(mean)
    return jnp.vdot(mean, samples) / jnp.where(energy > 0, energy, 1.0)


def _coarse(
    scene: LocalizationScene,
    matched: MatchedPilots,
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
) -> tuple[_Unknowns, Float[Array, "candidate"]]:
    """The likeliest places of a grid that are no neighbours, and their log-likelihoods."""
    user = scene.user
    here = _ahead(scene)

    def factors(arrival: Scalar, delay: Scalar) -> tuple[Array, Array]:
        channel = _channel(scene, here).at[1].set(arrival).at[0].set(delay)
        found = pilot_factors(scene, channel, 1, frequency)
        return found.over_rx, found.over_band

    _, bs_to_irs = travel(scene.base_station.position, scene.surface.position)
    spread = jnp.minimum(1.0, 0.5 / user.spacing)
    arrivals = spread * jnp.linspace(-1.0, 1.0, OVERSAMPLING * user.antennas + 1)
    step = arrivals[1] - arrivals[0]
    over_rx = jax.vmap(lambda psi: factors(psi, bs_to_irs)[0])(arrivals)
    delays = bs_to_irs + grid.distance
    over_band = jax.vmap(lambda delay: factors(jnp.zeros(()), delay)[1])(delays)
    shown = jnp.einsum(
        "kmf,am,df->kad", matched.samples, jnp.conj(over_rx), jnp.conj(over_band), optimize=True
    )
    strength = jnp.sum(jnp.abs(shown) ** 2, axis=0)
    best_arrival, best_delay = jnp.unravel_index(jnp.argmax(strength), strength.shape)
    profile = shown[:, best_arrival]  # [config distance]
    clock = jnp.zeros(())
    if not scene.link.clock_known:
        profile = jnp.broadcast_to(profile[:, best_delay][:, None], profile.shape)

    length = user.antennas * frequency.size  # squared norm of over_rx and over_band together

    def place(bearing: Scalar, distance: Scalar) -> Float[Array, "2"]:
        height = scene.surface.position[2] - user.position[2]
        radius = jnp.sqrt(jnp.maximum(distance**2 - height**2, 0.0))
        return scene.surface.position[:2] + radius * jnp.stack([jnp.cos(bearing), jnp.sin(bearing)])

    def likelihood(bearing: Scalar, distance: Scalar, seen: Complex[Array, "config"]) -> Scalar:
        where = place(bearing, distance)
        level = _level(scene, where)
        possible = _in_reach(scene, where, grid) & (abs(arrivals[best_arrival]) <= level + step)
        channel = _channel(scene, _Unknowns(where, jnp.zeros(()), clock))
        found = pilot_factors(scene, channel, 1, frequency)
        unit = found.amplitude * matched.level * found.response
        overlap, energy = jnp.vdot(unit, seen), length * _energy(unit)
        if scene.link.gain_known:
            gain = scene.link.gain
            value = 2 * jnp.real(jnp.conj(gain) * overlap) - jnp.abs(gain) ** 2 * energy
        else:
            value = jnp.abs(overlap) ** 2 / jnp.where(energy > 0, energy, 1.0)
        return jnp.where(possible, value, -jnp.inf)

    at_distance = jax.vmap(likelihood, (0, None, None))
    value = jax.lax.map(
        lambda each: at_distance(grid.bearing, *each), (grid.distance, profile.T), batch_size=64
    )  # [distance bearing]
    row, column, best = peaks(value, wrap_columns=True, count=PEAKS)

    # Half a cell off its top, a peak may look lower than another that is not as high.
    fine = jnp.linspace(-0.5, 0.5, REFINEMENT)
    rows = jnp.arange(grid.distance.size)
    turn = grid.bearing[1] - grid.bearing[0]

    def refine(row: Array, column: Array, best: Scalar) -> tuple[Array, Scalar, Scalar]:
        distances = jnp.interp(row + fine, rows, grid.distance)
        bearings = grid.bearing[column] + turn * fine
        near = jax.vmap(at_distance, (None, 0, None))(bearings, distances, profile[:, row])
        near = jnp.where(best > -jnp.inf, near, -jnp.inf)
        which = jnp.argmax(near)
        distance, bearing = distances[which // REFINEMENT], bearings[which % REFINEMENT]
        return place(bearing, distance), distance, near.ravel()[which]

    places, distances, refined = jax.vmap(refine)(row, column, best)
    best, chosen = jax.lax.top_k(refined, CANDIDATES)
    lag = jnp.zeros(CANDIDATES)
    if not scene.link.clock_known:
        lag = grid.distance[best_delay] - distances[chosen]
    arrival = jnp.full(CANDIDATES, arrivals[best_arrival])
    return _Unknowns(places[chosen], arrival, lag), best


def _level(scene: LocalizationScene, place: Float[Array, "2"]) -> Scalar:
    """Largest arrival cosine that any heading gives a user at this place. [1]

    Its array is level, so this is the level part of the wave's travel direction.
    """
    direction, _ = travel(scene.surface.position, _position(scene, place))
    return jnp.hypot(direction[0], direction[1])


def _ahead_by(scene: LocalizationScene, place: Float[Array, "2"]) -> Scalar:
    """Distance of a place from the surface's plane, positive on the side it serves. [m]"""
    return jnp.dot(_position(scene, place) - scene.surface.position, scene.surface.array.normal)


def _in_reach(
    scene: LocalizationScene, place: Float[Array, "2"], grid: PlaceGrid
) -> Bool[Array, ""]:
    """Whether a place is in front of the surface and no farther than the grid, plus one cell."""
    distance = jnp.linalg.norm(_position(scene, place) - scene.surface.position)
    farthest = grid.distance[-1] + SPEED_OF_LIGHT / scene.link.bandwidth
    return (_ahead_by(scene, place) > 0) & (distance < farthest)


def _scale(scene: LocalizationScene) -> Moves:
    """Natural scales of x, y, arrival angle and clock: length of the band, user's beamwidth."""
    resolution = SPEED_OF_LIGHT / scene.link.bandwidth
    beamwidth = 1 / (scene.user.antennas * scene.user.spacing)
    return jnp.stack([resolution, resolution, beamwidth, resolution])


def _scaled(scene: LocalizationScene, moves: Moves) -> _Unknowns:
    x, y, angle, clock = jnp.append(moves, jnp.zeros(4 - moves.size)) * _scale(scene)
    place = jnp.stack([x, y])
    return _Unknowns(place, _level(scene, place) * jnp.sin(angle), clock)


def _unscaled(scene: LocalizationScene, at: _Unknowns) -> Moves:
    r"""As many as are unknown: the clock is left out where it is synchronized.

    The arrival cosine is :math:`\ell\sin\varphi` with `_level` :math:`\ell`, so that the climb
    over :math:`\varphi` never leaves the cosines that some heading gives.
    """
    sine = jnp.clip(at.arrival / _level(scene, at.place), -END_FIRE, END_FIRE)
    moves = jnp.stack([*at.place, jnp.arcsin(sine), at.clock]) / _scale(scene)
    return moves[:3] if scene.link.clock_known else moves


@eqx.filter_jit
def estimate_pose(
    scene: LocalizationScene,
    pilots: Complex[Array, "config tx rx bin"],
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
    believed_heading: Scalar | None = None,
) -> PoseEstimate:
    r"""Likeliest pose, :math:`\arg\min \|y - g\,u(x, y, \alpha)\|^2`, from a cold start.

    Args:
        scene: All that the receiver knows: base station, surface and how it is set, noise, the
            user's array and height. Where the scene's user is has no influence.
        pilots: Samples, see `simulate_pilots`. [√J]
        frequency: Of the bins. [Hz]
        grid: Where to look, see `place_grid`.
        believed_heading: Of both headings that are equally likely the one nearer to this is
            returned first; by default that in which the wave travels to the left of the array's
            axis, seen from above. [rad]
    """
    return locate(scene, match_pilots(scene, pilots, frequency), frequency, grid, believed_heading)


@eqx.filter_jit
def locate(
    scene: LocalizationScene,
    matched: MatchedPilots,
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
    believed_heading: Scalar | None = None,
) -> PoseEstimate:
    """`estimate_pose` from matched pilots; arguments as there."""
    starts, values = _coarse(scene, matched, frequency, grid)
    # At the antennas the receive factor is a steering vector; the beams are a rotation of it.
    heard = jnp.einsum("am,kmf->kaf", dft_codebook(scene.user.antennas), matched.samples)
    known_gain = scene.link.gain if scene.link.gain_known else None

    def factors(moves: Moves) -> Factors:
        channel = _channel(scene, _scaled(scene, moves))
        found = pilot_factors(scene, channel, 1, frequency)
        received = linear_steering(scene.user.antennas, scene.user.spacing, channel[1])
        return found.amplitude * matched.level * found.response, received, found.over_band

    def constrained(moves: Moves) -> Likelihood:
        found = likelihood(heard, factors, moves, scene.link.noise_density, known_gain)
        ahead = _ahead_by(scene, _scaled(scene, moves).place) > 0
        # The curvature of Gauss and Newton vanishes over the arrival angle at end-fire; that of
        # the sine remains: d^2/dphi^2 f(sin phi) = f'' cos^2 phi - f' sin phi.
        unit = _scale(scene)[2]
        bend = unit * found.slope[2] * jnp.tan(unit * moves[2])
        return Likelihood(
            jnp.where(ahead, found.value, -jnp.inf),
            found.slope,
            found.curvature.at[2, 2].add(jnp.maximum(bend, 0.0)),
        )

    def contend(start: _Unknowns, value: Scalar) -> tuple[Moves, Scalar, Array]:
        return climb(constrained, _unscaled(scene, start), value > -jnp.inf)

    ended, height, settled = jax.vmap(contend)(starts, values)
    # A climb may cross the places beyond reach, but not end there.
    within = jax.vmap(lambda moves: _in_reach(scene, _scaled(scene, moves).place, grid))(ended)
    height = jnp.where(within, height, -jnp.inf)
    winner = jnp.argmax(height)
    best = _scaled(scene, ended[winner])
    beams = jax.vmap(lambda moves: _beams(scene, moves))(ended)
    apart = jnp.max(jnp.abs(beams - beams[winner][None, :]), axis=1)
    elsewhere = apart > jnp.where(settled & settled[winner], SAME_PEAK, BEAMWIDTH)
    margin = height[winner] - jnp.max(jnp.where(elsewhere, height, -jnp.inf))
    places = grid.bearing.size * grid.distance.size
    if frequency.size > 1:  # delays further apart than this look the same
        period = SPEED_OF_LIGHT / (frequency[1] - frequency[0])
        best = eqx.tree_at(
            lambda b: b.clock, best, best.clock - period * jnp.round(best.clock / period)
        )

    mean = _mean(scene, best, matched.level, frequency)
    gain = _gain(scene, mean, matched.samples)
    noise = scene.link.noise_density
    snr = _energy(gain * mean) / noise
    left = _energy(matched.samples - gain * mean) / noise
    unknown_count = 3 + 2 * (not scene.link.gain_known) + (not scene.link.clock_known)
    freedom = matched.samples.size + matched.left_out - unknown_count / 2
    misfit = (left * noise + matched.unexplained) / (noise * freedom)
    cells = places * scene.user.antennas
    explained = _energy(matched.samples) / noise - left

    position = _position(scene, best.place)
    direction, _ = travel(scene.surface.position, position)
    level = jnp.hypot(direction[0], direction[1])
    turn = jnp.arccos(jnp.clip(best.arrival / jnp.maximum(level, 1e-300), -1.0, 1.0))
    bearing = jnp.arctan2(direction[1], direction[0])
    headings = jnp.stack([wrapped_angle(turn - bearing), wrapped_angle(-turn - bearing)])
    if believed_heading is not None:
        turned = jnp.abs(wrapped_angle(headings - believed_heading))
        headings = jnp.where(turned[0] <= turned[1], headings, headings[::-1])

    at = eqx.tree_at(lambda s: s.link.gain, scene.with_user(position, headings[0]), gain + 0j)
    return PoseEstimate(
        position,
        headings[0],
        headings[1],
        best.arrival,
        gain + 0j,
        best.clock,
        pose_covariance(pose_information(at, matched.level**2)),
        snr,
        misfit,
        1 / jnp.sqrt(jnp.asarray(freedom)),
        margin,
        settled[winner] & (margin > threshold(places)),
        detected(explained, cells),
        settled[winner],
    )


def pose_covariance(pose: PoseInformation) -> Float[Array, "pose pose"]:
    """Inverse of the information where there is one, else ``inf`` on the diagonal.

    Args:
        pose: What is known of (x, y, heading).
    """
    return covariance_bound(pose.information, jnp.diag(pose.reference))
