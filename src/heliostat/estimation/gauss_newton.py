r"""The likelihood of a mean that is an outer product, and the climb to its top.

The mean of the pilots is :math:`g\,u`, :math:`u = a \otimes b \otimes c` with few numbers in each
factor. The likelihood, its slope and its curvature need inner products alone, and those of outer
products are products of the factors' own: no residual as long as the samples is ever formed. With
:math:`f` a factor and :math:`f_i` its slope to the i-th unknown, the curvature of Gauss and Newton
with the gain eliminated is a sum over the factors,

.. math:: 2|g|^2\|u\|^2 \sum_f \mathrm{Re}\Big(\frac{f_i^Hf_j}{\|f\|^2}
          - \frac{f_i^Hf}{\|f\|^2}\frac{f^Hf_j}{\|f\|^2}\Big).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from heliostat.geometry.frames import Scalar

MAX_STEPS = 100
TOLERANCE = 1e-10
"""Length of the last step, in the unknowns' natural scale."""
ROUNDING = 1e-12
"""Share of the likelihood that its own rounding may cost an uphill step."""

Moves: TypeAlias = Float[Array, "unknown"]
Factors: TypeAlias = tuple[
    Complex[Array, "config"], Complex[Array, "antenna"], Complex[Array, "bin"]
]


class Likelihood(NamedTuple):
    """Of the unknowns at one place, but for a constant."""

    value: Scalar  # [1]
    slope: Float[Array, "unknown"]
    curvature: Float[Array, "unknown unknown"]  # of Gauss and Newton: positive


def likelihood(
    samples: Complex[Array, "config antenna bin"],
    factors: Callable[[Moves], Factors],
    moves: Moves,
    noise_density: Scalar,
    gain: Complex[Array, ""] | None,
) -> Likelihood:
    r"""Log-likelihood :math:`(\|y\|^2 - \|y - gu\|^2)/N_0` with its slope and curvature.

    Args:
        samples: :math:`y`. [√J]
        factors: Of the mean for a gain of one.
        moves: Unknowns in natural scales.
        noise_density: :math:`N_0`. [J]
        gain: The known one; None for the one that fits best, :math:`u^Hy/\|u\|^2`.
    """
    value: Factors = factors(moves)
    slope: Factors = jax.jacfwd(factors)(moves)  # one more axis: the unknowns
    over_config, over_antenna, over_bin = (jnp.conj(factor) for factor in value)
    beamed = jnp.einsum("kmf,f->km", samples, over_bin)
    heard = jnp.einsum("k,kmf->mf", over_config, samples)
    left = (beamed @ over_antenna, over_config @ beamed, over_antenna @ heard)
    overlap = left[1] @ over_antenna
    overlap_slope = sum(each @ jnp.conj(turned) for each, turned in zip(left, slope, strict=True))

    energies = [jnp.sum(jnp.abs(factor) ** 2) for factor in value]
    energies = [jnp.where(energy > 0, energy, 1.0) for energy in energies]
    energy = jnp.prod(jnp.stack(energies))
    along = jnp.zeros(moves.shape, dtype=complex)
    apart = jnp.zeros(moves.shape * 2)
    for factor, turned, own in zip(value, slope, energies, strict=True):
        share = jnp.conj(turned).T @ factor / own
        along = along + share
        each = jnp.conj(turned).T @ turned / own - share[:, None] * jnp.conj(share)[None, :]
        apart = apart + jnp.real(each)
    if gain is None:
        gain = overlap / energy
    else:
        apart = apart + jnp.real(along[:, None] * jnp.conj(along)[None, :])
    power = jnp.abs(gain) ** 2 * energy
    told = 2 * jnp.real(jnp.conj(gain) * overlap) - power
    uphill = jnp.real(jnp.conj(gain) * (overlap_slope - gain * energy * along))
    return Likelihood(
        told / noise_density, 2 * uphill / noise_density, 2 * power * apart / noise_density
    )


def solved(
    matrix: Float[Array, "unknown unknown"], vector: Float[Array, "unknown"]
) -> Float[Array, "unknown"]:
    """Solution of a few equations with a positive definite matrix, by elimination.

    Written out, it is a handful of operations on single numbers that XLA fuses with what is around
    them; a call of LAPACK costs several times more and does not fuse.

    Args:
        matrix: Not finite numbers come out where it is singular.
        vector: Right-hand side.
    """
    table = jnp.concatenate([matrix, vector[:, None]], axis=1)
    for i in range(len(vector)):
        row = table[i] / table[i, i]
        others = jnp.arange(len(vector)) != i
        table = jnp.where(
            others[:, None], table - table[:, i][:, None] * row[None, :], row[None, :]
        )
    return table[:, -1]


class _Climb(NamedTuple):
    moves: Moves
    here: Likelihood
    damping: Scalar
    steps: Int[Array, ""]
    settled: Bool[Array, ""]
    done: Bool[Array, ""]


def climb(
    at: Callable[[Moves], Likelihood], start: Moves, wanted: Bool[Array, ""]
) -> tuple[Moves, Scalar, Bool[Array, ""]]:
    """Levenberg-Marquardt, up a likelihood.

    Args:
        at: The likelihood at some unknowns, in their natural scale.
        start: Where to begin.
        wanted: Whether to begin at all.

    Returns:
        The unknowns, the likelihood there (``-inf`` if it was not wanted), whether it is a top.
    """

    def step(climb: _Climb) -> _Climb:
        moves, here, damping, steps, _, _ = climb
        scale = jnp.diagonal(here.curvature)
        scale = jnp.where(scale > 0, scale, 1.0)
        along = solved(here.curvature + jnp.diag(damping * scale), here.slope)
        along = jnp.where(jnp.isfinite(along), along, 0.0)
        there = at(moves + along)
        better = there.value >= here.value - ROUNDING * jnp.abs(here.value)
        small = jnp.max(jnp.abs(along)) <= TOLERANCE * (1 + jnp.max(jnp.abs(moves)))
        settled = better & small & (damping <= 1) & jnp.isfinite(here.value)
        moves, here = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (moves + along, there), (moves, here)
        )
        damping = damping * jnp.where(better, 0.1, 8.0)
        damping = jnp.maximum(damping, 1e-14)
        done = settled | (damping > 1e12) | (steps >= MAX_STEPS)
        return _Climb(moves, here, damping, steps + 1, settled, done)

    # The first step stays and looks around, so that `at` is compiled once.
    nowhere = Likelihood(jnp.asarray(-jnp.inf), jnp.zeros_like(start), jnp.eye(start.size))
    begun = _Climb(start, nowhere, jnp.asarray(1e-1), jnp.asarray(0), ~wanted, ~wanted)
    ended = jax.lax.while_loop(lambda climb: ~climb.done, step, begun)
    value = jnp.where(wanted & jnp.isfinite(ended.here.value), ended.here.value, -jnp.inf)
    return ended.moves, value, ended.settled
