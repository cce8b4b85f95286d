"""Style shared by all figures: colors, markers, units, ticks, ellipses and files."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

BLUE, ORANGE, GREEN, RED, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
CATEGORIES = (BLUE, ORANGE, GREEN, "#56B4E9", "#CC79A7", "#F0E442", RED)
"""Colors of categories that people with color vision deficiency can distinguish (Okabe, Ito)."""
WIDTH = 6.4
"""Width of every figure of a report, so that their text has one size on the page. [inches]"""
THICK: dict[str, Any] = {"linewidth": 3.5, "solid_capstyle": "butt"}
POINT: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "white", "markersize": 8}
BS_POINT: dict[str, Any] = {"marker": "^", "color": "black", "label": "base station and its array"}
"""Lines and markers of scenes seen from above."""

SPREAD_95 = math.sqrt(-2 * math.log(0.05))
"""Half axes of the 95 % ellipse of a Gaussian in the plane, in standard deviations."""

_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
SUFFIXES = tuple(_METADATA)
"""Formats of `save_figure`."""


@contextmanager
def styled() -> Iterator[None]:
    """Context in which figures are drawn and saved in the style of heliostat."""
    with mpl.rc_context(fname=Path(__file__).with_name("heliostat.mplstyle")):
        yield
        # A notebook's backend, loaded with the first figure, switches to interactive mode. Undoing
        # that would leave all later figures of the notebook hidden.
        interactive = mpl.is_interactive()
    mpl.interactive(interactive)


def logarithmic(ax: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic with `plain_ticks`, without changing its range.

    Args:
        ax: Axes that hold the data.
        which: Axis to change.
    """
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if which == "x" else ax.yaxis
    limits = ax.get_xlim() if which == "x" else ax.get_ylim()
    plain_ticks(axis, LogNorm(*limits))
    (ax.set_xlim if which == "x" else ax.set_ylim)(limits)


def new_axes() -> Axes:
    """Axes of a new pyplot figure in this style, which ``matplotlib.pyplot.show`` displays."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only a figure of the user needs it

    with styled():
        return plt.figure().add_subplot()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the same figure gives the same bytes.

    Args:
        figure: The figure.
        path: Output file; its suffix, one of `SUFFIXES`, sets the format.

    Raises:
        ValueError: The suffix is none of them.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path.name} ends in none of {', '.join(SUFFIXES)}.")
    with styled():
        figure.savefig(path, metadata=_METADATA[path.suffix.lower()])


def save_figures(figures: Mapping[str, Figure], folder: Path, *, pdf: bool) -> None:
    """Write several figures as PNG.

    Args:
        figures: Figures by file name without suffix.
        folder: An existing folder.
        pdf: Write each figure as PDF too, which takes longer because fonts are embedded.
    """
    for name, figure in figures.items():
        for suffix in ("png", "pdf") if pdf else ("png",):
            save_figure(figure, folder / f"{name}.{suffix}")


def half_axes(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Half axes of the 95 % ellipse, longest first [m], and its angle from the x axis [deg].

    Args:
        covariance: Covariance of x and y. [m²]
    """
    power, ways = np.linalg.eigh(covariance)
    turn = math.degrees(math.atan2(ways[1, 1], ways[0, 1]))
    return SPREAD_95 * np.sqrt(np.maximum(power[::-1], 0.0)), turn


def outer_edges(centers: np.ndarray) -> tuple[float, float]:
    """Outer edges of evenly spaced cells, in the unit of their centers; one cell has width 1.

    Args:
        centers: Centers in increasing order.
    """
    half = (centers[-1] - centers[0]) / (len(centers) - 1) / 2 if len(centers) > 1 else 0.5
    return float(centers[0] - half), float(centers[-1] + half)


def length_unit(values: np.ndarray) -> tuple[str, float]:
    """Unit of length for finite values, and its factor from meters.

    Args:
        values: At least one value. [m]
    """
    high = float(np.quantile(values, 0.98))
    units = {"m": 1.0, "cm": 1e2, "mm": 1e3, "µm": 1e6}
    unit = next((unit for unit, factor in units.items() if factor * high >= 0.8), "µm")
    return unit, units[unit]


def map_norm(values: np.ndarray, *, logarithmic: bool) -> Normalize:
    """Color scale of a map; a logarithmic one ends at the 98 % quantile.

    Args:
        values: All finite values, at least one.
        logarithmic: Whether the scale is logarithmic.
    """
    if not logarithmic:
        return Normalize(float(values.min()), float(values.max()))
    low, high = float(values.min()), float(np.quantile(values, 0.98))
    return LogNorm(low, max(high, 1.1 * low))


def plain_ticks(axis: Axis, norm: Normalize) -> None:
    """Label a logarithmic axis with plain numbers: decades, and steps between few decades."""
    decades = np.log10((norm.vmax or 1) / (norm.vmin or 1))
    steps = (1,) if decades > 2.5 else (1, 2, 5) if decades > 0.7 else range(1, 10)
    axis.set_major_locator(LogLocator(subs=tuple(steps)))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:.4g}"))
    axis.set_minor_locator(NullLocator())
