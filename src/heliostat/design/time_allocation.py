r"""Optimal share of a period for the pilots.

PEB and REB are proportional to :math:`\varpi^{-1/2}`; the rate :math:`R =
(c-\varpi)B\log_2(1+Y\varpi)` has one maximum and is zero at :math:`\varpi = c`. Both objectives
here are strictly convex, so the optimum is the only stationary point or the end of the interval,
which the multiplier of the constraint certifies. The branches of the paper's Algorithm 1 for two
valid points or none cannot be reached.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from heliostat.geometry.frames import Scalar

DEFAULT_WEIGHT = 1e-10
"""Weight of the paper's figures. [(m + rad) s/bit]"""
HALVINGS = 60
"""Bisections after which an interval of length 46 has the width of a rounding error."""


class TimeShare(eqx.Module):
    """Optimal share of a period for pilots, with its optimality conditions."""

    ratio: Float[Array, ""]  # [1]
    multiplier: Float[Array, ""]  # of ratio <= end; zero inside, >= 0 at the end
    residual: Float[Array, ""]
    """Residual of stationarity, :math:`|\\varpi(f' + \\lambda)|` relative to the sum of its
    terms."""


def _minimize(
    falling: Callable[[Scalar], Scalar], rising: Callable[[Scalar], Scalar], end: Scalar
) -> TimeShare:
    """Minimum over (0, end] of a convex f with the derivative (rising - falling)/ratio.

    Args:
        falling: Ratio times the derivative of the terms that decrease, negated.
        rising: Ratio times the derivative of the terms that increase.
        end: Largest ratio.
    """

    def slope(log_ratio: Scalar) -> Scalar:
        ratio = jnp.exp(log_ratio)
        return (rising(ratio) - falling(ratio)) / (rising(ratio) + falling(ratio))

    # Twenty decades below the end the slope is negative.
    upper = jnp.log(end)
    lower = upper - 46.0
    inside = slope(upper) > 0  # otherwise the end is the optimum, and the root is not used

    def halved(_: Any, ends: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        middle = (ends[0] + ends[1]) / 2
        below = slope(middle) < 0
        return jnp.where(below, middle, ends[0]), jnp.where(below, ends[1], middle)

    # A plain bisection: solvers that check their input call back to Python, and programs with
    # such calls are not kept in JAX's compilation cache.
    root = sum(jax.lax.fori_loop(0, HALVINGS, halved, (lower, upper))) / 2
    ratio = jnp.where(inside, jnp.exp(root), end)
    multiplier = jnp.where(inside, 0.0, (falling(end) - rising(end)) / end)
    left = rising(ratio) - falling(ratio) + multiplier * ratio
    return TimeShare(ratio, multiplier, jnp.abs(left) / (rising(ratio) + falling(ratio)))


def weighted_share(
    error_scale: Scalar,
    snr_slope: Scalar,
    available: Scalar,
    bandwidth: Scalar,
    weight: Scalar,
    largest: Scalar,
) -> TimeShare:
    r"""Minimize :math:`X\varpi^{-1/2} - \xi(c-\varpi)B\log_2(1+Y\varpi)` over (0, end].

    Paper eq. (47), Algorithm 1. The objective adds errors in meters and in radians.

    Args:
        error_scale: :math:`X`, PEB + REB at :math:`\varpi = 1`. [m + rad]
        snr_slope: :math:`Y`. [1]
        available: :math:`c = 1 - T_o/T_c`. [1]
        bandwidth: :math:`B`. [Hz]
        weight: :math:`\xi`; 1e-10 reproduces the paper's figures. [(m + rad) s/bit]
        largest: Ratio with all antennas active, :math:`N_B^tN_MT_s/T_c`; the end of the interval if
            it is below :math:`c`. For the paper's period the two are equal. [1]
    """
    unit = weight * bandwidth / jnp.log(2.0)

    def falling(ratio: Scalar) -> Scalar:
        snr = snr_slope * ratio
        return 0.5 * error_scale / jnp.sqrt(ratio) + unit * (available - ratio) * snr / (1 + snr)

    def rising(ratio: Scalar) -> Scalar:
        return unit * ratio * jnp.log1p(snr_slope * ratio)

    return _minimize(falling, rising, jnp.minimum(available, largest))


def balanced_share(
    snr_slope: Scalar, available: Scalar, balance: Scalar, largest: Scalar
) -> TimeShare:
    r"""Minimize :math:`b\ln\mathrm{PEB}(\varpi) - (1-b)\ln R(\varpi)` over (0, end].

    Unit-free: a decrease of the error by one percent is equivalent to an increase of the rate by
    :math:`b/(1-b)` percent. PEB, REB and their sum are all proportional to :math:`\varpi^{-1/2}`,
    so the optimum is the same for each of them.

    Args:
        snr_slope: :math:`Y`. [1]
        available: :math:`c`. [1]
        balance: :math:`b`; 0 maximizes the rate, values close to 1 minimize the error.
        largest: See `weighted_share`. [1]
    """

    def falling(ratio: Scalar) -> Scalar:
        snr = snr_slope * ratio
        return 0.5 * balance + (1 - balance) * snr / ((1 + snr) * jnp.log1p(snr))

    def rising(ratio: Scalar) -> Scalar:
        left = jnp.maximum(available - ratio, float(np.finfo(float).tiny))
        return (1 - balance) * ratio / left

    return _minimize(falling, rising, jnp.minimum(available, largest))


def peak_rate_ratio(
    snr_slope: float | Float[np.ndarray, "..."], available: float | Float[np.ndarray, "..."]
) -> np.floating[Any] | Float[np.ndarray, "..."]:
    r"""Ratio that maximizes the rate (42), by the Lambert W function. [1]

    .. math:: \varpi = (z - 1)/Y, \qquad z = \frac{Yc + 1}{W(e(Yc+1))}.

    A smaller ratio is never optimal, as both the error and the rate are worse. See
    :cite:`corless1996` for W.

    Args:
        snr_slope: :math:`Y`. [1]
        available: :math:`c`. [1]
    """
    from scipy.special import lambertw  # noqa: PLC0415 - takes longer than most bounds

    y, c = np.asarray(snr_slope), np.asarray(available)
    whole = y * c + 1
    peak: np.floating[Any] | Float[np.ndarray, "..."]
    with np.errstate(invalid="ignore", divide="ignore"):
        peak = (whole / np.real(lambertw(np.e * whole)) - 1) / y
    # For small x = Yc the difference above loses all digits; a series does not.
    return np.where(y * c < 1e-5, c / 2 * (1 - y * c / 8), peak)


def dominated(
    error: Float[np.ndarray, "choice"], rate: Float[np.ndarray, "choice"]
) -> Bool[np.ndarray, "choice"]:
    """Dominated choices: another one is no worse in error and rate, and better in one of them.

    Args:
        error: Error of each choice.
        rate: Rate of each choice.
    """
    no_worse = (error[None, :] <= error[:, None]) & (rate[None, :] >= rate[:, None])
    better = (error[None, :] < error[:, None]) | (rate[None, :] > rate[:, None])
    beaten: Bool[np.ndarray, "choice"] = np.any(no_worse & better, axis=1)
    return beaten
