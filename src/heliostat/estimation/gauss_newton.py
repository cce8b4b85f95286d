r"""Levenberg-Marquardt maximization of the likelihood of a mean that is an outer product.

The mean of the pilots is :math:`g\,u`, :math:`u = a \otimes b \otimes c`, with few entries in each
factor. The log-likelihood, its gradient and its Gauss-Newton curvature need only inner products,
and inner products of outer products are products of the factors' inner products, so no residual
as long as the samples is computed. With :math:`f` a factor and :math:`f_i` its derivative with
respect to the i-th unknown, the Gauss-Newton curvature with the gain eliminated is a sum over the
factors,

.. math:: 2|g|^2\|u\|^2 \sum_f \mathrm{Re}\Big(\frac{f_i^Hf_j}{\|f\|^2}
          - \frac{f_i^Hf}{\|f\|^2}\frac{f^Hf_j}{\|f\|^2}\Big).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int

from heliostat.geometry.frames import Scalar

MAX_STEPS = 100
STOP = 1e-12
"""Newton decrement at which the iteration stops. [1]"""
CONVERGED = 1e-3
"""Largest Newton decrement of a converged result. [1]"""
ROUNDING = 1e-12
"""Relative rounding error of the log-likelihood, by which a step may decrease it."""

Moves: TypeAlias = Float[Array, "unknown"]
Factors: TypeAlias = tuple[
    Complex[Array, "config"], Complex[Array, "antenna"], Complex[Array, "bin"]
]


class Likelihood(NamedTuple):
    """Log-likelihood up to a constant, and its first and second order terms."""

    value: Scalar  # [1]
    gradient: Float[Array, "unknown"]
    curvature: Float[Array, "unknown unknown"]  # Gauss-Newton, positive semidefinite


def likelihood(
    samples: Complex[Array, "config antenna bin"],
    factors: Callable[[Moves], Factors],
    moves: Moves,
    noise_density: Scalar,
    gain: Complex[Array, ""] | None,
) -> Likelihood:
    r"""Log-likelihood :math:`(\|y\|^2 - \|y - gu\|^2)/N_0`, its gradient and curvature.

    Args:
        samples: :math:`y`. [√J]
        factors: Function that returns the factors of the mean for a gain of one.
        moves: Unknowns, each divided by its natural scale. [1]
        noise_density: :math:`N_0`. [J]
        gain: Known gain; None for the maximum-likelihood gain :math:`u^Hy/\|u\|^2`. [1]
    """
    value: Factors = factors(moves)
    derivative: Factors = jax.jacfwd(factors)(moves)  # last axis: the unknowns
    over_config, over_antenna, over_bin = (jnp.conj(factor) for factor in value)
    beamed = jnp.einsum("kmf,f->km", samples, over_bin)
    combined = jnp.einsum("k,kmf->mf", over_config, samples)
    partial = (beamed @ over_antenna, over_config @ beamed, over_antenna @ combined)
    overlap = partial[1] @ over_antenna
    overlap_gradient = sum(
        each @ jnp.conj(change) for each, change in zip(partial, derivative, strict=True)
    )

    energies = [jnp.sum(jnp.abs(factor) ** 2) for factor in value]
    energies = [jnp.where(energy > 0, energy, 1.0) for energy in energies]
    energy = jnp.prod(jnp.stack(energies))
    parallel = jnp.zeros(moves.shape, dtype=complex)
    orthogonal = jnp.zeros(moves.shape * 2)
    for factor, change, own in zip(value, derivative, energies, strict=True):
        share = jnp.conj(change).T @ factor / own
        parallel = parallel + share
        each = jnp.conj(change).T @ change / own - share[:, None] * jnp.conj(share)[None, :]
        orthogonal = orthogonal + jnp.real(each)
    if gain is None:
        gain = overlap / energy
    else:
        orthogonal = orthogonal + jnp.real(parallel[:, None] * jnp.conj(parallel)[None, :])
    power = jnp.abs(gain) ** 2 * energy
    value_times_noise = 2 * jnp.real(jnp.conj(gain) * overlap) - power
    gradient = jnp.real(jnp.conj(gain) * (overlap_gradient - gain * energy * parallel))
    return Likelihood(
        value_times_noise / noise_density,
        2 * gradient / noise_density,
        2 * power * orthogonal / noise_density,
    )


def solve_small(
    matrix: Inexact[Array, "unknown unknown"], right: Inexact[Array, "unknown *column"]
) -> Inexact[Array, "unknown *column"]:
    """Solve a few equations with a positive definite matrix by Gaussian elimination.

    Written out, the elimination is a few scalar operations that XLA fuses with their surroundings;
    a call to LAPACK costs several times more and does not fuse.

    Args:
        matrix: Coefficients. If it is singular, the result is not finite.
        right: Right-hand side, or several as columns.
    """
    count = len(matrix)
    table = jnp.concatenate([matrix, right.reshape(count, -1)], axis=1)
    for i in range(count):
        row = table[i] / table[i, i]
        others = jnp.arange(count) != i
        table = jnp.where(
            others[:, None], table - table[:, i][:, None] * row[None, :], row[None, :]
        )
    return table[:, count:].reshape(right.shape)


class Maximum(NamedTuple):
    """Result of `levenberg_marquardt`."""

    moves: Moves
    value: Scalar  # log-likelihood, -inf if the iteration was not started [1]
    converged: Bool[Array, ""]  # Newton decrement below CONVERGED


class _State(NamedTuple):
    moves: Moves
    current: Likelihood
    damping: Scalar
    steps: Int[Array, ""]
    done: Bool[Array, ""]


def newton_decrement(current: Likelihood) -> Scalar:
    r"""Gain in log-likelihood that the quadratic model predicts, :math:`g^TC^{-1}g/2`. [1]

    It is ``inf`` where the curvature is singular.
    """
    step = solve_small(current.curvature, current.gradient)
    decrement = step @ current.gradient / 2
    return jnp.where(decrement >= 0, decrement, jnp.inf)


def levenberg_marquardt(
    objective: Callable[[Moves], Likelihood],
    start: Moves,
    enabled: Bool[Array, ""],
    max_steps: int = MAX_STEPS,
) -> Maximum:
    """Maximize a log-likelihood by the Levenberg-Marquardt method.

    The iteration ends when the Newton decrement, the gain in log-likelihood that the undamped
    quadratic model predicts, is negligible. A step length would not do: where the unknowns are
    nearly degenerate, short damped steps can be far from a maximum.

    Args:
        objective: Log-likelihood of the unknowns, each divided by its natural scale.
        start: Initial unknowns.
        enabled: Whether to iterate at all.
        max_steps: Largest number of evaluations.
    """

    def step(state: _State) -> _State:
        moves, current, damping, steps, _ = state
        scale = jnp.diagonal(current.curvature)
        scale = jnp.where(scale > 0, scale, 1.0)
        change = solve_small(current.curvature + jnp.diag(damping * scale), current.gradient)
        change = jnp.where(jnp.isfinite(change), change, 0.0)
        trial = objective(moves + change)
        accepted = trial.value >= current.value - ROUNDING * jnp.abs(current.value)
        moves, current = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old),
            (moves + change, trial),
            (moves, current),
        )
        damping = jnp.maximum(damping * jnp.where(accepted, 0.1, 8.0), 1e-14)
        finished = jnp.isfinite(current.value) & (newton_decrement(current) <= STOP)
        done = finished | (damping > 1e12) | (steps >= max_steps)
        return _State(moves, current, damping, steps + 1, done)

    # The first step has length zero and evaluates the start, so `objective` is compiled only once.
    initial = Likelihood(jnp.asarray(-jnp.inf), jnp.zeros_like(start), jnp.eye(start.size))
    begun = _State(start, initial, jnp.asarray(1e-1), jnp.asarray(0), ~enabled)
    ended = jax.lax.while_loop(lambda state: ~state.done, step, begun)
    valid = enabled & jnp.isfinite(ended.current.value)
    converged = valid & (newton_decrement(ended.current) <= CONVERGED)
    return Maximum(ended.moves, jnp.where(valid, ended.current.value, -jnp.inf), converged)
