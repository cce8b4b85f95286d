"""Statistics over the trials of a study: means, confidence intervals and paired differences."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import stdtrit


@dataclass(frozen=True)
class Estimate:
    """Mean over trials with the half-width of its 95 % confidence interval."""

    mean: float
    """inf if no trial has a value."""
    half: float
    """inf if fewer than two trials have a value."""

    def between(self, low: float = -math.inf, high: float = math.inf) -> bool | None:
        """Whether the mean lies between two limits; None if the interval contains one of them."""
        return decided(
            self.mean - self.half > low and self.mean + self.half < high,
            self.mean + self.half < low or self.mean - self.half > high,
        )

    def scaled(self, factor: float) -> "Estimate":
        """The estimate in another unit, multiplied by a positive factor."""
        return Estimate(factor * self.mean, factor * self.half)

    def text(self, digits: int = 1, unit: str = "") -> str:
        """The estimate for a table, as ``+1.2 ± 0.3 dB`` with one digit and the unit ``" dB"``."""
        if math.isinf(self.mean):
            return "no trial with a value"
        mean = f"{self.mean:+z.{digits}f}"  # z: no negative zero
        if math.isinf(self.half):
            return f"{mean}{unit} (one trial, no interval)"
        return f"{mean} ± {self.half:.{digits}f}{unit}"


def decided(holds: bool, fails: bool) -> bool | None:
    """True or False if the whole confidence interval agrees, None otherwise.

    Args:
        holds: Whether the claim is true in the whole interval.
        fails: Whether the claim is false in the whole interval.
    """
    return True if holds else False if fails else None


def every(answers: Iterable[bool | None]) -> bool | None:
    """Whether a claim holds in every case: False if one fails, else None if one is undecided."""
    known = list(answers)
    return decided(all(known), any(answer is not None and not answer for answer in known))


def log10(samples: xr.DataArray) -> xr.DataArray:
    """Decadic logarithm of a labeled array."""
    result: xr.DataArray = xr.apply_ufunc(np.log10, samples)
    return result


def mean_and_band(samples: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over the trials and the half-width of its 95 % confidence interval.

    Infinite values (trials without a bound) are left out; `unbounded` counts them.

    Args:
        samples: Array with the dimension ``trial``.
    """
    finite = samples.where(np.isfinite(samples))
    count = finite.count("trial")
    spread = finite.std("trial", ddof=1) if samples.sizes["trial"] > 1 else 0 * finite.mean("trial")
    quantile = xr.apply_ufunc(lambda n: stdtrit(np.maximum(n - 1, 1), 0.975), count)
    return finite.mean("trial"), quantile * spread / np.sqrt(count)


def unbounded(samples: xr.DataArray) -> int:
    """Number of infinite values: points at which no bound exists."""
    return int(np.sum(~np.isfinite(samples)))


def paired_change(changed: xr.DataArray, base: xr.DataArray) -> Estimate:
    """Mean difference between two conditions, computed trial by trial.

    Args:
        changed: Array with the dimension ``trial``; other dimensions are averaged first.
        base: The same quantity without the change.
    """
    difference = (changed - base).where(np.isfinite(changed) & np.isfinite(base))
    per_trial = difference.mean([d for d in difference.dims if d != "trial"]).values
    per_trial = per_trial[np.isfinite(per_trial)]
    count = len(per_trial)
    if count < 2:
        return Estimate(float(per_trial[0]) if count else math.inf, math.inf)
    half = stdtrit(count - 1, 0.975) * np.std(per_trial, ddof=1) / math.sqrt(count)
    return Estimate(float(np.mean(per_trial)), float(half))
