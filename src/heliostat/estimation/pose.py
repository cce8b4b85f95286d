r"""Maximum-likelihood position and heading of a user from its pilots, without an initial guess.

In white noise the maximum-likelihood pose minimizes the distance between the samples and their
mean. The mean is an outer product, :math:`u = A\,s \otimes t \otimes r \otimes e` over
configurations, transmit beams, receive beams and frequencies, and is never formed in full:

1. The transmit factor t is known, so the samples are correlated with it first
   (`estimation.matched_pilots`).
2. Correlated with the receive factor for every arrival cosine and with every delay, they give
   estimates of :math:`\psi_{rx}` and, with a synchronized clock, of the distance.
3. The result is one complex number per configuration and delay. These numbers are compared with the
   response s of the surface on a grid of places with the gain concentrated out,
   :math:`|s^Hc|^2/\|s\|^2`, and the highest peaks are refined over the place
   (`estimation.place_search`).
4. The best of these start a Levenberg-Marquardt iteration over position, arrival cosine and clock,
   with the gain concentrated out again (`estimation.gauss_newton`).

The arrival cosine replaces the heading, which is computed from it at the end. A linear array cannot
distinguish left from right, so two headings have the same likelihood.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from heliostat.bounds.fisher import covariance_bound
from heliostat.bounds.pose import PoseInformation, pose_information
from heliostat.estimation.gauss_newton import (
    Factors,
    Likelihood,
    Maximum,
    Moves,
    levenberg_marquardt,
    likelihood,
)
from heliostat.estimation.matched_pilots import (
    MatchedPilots,
    PoseUnknowns,
    energy_of,
    largest_arrival,
    match_pilots,
    outer_product,
    position_at,
    unit_channel,
)
from heliostat.estimation.peak_search import CONTENDER, detected, threshold
from heliostat.estimation.place_search import (
    PlaceGrid,
    beam_coordinates,
    coarse_search,
    height_above_plane,
    within_reach,
)
from heliostat.geometry.arrays import linear_steering
from heliostat.geometry.codebooks import dft_codebook
from heliostat.geometry.frames import Scalar, Vector, headings_from, travel, wrapped_angle
from heliostat.observation.pilots import pilot_factors
from heliostat.scene.localization import LocalizationScene
from heliostat.units import SPEED_OF_LIGHT

CANDIDATE_STEPS, FINAL_STEPS = 30, 100
"""Evaluations for each candidate, and for the best of them afterwards."""
SAME_PEAK = 1.0
"""Log-likelihood that the quadratic model predicts between two converged results, below which they
are the same maximum. [1]"""
HALF_WIDTH = 0.5
"""Distance below which two results are the same maximum if one of them has not converged.
[beamwidths and band resolutions]"""
END_FIRE = 0.999
"""Largest sine of the arrival angle at a start; the derivative vanishes at 1."""

AGREEMENT = 2.0
"""Largest ratio of observed to expected information, and of its inverse, of a converged result."""


class PoseEstimate(eqx.Module):
    """Maximum-likelihood pose, its covariance and its quality."""

    position: Vector  # at the known height [m]
    heading: Scalar  # [rad]
    mirror_heading: Scalar
    """Equally likely, with the other side of the array to the surface; equal to ``heading`` if
    several paths distinguish the two. [rad]"""
    arrival: Scalar  # direction cosine along the user's array [1]
    gains: Complex[Array, "path"]  # of each path; the known values if they are known [1]
    clock: Scalar
    """Clock offset as a distance; of those with equal likelihood the one closest to 0. [m]"""
    covariance: Float[Array, "pose pose"]
    """Inverse of the information at the estimate; ``inf`` on the diagonal where it is singular.
    [m², m rad, rad²]"""
    snr: Scalar  # energy of the fitted mean over the noise density [1]
    reduced_chi2: Scalar
    """Residual energy over its expectation under noise alone; 1 with a standard deviation of
    ``reduced_chi2_std`` if the model holds. [1]"""
    reduced_chi2_std: Scalar  # [1]
    log_likelihood_margin: Scalar
    """Log-likelihood of the estimate minus that of the next highest maximum, side lobes of the
    surface's response included; ``inf`` if the search found no other. [1]"""
    unique: Bool[Array, ""]
    """Whether the iteration converged and the margin exceeds the value that noise gives a wrong
    place with probability 1e-6."""
    detected: Bool[Array, ""]  # whether the fitted mean is significant against noise
    converged: Bool[Array, ""]
    """Whether the gain in log-likelihood that the quadratic model predicts is below 1e-3, and the
    model holds: observed and expected information agree within a factor of `AGREEMENT`."""

    @property
    def fits(self) -> Bool[Array, ""]:
        """Whether ``reduced_chi2`` is within five standard deviations of 1."""
        return jnp.abs(self.reduced_chi2 - 1) < 5 * self.reduced_chi2_std


