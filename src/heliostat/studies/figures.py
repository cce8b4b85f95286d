"""What the studies' figures share: curves with bands, in one look."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from heliostat.studies.study import mean_and_band

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
"""One line style a condition: curves stay apart in black and white."""
MARKS = ("o", "s", "^", "D", "v")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, apart for every kind of colour vision."""


def curve(
    axes: Axes,
    x: xr.DataArray | np.ndarray,
    samples: xr.DataArray,
    label: str,
    *,
    colour: str,
    line: str | tuple[int, tuple[int, ...]] = "-",
) -> None:
    """The mean over trials, with its 95 % confidence band.

    Args:
        axes: Where to draw.
        x: Abscissa.
        samples: One dimension besides ``trial``.
        label: For the legend.
        colour: Of line and band.
        line: Line style.
    """
    mean, half = mean_and_band(samples)
    axes.plot(x, mean, color=colour, linestyle=line, label=label)
    axes.fill_between(x, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)


def letter(all_axes: Sequence[Axes]) -> None:
    """Name the panels (a), (b), ... as the papers do."""
    for axes, name in zip(all_axes, "abcdef", strict=False):
        axes.set_title(f"({name}) {axes.get_title()}".rstrip(), loc="left")
