"""What the studies of estimators share: root mean square errors with their confidence, thresholds.

A bound is reached where it lies within the 95 % confidence interval of the mean squared error. The
threshold is the least SNR from which on the error itself stays within a tenth of the bound: by its
interval, a single error of a hundred that is far off would count as close.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heliostat.studies.figures import COLOURS, MARKS, legend_below
from heliostat.studies.statistics import mean_and_band


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
    mean, half = (part.values for part in mean_and_band(squared))
    limit = bound.values.min(axis=-1)
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
    close = found.ratio <= 1.1
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
    mean, half = (part.values for part in mean_and_band(squared))
    low = np.sqrt(np.maximum(mean - half, mean / 100))
    axes.plot(level, factor * np.sqrt(mean), markersize=5, **look)  # type: ignore[arg-type]
    axes.fill_between(
        level, factor * low, factor * np.sqrt(mean + half), alpha=0.2, linewidth=0,
        color=look.get("color"),
    )  # fmt: skip
    axes.set_yscale("log")


def methods_against_bound(
    figure: Figure,
    level: np.ndarray,
    dataset: xr.Dataset,
    methods: Mapping[str, str],
    *,
    factor: float,
) -> Axes:
    """Errors of several methods and their common bound in one panel, with the legend.

    Args:
        figure: Where.
        level: Abscissa.
        dataset: Squared errors by method, and ``bound``.
        methods: Labels by the names of the variables.
        factor: From SI to the axis's unit.
    """
    axes, entries = figure.add_subplot(), []
    for (name, label), colour, mark in zip(methods.items(), COLOURS, MARKS, strict=False):
        look = {"color": colour, "marker": mark}
        error_curve(axes, level, dataset[name], factor=factor, **look)
        entries.append((label, look))
    axes.plot(level, factor * dataset.bound.values.min(axis=-1), color="black", linestyle="--")
    legend_below(figure, *entries, ("bound", {"color": "black", "linestyle": "--"}), columns=3)
    return axes
