"""Peaks of a coarse search, their refinement by least squares, and detection thresholds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int
from scipy.special import gammainccinv

from heliostat.geometry.frames import Scalar

CANDIDATES = 6
"""Number of peaks of a coarse search that are refined."""
CONTENDER = 0.3
"""Peaks below this share of the highest one are not refined: the grids are so fine that sampling
does not lower a peak by that much."""
OVERSAMPLING = 4
"""Grid points per resolution cell."""
MAX_STEPS = 40
TOLERANCE = 1e-10
FALSE_ALARM = 1e-6
"""Probability that noise alone is detected as a signal."""


def peaks(
    value: Float[Array, "row column"], *, wrap_columns: bool, count: int = CANDIDATES
) -> tuple[Int[Array, "candidate"], Int[Array, "candidate"], Float[Array, "candidate"]]:
    """Rows, columns and values of the highest local maxima of a table.

    Args:
        value: Table; ``-inf`` excludes an entry.
        wrap_columns: Whether the first and the last column are adjacent.
        count: Number of peaks to return; the values are ``-inf`` where there are fewer.
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


def refine_peaks(
    residual: Callable[[Any], Float[Array, "sample"]],
    starts: Any,
    values: Float[Array, "candidate"],
) -> tuple[Any, Scalar, Bool[Array, ""]]:
    r"""Smallest sum of squares found by Levenberg-Marquardt from the candidates.

    Args:
        residual: Whitened residual of the scaled unknowns; half its sum of squares is the negative
            log-likelihood up to a constant.
        starts: Unknowns, a pytree with a leading candidate axis, the highest peak first.
        values: Heights of the peaks.

    Returns:
        The unknowns, half the sum of squares, and whether the descent converged.
    """
    solver: Any = optx.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)

    def descend(start: Any) -> tuple[Any, Scalar, Array]:
        solution: Any = optx.least_squares(
            lambda at, _: residual(at), solver, start, max_steps=MAX_STEPS, throw=False
        )
        left = residual(solution.value)
        half = left @ left / 2
        half = jnp.where(jnp.isfinite(half), half, jnp.inf)
        settled: Any = solution.result == optx.RESULTS.successful
        return solution.value, half, settled

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
    """Whether an energy exceeds what noise alone explains in the best of several cells.

    The energy of white noise in the direction of a unit vector is exponentially distributed.

    Args:
        explained: Energy of the fitted mean over the noise density. [1]
        cells: Number of distinguishable means.
    """
    return explained > threshold(cells)


def threshold(hypotheses: int, dimensions: int = 1) -> float:
    r"""Log-likelihood that noise alone reaches with probability `FALSE_ALARM`. [1]

    The energy of white noise in a space of n complex dimensions has a gamma distribution; for
    n = 1 the result is :math:`\ln(\text{hypotheses}/P_{FA})`.

    Args:
        hypotheses: Number of alternatives, by the union bound.
        dimensions: n, the number of unknown gains.
    """
    return float(gammainccinv(dimensions, FALSE_ALARM / hypotheses))


def real_parts(samples: Array) -> Float[Array, "sample"]:
    """Real and imaginary parts as one vector."""
    return jnp.concatenate([jnp.real(samples).ravel(), jnp.imag(samples).ravel()])
