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
from scipy.special import gammainccinv

from heliostat.bounds.paths import paths_information
from heliostat.estimation.gauss_newton import Likelihood, Maximum, Moves, levenberg_marquardt
from heliostat.estimation.path_likelihood import match_paths, path_likelihood
from heliostat.estimation.path_search import (
    SearchGrid,
    Starts,
    coarse_search,
    last_hops,
)
from heliostat.estimation.peak_search import FALSE_ALARM
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


@eqx.filter_jit
def locate_over_paths(
    scene: LocalizationScene,
    samples: Complex[Array, "config antenna rx bin"],
    active_antennas: int | Scalar,
    frequency: Float[Array, "bin"],
    grids: tuple[SearchGrid, ...],
    believed_heading: Scalar | None = None,
) -> PoseEstimate:
    r"""Maximum-likelihood pose, :math:`\arg\min\|y - \sum_ig_iv_i(x, y, \alpha, \tau_c)\|^2`.

    Args:
        scene: Scene as known to the receiver, with unknown gains of one. The user's position and
            heading have no influence.
        samples: Samples for all pairs of antennas, see `observation.paths.at_antennas`. [√J]
        active_antennas: :math:`N_B`; may be traced.
        frequency: Frequencies of the bins. [Hz]
        grids: Places to search, see `search_grids`.
        believed_heading: Of two headings with nearly equal likelihood, the one closer to this is
            returned as ``heading``; default is the likelier one. [rad]
    """
    matched = match_paths(scene, samples, active_antennas)
    starts = coarse_search(scene, matched, frequency, active_antennas, grids)
    scale, height = _scale(scene), scene.user.position[2]
    count = 3 + (not scene.link.clock_known)

    def posed(moves: Moves) -> tuple[LocalizationScene, Scalar]:
        x, y, heading, clock = jnp.append(moves, jnp.zeros(4 - moves.size)) * scale
        return scene.with_user(jnp.stack([x, y, height]), heading), clock

    def fitted(
        moves: Moves, present: Float[Array, "path"]
    ) -> tuple[Likelihood, Complex[Array, "path"]]:
        at, clock = posed(moves)
        likelihood, gains = path_likelihood(at, matched, frequency, clock, active_antennas, present)
        kept = slice(0, moves.size)
        unit = scale[kept]
        curvature = likelihood.curvature[kept, kept] * unit[:, None] * unit[None, :]
        return Likelihood(likelihood.value, likelihood.gradient[kept] * unit, curvature), gains

    def refined(begun: Starts, steps: int) -> tuple[Starts, Bool[Array, "start"]]:
        """The highest distinct maxima near several starting points, and their convergence."""

        def maximise(moves: Moves, present: Float[Array, "path"], value: Scalar) -> Maximum:
            return levenberg_marquardt(
                lambda at: fitted(at, present)[0], moves, value > -jnp.inf, steps
            )

        moves = (begun.pose / scale[None, :])[:, :count]
        ends = jax.vmap(maximise)(moves, begun.present, begun.value)
        pose = jnp.pad(ends.moves, ((0, 0), (0, 4 - count))) * scale[None, :]
        order = jnp.argsort(-ends.value)
        value, pose = ends.value[order], pose[order]
        where = jax.vmap(lambda each: _coordinates(scene, each))(pose)
        close = jnp.max(jnp.abs(where[:, None] - where[None, :]), axis=-1) < DUPLICATE
        value = jnp.where(jnp.any(jnp.tril(close, -1), axis=1), -jnp.inf, value)
        value, chosen = jax.lax.top_k(value, min(CANDIDATES, value.size))
        kept = Starts(pose[chosen], value, begun.present[order][chosen])
        return kept, ends.converged[order][chosen]

    ends, _ = refined(starts, FIRST_STEPS)
    ends, settled = refined(ends, LAST_STEPS)
    best, value, present = jax.tree.map(lambda each: each[0], ends)
    moves = (best / scale)[:count]
    aside = DIFFERENCE * jnp.eye(count)
    around = moves[None, :] + jnp.concatenate([jnp.zeros((1, count)), aside, -aside])
    likelihood, gains = jax.vmap(lambda at: fitted(at, present))(around)
    gradient, gains = likelihood.gradient, gains[0]
    observed = (gradient[1 + count :] - gradient[1 : 1 + count]) / (2 * DIFFERENCE)
    curvature = likelihood.curvature[0]
    agreement = relative_eigenvalues(observed, curvature)
    converged = settled[0] & (agreement[0] > 1 / AGREEMENT) & (agreement[-1] < AGREEMENT)

    # A linear array does not distinguish left from right of a single path, so that results at the
    # same place with another heading are not another place.
    def same_place(pose: Float[Array, "4"]) -> Bool[Array, ""]:
        apart = ((pose / scale)[:count] - moves) * jnp.ones(count).at[2].set(0.0)
        without = _without_heading(curvature)
        return apart @ without @ apart / 2 < SAME_PEAK

    same = jax.vmap(same_place)(ends.pose) & (settled | (jnp.arange(len(settled)) == 0))
    here, clock = posed(moves)
    margin = value - jnp.max(jnp.where(same, -jnp.inf, ends.value))
    lead = threshold_of(len(gains), sum(grid.size for grid in grids))

    heading = wrapped_angle(here.user.heading)
    mirrors = same & (value - ends.value < lead)
    mirror_values = jnp.where(mirrors, ends.value, -jnp.inf)
    turned = jnp.abs(wrapped_angle(ends.pose[:, 2] - heading))
    beamwidth = scale[2]
    mirror_values = jnp.where(turned > beamwidth / 4, mirror_values, -jnp.inf)
    other = jnp.argmax(mirror_values)
    mirror = jnp.where(mirror_values[other] > -jnp.inf, ends.pose[other, 2], heading)
    mirror = wrapped_angle(mirror)
    if believed_heading is not None:
        swap = jnp.abs(wrapped_angle(mirror - believed_heading)) < jnp.abs(
            wrapped_angle(heading - believed_heading)
        )
        heading, mirror = jnp.where(swap, mirror, heading), jnp.where(swap, heading, mirror)

    if frequency.size > 1:  # delays that differ by this period have equal likelihood
        period = SPEED_OF_LIGHT / (frequency[1] - frequency[0])
        clock = clock - period * jnp.round(clock / period)
    noise = scene.link.noise_density
    unknown_count = count + 2 * len(gains) * (not scene.link.gain_known)
    freedom = matched.count - unknown_count / 2
    residual = matched.energy / noise - value
    position = here.user.position
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
        reduced_chi2=residual / freedom,
        reduced_chi2_std=1 / jnp.sqrt(jnp.asarray(freedom)),
        log_likelihood_margin=margin,
        unique=converged & (margin > lead),
        detected=value > lead,
        converged=converged,
    )