def _scale(scene: LocalizationScene) -> Moves:
    """Natural scales of x, y, arrival angle and clock: band resolution, user's beamwidth."""
    resolution = SPEED_OF_LIGHT / scene.link.bandwidth
    beamwidth = 1 / (scene.user.antennas * scene.user.spacing)
    return jnp.stack([resolution, resolution, beamwidth, resolution])


def _from_moves(scene: LocalizationScene, moves: Moves) -> PoseUnknowns:
    """Unknowns from their scaled values; the clock is zero if it is synchronized."""
    x, y, angle, clock = jnp.append(moves, jnp.zeros(4 - moves.size)) * _scale(scene)
    place = jnp.stack([x, y])
    return PoseUnknowns(place, largest_arrival(scene, place) * jnp.sin(angle), clock)


def _to_moves(scene: LocalizationScene, at: PoseUnknowns) -> Moves:
    r"""Scaled unknowns of the iteration; the clock is left out if it is synchronized.

    The arrival cosine is :math:`\ell\sin\varphi` with `largest_arrival` :math:`\ell`, so that an
    iteration over :math:`\varphi` only visits cosines that some heading gives.
    """
    sine = jnp.clip(at.arrival / largest_arrival(scene, at.place), -END_FIRE, END_FIRE)
    moves = jnp.stack([*at.place, jnp.arcsin(sine), at.clock]) / _scale(scene)
    return moves[:3] if scene.link.clock_known else moves


@eqx.filter_jit
def estimate_pose(
    scene: LocalizationScene,
    pilots: Complex[Array, "config tx rx bin"],
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
    expected_heading: Scalar | None = None,
) -> PoseEstimate:
    r"""Maximum-likelihood pose, :math:`\arg\min \|y - g\,u(x, y, \alpha)\|^2`.

    Args:
        scene: Scene as known to the receiver: base station, surface and its configurations, noise,
            the user's array and height. The user's position and heading have no influence.
        pilots: Samples, see `simulate_pilots`. [√J]
        frequency: Frequencies of the bins. [Hz]
        grid: Places to search, see `place_grid`.
        expected_heading: Of the two headings with equal likelihood, the one closer to this is
            returned as ``heading``; default is the one for which the wave travels to the left of
            the array's axis, seen from above. [rad]
    """
    return locate(scene, match_pilots(scene, pilots), frequency, grid, expected_heading)


