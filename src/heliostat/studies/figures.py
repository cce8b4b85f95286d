"""What the studies' figures share: curves with bands, in one look."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from heliostat.studies.study import mean_and_band

LineStyle: TypeAlias = str | tuple[int, tuple[int, ...]]
LINES: tuple[LineStyle, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
"""One line style a condition: curves stay apart in black and white."""
MARKS = ("o", "s", "^", "D", "v")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, apart for every kind of colour vision."""


def curve(
    axes: Axes,
    x: xr.DataArray | np.ndarray,
    samples: xr.DataArray,
    *,
    colour: str,
    line: LineStyle = "-",
) -> None:
    """The mean over trials, with its 95 % confidence band.

    Args:
        axes: Where to draw.
        x: Abscissa.
        samples: One dimension besides ``trial``.
        colour: Of line and band.
        line: Line style.
    """
    mean, half = mean_and_band(samples)
    axes.plot(x, mean, color=colour, linestyle=line)
    axes.fill_between(x, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)


def median_curve(
    axes: Axes,
    x: xr.DataArray | np.ndarray,
    samples: xr.DataArray,
    *,
    color: str,
    linestyle: LineStyle = "-",
    marker: str = "",
) -> None:
    """The median over trials, with the band from quartile to quartile; a gap where it is infinite.

    Args:
        axes: Where to draw.
        x: Abscissa.
        samples: One dimension besides ``trial``.
        color: Of line and band.
        linestyle: As Matplotlib has it.
        marker: At each point.
    """
    with np.errstate(invalid="ignore"):  # inf - inf, where most trials have no value
        low, middle, high = samples.quantile([0.25, 0.5, 0.75], "trial").values
    shown = np.where(np.isfinite(middle), middle, np.nan)
    axes.plot(x, shown, color=color, linestyle=linestyle, marker=marker)
    axes.fill_between(
        x, low, high, where=np.isfinite(low + high), color=color, alpha=0.2, linewidth=0
    )


def log_axis(axes: Axes, values: np.ndarray, label: str) -> None:
    """A logarithmic abscissa with a tick at each value.

    Args:
        axes: Where.
        values: All that was computed.
        label: With the unit.
    """
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{v:g}" for v in values])
    axes.minorticks_off()
    axes.set_xlabel(label)


def legend_below(figure: Figure, *entries: tuple[str, dict[str, Any]], columns: int) -> None:
    """One legend under all panels, of looks and what they mean.

    Args:
        figure: Laid out by constrained layout.
        entries: A label, and the properties of the line that stands for it.
        columns: How many entries stand side by side.
    """
    handles = [Line2D([], [], label=label, **look) for label, look in entries]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def sizes_and(
    sides: Sequence[int], labels: Sequence[str], **look: Any
) -> list[tuple[str, dict[str, Any]]]:
    """Legend entries: a colour a surface size, a line style a condition.

    Args:
        sides: Elements a side.
        labels: Of the conditions, in the order of `LINES`.
        look: Further properties of the conditions' entries.
    """
    sizes = [
        (f"N = {side**2}", {"color": colour, "linewidth": 4})
        for side, colour in zip(sides, COLOURS, strict=False)
    ]
    conditions = [
        (label, {"color": "black", "linestyle": line, **look})
        for label, line in zip(labels, LINES, strict=False)
    ]
    return sizes + conditions