def _scale(scene: LocalizationScene) -> Float[Array, "4"]:
    """Natural scales of x, y, heading and clock: band resolution, user's beamwidth."""
    resolution = SPEED_OF_LIGHT / scene.link.bandwidth
    beamwidth = 1 / (scene.user.antennas * scene.user.spacing)
    return jnp.stack([resolution, resolution, beamwidth, resolution])


def _coordinates(scene: LocalizationScene, pose: Float[Array, "4"]) -> Float[Array, "_"]:
    """Direction cosines at all surfaces in beamwidths, place, heading and clock in cells. [1]"""
    position = jnp.append(pose[:2], scene.user.position[2])
    seen = []
    for i, surface in enumerate(scene.surfaces):
        array = surface.array
        widths = array.spacing * jnp.array([array.columns, array.rows], dtype=float)
        seen.append(scene.through(i).departure(position) * widths)
    heading = jnp.stack([jnp.cos(pose[2]), jnp.sin(pose[2])])
    return jnp.concatenate(
        [
            *seen,
            pose[:2] / _scale(scene)[:2],
            heading / _scale(scene)[2],
            pose[3:] / _scale(scene)[3:],
        ]
    )


def _without_heading(
    curvature: Float[Array, "unknown unknown"],
) -> Float[Array, "unknown unknown"]:
    """Curvature over the other unknowns after the heading is eliminated."""
    own = jnp.maximum(curvature[2, 2], 1e-300)
    return curvature - curvature[:, 2][:, None] * curvature[2][None, :] / own


def _strongest(scene: LocalizationScene) -> Array:
    """Index of the path with the largest energy."""
    energy = [
        jnp.abs(path.gain) ** 2 * jnp.sum(jnp.abs(path.config[0]) ** 2) for path in paths(scene, 1)
    ]
    return jnp.argmax(jnp.stack(energy))


def threshold_of(paths: int, hypotheses: int) -> float:
    """Log-likelihood that noise alone reaches with the probability `FALSE_ALARM`. [1]

    The energy of white noise in a space of n complex dimensions has a gamma distribution. One
    dimension belongs to each path, whose gain is unknown.

    Args:
        paths: Number of paths, n.
        hypotheses: Number of alternatives, by the union bound.
    """
    return float(gammainccinv(paths, FALSE_ALARM / hypotheses))