@eqx.filter_jit
def locate(
    scene: LocalizationScene,
    matched: MatchedPilots,
    frequency: Float[Array, "bin"],
    grid: PlaceGrid,
    expected_heading: Scalar | None = None,
) -> PoseEstimate:
    """`estimate_pose` from matched pilots; the other arguments are the same."""
    starts, values = coarse_search(scene, matched, frequency, grid)
    # The receive beams are a unitary transform of the antennas, where the factor is a steering
    # vector.
    at_antennas = jnp.einsum("am,kmf->kaf", dft_codebook(scene.user.antennas), matched.samples)
    known_gain = scene.surface.gain if scene.link.gain_known else None

    def factors(moves: Moves) -> Factors:
        channel = unit_channel(scene, _from_moves(scene, moves))
        parts = pilot_factors(scene, channel, 1, frequency)
        received = linear_steering(scene.user.antennas, scene.user.spacing, channel[1])
        return parts.amplitude * matched.level * parts.response, received, parts.over_band

    def log_likelihood(moves: Moves) -> Likelihood:
        return likelihood(at_antennas, factors, moves, scene.link.noise_density, known_gain)

    def objective(moves: Moves) -> Likelihood:
        current = log_likelihood(moves)
        ahead = height_above_plane(scene, _from_moves(scene, moves).place) > 0
        # The Gauss-Newton curvature over the arrival angle vanishes at end-fire, but the sine is
        # curved there: d^2/dphi^2 f(sin phi) = f'' cos^2 phi - f' sin phi.
        unit = _scale(scene)[2]
        bend = unit * current.gradient[2] * jnp.tan(unit * moves[2])
        return Likelihood(
            jnp.where(ahead, current.value, -jnp.inf),
            current.gradient,
            current.curvature.at[2, 2].add(jnp.maximum(bend, 0.0)),
        )

    def maximize(start: PoseUnknowns, value: Scalar) -> Maximum:
        enabled = value > -jnp.inf
        return levenberg_marquardt(objective, _to_moves(scene, start), enabled, CANDIDATE_STEPS)

    # The other candidates are too low to become the highest.
    places = grid.bearing.size * grid.distance.size
    lead = jnp.maximum((1 - CONTENDER) * values[0], 2 * threshold(places))
    contenders = values > values[0] - lead
    ends = jax.vmap(maximize)(starts, jnp.where(contenders, values, -jnp.inf))

    def reachable(moves: Moves) -> Bool[Array, ""]:
        return within_reach(scene, _from_moves(scene, moves).place, grid)

    # An iteration may cross places out of reach, but must not end there.
    height = jnp.where(jax.vmap(reachable)(ends.moves), ends.value, -jnp.inf)
    leader = jnp.argmax(height)
    best = levenberg_marquardt(
        objective, ends.moves[leader], height[leader] > -jnp.inf, FINAL_STEPS
    )
    inside = reachable(best.moves) & (best.value > -jnp.inf)
    best = jax.tree.map(
        lambda new, old: jnp.where(inside, new, old),
        best,
        Maximum(ends.moves[leader], height[leader], jnp.asarray(False)),
    )

    def gradient_and_curvature(moves: Moves) -> tuple[Moves, Float[Array, "unknown unknown"]]:
        current = log_likelihood(moves)
        return current.gradient, current.curvature

    hessian, expected = jax.jacfwd(gradient_and_curvature, has_aux=True)(best.moves)
    agreement = relative_eigenvalues(-hessian, expected)
    converged = best.converged & (agreement[0] > 1 / AGREEMENT) & (agreement[-1] < AGREEMENT)

    same = jax.vmap(lambda end: _same_maximum(scene, best, expected, end))(ends)
    others = jnp.where(contenders, height, values)
    others = jnp.where(same | (jnp.arange(height.size) == leader), -jnp.inf, others)
    margin = best.value - jnp.max(others)
    at = _from_moves(scene, best.moves)
    if frequency.size > 1:  # delays that differ by this period have equal likelihood
        period = SPEED_OF_LIGHT / (frequency[1] - frequency[0])
        at = eqx.tree_at(lambda b: b.clock, at, at.clock - period * jnp.round(at.clock / period))

    mean = outer_product(pilot_factors(scene, unit_channel(scene, at), 1, frequency), matched.level)
    energy = energy_of(mean)
    gain = scene.surface.gain
    if not scene.link.gain_known:
        gain = jnp.vdot(mean, matched.samples) / jnp.where(energy > 0, energy, 1.0)
    noise = scene.link.noise_density
    residual = energy_of(matched.samples - gain * mean) / noise
    unknown_count = 3 + 2 * (not scene.link.gain_known) + (not scene.link.clock_known)
    freedom = matched.samples.size + matched.left_out - unknown_count / 2
    explained = energy_of(matched.samples) / noise - residual

    position = position_at(scene, at.place)
    direction, _ = travel(scene.surface.position, position)
    headings = headings_from(direction, at.arrival)
    if expected_heading is not None:
        turned = jnp.abs(wrapped_angle(headings - expected_heading))
        headings = jnp.where(turned[0] <= turned[1], headings, headings[::-1])

    gains = jnp.reshape(gain + 0j, 1)
    fitted = scene.with_user(position, headings[0]).with_gains(gains)
    return PoseEstimate(
        position,
        headings[0],
        headings[1],
        at.arrival,
        gains,
        at.clock,
        pose_covariance(pose_information(fitted, matched.level**2)),
        snr=energy_of(gain * mean) / noise,
        reduced_chi2=(residual * noise + matched.unexplained) / (noise * freedom),
        reduced_chi2_std=1 / jnp.sqrt(jnp.asarray(freedom)),
        log_likelihood_margin=margin,
        unique=converged & (margin > threshold(places)),
        detected=detected(explained, places * scene.user.antennas),
        converged=converged,
    )


def relative_eigenvalues(
    matrix: Float[Array, "unknown unknown"], reference: Float[Array, "unknown unknown"]
) -> Float[Array, "unknown"]:
    """Generalized eigenvalues in ascending order; not finite if the reference is singular."""
    scale = 1 / jnp.sqrt(jnp.diagonal(reference))
    scale = scale[:, None] * scale[None, :]
    root = jnp.linalg.cholesky(reference * scale)
    half = jax.scipy.linalg.solve_triangular(root, matrix * scale, lower=True)
    return jnp.linalg.eigvalsh(jax.scipy.linalg.solve_triangular(root, half.T, lower=True))


def _same_maximum(
    scene: LocalizationScene,
    best: Maximum,
    curvature: Float[Array, "unknown unknown"],
    other: Maximum,
) -> Bool[Array, ""]:
    """Whether two results are the same maximum of the likelihood."""

    def folded(moves: Moves) -> Moves:
        unit = _scale(scene)[2]  # supplementary arrival angles have the same cosine
        return moves.at[2].set(jnp.arcsin(jnp.sin(unit * moves[2])) / unit)

    apart = folded(other.moves) - folded(best.moves)
    first, second = (
        beam_coordinates(scene, _from_moves(scene, moves).place)
        for moves in (best.moves, other.moves)
    )
    close = jnp.max(jnp.abs(first - second)) < HALF_WIDTH
    return jnp.where(
        best.converged & other.converged,
        apart @ curvature @ apart / 2 < SAME_PEAK,
        close,
    )


def pose_covariance(pose: PoseInformation) -> Float[Array, "pose pose"]:
    """Inverse of the information, or ``inf`` on the diagonal where it is singular.

    Args:
        pose: Information about (x, y, heading).
    """
    return covariance_bound(pose.information, jnp.diag(pose.reference))
