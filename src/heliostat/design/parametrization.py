r"""Parametrizations, objective and optimizer shared by the direct designs.

All of them minimize the logarithm of the CRB, which spans decades. A reflection is parametrized in
one of three forms:

- ``plane``: a free complex z in :math:`\psi = a_{max}z/\sqrt{1 + |z|^2}`. An amplitude can pass
  through zero.
- ``polar``: amplitude and phase. The limit :math:`|\psi| = a_{max}` is reached exactly, but at an
  amplitude of zero the phase has no gradient, so that this form only serves for polishing.
- ``phase``: :math:`\psi = a_{max}z/|z|`, for passive surfaces.
"""

import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

from heliostat.bounds.direction import DirectionInformation
from heliostat.geometry.frames import Scalar

Form: TypeAlias = Literal["plane", "polar", "phase"]
Start = TypeVar("Start")
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-8, 1e-6
"""Relative decrease of the value, and largest entry of the gradient, at which a descent ends."""
FINAL_SHARPNESS = 1e9
"""Sharpness at which `power_factor` is within nine digits of the minimum, and never above it."""


def coefficients(
    free: Float[Array, "pattern element 2"], amplification: Scalar, form: Form
) -> Complex[Array, "pattern element"]:
    """Return reflection coefficients whose amplitude is at most the amplification. [1]

    Args:
        free: Real and imaginary part of z; or amplitude relative to the largest, and phase [rad].
        amplification: Largest amplitude, :math:`a_{max}`. [1]
        form: Parametrization.
    """
    first, second = free[..., 0], free[..., 1]
    if form == "polar":
        return amplification * first * jnp.exp(1j * second)
    square = first**2 + second**2
    length = jnp.sqrt(1 + square) if form == "plane" else jnp.sqrt(square)
    return amplification * (first + 1j * second) / length


def polar_free(
    reflection: Complex[Array, "pattern element"], amplification: Scalar
) -> Float[Array, "pattern element 2"]:
    """Return the unknowns of these coefficients in polar form.

    Args:
        reflection: The coefficients. [1]
        amplification: Largest amplitude. [1]
    """
    amplitude = jnp.minimum(jnp.abs(reflection) / amplification, 1.0)
    return jnp.stack([amplitude, jnp.angle(reflection)], axis=-1)


def plane_free(
    reflection: Complex[Array, "pattern element"], amplification: Scalar
) -> Float[Array, "pattern element 2"]:
    """Return the unknowns of these coefficients in plane form, approximate at the limit.

    Args:
        reflection: The coefficients. [1]
        amplification: Largest amplitude. [1]
    """
    share = reflection / amplification
    room = jnp.sqrt(jnp.maximum(1 - jnp.abs(share) ** 2, 1e-2))
    return jnp.stack([jnp.real(share / room), jnp.imag(share / room)], axis=-1)


def power_factor(power: Scalar, wanted: Scalar, sharpness: Scalar) -> Scalar:
    r"""Smooth minimum of 1 and power/wanted, :math:`(1 + (wanted/power)^s)^{-1/s}`.

    It is never above the minimum, and below it by a factor :math:`2^{1/s}` at most. Value and
    gradient are finite for an unlimited power and where nothing is wanted.

    Args:
        power: Available power, ``inf`` for no limit. [W]
        wanted: Power that would be used. [W]
        sharpness: :math:`s`, which sets how closely the minimum is followed.
    """
    # The floor is far below any ratio that matters, and keeps the gradient of the logarithm finite.
    log_ratio = jnp.log(jnp.maximum(wanted / power, 1e-100))
    return jnp.exp(-jnp.logaddexp(jnp.zeros(()), sharpness * log_ratio) / sharpness)


def log_crb(direction: DirectionInformation) -> Scalar:
    r"""Return the logarithm of the paper's :math:`\mathrm{tr}F^{-1}`.

    :math:`\mathrm{tr}J^{-1} + |\beta|^2(1/\mathrm{SNR} + \mathrm{Re}(m^HJ^{-1}m))` as in
    `bounds.direction.direction_bound`. Where an angle is not identifiable that function returns
    ``inf``; this one returns a large finite number, so that a descent can move away.

    Args:
        direction: Information of the echo about the direction.
    """
    J, m = direction.information, direction.coupling
    determinant = J[0, 0] * J[1, 1] - J[0, 1] ** 2
    adjugate = jnp.trace(J) * jnp.eye(2) - J
    coupled = jnp.real(jnp.conj(m) @ (adjugate + 0j) @ m) + determinant / direction.snr
    gain_power = jnp.abs(direction.target_gain) ** 2
    smallest = 1e-14 * jnp.trace(J) ** 2
    return jnp.log(jnp.trace(J) + gain_power * coupled) - jnp.log(
        jnp.maximum(determinant, smallest)
    )


