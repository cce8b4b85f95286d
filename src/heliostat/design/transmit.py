r"""The best transmit covariances for surfaces that are already set: the paper's (P2), fast.

.. math:: \min_{R_1..R_L \succeq 0}\ \max_l\ \mathrm{tr}\,F_l^{-1}(R_l)\quad\text{s.t.}\quad
          \tfrac1L\textstyle\sum_l\mathrm{tr}\,R_l \le P_t,\quad \mathrm{tr}(Q_lR_l) \le q_l,
          \quad \mathrm{SNR}_l \ge \gamma.

Whatever M, one surface's problem has five real unknowns. Let :math:`W = \mu I + \nu Q` price a
covariance. The information needs only :math:`B = V^TRV^*`, and the cheapest R with a given B
costs :math:`\mathrm{tr}(CB)`, :math:`C = (V^TW^{-1}V^*)^{-1}`. Of B only
:math:`r = B_{00}` and :math:`D = \mathrm{Re}[B/B_{00}]` count, and the cheapest B with these has
rank two. The Lagrangian dual is then, with a symmetric 2x2 matrix X for each surface,

.. math:: \max\ \sum_l \frac{1}{\tau A_{00}}\Big(\sqrt{\mathrm{tr}(NX)+2\sqrt{\det N\det X}}
          + |\beta|\sqrt{2z}\Big)^2,\quad X \preceq C_{22}(\mu,\nu_l),\quad
          z = s(\mu,\nu_l) - \mathrm{tr}(XS_A)/A_{00} - \xi_l \ge 0,

over prices with :math:`\mu LP_t + \sum\nu_lq_l - \sum\xi_lr_l = 1`, where :math:`\tau =
2T|\beta|^2`, :math:`S_A = \mathrm{Re}[A/A_{00}]`, :math:`s` the cost of one watt at the target,
:math:`r_l` the least of these that gives the SNR, and
:math:`N = I + |\beta|^2\mathrm{Re}(m^*m^T)` the part that the gain's variance adds. The dual is
concave and smooth, so Newton's method on a log barrier solves it in some thirty steps whatever
is active; at a switch of rank the slacks on both sides of :math:`X \preceq C_{22}` just vanish
together. One decomposition of :math:`\Psi G` makes every step cost O(min(M, N)).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float
from scipy.optimize import minimize_scalar

from heliostat.bounds.direction import echo_derivatives, echo_matrices
from heliostat.bounds.fisher import SINGULAR
from heliostat.design.certificate import transmit_lower_bound
from heliostat.design.result import (
    INFEASIBLE,
    NOT_CONVERGED,
    NOT_IDENTIFIABLE,
    OPTIMAL,
    BeamformingDesign,
    constraint_slack,
    surface_bounds,
)
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.sensing_scene import SensingScene
from heliostat.surface.active import reflected_power

SHARPNESS = 3e8
"""Final weight of the objective over the barrier: a relative gap of some 1e-8. More would only
bring the rounding of slacks into the multipliers."""
CENTRED = 1e-6  # Newton decrement at which the last point is good enough
GROWTH = 40.0  # of that weight from one centred point to the next
MAX_STEPS = 80
FLOOR = 1e-9  # added to a Schur complement, relative to its trace
STEP_SIZES = 10  # halvings tried at once in a line search


class SurfaceProblem(eqx.Module):
    """One surface's part of the problem, in the coordinates of its own channel."""

    shape: Float[Array, "2 2"]  # S_A / A_00 [rad⁻²]
    mean_slope: Complex[Array, "2"]  # A_0i / A_00 [rad⁻¹]
    price: Float[Array, "mode"]  # eigenvalues of K [1]
    pairs: Float[Array, "mode 9"]  # of each mode in V^T (mu + nu K)^-1 V*, as `_matrices` has it
    ways: Complex[Array, "3 mode"]  # v, its slopes, in the modes
    basis: Complex[Array, "tx mode"]  # from modes to antennas
    echo_gain: Scalar  # |beta|² |psi|² [1]
    gain: Scalar  # |beta| [1]
    strength: Scalar  # tau A_00 = 2 T |beta|² A_00 [1/W]
    limit: Scalar  # q, what P_s leaves to the signal [W]
    identifiable: Bool[Array, ""]


