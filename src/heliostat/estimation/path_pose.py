r"""Maximum-likelihood pose from pilots over several paths, without an initial guess.

Peaks of a coarse search (`estimation.path_search`) start Levenberg-Marquardt iterations over
position, heading and clock offset, with the gains of all paths eliminated and their interference
included (`estimation.path_likelihood`). The highest maximum is the estimate.

A path that obstacles block needs no special treatment if the gains are unknown: its estimated gain
is close to zero. If the gains are known, a path is left out of the model where the model without it
is likelier.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from heliostat.bounds.paths import paths_information
from heliostat.estimation.gauss_newton import Likelihood, Maximum, Moves, levenberg_marquardt
from heliostat.estimation.path_likelihood import PathSamples, match_paths, path_likelihood
from heliostat.estimation.path_search import (
    SearchGrid,
    Starts,
    coarse_search,
    last_hops,
)
from heliostat.estimation.peak_search import threshold
from heliostat.estimation.pose import (
    AGREEMENT,
    SAME_PEAK,
    PoseEstimate,
    pose_covariance,
    relative_eigenvalues,
)
from heliostat.geometry.frames import Scalar, travel, user_axis, wrapped_angle
from heliostat.observation.paths import paths
from heliostat.scene.localization import LocalizationScene
from heliostat.units import SPEED_OF_LIGHT

FIRST_STEPS, LAST_STEPS = 5, 100
"""Evaluations from each peak of the coarse search, and from each of the best results."""
DIFFERENCE = 1e-6
"""Step of the finite differences for the observed information. [scaled unknowns]"""
CANDIDATES = 8
"""Number of distinct results that are refined further."""
DUPLICATE = 0.02
"""Distance below which two refined peaks are the same. [resolution cells]"""


class _Model(eqx.Module):
    """Samples and their model, as a likelihood of scaled unknowns."""

    scene: LocalizationScene
    matched: PathSamples
    frequency: Float[Array, "bin"]
    active_antennas: int | Scalar

    @property
    def count(self) -> int:
        """Number of unknowns other than gains."""
        return 3 + (not self.scene.link.clock_known)

    @property
    def scale(self) -> Float[Array, "4"]:
        """Natural scales of x, y, heading and clock: band resolution, user's beamwidth."""
        resolution = SPEED_OF_LIGHT / self.scene.link.bandwidth
        beamwidth = 1 / (self.scene.user.antennas * self.scene.user.spacing)
        return jnp.stack([resolution, resolution, beamwidth, resolution])

    def to_moves(self, pose: Float[Array, "4"]) -> Moves:
        """Scaled unknowns; the clock is left out if it is synchronized."""
        return (pose / self.scale)[: self.count]

    def to_pose(self, moves: Moves) -> Float[Array, "4"]:
        """X [m], y [m], heading [rad] and clock offset [m]."""
        return jnp.append(moves, jnp.zeros(4 - self.count)) * self.scale

    def at(self, moves: Moves) -> LocalizationScene:
        """The scene with the user at the assumed pose."""
        x, y, heading, _ = self.to_pose(moves)
        return self.scene.with_user(jnp.stack([x, y, self.scene.user.position[2]]), heading)

    def fitted(
        self, moves: Moves, present: Float[Array, "path"]
    ) -> tuple[Likelihood, Complex[Array, "path"]]:
        """Likelihood of the scaled unknowns, and the gains."""
        clock, unit = self.to_pose(moves)[3], self.scale[: self.count]
        (value, gradient, curvature), gains = path_likelihood(
            self.at(moves), self.matched, self.frequency, clock, self.active_antennas, present
        )
        curvature = curvature[: self.count, : self.count] * unit[:, None] * unit[None, :]
        return Likelihood(value, gradient[: self.count] * unit, curvature), gains

    def maxima(self, begun: Starts, steps: int) -> tuple[Starts, Bool[Array, "start"]]:
        """The highest distinct maxima near several starting points, and their convergence."""

        def maximize(start: Starts) -> Maximum:
            return levenberg_marquardt(
                lambda moves: self.fitted(moves, start.present)[0],
                self.to_moves(start.pose),
                start.value > -jnp.inf,
                steps,
            )

        ends = jax.vmap(maximize)(begun)
        order = jnp.argsort(-ends.value)
        value, pose = ends.value[order], jax.vmap(self.to_pose)(ends.moves[order])
        where = jax.vmap(self._coordinates)(pose)
        close = jnp.max(jnp.abs(where[:, None] - where[None, :]), axis=-1) < DUPLICATE
        value = jnp.where(jnp.any(jnp.tril(close, -1), axis=1), -jnp.inf, value)
        value, chosen = jax.lax.top_k(value, min(CANDIDATES, value.size))
        kept = Starts(pose[chosen], value, begun.present[order][chosen])
        return kept, ends.converged[order][chosen]

    def _coordinates(self, pose: Float[Array, "4"]) -> Float[Array, "_"]:
        """Direction cosines at surfaces in beamwidths; heading, place and clock in cells. [1]"""
        position = jnp.append(pose[:2], self.scene.user.position[2])
        seen = []
        for i, surface in enumerate(self.scene.surfaces):
            array = surface.array
            widths = array.spacing * jnp.array([array.columns, array.rows], dtype=float)
            seen.append(self.scene.through(i).departure(position) * widths)
        turned = jnp.stack([jnp.cos(pose[2]), jnp.sin(pose[2])]) / self.scale[2]
        cells = pose[jnp.array([0, 1, 3])] / self.scale[0]
        return jnp.concatenate([*seen, turned, cells])

    def at_maximum(
        self, moves: Moves, present: Float[Array, "path"]
    ) -> tuple[Complex[Array, "path"], Array, Array]:
        """Gains, and the curvature of the log-likelihood: expected, and from its gradients."""
        aside = DIFFERENCE * jnp.eye(self.count)
        around = jnp.concatenate([jnp.zeros((1, self.count)), aside, -aside])
        found, gains = jax.vmap(lambda step: self.fitted(moves + step, present))(around)
        ahead, behind = found.gradient[1 : 1 + self.count], found.gradient[1 + self.count :]
        return gains[0], found.curvature[0], (behind - ahead) / (2 * DIFFERENCE)