def snr_shortfall(snr: Float[Array, "..."], least: Scalar) -> Scalar:
    """Return the sum of squared shortfalls of the log SNR, zero where the SNR suffices.

    Args:
        snr: SNR of the matched filter output. [1]
        least: Least SNR; 0 for no constraint. [1]
    """
    demanded = least > 0
    short = jnp.log(jnp.where(demanded, least, 1.0)) - jnp.log(jnp.maximum(snr, 1e-300))
    return jnp.where(demanded, jnp.sum(jnp.maximum(short, 0.0) ** 2), 0.0)


def best_descents(
    descent: Callable[[Start], tuple[Start, float]], starts: Iterable[Start], count: int
) -> list[Start]:
    """Run a descent from several starts and return the results of smallest value, best first.

    Args:
        descent: Function of a start that returns the result of a descent and its value.
        starts: The starts.
        count: Number of results to return.
    """
    results = sorted((descent(start) for start in starts), key=lambda result: result[1])
    return [result for result, _ in results[:count]]


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[object]:
    """Context in which BLAS uses one thread.

    In thousands of small steps, its threads spend most of their time waiting for each other.
    """
    return _libraries().limit(limits=1, user_api="blas")


def descend(
    value_and_slope: Callable[[np.ndarray], tuple[Array | float, Array | np.ndarray]],
    start: np.ndarray,
    *,
    steps: int,
    bounds: list[tuple[float | None, float | None]] | None = None,
) -> tuple[np.ndarray, float]:
    """Minimize a function by L-BFGS-B; the result is never worse than the start.

    Args:
        value_and_slope: Function of the unknowns that returns value and gradient.
        start: Starting point.
        steps: Maximum number of iterations.
        bounds: Lower and upper bound of each unknown, if any.

    Returns:
        The unknowns and the value there. A descent that runs out of iterations, or of precision
        in the line search, returns the best point it reached.

    Raises:
        FloatingPointError: The gradient at the start is not finite although the value is: nothing
            could be minimized.
    """

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = (np.asarray(part) for part in value_and_slope(x))
        if not (np.isfinite(value) and np.all(np.isfinite(slope))):
            return 1e30, np.zeros_like(x)
        return float(value), slope

    value, slope = (np.asarray(part) for part in value_and_slope(start))
    if np.isfinite(value) and not np.all(np.isfinite(slope)):
        raise FloatingPointError("the objective is finite at the start, but its gradient is not")
    before = float(value) if np.isfinite(value) else 1e30
    with one_blas_thread():
        result = minimize(
            evaluate,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={
                "maxiter": steps,
                "maxcor": 20,
                "ftol": VALUE_TOLERANCE,
                "gtol": GRADIENT_TOLERANCE,
            },
        )
    if not np.isfinite(result.fun) or result.fun > before:
        return start, before
    return result.x, float(result.fun)


MEMORY = 10
"""Number of steps from which `descend_together` estimates the curvature."""


def best_phases(
    value_and_slope: Callable[[np.ndarray], tuple[Array | float, Array | np.ndarray]],
    starts: Float[np.ndarray, "start element"],
    *,
    steps: int,
) -> Complex[np.ndarray, "element"]:
    """Coefficients of modulus one with nearly the smallest value of a function of their phases.

    Args:
        value_and_slope: Function of the phases that returns value and gradient.
        starts: Phases from which short descents start. [rad]
        steps: Maximum number of iterations of the descent that continues the best of these.
    """
    best = best_descents(lambda x: descend(value_and_slope, x, steps=60), starts, 1)[0]
    return np.exp(1j * descend(value_and_slope, best, steps=steps)[0])


