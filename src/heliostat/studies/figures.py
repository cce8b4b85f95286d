"""Elements shared by the studies' figures: colors, curves with bands, axes and legends."""

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
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Palette of Okabe and Ito, distinct for color-blind readers."""


def curve(axes: Axes, x: xr.DataArray | np.ndarray, samples: xr.DataArray, **look: Any) -> None:
    """Draw the mean over trials with its 95 % confidence band.

    Args:
        axes: Axes to draw in.
        x: Abscissa.
        samples: Array with ``trial`` and one more dimension.
        look: Properties of the line, among them ``color``.
    """
    mean, half = (part.values for part in mean_and_band(samples))
    axes.plot(x, mean, **look)
    _band(axes, x, mean - half, mean + half, look)


def median_curve(
    axes: Axes, x: xr.DataArray | np.ndarray, samples: xr.DataArray, **look: Any
) -> None:
    """Draw the median over trials, where it is finite, with the band between the quartiles.

    Args:
        axes: Axes to draw in.
        x: Abscissa.
        samples: Array with ``trial`` and one more dimension.
        look: Properties of the line, among them ``color``.
    """
    with np.errstate(invalid="ignore"):  # inf - inf, where most trials have no value
        low, middle, high = samples.quantile([0.25, 0.5, 0.75], "trial").values
    axes.plot(x, np.where(np.isfinite(middle), middle, np.nan), **look)
    _band(axes, x, low, high, look)


def _band(axes: Axes, x: Any, low: np.ndarray, high: np.ndarray, look: dict[str, Any]) -> None:
    shown = np.isfinite(low + high)
    axes.fill_between(x, low, high, where=shown, color=look["color"], alpha=0.2, linewidth=0)


def log_axis(axes: Axes, values: np.ndarray, label: str) -> None:
    """Make the abscissa logarithmic, with a tick at each value."""
    axes.set(xscale="log", xlabel=label)
    axes.set_xticks(values, [f"{v:g}" for v in values])
    axes.minorticks_off()


def entries(labels: Iterable[str], **properties: Iterable[Any]) -> list[LegendEntry]:
    """Legend entries whose lines take each property in turn from a sequence.

    Args:
        labels: Labels, at most as many as the shortest sequence is long.
        properties: Sequences of values by the name of the property, such as ``color=COLORS``.
    """
    values = zip(*properties.values(), strict=False)
    looks = (dict(zip(properties, row, strict=True)) for row in values)
    return list(zip(labels, looks, strict=False))


def legend_below(figure: Figure, *entries: LegendEntry, columns: int) -> None:
    """Draw one legend below all panels; entries without a color are black."""
    black: dict[str, Any] = {"color": "black"}
    handles = [Line2D([], [], label=label, **black | look) for label, look in entries]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


BAND_LOOK = {"alpha": 0.2, "linewidth": 7}
"""Line that stands for a band in a legend."""


def interval_entry(
    dataset: xr.Dataset, shown: str = "shaded", look: dict[str, Any] = BAND_LOOK
) -> LegendEntry:
    """Legend entry that explains the bands of `curve`, or what else shows the interval."""
    trials = dataset.sizes["trial"]
    if trials == 1:
        return "one trial, no confidence interval", {"linestyle": "none"}
    return f"mean of {trials} trials, {shown}: its 95 % confidence interval", look