class _Prices(NamedTuple):
    """Unknowns of the dual; the shares are parts of the budget of prices, which is 1."""

    matrix: Float[Array, "surface 3"]  # X: its (0, 0), (0, 1), (1, 1)
    surface: Float[Array, "surface"]  # nu q
    snr: Float[Array, "surface"]  # xi
    total: Scalar  # mu L P_t


class _Local(NamedTuple):
    """What one surface's prices imply."""

    bound: Scalar  # h, this surface's part of the dual objective
    barrier: Scalar
    slack: Scalar  # z
    spread: Complex[Array, "2 2"]  # (C_22 - X)^-1


def surface_problem(
    scene: SensingScene, index: int, reflection: Complex[Array, "element"], modes: int
) -> SurfaceProblem:
    """Reduce one surface's problem to its channel's modes.

    Args:
        scene: The scene.
        index: Which surface.
        reflection: How it is set. [1]
        modes: To how many modes to pad.
    """
    surface, link = scene.surfaces[index], scene.link(index)
    angles, gain = scene.angles()[index], scene.target_gain[index]
    antennas = link.bs_to_irs.shape[1]
    silent = jnp.zeros((antennas, antennas), dtype=complex)
    ways = echo_derivatives(link, reflection, angles)
    received, _ = echo_matrices(link, reflection, silent, angles)
    corner = jnp.real(received[0, 0])
    lit = corner > 0
    corner = jnp.where(lit, corner, 1.0)
    mean_slope = received[0, 1:] / corner
    shape = jnp.real(
        received[1:, 1:] / corner - jnp.conj(mean_slope)[:, None] * mean_slope[None, :]
    )
    scale = 1 / jnp.sqrt(jnp.maximum(jnp.real(jnp.diagonal(received))[1:] / corner, 1.0))
    share = jnp.linalg.eigvalsh(shape * scale[:, None] * scale[None, :])
    identifiable = lit & (share[0] > SINGULAR)

    weighted = reflection[:, None] * link.bs_to_irs
    elements = weighted.shape[0]
    if elements < antennas:
        # V* = (Psi G)^H D^H with few elements: the same modes, found in the smaller space.
        price, vectors = jnp.linalg.eigh(weighted @ jnp.conj(weighted).T)
        response = target_steering(link.array, angles)
        slope = jax.jacfwd(lambda at: target_steering(link.array, at))(angles)
        coordinates = jnp.concatenate([response[None, :], slope.T]) @ vectors
        basis = jnp.conj(weighted).T @ vectors
        price = jnp.maximum(price, 0.0)
        weight = price
    else:
        price, basis = jnp.linalg.eigh(jnp.conj(weighted).T @ weighted)
        coordinates = ways @ basis
        price = jnp.maximum(price, 0.0)
        weight = jnp.ones_like(price)
    steering = target_steering(link.array, angles)
    own = reflected_power(
        reflection, link.bs_to_irs, silent, steering, gain, surface.noise
    ).own_noise
    pad = modes - price.size
    magnitude = jnp.abs(gain)
    return SurfaceProblem(
        jnp.where(identifiable, shape, jnp.eye(2)),
        mean_slope,
        jnp.pad(price, (0, pad)),
        jnp.pad(_pairs(coordinates, weight), ((0, pad), (0, 0))),
        jnp.pad(coordinates, ((0, 0), (0, pad))),
        jnp.pad(basis, ((0, 0), (0, pad))),
        magnitude**2 * jnp.sum(jnp.abs(reflection) ** 2),
        magnitude,
        2 * link.symbols * magnitude**2 * corner,
        surface.power - own,
        identifiable,
    )