def descend_together(
    values_and_slopes: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]],
    starts: np.ndarray,
    *,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Minimize a function from several starts by L-BFGS, evaluating it for all of them at once.

    Each start has its own step size and memory: one that has to shorten its step does not delay the
    others. Those that have converged are not evaluated any more. The results are never worse than
    the starts.

    Args:
        values_and_slopes: Function of points, [start, unknown], and of the indices of their starts
            that returns the values and gradients; further results are ignored.
        starts: Starting points, [start, unknown].
        steps: Maximum number of evaluations.

    Returns:
        The points and the values there.

    Raises:
        FloatingPointError: The gradient at a start is not finite although the value is: nothing
            could be minimized.
    """

    def evaluate(points: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope, *_ = values_and_slopes(points, chosen)
        sound = np.isfinite(value) & np.isfinite(slope).all(axis=1)
        return np.where(sound, value, 1e30), np.where(sound[:, None], slope, 0.0)

    left = np.arange(len(starts))  # those that have not converged
    value, slope, *_ = values_and_slopes(starts, left)
    if np.any(np.isfinite(value) & ~np.isfinite(slope).all(axis=1)):
        raise FloatingPointError("the objective is finite at the start, but its gradient is not")
    point, (value, slope) = starts, evaluate(starts, left)
    points, values = point.copy(), value.copy()
    moves = np.zeros((len(starts), MEMORY, starts.shape[1]))  # oldest first
    turns = np.zeros_like(moves)  # changes of the gradient along them
    direction = -slope
    size = 1 / np.maximum(np.linalg.norm(slope, axis=1), 1.0)
    fell = np.ones(len(starts), dtype=bool)
    runs = np.abs(slope).max(axis=1) > GRADIENT_TOLERANCE
    with one_blas_thread():
        for step in range(steps):
            if not runs.all():
                left, point, value, slope = left[runs], point[runs], value[runs], slope[runs]
                moves, turns, size = moves[runs], turns[runs], size[runs]
                direction, fell = direction[runs], fell[runs]
            if not left.size:
                break
            if step > 0:
                direction = np.where(fell[:, None], _quasi_newton(moves, turns, slope), direction)
            move = size[:, None] * direction
            new_value, new_slope = evaluate(point + move, left)
            expected = np.sum(slope * move, axis=1)
            fell = new_value <= value + 1e-4 * expected
            # A parabola through both values, with the slope at the first.
            missed = np.maximum(new_value - value - expected, 1e-300)
            shorter = size * np.clip(-expected / (2 * missed), 0.1, 0.5)
            turn = new_slope - slope
            curved = fell & (np.sum(move * turn, axis=1) > 1e-10 * np.sum(turn**2, axis=1))
            for kept, new in ((moves, move), (turns, turn)):
                kept[curved] = np.concatenate([kept[curved, 1:], new[curved, None]], axis=1)
            gain = value - new_value
            large = np.maximum(np.maximum(np.abs(value), np.abs(new_value)), 1.0)
            ended = fell & (
                (gain <= VALUE_TOLERANCE * large)
                | (np.abs(new_slope).max(axis=1) <= GRADIENT_TOLERANCE)
            )
            point = np.where(fell[:, None], point + move, point)
            value = np.where(fell, new_value, value)
            slope = np.where(fell[:, None], new_slope, slope)
            points[left], values[left] = point, value
            runs = ~ended & (fell | (shorter > 1e-10))
            size = np.where(fell, 1.0, shorter)
    return points, values


def _quasi_newton(moves: np.ndarray, turns: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Directions of L-BFGS in its compact form (Byrd, Nocedal and Schnabel, 1994)."""
    products = moves @ turns.mT
    square = turns @ turns.mT
    curvature = np.diagonal(products, axis1=1, axis2=2)
    empty = curvature == 0
    newest = np.where(empty[:, -1], 1.0, square[:, -1, -1])
    scale = np.where(empty[:, -1], 1.0, curvature[:, -1] / newest)[:, None, None]
    identity = np.eye(MEMORY)
    inverse = np.linalg.inv(np.triu(products) + empty[:, :, None] * identity)
    column = slope[:, :, None]
    along = inverse @ (moves @ column)
    rest = curvature[:, :, None] * along + scale * (square @ along - turns @ column)
    step = scale * (column - turns.mT @ along) + moves.mT @ (inverse.mT @ rest)
    return -step[:, :, 0]