@eqx.filter_jit
def locate_over_paths(
    scene: LocalizationScene,
    samples: Complex[Array, "config antenna rx bin"],
    active_antennas: int | Scalar,
    frequency: Float[Array, "bin"],
    grids: tuple[SearchGrid, ...],
    expected_heading: Scalar | None = None,
) -> PoseEstimate:
    r"""Maximum-likelihood pose, :math:`\arg\min\|y - \sum_ig_iv_i(x, y, \alpha, \tau_c)\|^2`.

    Args:
        scene: Scene as known to the receiver, with unknown gains of one. The user's position and
            heading have no influence.
        samples: Samples for all pairs of antennas, see `observation.paths.at_antennas`. [√J]
        active_antennas: :math:`N_B`; may be traced.
        frequency: Frequencies of the bins. [Hz]
        grids: Places to search, see `search_grids`.
        expected_heading: Of two headings with nearly equal likelihood, the one closer to this is
            returned as ``heading``; default is the likelier one. [rad]
    """
    matched = match_paths(scene, samples, active_antennas)
    model = _Model(scene, matched, frequency, active_antennas)
    starts = coarse_search(scene, matched, frequency, active_antennas, grids)
    ends, _ = model.maxima(starts, FIRST_STEPS)
    ends, settled = model.maxima(ends, LAST_STEPS)
    pose, value, present = jax.tree.map(lambda each: each[0], ends)
    moves = model.to_moves(pose)
    gains, curvature, observed = model.at_maximum(moves, present)
    agreement = relative_eigenvalues(observed, curvature)
    converged = settled[0] & (agreement[0] > 1 / AGREEMENT) & (agreement[-1] < AGREEMENT)

    # A linear array does not distinguish left from right of a single path, so that results at the
    # same place with another heading are not another place.
    without_heading = curvature - jnp.outer(curvature[:, 2], curvature[2]) / curvature[2, 2]

    def same_place(other: Float[Array, "4"]) -> Bool[Array, ""]:
        apart = (model.to_moves(other) - moves).at[2].set(0.0)
        return apart @ without_heading @ apart / 2 < SAME_PEAK

    same = (jax.vmap(same_place)(ends.pose) & settled).at[0].set(True)
    margin = value - jnp.max(jnp.where(same, -jnp.inf, ends.value))
    lead = threshold(sum(grid.size for grid in grids), len(gains))
    likely = same & (value - ends.value < lead)
    heading, mirror = _headings(model, ends.pose[:, 2], likely, expected_heading)

    here, clock = model.at(moves), pose[3]
    if frequency.size > 1:  # delays that differ by this period have equal likelihood
        period = SPEED_OF_LIGHT / (frequency[1] - frequency[0])
        clock = clock - period * jnp.round(clock / period)
    noise, position = scene.link.noise_density, here.user.position
    freedom = matched.count - model.count / 2 - len(gains) * (not scene.link.gain_known)
    strongest = _strongest(here.with_gains(gains))
    direction, _ = travel(last_hops(scene)[strongest], position)
    complete = here.with_user(position, heading).with_gains(gains)
    return PoseEstimate(
        position,
        heading,
        mirror,
        jnp.dot(direction, user_axis(heading)),
        gains,
        clock,
        pose_covariance(paths_information(complete, active_antennas)),
        snr=jnp.maximum(value, 0.0),
        reduced_chi2=(matched.energy / noise - value) / freedom,
        reduced_chi2_std=1 / jnp.sqrt(jnp.asarray(freedom)),
        log_likelihood_margin=margin,
        unique=converged & (margin > lead),
        detected=value > lead,
        converged=converged,
    )


def _headings(
    model: _Model,
    headings: Float[Array, "start"],
    likely: Bool[Array, "start"],
    expected: Scalar | None,
) -> tuple[Scalar, Scalar]:
    """Heading of the first result, and another likely one; the same one if there is none."""
    headings = wrapped_angle(headings)
    apart = jnp.abs(wrapped_angle(headings - headings[0])) > model.scale[2] / 4
    others = likely & apart
    first = headings[0]
    second = jnp.where(jnp.any(others), headings[jnp.argmax(others)], first)
    if expected is None:
        return first, second
    pair = jnp.stack([first, second])
    turned = jnp.abs(wrapped_angle(pair - expected))
    pair = jnp.where(turned[0] <= turned[1], pair, pair[::-1])
    return pair[0], pair[1]


def _strongest(scene: LocalizationScene) -> Array:
    """Index of the path with the largest energy."""
    energy = [
        jnp.abs(path.gain) ** 2 * jnp.sum(jnp.abs(path.config[0]) ** 2) for path in paths(scene, 1)
    ]
    return jnp.argmax(jnp.stack(energy))
