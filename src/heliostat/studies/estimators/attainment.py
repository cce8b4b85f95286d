"""Root mean square errors against their bounds, with confidence intervals and threshold SNRs.

An error reaches its bound where the bound lies in the 95 % confidence interval of the root mean
square error. The threshold SNR is defined by the root mean square error itself, which has to stay
within 10 % of the bound: a single outlier in a hundred trials widens the interval so much that it
contains the bound.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heliostat.studies.figures import COLORS, MARKS, entries, legend_below
from heliostat.studies.statistics import mean_and_band

GROSS = 5.0
"""Ratio of an error to its bound above which it counts as a gross error: one that noise around the
true value cannot cause."""


class Attainment(NamedTuple):
    """Root mean square error over the bound at each point, with its 95 % confidence interval."""

    ratio: np.ndarray  # [1]
    low: np.ndarray  # lower end of the interval [1]
    high: np.ndarray  # upper end [1]


def attainment(squared: xr.DataArray, bound: xr.DataArray) -> Attainment:
    """Root mean square error over the bound.

    Args:
        squared: Squared errors, with the dimension ``trial`` last.
        bound: Lower bound on the root mean square error, the same in every trial.
    """
    mean, half = (part.values for part in mean_and_band(squared))
    limit = bound.values.min(axis=-1)
    low = np.sqrt(np.maximum(mean - half, 0.0))
    return Attainment(np.sqrt(mean) / limit, low / limit, np.sqrt(mean + half) / limit)


def reached(errors: Attainment) -> np.ndarray:
    """Whether the bound lies in the confidence interval, with a tolerance of 2 %."""
    return (errors.low <= 1.02) & (errors.high >= 0.98)


def threshold(level: np.ndarray, errors: Attainment) -> float:
    """Smallest level from which on errors stay within 10 % of the bound; inf if there is none.

    Args:
        level: Ascending levels, e.g. the SNR in decibels.
        errors: Errors over the bound at each level.
    """
    close = errors.ratio <= 1.1
    from_here = np.flip(np.logical_and.accumulate(np.flip(close)))
    return float(level[np.argmax(from_here)]) if from_here.any() else float(np.inf)


def error_curve(
    axes: Axes, level: np.ndarray, squared: xr.DataArray, *, factor: float, **look: Any
) -> None:
    """Draw the root mean square error with its 95 % confidence band on a logarithmic scale.

    Args:
        axes: Axes to draw in.
        level: Abscissa.
        squared: Squared errors, with the dimension ``trial`` last.
        factor: Factor from SI to the unit of the axis.
        look: Properties of the line.
    """
    mean, half = (part.values for part in mean_and_band(squared))
    low = np.sqrt(np.maximum(mean - half, mean / 100))
    axes.plot(level, factor * np.sqrt(mean), markersize=5, **look)
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
    """Draw errors of several methods and their common bound in one panel, with the legend.

    Args:
        figure: Figure to draw in.
        level: Abscissa.
        dataset: Squared errors by method, and ``bound``.
        methods: Labels by the names of the variables.
        factor: Factor from SI to the unit of the axis.
    """
    axes, looks = figure.add_subplot(), entries(methods.values(), color=COLORS, marker=MARKS)
    for name, (_, look) in zip(methods, looks, strict=True):
        error_curve(axes, level, dataset[name], factor=factor, **look)
    axes.plot(level, factor * dataset.bound.values.min(axis=-1), color="black", linestyle="--")
    legend_below(figure, *looks, ("bound", {"linestyle": "--"}), columns=3)
    return axes