def _pairs(ways: Complex[Array, "3 mode"], weight: Float[Array, "mode"]) -> Array:
    """Products of the ways in each mode: three powers, then real and imaginary parts."""
    first, second, third = ways
    crossed = jnp.stack([first, first, second]) * jnp.conj(jnp.stack([second, third, third]))
    products = [jnp.abs(ways) ** 2, jnp.real(crossed), jnp.imag(crossed)]
    return (jnp.concatenate(products) * weight[None, :]).T


def _matrices(sums: Float[Array, "*batch 9"]) -> Complex[Array, "*batch 3 3"]:
    """Hermitian matrices from their powers and crossed parts."""
    diagonal, crossed = sums[..., :3] + 0j, jax.lax.complex(sums[..., 3:6], sums[..., 6:])
    back = jnp.conj(crossed)
    rows = [
        [diagonal[..., 0], crossed[..., 0], crossed[..., 1]],
        [back[..., 0], diagonal[..., 1], crossed[..., 2]],
        [back[..., 1], back[..., 2], diagonal[..., 2]],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def _split(gram: Complex[Array, "3 3"]) -> tuple[Scalar, Array, Array]:
    """Corner, first column over it, and Schur complement, kept invertible."""
    corner = jnp.real(gram[0, 0])
    column = gram[1:, 0] / corner
    schur = gram[1:, 1:] - corner * column[:, None] * jnp.conj(column)[None, :]
    # Two antennas leave a Schur complement of rank one.
    return corner, column, schur + FLOOR * jnp.real(jnp.trace(schur)) * jnp.eye(2)


def _inverse(matrix: Complex[Array, "2 2"]) -> Array:
    """Inverse of a Hermitian 2x2 matrix."""
    (a, b), (_, d) = matrix
    determinant = jnp.real(a) * jnp.real(d) - jnp.real(b * jnp.conj(b))
    return jnp.array([[d, -b], [-jnp.conj(b), a]]) / determinant


def _local(
    problem: SurfaceProblem,
    gram: Complex[Array, "3 3"],
    coupling: Complex[Array, "2"],
    matrix: Float[Array, "3"],
    price: Scalar,
    share: Scalar,
    snr: Scalar,
) -> _Local:
    """One surface's share of the dual objective and its barrier.

    Args:
        problem: The surface's problem.
        gram: V^T (mu + nu K)^-1 V*.
        coupling: k = B_i0 / B_00.
        matrix: X.
        price: nu.
        share: nu q.
        snr: xi.
    """
    corner, _, schur = _split(gram)
    weighting = _gain_weighting(problem, coupling)
    a, b, d = matrix
    x = jnp.array([[a, b], [b, d]])
    determinant = a * d - b * b
    slack = 1 / corner + price * problem.echo_gain
    slack -= jnp.sum(x * problem.shape) + snr
    # C - X = L^-H (I - L^H X L) L^-1 with L L^H = C^-1: no digits are lost where C is huge, nor
    # where X comes close to C in every direction.
    root_one = jnp.sqrt(jnp.real(schur[0, 0]))
    below = schur[1, 0] / root_one
    root_two = jnp.sqrt(jnp.real(schur[1, 1]) - jnp.abs(below) ** 2)
    lower = jnp.array([[root_one + 0j, 0.0], [below, root_two]])
    left = jnp.eye(2) - jnp.conj(lower).T @ x @ lower
    left_det = jnp.real(left[0, 0]) * jnp.real(left[1, 1]) - jnp.abs(left[0, 1]) ** 2
    spread = lower @ _inverse(left) @ jnp.conj(lower).T
    weighting_det = weighting[0, 0] * weighting[1, 1] - weighting[0, 1] ** 2
    root = jnp.sqrt(jnp.sum(weighting * x) + 2 * jnp.sqrt(weighting_det * determinant))
    bound = (root + problem.gain * jnp.sqrt(2 * slack)) ** 2 / problem.strength
    barrier = (
        jnp.log(left_det) - 2 * jnp.log(root_one * root_two) + jnp.log(determinant) + jnp.log(slack)
        + jnp.log(share) + jnp.log(snr)
    )  # fmt: skip
    inside = (jnp.real(left[0, 0]) > 0) & (a > 0)
    return _Local(bound, jnp.where(inside, barrier, jnp.nan), slack, spread)


def _gain_weighting(problem: SurfaceProblem, coupling: Complex[Array, "2"]) -> Array:
    """N: identity, and what an error of the angles does to the gain's estimate."""
    slope = problem.gain * (problem.mean_slope + coupling)
    return jnp.eye(2) + jnp.real(jnp.conj(slope)[:, None] * slope[None, :])


class _Problem(NamedTuple):
    surfaces: SurfaceProblem  # stacked
    budget: Scalar  # L P_t [W]
    least: Float[Array, "surface"]  # watts at the target that give the least SNR [W]


def _gram_at(problem: SurfaceProblem, share: Scalar, total: Scalar, budget: Scalar) -> Array:
    price = total / budget + share / problem.limit * problem.price
    return _matrices((1 / price) @ problem.pairs)


def _locals(problem: _Problem, prices: _Prices, coupling: Complex[Array, "surface 2"]) -> _Local:
    """`_local` of every surface."""

    def one(surface: SurfaceProblem, k: Array, matrix: Array, share: Scalar, snr: Scalar) -> _Local:
        gram = _gram_at(surface, share, prices.total, problem.budget)
        return _local(surface, gram, k, matrix, share / surface.limit, share, snr)

    return jax.vmap(one)(problem.surfaces, coupling, prices.matrix, prices.surface, prices.snr)


def _merit(problem: _Problem, prices: _Prices, coupling: Array, sharpness: Scalar) -> Scalar:
    """Barrier function; -inf outside."""
    local = _locals(problem, prices, coupling)
    merit = sharpness * jnp.log(jnp.sum(local.bound)) + jnp.sum(local.barrier)
    merit += jnp.log(prices.total)
    return jnp.where(jnp.isfinite(merit), merit, -jnp.inf)


def _newton_step(
    problem: _Problem, prices: _Prices, coupling: Array, sharpness: Scalar
) -> tuple[_Prices, Scalar]:
    """Newton direction of the barrier function on the budget of prices, and its decrement."""
    surfaces = problem.surfaces
    count = problem.least.size

    def expand(
        surface: SurfaceProblem, k: Array, matrix: Array, share: Scalar, snr: Scalar
    ) -> tuple[Array, Array, Array]:
        """Value, gradient, Hessian of bound and barrier over (X, nu q, xi, mu L P_t)."""
        per_share, per_total = 1 / surface.limit, 1 / problem.budget
        at = prices.total * per_total + share * per_share * surface.price
        inverse = 1 / at
        along = jnp.stack([per_share * surface.price, jnp.full_like(at, per_total)])
        first = -(inverse**2)[None, :] * along
        second = 2 * (inverse**3)[None, None, :] * along[:, None, :] * along[None, :, :]
        moments = jnp.concatenate([inverse[None, :], first, second.reshape(4, -1)])
        grams = _matrices(moments @ surface.pairs)

        def terms(move: Float[Array, "6"]) -> Array:
            change = move[jnp.array([3, 5])]
            gram = (
                grams[0]
                + jnp.tensordot(change, grams[1:3], 1)
                + jnp.tensordot(jnp.outer(change, change).ravel(), grams[3:], 1) / 2
            )
            moved = share + move[3]
            local = _local(
                surface, gram, k, matrix + move[:3], moved * per_share, moved, snr + move[4]
            )
            return jnp.stack([local.bound, local.barrier])

        zero = jnp.zeros(6)
        return terms(zero), jax.jacfwd(terms)(zero), jax.jacfwd(jax.jacrev(terms))(zero)

    value, gradient, hessian = jax.vmap(expand)(
        surfaces, coupling, prices.matrix, prices.surface, prices.snr
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
    # Near the end rounding may leave an eigenvalue below zero: then the next shift is taken.
    shifts = jnp.array([1e-15, 1e-12, 1e-9])
    factors = jnp.linalg.cholesky(scaled[None] + shifts[:, None, None] * jnp.eye(size)[None])
    sound = jnp.all(jnp.isfinite(factors), axis=(1, 2))
    factor = factors[jnp.argmax(sound)]
    both = jax.scipy.linalg.cho_solve((factor, True), jnp.stack([slope * scale, border], axis=1))
    multiplier = (border @ both[:, 0]) / (border @ both[:, 1])
    step = (both[:, 0] - multiplier * both[:, 1]) * scale
    decrement = jnp.abs(step @ slope)
    blocks = step[: 5 * count].reshape(count, 5)
    return _Prices(blocks[:, :3], blocks[:, 3], blocks[:, 4], step[-1]), decrement


def _start(problem: _Problem) -> _Prices:
    """A point well inside: equal shares of the price, half of what X may be."""
    count = problem.least.size
    share = jnp.full(count, 1.0 / (count + 1))

    def own(surface: SurfaceProblem, share: Scalar) -> tuple[Scalar, Array]:
        gram = _gram_at(surface, share, jnp.asarray(1.0 / (count + 1)), problem.budget)
        corner, _, schur = _split(gram)
        cost = 1 / corner + share / surface.limit * surface.echo_gain
        # A Hermitian matrix is at most twice its real part, so half the inverse of that is inside.
        x = jnp.real(_inverse(jnp.real(schur) + 0j)) / 4
        used = jnp.sum(x * surface.shape)
        x = x * jnp.minimum(1.0, cost / 2 / used)
        return cost, jnp.stack([x[0, 0], x[0, 1], x[1, 1]])

    cost, matrix = jax.vmap(own)(problem.surfaces, share)
    snr = jnp.minimum(cost / 4, 0.25 / (count * jnp.maximum(problem.least, 1e-300)))
    grown = 1 + jnp.sum(snr * problem.least)  # prices are homogeneous: all others grow with it
    return _Prices(matrix, share * grown, snr, jnp.asarray(grown / (count + 1)))


class _State(NamedTuple):
    prices: _Prices
    sharpness: Scalar
    steps: Array
    done: Array


def _illumination(surface: SurfaceProblem, at: _Local, total: Scalar, sharpness: Scalar) -> Scalar:
    """Multiplier of z >= 0: watts at the target, r."""
    root = jnp.sqrt(surface.strength * at.bound)
    slope = root * surface.gain * jnp.sqrt(2 / at.slack) / surface.strength
    return slope / total + 1 / (sharpness * at.slack)


def _cheapest(problem: _Problem, prices: _Prices) -> Complex[Array, "surface 2"]:
    """The k that costs least, k_0 = G_i0 / G_00."""

    def one(surface: SurfaceProblem, share: Scalar) -> Array:
        return _split(_gram_at(surface, share, prices.total, problem.budget))[1]

    return jax.vmap(one)(problem.surfaces, prices.surface)


def _solve_dual(problem: _Problem) -> _State:
    """Follow the centre of the dual until the barrier weighs nothing."""

    def advance(state: _State) -> _State:
        prices = state.prices
        coupling = _cheapest(problem, prices)
        step, decrement = _newton_step(problem, prices, coupling, state.sharpness)
        sizes = 0.5 ** jnp.arange(STEP_SIZES)
        candidates = jax.vmap(lambda size: jax.tree.map(lambda at, d: at + size * d, prices, step))(
            sizes
        )
        merits = jax.vmap(lambda p: _merit(problem, p, coupling, state.sharpness))(candidates)
        # Close to the centre a full step is right and merits differ by rounding only.
        near = (decrement < 0.1) & jnp.isfinite(merits[0])
        best = jnp.where(near, 0, jnp.argmax(merits))
        usable = jnp.isfinite(merits[best]) & jnp.all(jnp.isfinite(step.matrix))
        moved = jax.tree.map(lambda at, c: jnp.where(usable, c[best], at), prices, candidates)
        centred = decrement < 0.5
        last = state.sharpness >= SHARPNESS
        done = state.done | ~usable | (last & (decrement < CENTRED))
        sharpness = jnp.where(
            centred, jnp.minimum(state.sharpness * GROWTH, SHARPNESS), state.sharpness
        )
        moved = jax.tree.map(lambda new, old: jnp.where(state.done, old, new), moved, state.prices)
        return _State(moved, sharpness, state.steps + 1, done)

    start = _State(_start(problem), jnp.asarray(10.0), jnp.asarray(0), jnp.asarray(False))
    return jax.lax.while_loop(lambda state: ~state.done & (state.steps < MAX_STEPS), advance, start)


def _recover(problem: _Problem, state: _State) -> Complex[Array, "surface tx tx"]:
    r"""Covariances from prices: multipliers of :math:`X \preceq C_{22}` and of z are B's parts."""
    prices, sharpness = state.prices, state.sharpness
    local = _locals(problem, prices, _cheapest(problem, prices))
    total = jnp.sum(local.bound)

    def covariance(surface: SurfaceProblem, at: _Local, share: Scalar) -> Complex[Array, "tx tx"]:
        gram = _gram_at(surface, share, prices.total, problem.budget)
        corner, column, schur = _split(gram)
        inverse = 1 / (prices.total / problem.budget + share / surface.limit * surface.price)
        beams = surface.basis @ (inverse[:, None] * jnp.conj(surface.ways).T)
        others = (beams[:, 1:] - beams[:, :1] * jnp.conj(column)[None, :]) @ _inverse(schur)
        main = beams[:, 0] / corner
        illumination = _illumination(surface, at, total, sharpness)
        first = illumination * main[:, None] * jnp.conj(main)[None, :]
        return first + others @ (at.spread / sharpness) @ jnp.conj(others).T

    return jax.vmap(covariance)(problem.surfaces, local, prices.surface)


def _slopes(problem: _Problem, prices: _Prices) -> Float[Array, "surface 4 4"]:
    r"""The :math:`Z_l` of `certificate` that the prices stand for.

    X prices the information J that is left when the gain is eliminated. For the best K,
    :math:`J = [I, -K]F[I, -K]^T`, and for any other it is less; z prices that of the gain.
    """
    coupling = _cheapest(problem, prices)
    local = _locals(problem, prices, coupling)

    def one(surface: SurfaceProblem, at: _Local, k: Array, matrix: Array) -> Array:
        a, b, d = matrix
        slope = surface.mean_slope + k
        apart = jnp.concatenate(
            [jnp.eye(2), -jnp.stack([jnp.real(slope), jnp.imag(slope)], axis=1)], axis=1
        )
        gain = jnp.diag(jnp.array([0.0, 0.0, 1.0, 1.0])) * at.slack / 2
        return (apart.T @ jnp.array([[a, b], [b, d]]) @ apart + gain) / surface.strength

    return jax.vmap(one)(problem.surfaces, local, coupling, prices.matrix)


def _balanced(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    covariance: Complex[Array, "surface tx tx"],
    limit: Float[Array, "surface"],
    min_snr: Scalar,
) -> Complex[Array, "surface tx tx"]:
    """Scale covariances to keep every power, and to make the CRBs as even as powers allow.

    A CRB falls as the scale of its covariance grows, so the best scales follow from one number,
    the CRB of the surfaces that have power left; it is found by bisection. A surface that has
    none keeps its larger CRB and the rest of the power goes to the others.
    """
    angles = scene.angles()
    radiated = []
    for i, psi in enumerate(reflection):
        steering = target_steering(scene.surfaces[i].array, angles[i])
        power = reflected_power(
            psi, scene.bs_to_irs[i], covariance[i], steering, scene.target_gain[i], jnp.zeros(())
        )
        radiated.append(power.total)
    room = limit / jnp.stack(radiated)
    spent = jnp.real(jax.vmap(jnp.trace)(covariance))
    budget = scene.n_surfaces * scene.base_station.power
    bounds = surface_bounds(scene, reflection, covariance)
    crb = jnp.stack([b.crb for b in bounds])
    even = jnp.where(jnp.all(jnp.isfinite(crb)), crb, 1.0)
    needed = min_snr / jnp.maximum(jnp.stack([b.snr for b in bounds]), 1e-300)

    def scales(level: Scalar) -> Float[Array, "surface"]:
        return jnp.minimum(jnp.maximum(even / level, needed), room)

    def halve(_: Array, ends: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = ends
        middle = jnp.sqrt(low * high)
        fits = jnp.sum(scales(middle) * spent) <= budget
        return jnp.where(fits, low, middle), jnp.where(fits, middle, high)

    most = jnp.sum(even * spent) / budget
    _, level = jax.lax.fori_loop(0, 60, halve, (1e-6 * most, most))
    scale = scales(level)
    scale *= jnp.minimum(1.0, budget / jnp.sum(scale * spent))
    # Rounding of the sums above must not leave a violation.
    return covariance * (scale * (1 - 1e-12))[:, None, None]


def design_transmit(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    *,
    min_snr: float = 0.0,
) -> BeamformingDesign:
    """Transmit covariances of least worst CRB for surfaces that are already set, paper's (P2).

    Where a surface limits the worst CRB and the base station has power left, it is spent on the
    others as far as they can take it.

    Args:
        scene: The scene.
        reflection: How the surfaces are set. [1]
        min_snr: Least SNR of the matched filter at every surface; 0 is the paper's own problem,
            whose optimum may leave the target itself in the dark. [1]

    Raises:
        ValueError: A coefficient exceeds its amplification, a surface's power is below its own
            amplified noise, or the SNR is out of reach.
    """
    _check(scene, reflection)
    design = solve_transmit(scene, reflection, jnp.asarray(min_snr, dtype=float))
    if int(design.code) == INFEASIBLE:
        reachable = largest_snr(scene, reflection)
        raise ValueError(
            f"An SNR of {min_snr:.4g} cannot be reached at every surface; at most "
            f"{reachable:.4g} can."
        )
    return design


def _check(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> None:
    """Refuse reflections that no transmit covariance can make feasible."""
    angles = scene.angles()
    antennas = scene.base_station.array.elements
    silent = jnp.zeros((antennas, antennas), dtype=complex)
    for i, (surface, psi) in enumerate(zip(scene.surfaces, reflection, strict=True)):
        largest = float(jnp.max(jnp.abs(psi)))
        if largest > float(surface.amplification) * (1 + 1e-9):
            raise ValueError(
                f"Surface {i}: a coefficient of amplitude {largest:.6g} exceeds the amplification "
                f"{float(surface.amplification):.6g}."
            )
        steering = target_steering(surface.array, angles[i])
        power = reflected_power(
            psi, scene.bs_to_irs[i], silent, steering, scene.target_gain[i], surface.noise
        )
        if float(power.own_noise) >= float(surface.power):
            raise ValueError(
                f"Surface {i}: its own amplified noise takes {float(power.own_noise):.6g} W, its "
                f"power is {float(surface.power):.6g} W; it needs more than the former."
            )


def largest_snr(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> float:
    """Largest SNR that all surfaces' echoes can have together, whatever their CRB. [1]

    Args:
        scene: The scene.
        reflection: How the surfaces are set. [1]
    """
    sizes = [min(g.shape) for g in scene.bs_to_irs]
    each = [surface_problem(scene, i, psi, max(sizes)) for i, psi in enumerate(reflection)]
    budget = scene.n_surfaces * float(scene.base_station.power)

    def least_power(problem: SurfaceProblem, snr: float) -> float:
        """Of the base station, for one surface; inf if the surface cannot radiate enough."""
        watts = 2 * snr / float(problem.strength)
        modes = np.asarray(problem.pairs[:, 0])
        price, limit = np.asarray(problem.price), float(problem.limit)
        if not np.isfinite(limit):
            return watts / modes.sum()

        def dual(log_price: float) -> float:
            nu = np.exp(log_price)
            cost = 1 / np.sum(modes / (1 + nu * price)) + nu * float(problem.echo_gain)
            return nu * limit - watts * cost

        top = np.log(1e12 / price.max())
        found = minimize_scalar(dual, bounds=(top - 50, top), method="bounded")
        return np.inf if found.x > top - 1e-3 else max(-found.fun, watts / modes.sum())

    low, high = (
        0.0,
        min(float(p.strength) / 2 * budget * float(jnp.sum(p.pairs[:, 0])) for p in each),
    )
    for _ in range(50):
        middle = (low + high) / 2
        fits = sum(least_power(p, middle) for p in each) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return low


@eqx.filter_jit
def solve_transmit(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    min_snr: Scalar,
) -> BeamformingDesign:
    """`design_transmit` for use under ``jax.vmap`` and ``jax.jit``: it says by its code, not by an
    error, what cannot be. Arguments as there, except that ``min_snr`` is an array.
    """
    sizes = [min(g.shape) for g in scene.bs_to_irs]
    each = [surface_problem(scene, i, psi, max(sizes)) for i, psi in enumerate(reflection)]
    surfaces = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    powered = surfaces.limit > 0
    identifiable = jnp.all(surfaces.identifiable)
    surfaces = eqx.tree_at(lambda s: s.limit, surfaces, jnp.where(powered, surfaces.limit, 1.0))
    budget = scene.n_surfaces * scene.base_station.power
    problem = _Problem(surfaces, budget, 2 * min_snr / surfaces.strength)
    state = _solve_dual(problem)
    covariance = _recover(problem, state)
    usable = identifiable & jnp.all(powered) & jnp.all(jnp.isfinite(covariance))
    antennas = covariance.shape[1]
    even = jnp.broadcast_to(jnp.eye(antennas, dtype=complex) / antennas, covariance.shape)
    covariance = jnp.where(usable, covariance, scene.base_station.power * even)
    covariance = _balanced(scene, reflection, covariance, surfaces.limit, min_snr)
    covariance *= jnp.all(powered)

    bounds = surface_bounds(scene, reflection, covariance)
    crb = jnp.stack([b.crb for b in bounds])
    snr = jnp.stack([b.snr for b in bounds])
    prices = state.prices
    lower = transmit_lower_bound(
        scene,
        reflection,
        _slopes(problem, prices),
        prices.total / budget,
        prices.surface / surfaces.limit,
        prices.snr,
        min_snr,
    )
    lower = jnp.where(usable, jnp.minimum(lower, jnp.max(crb)), 0.0)
    reached = jnp.all(snr >= min_snr * (1 - 1e-6))
    close = lower >= (1 - 1e-6) * jnp.max(crb)
    code = jnp.where(close, OPTIMAL, NOT_CONVERGED)
    code = jnp.where(reached, code, INFEASIBLE)
    code = jnp.where(identifiable, code, NOT_IDENTIFIABLE)
    code = jnp.where(jnp.all(powered), code, INFEASIBLE)
    return BeamformingDesign(
        covariance,
        reflection,
        crb,
        jnp.stack([b.direction_std for b in bounds]),
        snr,
        lower,
        constraint_slack(scene, reflection, covariance, snr, min_snr),
        jnp.max(crb)[None],
        state.steps,
        code,
    )
