"""What the estimators share: peaks of a coarse search, each followed to its top, the best kept."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int

from heliostat.geometry.frames import Scalar

CANDIDATES = 6
"""Peaks of a coarse search that are looked at closely."""
CONTENDER = 0.3
"""Share of the highest peak below which another is left alone: the grids are so fine that no peak
looks that much lower than it is."""
OVERSAMPLING = 4
"""Of a search's grid over the resolution of what it searches with."""
MAX_STEPS = 40
TOLERANCE = 1e-10
FALSE_ALARM = 1e-6
"""How often noise alone is taken for a signal."""


def peaks(
    value: Float[Array, "row column"], *, wrap_columns: bool, count: int = CANDIDATES
) -> tuple[Int[Array, "candidate"], Int[Array, "candidate"], Float[Array, "candidate"]]:
    """The highest entries of a table that no neighbour exceeds: rows, columns, values.

    Args:
        value: ``-inf`` where nothing is to be found.
        wrap_columns: Whether the first column is the last one's neighbour.
        count: Number of peaks to return; ``-inf`` fills up where there are fewer.
    """
    wrapped = jnp.pad(value, ((1, 1), (0, 0)), constant_values=-jnp.inf)
    if wrap_columns:
        wrapped = jnp.pad(wrapped, ((0, 0), (1, 1)), mode="wrap")
    else:
        wrapped = jnp.pad(wrapped, ((0, 0), (1, 1)), constant_values=-jnp.inf)
    around = jax.lax.reduce_window(wrapped, -jnp.inf, jax.lax.max, (3, 3), (1, 1), "valid")
    best, index = jax.lax.top_k(jnp.where(value >= around, value, -jnp.inf).ravel(), count)
    row, column = jnp.unravel_index(index, value.shape)
    return row, column, best


def follow(
    residual: Callable[[Any], Float[Array, "sample"]],
    starts: Any,
    values: Float[Array, "candidate"],
) -> tuple[Any, Scalar, Bool[Array, ""]]:
    r"""Levenberg-Marquardt from every contender; the end with the least sum of squares.

    Args:
        residual: Of unknowns in their natural scale, whitened: half its sum of squares is the
            log-likelihood but for sign and constant.
        starts: Unknowns, a pytree with one leading entry a candidate, the highest peak first.
        values: Height of their peaks.

    Returns:
        The unknowns, half the sum of squares, and whether the descent converged.
    """
    solver: Any = optx.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)

    def descend(start: Any) -> tuple[Any, Scalar, Array]:
        found: Any = optx.least_squares(
            lambda at, _: residual(at), solver, start, max_steps=MAX_STEPS, throw=False
        )
        left = residual(found.value)
        half = left @ left / 2
        half = jnp.where(jnp.isfinite(half), half, jnp.inf)
        settled: Any = found.result == optx.RESULTS.successful
        return found.value, half, settled

    def contend(candidate: tuple[Any, Scalar]) -> tuple[Any, Scalar, Array]:
        start, value = candidate
        return jax.lax.cond(
            value >= CONTENDER * values[0],
            lambda: descend(start),
            lambda: (start, jnp.asarray(jnp.inf), jnp.asarray(False)),
        )

    ends, left, settled = jax.lax.map(contend, (starts, values))
    winner = jnp.argmin(left)
    return jax.tree.map(lambda each: each[winner], ends), left[winner], settled[winner]


def detected(explained: Scalar, cells: int) -> Bool[Array, ""]:
    """Whether so much energy, over the noise density, is more than the best of the cells by chance.

    The energy that noise lends to one unit vector is exponentially distributed.

    Args:
        explained: Energy of the fitted mean over the noise density. [1]
        cells: How many distinguishable means were tried.
    """
    return explained > threshold(cells)


def threshold(hypotheses: int) -> float:
    r"""Log-likelihood that noise alone reaches with probability `FALSE_ALARM`,
    :math:`\ln(\text{hypotheses}/P_{FA})`. [1]

    Args:
        hypotheses: Number of alternatives, by the union bound.
    """
    return math.log(hypotheses / FALSE_ALARM)


def real_parts(samples: Array) -> Float[Array, "sample"]:
    """Real and imaginary parts in one row."""
    return jnp.concatenate([jnp.real(samples).ravel(), jnp.imag(samples).ravel()])
