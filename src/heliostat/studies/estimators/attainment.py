"""What the studies of estimators share: root mean square errors with their confidence, thresholds.

A bound is reached where it lies within the 95 % confidence interval of the mean squared error. The
threshold is the least SNR from which on that is so, but for the one point in twenty that chance
takes out.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import t as student


class Attainment(NamedTuple):
    """Mean squared errors over trials at each point, and what they are held against."""

    ratio: np.ndarray  # root mean square error over the bound [1]
    low: np.ndarray  # 95 % confidence interval of that [1]
    high: np.ndarray


def attainment(squared: xr.DataArray, bound: xr.DataArray) -> Attainment:
    """Root mean square error over the bound.

    Args:
        squared: Squared errors, with the dimension ``trial`` last.
        bound: Of the root mean square error, the same in every trial.
    """
    values, limit = squared.values, bound.values.min(axis=-1)
    count = values.shape[-1]
    mean = values.mean(axis=-1)
    half = student.ppf(0.975, count - 1) * values.std(axis=-1, ddof=1) / np.sqrt(count)
    low = np.sqrt(np.maximum(mean - half, 0.0))
    return Attainment(np.sqrt(mean) / limit, low / limit, np.sqrt(mean + half) / limit)


def reached(found: Attainment) -> np.ndarray:
    """Where the bound, but for two percent, lies in the confidence interval.

    Args:
        found: See `attainment`.
    """
    return (found.low <= 1.02) & (found.high >= 0.98)


def threshold(level: np.ndarray, found: Attainment) -> float:
    """Least level from which on errors stay within a tenth of the bound; inf if none.

    Args:
        level: Ascending, e.g. the SNR in decibels.
        found: At each level.
    """
    close = found.low <= 1.1
    from_here = np.flip(np.logical_and.accumulate(np.flip(close)))
    return float(level[np.argmax(from_here)]) if from_here.any() else float(np.inf)


def error_curve(
    axes: Axes, level: np.ndarray, squared: xr.DataArray, *, factor: float, **look: str
) -> None:
    """Root mean square error with its 95 % band, in logarithmic height.

    Args:
        axes: Where.
        level: Abscissa.
        squared: Squared errors, with the dimension ``trial`` last.
        factor: From SI to the axis's unit.
        look: Of the line.
    """
    values = squared.values
    count = values.shape[-1]
    mean = values.mean(axis=-1)
    half = student.ppf(0.975, count - 1) * values.std(axis=-1, ddof=1) / np.sqrt(count)
    low = np.sqrt(np.maximum(mean - half, mean / 100))
    axes.plot(level, factor * np.sqrt(mean), markersize=5, **look)  # type: ignore[arg-type]
    axes.fill_between(
        level, factor * low, factor * np.sqrt(mean + half), alpha=0.2, linewidth=0,
        color=look.get("color"),
    )  # fmt: skip
    axes.set_yscale("log")
