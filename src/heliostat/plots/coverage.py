"""Drawing of a map in colours with the nodes in it, shared by both systems."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from heliostat.plots.style import RED, plain_ticks, styled

_LOST: dict[str, Any] = {"facecolor": "#E4E4E4", "edgecolor": "#9A9A9A", "hatch": "////"}


class Marks(NamedTuple):
    """Nodes of one kind in a map."""

    label: str
    marker: str
    color: str
    places: np.ndarray  # [node xyz] [m]


class Cells(NamedTuple):
    """Values of a map, with their scale."""

    x: np.ndarray  # centres of the columns [m]
    y: np.ndarray  # centres of the rows [m]
    value: np.ndarray  # [row column], in the unit of the label
    served: np.ndarray  # [row column]: whether a value can exist
    label: str  # of the colour scale, with unit
    norm: Normalize | None  # of the finite values; None if there are none
    infinite: str = "no bound exists"
    unserved: str = "behind the surface"


def draw_map(cells: Cells, marks: Sequence[Marks], title: str) -> Figure:
    """Map in colours, with the nodes in it.

    Args:
        cells: Values of the map.
        marks: Nodes of the scene.
        title: Title; a semicolon ends a line.
    """
    infinite = cells.served & np.isinf(cells.value)
    extent = (*_edges(cells.x), *_edges(cells.y))
    with styled():
        height = 4.6 * (extent[3] - extent[2]) / (extent[1] - extent[0])
        figure = Figure(figsize=(6.4, min(max(height, 1.8), 6.0) + 1.3))
        axes = figure.add_subplot()
        figure.suptitle(title.replace("; ", "\n"), x=0.02, ha="left", fontsize=10)
        axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
        axes.set(xlim=extent[:2], ylim=extent[2:])
        axes.grid(False)
        place: dict[str, Any] = {"origin": "lower", "extent": extent, "interpolation": "nearest"}
        if cells.norm is not None:
            shown = np.where(cells.served & ~infinite, cells.value, np.nan)
            image = axes.imshow(shown, norm=cells.norm, **place)
            logarithmic = isinstance(cells.norm, LogNorm)
            beyond = "max" if logarithmic else "neither"
            bar = figure.colorbar(image, ax=axes, label=cells.label, extend=beyond)
            if logarithmic:
                plain_ticks(bar.ax.yaxis, cells.norm)
        handles = _mark(axes, marks)
        if infinite.any():
            axes.imshow(np.where(infinite, 0.0, np.nan), cmap=ListedColormap([RED]), **place)
            handles.append(Patch(color=RED, label=cells.infinite))
        if not cells.served.all():
            axes.patch.set(**_LOST, linewidth=0)
            handles.append(Patch(**_LOST, linewidth=0, label=cells.unserved))
        figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure


def _edges(centres: np.ndarray) -> tuple[float, float]:
    """Outer edges of evenly spaced cells."""
    half = (centres[-1] - centres[0]) / (len(centres) - 1) / 2 if len(centres) > 1 else 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def _mark(axes: Axes, marks: Sequence[Marks]) -> list[Any]:
    """Mark the nodes in view, and return legend entries for them."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    handles: list[Any] = []
    for label, marker, color, places in marks:
        x, y = places[:, 0], places[:, 1]
        seen = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
        if seen.any():
            edge = "white" if color == "black" else "black"
            look: dict[str, Any] = {"marker": marker, "color": color, "markeredgecolor": edge}
            look |= {"linestyle": "none", "markersize": 8, "label": label, "clip_on": False}
            handles += axes.plot(x[seen], y[seen], **look)
    return handles
