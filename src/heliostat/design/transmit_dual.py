r"""Dual of the paper's (P2) with five unknowns per surface, and its barrier method.

.. math:: \min_{R_1..R_L \succeq 0}\ \max_l\ \mathrm{tr}\,F_l^{-1}(R_l)\quad\text{s.t.}\quad
          \tfrac1L\textstyle\sum_l\mathrm{tr}\,R_l \le P_t,\quad \mathrm{tr}(Q_lR_l) \le q_l,
          \quad \mathrm{SNR}_l \ge \gamma.

The problem of one surface has five real unknowns for any number of antennas M. Let
:math:`\mathrm{tr}(WR)`, :math:`W = \mu I + \nu Q`, be the cost of a covariance at given
multipliers of the power constraints. The information depends on R only through
:math:`B = V^TRV^*`, and the smallest cost of an R with a given B is :math:`\mathrm{tr}(CB)`,
:math:`C = (V^TW^{-1}V^*)^{-1}`. The CRB depends on B only through :math:`r = B_{00}` and
:math:`D = \mathrm{Re}[B/B_{00}]`, and the B of smallest cost for given r and D has rank two. With a
symmetric 2x2 matrix X for each surface, the Lagrangian dual is

.. math:: \max\ \sum_l \frac{1}{\tau A_{00}}\Big(\sqrt{\mathrm{tr}(NX)+2\sqrt{\det N\det X}}
          + |\beta|\sqrt{2z}\Big)^2,\quad X \preceq C_{22}(\mu,\nu_l),\quad
          z = s(\mu,\nu_l) - \mathrm{tr}(XS_A)/A_{00} - \xi_l \ge 0,

over multipliers with :math:`\mu LP_t + \sum\nu_lq_l - \sum\xi_lr_l = 1`. Here :math:`\tau =
2T|\beta|^2`, :math:`S_A = \mathrm{Re}[A/A_{00}]`, :math:`s` is the cost of one watt at the target,
:math:`r_l` is the number of watts at the target that gives the SNR :math:`\gamma`, and
:math:`N = I + |\beta|^2\mathrm{Re}(m^*m^T)` includes the contribution of the gain's variance to the
CRB. The dual is concave and smooth, so Newton's method on a logarithmic barrier solves it in about
thirty steps, for any set of active constraints and also where the rank of the optimal R changes.
After one eigendecomposition of :math:`\Psi G`, a step costs O(min(M, N)).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.design.transmit_problem import SurfaceProblem, TransmitProblem
from heliostat.geometry.frames import Scalar

SHARPNESS = 1e8
"""Final weight of the objective relative to the barrier, for a relative gap of about 1e-7. With
3e8, rounding errors of the slacks made it 6e-6 in some problems with a minimum SNR."""
CENTERED = 1e-6  # Newton decrement at which the iteration stops at the final weight
GROWTH = 40.0  # factor of the weight from one centered point to the next
MAX_STEPS = 80
FLOOR = 1e-9  # regularization of a Schur complement, relative to its trace
STEP_SIZES = 10  # step sizes 1, 1/2, 1/4, ... evaluated at once in the line search


class Prices(NamedTuple):
    """Unknowns of the dual problem."""

    matrix: Float[Array, "surface 3"]  # entries (0, 0), (0, 1), (1, 1) of X
    surface: Float[Array, "surface"]  # nu q
    snr: Float[Array, "surface"]  # xi
    total: Scalar  # mu L P_t


class _Local(NamedTuple):
    """Dual objective, barrier and slacks of one surface."""

    bound: Scalar  # contribution to the dual objective
    barrier: Scalar
    slack: Scalar  # z
    factors: "_Factors"


class _Factors(NamedTuple):
    """Entries of L and of I - L^H X L, with L L^H = C_22^-1."""

    root_one: Scalar  # diagonal of L ...
    root_two: Scalar
    below: Complex[Array, ""]  # ... and the entry below it
    left_one: Scalar  # first entry of I - L^H X L ...
    left_det: Scalar  # ... its determinant ...
    cross: Complex[Array, ""]  # ... and the entry above its diagonal


class _Gram(NamedTuple):
    """V^T (mu + nu K)^-1 V* as its first entry, scaled first column and Schur complement."""

    corner: Scalar
    column: Complex[Array, "2"]  # rest of the first column, divided by the corner
    one: Scalar  # Schur complement of the corner, regularized: its diagonal ...
    two: Scalar
    across: Complex[Array, ""]  # ... and the entry above it


def _gram(sums: Float[Array, "9"]) -> _Gram:
    """Assemble from sums over the modes of the products in `SurfaceProblem.pairs`."""
    corner, one, two, re_1, re_2, re_12, im_1, im_2, im_12 = sums
    one = one - (re_1**2 + im_1**2) / corner
    two = two - (re_2**2 + im_2**2) / corner
    across = jax.lax.complex(
        re_12 - (re_1 * re_2 + im_1 * im_2) / corner, im_12 - (re_1 * im_2 - im_1 * re_2) / corner
    )
    column = jax.lax.complex(jnp.stack([re_1, re_2]), -jnp.stack([im_1, im_2])) / corner
    # With two antennas the Schur complement has rank one.
    floor = FLOOR * (one + two)
    return _Gram(corner, column, one + floor, two + floor, across)


def _local(
    problem: SurfaceProblem,
    gram: _Gram,
    weighting: Float[Array, "2 2"],
    matrix: Float[Array, "3"],
    share: Scalar,
    snr: Scalar,
) -> _Local:
    """Dual objective and barrier of one surface.

    Args:
        problem: The surface's problem.
        gram: V^T (mu + nu K)^-1 V*.
        weighting: N.
        matrix: X.
        share: nu q.
        snr: xi.
    """
    a, b, d = matrix
    determinant = a * d - b * b
    shape = problem.shape
    slack = 1 / gram.corner + share / problem.limit * problem.echo_gain - snr
    slack -= a * shape[0, 0] + 2 * b * shape[0, 1] + d * shape[1, 1]
    # C - X = L^-H (I - L^H X L) L^-1 with L L^H = C^-1 avoids cancellation where C is large or X
    # is close to C.
    root_one = jnp.sqrt(gram.one)
    below = jnp.conj(gram.across) / root_one
    real, imag = jnp.real(below), jnp.imag(below)
    root_two = jnp.sqrt(gram.two - real**2 - imag**2)
    left_one = 1 - (gram.one * a + 2 * root_one * real * b + (real**2 + imag**2) * d)
    left_two = 1 - root_two**2 * d
    side, turned = root_two * (root_one * b + real * d), -root_two * imag * d
    left_det = left_one * left_two - side**2 - turned**2
    weighting_det = weighting[0, 0] * weighting[1, 1] - weighting[0, 1] ** 2
    trace = weighting[0, 0] * a + 2 * weighting[0, 1] * b + weighting[1, 1] * d
    root = jnp.sqrt(trace + 2 * jnp.sqrt(weighting_det * determinant))
    bound = (root + problem.gain * jnp.sqrt(2 * slack)) ** 2 / problem.strength
    barrier = jnp.log(left_det) + jnp.log(determinant / (root_one * root_two) ** 2)
    barrier += jnp.log(slack) + jnp.log(share * snr)
    inside = (left_one > 0) & (left_det > 0) & (a > 0) & (determinant > 0)
    inside &= (slack > 0) & (share > 0) & (snr > 0)
    cross = -jax.lax.complex(side, turned)
    factors = _Factors(root_one, root_two, below, left_one, left_det, cross)
    return _Local(bound, jnp.where(inside, barrier, jnp.nan), slack, factors)


def _spread(at: _Factors) -> Complex[Array, "2 2"]:
    """A square root of C_22 (C_22 - X)^-1 C_22: L^-H times one of (I - L^H X L)^-1."""
    unlike = jnp.conj(at.below) / (at.root_one * at.root_two)
    first, second = jnp.sqrt(at.left_one), jnp.sqrt(at.left_det / at.left_one)
    outer = jnp.array([[1 / at.root_one + 0j, -unlike], [0, 1 / at.root_two]])
    return outer @ jnp.array(
        [[1 / first + 0j, -at.cross / (at.left_one * second)], [0, 1 / second]]
    )


def _gain_weighting(problem: SurfaceProblem, coupling: Complex[Array, "2"]) -> Array:
    """N: the identity plus the effect of angle errors on the estimated gain."""
    slope = problem.gain * (problem.mean_slope + coupling)
    return jnp.eye(2) + jnp.real(jnp.conj(slope)[:, None] * slope[None, :])


def _gram_at(problem: SurfaceProblem, share: Scalar, total: Scalar, budget: Scalar) -> _Gram:
    price = total / budget + share / problem.limit * problem.price
    return _gram((1 / price) @ problem.pairs)


def _cheapest(problem: TransmitProblem, prices: Prices) -> Float[Array, "surface 2 2"]:
    """N at the coupling of smallest cost, G_i0 / G_00 for G = V^T (mu + nu K)^-1 V*."""

    def one(surface: SurfaceProblem, share: Scalar) -> Array:
        gram = _gram_at(surface, share, prices.total, problem.budget)
        return _gain_weighting(surface, gram.column)

    return jax.vmap(one)(problem.surfaces, prices.surface)


def _locals(
    problem: TransmitProblem, prices: Prices, weighting: Float[Array, "surface 2 2"]
) -> _Local:
    """`_local` for all surfaces."""

    def one(surface: SurfaceProblem, n: Array, matrix: Array, share: Scalar, snr: Scalar) -> _Local:
        gram = _gram_at(surface, share, prices.total, problem.budget)
        return _local(surface, gram, n, matrix, share, snr)

    return jax.vmap(one)(problem.surfaces, weighting, prices.matrix, prices.surface, prices.snr)


def _merit(problem: TransmitProblem, prices: Prices, weighting: Array, sharpness: Scalar) -> Scalar:
    """Barrier function; -inf at infeasible points."""
    local = _locals(problem, prices, weighting)
    merit = sharpness * jnp.log(jnp.sum(local.bound)) + jnp.sum(local.barrier)
    merit += jnp.log(prices.total)
    return jnp.where(jnp.isfinite(merit), merit, -jnp.inf)


def _newton_step(
    problem: TransmitProblem, prices: Prices, weighting: Array, sharpness: Scalar
) -> tuple[Prices, Scalar]:
    """Newton direction of the barrier function under the normalization, and its decrement."""
    surfaces = problem.surfaces
    count = problem.least.size

    def expand(
        surface: SurfaceProblem, n: Array, matrix: Array, share: Scalar, snr: Scalar
    ) -> tuple[Array, Array, Array]:
        """Value, gradient and Hessian of bound and barrier over (X, nu q, xi, mu L P_t)."""
        per_share, per_total = 1 / surface.limit, 1 / problem.budget
        inverse = 1 / (prices.total * per_total + share * per_share * surface.price)
        along = jnp.stack([per_share * surface.price, jnp.full_like(inverse, per_total)])
        first = -(inverse**2)[None, :] * along
        second = 2 * (inverse**3)[None, None, :] * along[:, None, :] * along[None, :, :]
        moments = jnp.concatenate([inverse[None, :], first, second.reshape(4, -1)])
        # The sums over the modes and their derivatives are computed once; automatic differentiation
        # then acts on nine numbers instead of all modes.
        sums = moments @ surface.pairs

        def terms(move: Float[Array, "6"]) -> Array:
            change = move[jnp.array([3, 5])]
            square = jnp.outer(change, change).ravel()
            gram = _gram(sums[0] + change @ sums[1:3] + square @ sums[3:] / 2)
            local = _local(surface, gram, n, matrix + move[:3], share + move[3], snr + move[4])
            return jnp.stack([local.bound, local.barrier])

        def slopes(move: Float[Array, "6"]) -> tuple[Array, tuple[Array, Array]]:
            slope, value = jax.jacfwd(lambda at: (terms(at),) * 2, has_aux=True)(move)
            return slope, (value, slope)

        hessian, (value, gradient) = jax.jacfwd(slopes, has_aux=True)(jnp.zeros(6))
        return value, gradient, hessian

    value, gradient, hessian = jax.vmap(expand)(
        surfaces, weighting, prices.matrix, prices.surface, prices.snr
    )
    total = jnp.sum(value[:, 0])
    share = sharpness / total
    size = 5 * count + 1
    own = jnp.arange(5 * count).reshape(count, 5)
    index = jnp.concatenate([own, jnp.full((count, 1), size - 1)], axis=1)
    bound_gradient = jnp.zeros(size).at[index].add(gradient[:, 0])
    slope = share * bound_gradient + jnp.zeros(size).at[index].add(gradient[:, 1])
    curvature = (
        jnp.zeros((size, size))
        .at[index[:, :, None], index[:, None, :]]
        .add(share * hessian[:, 0] + hessian[:, 1])
    )
    slope = slope.at[-1].add(1 / prices.total)
    curvature = curvature.at[-1, -1].add(-1 / prices.total**2)
    curvature -= share / total * bound_gradient[:, None] * bound_gradient[None, :]
    normal = jnp.ones(size).at[own[:, :3]].set(0.0).at[own[:, 4]].set(-problem.least)
    scale = 1 / jnp.sqrt(jnp.maximum(-jnp.diagonal(curvature), 1e-300))
    scaled = -curvature * scale[:, None] * scale[None, :]
    border = normal * scale
    # Rounding may make an eigenvalue negative near the optimum; then a larger shift is used.
    shifts = jnp.array([1e-15, 1e-12, 1e-9])
    factors = jnp.linalg.cholesky(scaled[None] + shifts[:, None, None] * jnp.eye(size)[None])
    sound = jnp.all(jnp.isfinite(factors), axis=(1, 2))
    factor = factors[jnp.argmax(sound)]
    both = jax.scipy.linalg.cho_solve((factor, True), jnp.stack([slope * scale, border], axis=1))
    multiplier = (border @ both[:, 0]) / (border @ both[:, 1])
    step = (both[:, 0] - multiplier * both[:, 1]) * scale
    decrement = jnp.abs(step @ slope)
    blocks = step[: 5 * count].reshape(count, 5)
    return Prices(blocks[:, :3], blocks[:, 3], blocks[:, 4], step[-1]), decrement


def _start(problem: TransmitProblem) -> Prices:
    """A strictly feasible point: equal multipliers, and X at half of its upper limit."""
    count = problem.least.size
    share = jnp.full(count, 1.0 / (count + 1))

    def own(surface: SurfaceProblem, share: Scalar) -> tuple[Scalar, Array]:
        gram = _gram_at(surface, share, jnp.asarray(1.0 / (count + 1)), problem.budget)
        cost = 1 / gram.corner + share / surface.limit * surface.echo_gain
        # A Hermitian matrix is at most twice its real part, so half the inverse of its real part is
        # at most C.
        across = jnp.real(gram.across)
        x = jnp.stack([gram.two, -across, gram.one]) / (gram.one * gram.two - across**2) / 4
        shape = surface.shape
        used = x[0] * shape[0, 0] + 2 * x[1] * shape[0, 1] + x[2] * shape[1, 1]
        return cost, x * jnp.minimum(1.0, cost / 2 / used)

    cost, matrix = jax.vmap(own)(problem.surfaces, share)
    snr = jnp.minimum(cost / 4, 0.25 / (count * jnp.maximum(problem.least, 1e-300)))
    grown = 1 + jnp.sum(
        snr * problem.least
    )  # the other multipliers grow with it to keep the normalization
    return Prices(matrix, share * grown, snr, jnp.asarray(grown / (count + 1)))


class DualPoint(NamedTuple):
    """State of the barrier method."""

    prices: Prices
    sharpness: Scalar
    steps: Array
    done: Array


def _illumination(surface: SurfaceProblem, at: _Local, total: Scalar, sharpness: Scalar) -> Scalar:
    """Multiplier of z >= 0, which is the power at the target, r."""
    root = jnp.sqrt(surface.strength * at.bound)
    slope = root * surface.gain * jnp.sqrt(2 / at.slack) / surface.strength
    return slope / total + 1 / (sharpness * at.slack)


def solve_dual(problem: TransmitProblem) -> DualPoint:
    """Solve the dual by following the central path to the final weight of the objective.

    Args:
        problem: The problem.
    """

    def advance(state: DualPoint) -> DualPoint:
        prices = state.prices
        weighting = _cheapest(problem, prices)
        step, decrement = _newton_step(problem, prices, weighting, state.sharpness)
        sizes = 0.5 ** jnp.arange(STEP_SIZES)
        candidates = jax.vmap(lambda size: jax.tree.map(lambda at, d: at + size * d, prices, step))(
            sizes
        )
        merits = jax.vmap(lambda p: _merit(problem, p, weighting, state.sharpness))(candidates)
        # Close to the center full steps converge, and merits differ only by rounding.
        near = (decrement < 0.1) & jnp.isfinite(merits[0])
        best = jnp.where(near, 0, jnp.argmax(merits))
        usable = jnp.isfinite(merits[best]) & jnp.all(jnp.isfinite(step.matrix))
        moved = jax.tree.map(lambda at, c: jnp.where(usable, c[best], at), prices, candidates)
        centered = decrement < 0.5
        last = state.sharpness >= SHARPNESS
        done = state.done | ~usable | (last & (decrement < CENTERED))
        sharpness = jnp.where(
            centered, jnp.minimum(state.sharpness * GROWTH, SHARPNESS), state.sharpness
        )
        moved = jax.tree.map(lambda new, old: jnp.where(state.done, old, new), moved, state.prices)
        return DualPoint(moved, sharpness, state.steps + 1, done)

    start = DualPoint(_start(problem), jnp.asarray(10.0), jnp.asarray(0), jnp.asarray(False))
    return jax.lax.while_loop(lambda state: ~state.done & (state.steps < MAX_STEPS), advance, start)


def dual_covariances(problem: TransmitProblem, point: DualPoint) -> Complex[Array, "surface tx tx"]:
    r"""Primal covariances, from the multipliers of :math:`X \preceq C_{22}` and :math:`z \ge 0`.

    Args:
        problem: The problem.
        point: A point on the central path of the dual.
    """
    prices, sharpness = point.prices, point.sharpness
    local = _locals(problem, prices, _cheapest(problem, prices))
    total = jnp.sum(local.bound)

    def covariance(surface: SurfaceProblem, at: _Local, share: Scalar) -> Complex[Array, "tx tx"]:
        gram = _gram_at(surface, share, prices.total, problem.budget)
        inverse = 1 / (prices.total / problem.budget + share / surface.limit * surface.price)
        beams = surface.basis @ (inverse[:, None] * jnp.conj(surface.ways).T)
        main = beams[:, 0] / gram.corner
        others = beams[:, 1:] - beams[:, :1] * jnp.conj(gram.column)[None, :]
        others = others @ _spread(at.factors) / jnp.sqrt(sharpness)
        illumination = _illumination(surface, at, total, sharpness)
        first = illumination * main[:, None] * jnp.conj(main)[None, :]
        return first + others @ jnp.conj(others).T

    return jax.vmap(covariance)(problem.surfaces, local, prices.surface)


def dual_slopes(problem: TransmitProblem, prices: Prices) -> Float[Array, "surface 4 4"]:
    r"""Matrices :math:`Z_l` of `certificate` at a point of the dual.

    X is the multiplier of the information J of the angles after eliminating the gain. J is at most
    :math:`[I, -K]F[I, -K]^T`, with equality for the best K. z is the multiplier of the gain's
    information.

    Args:
        problem: The problem.
        prices: Unknowns of its dual.
    """
    local = _locals(problem, prices, _cheapest(problem, prices))

    def one(surface: SurfaceProblem, at: _Local, matrix: Array, share: Scalar) -> Array:
        a, b, d = matrix
        slope = surface.mean_slope
        slope += _gram_at(surface, share, prices.total, problem.budget).column
        apart = jnp.concatenate(
            [jnp.eye(2), -jnp.stack([jnp.real(slope), jnp.imag(slope)], axis=1)], axis=1
        )
        gain = jnp.diag(jnp.array([0.0, 0.0, 1.0, 1.0])) * at.slack / 2
        return (apart.T @ jnp.array([[a, b], [b, d]]) @ apart + gain) / surface.strength

    return jax.vmap(one)(problem.surfaces, local, prices.matrix, prices.surface)
