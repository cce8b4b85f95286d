"""Elements shared by the studies' figures: colours, curves with bands, axes and legends."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from heliostat.studies.statistics import mean_and_band

LineStyle: TypeAlias = str | tuple[int, tuple[int, ...]]
LegendEntry: TypeAlias = tuple[str, dict[str, Any]]
"""A label, and the properties of the line beside it."""
LINES: tuple[LineStyle, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
"""Line styles that remain distinct in black and white."""
MARKS = ("o", "s", "^", "D", "v")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Palette of Okabe and Ito, distinct for colour-blind readers."""


def curve(axes: Axes, x: xr.DataArray | np.ndarray, samples: xr.DataArray, **look: Any) -> None:
    """Draw the mean over trials with its 95 % confidence band.

    Args:
        axes: Axes to draw in.
        x: Abscissa.
        samples: Array with ``trial`` and one more dimension.
        look: Properties of the line, among them ``color``.
    """
    mean, half = (part.values for part in mean_and_band(samples))
    _banded(axes, x, mean - half, mean, mean + half, look)


def median_curve(
    axes: Axes, x: xr.DataArray | np.ndarray, samples: xr.DataArray, **look: Any
) -> None:
    """Draw the median over trials with the band between the quartiles.

    The curve is interrupted where the median is infinite.

    Args:
        axes: Axes to draw in.
        x: Abscissa.
        samples: Array with ``trial`` and one more dimension.
        look: Properties of the line, among them ``color``.
    """
    with np.errstate(invalid="ignore"):  # inf - inf, where most trials have no value
        low, middle, high = samples.quantile([0.25, 0.5, 0.75], "trial").values
    _banded(axes, x, low, np.where(np.isfinite(middle), middle, np.nan), high, look)


def _banded(
    axes: Axes,
    x: xr.DataArray | np.ndarray,
    low: np.ndarray,
    middle: np.ndarray,
    high: np.ndarray,
    look: dict[str, Any],
) -> None:
    axes.plot(x, middle, **look)
    axes.fill_between(
        x, low, high, where=np.isfinite(low + high), color=look["color"], alpha=0.2, linewidth=0
    )


def log_axis(axes: Axes, values: np.ndarray, label: str) -> None:
    """Make the abscissa logarithmic, with a tick at each value.

    Args:
        axes: Axes to change.
        values: Values of the ticks.
        label: Label of the axis, with the unit.
    """
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{v:g}" for v in values])
    axes.minorticks_off()
    axes.set_xlabel(label)


def legend_below(figure: Figure, *entries: LegendEntry, columns: int) -> None:
    """Draw one legend below all panels.

    Args:
        figure: Figure with constrained layout.
        entries: Labels, each with the properties of its line.
        columns: Number of columns.
    """
    handles = [Line2D([], [], label=label, **look) for label, look in entries]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def by_colour(labels: Iterable[str]) -> list[LegendEntry]:
    """Legend entries for curves told apart by `COLOURS` only.

    Args:
        labels: Labels in the order of `COLOURS`.
    """
    return [
        (label, {"color": colour, "linewidth": 4})
        for label, colour in zip(labels, COLOURS, strict=False)
    ]


def by_line(labels: Iterable[str]) -> list[LegendEntry]:
    """Legend entries for curves told apart by `LINES` only.

    Args:
        labels: Labels in the order of `LINES`.
    """
    return [
        (label, {"color": "black", "linestyle": line})
        for label, line in zip(labels, LINES, strict=False)
    ]


def by_curve(labels: Iterable[str], first: int = 0) -> list[LegendEntry]:
    """Legend entries for curves that have a colour and a marker of their own.

    Args:
        labels: Labels in the order of `COLOURS` and `MARKS`.
        first: Index of the first colour.
    """
    return [
        (label, {"color": colour, "marker": mark})
        for label, colour, mark in zip(labels, COLOURS[first:], MARKS, strict=False)
    ]


def interval_entry(dataset: xr.Dataset) -> LegendEntry:
    """Legend entry that explains the bands of `curve`.

    Args:
        dataset: The data shown, with the dimension ``trial``.
    """
    trials = dataset.sizes["trial"]
    if trials == 1:
        return "one trial, no confidence interval", {"linestyle": "none"}
    label = f"mean of {trials} trials, shaded: its 95 % confidence interval"
    return label, {"color": "black", "alpha": 0.2, "linewidth": 7}
