"""Maps of a bound, the rate or the SNR, and their cumulative distribution."""

import itertools
import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon

from heliostat.plots.scene import OBSTACLE
from heliostat.plots.style import (
    BLUE,
    CATEGORIES,
    GRAY,
    ORANGE,
    RED,
    length_unit,
    logarithmic,
    map_norm,
    new_axes,
    outer_edges,
    plain_ticks,
    styled,
)
from heliostat.units import to_db, to_deg

_LOST: dict[str, Any] = {"facecolor": "#E4E4E4", "edgecolor": "#9A9A9A", "hatch": "////"}
_HATCHES = ("", "////", "xxxx", "....")
_NEAR = "...."
"""Hatching of positions in the near field of a surface."""
DECADE = 10.0
"""Ratio of the largest to the smallest rate above which the scale is logarithmic."""


class Display(NamedTuple):
    """A quantity in a suitable unit and on a suitable scale for display."""

    values: np.ndarray  # in the unit of the label; inf where there is no bound
    served: np.ndarray  # whether a value can exist
    label: str  # with unit
    unit: str
    factor: float  # of the unit, from SI; nan for decibels
    logarithmic: bool

    @property
    def finite(self) -> np.ndarray:
        """All finite values of the served area."""
        values = self.values[self.served]
        return values[np.isfinite(values)]

    def converted(self, value: float) -> float:
        """Return a value in the unit of the display.

        Args:
            value: The value. [SI]
        """
        return float(to_db(value)) if self.unit == "dB" else self.factor * value


def display_of(data: xr.Dataset) -> Display:
    """Return the quantity of a map in the unit and scale for display.

    Args:
        data: Result of `heliostat.coverage`.
    """
    array = data[data.attrs["quantity"]]
    value, served, label = array.values, data["served"].values, array.attrs["long_name"]
    finite = value[served & np.isfinite(value)]
    unit, factor, logarithmic = array.attrs["units"], 1.0, True
    if unit == "m":
        unit, factor = length_unit(finite) if finite.size else ("m", 1.0)
    elif unit == "rad":
        unit, factor = "deg", float(to_deg(1.0))
    elif unit == "bit/s":
        unit, factor = "Mbit/s", 1e-6
        positive = finite[finite > 0]
        logarithmic = bool(positive.size and positive.max() > DECADE * positive.min())
    elif array.name == "snr":
        with np.errstate(divide="ignore"):
            shown = 10 * np.log10(value)
        return Display(shown, served, f"{label} [dB]", "dB", np.nan, False)
    return Display(factor * value, served, f"{label} [{unit}]", unit, factor, logarithmic)


def coverage(data: xr.Dataset, ax: Axes | None = None, *, below: float | None = None) -> Axes:
    """Draw a map or listed positions in colors, with the nodes of the scene.

    Positions in the near field of a surface are dotted, as the bounds of the far-field model may be
    wrong there. A logarithmic scale ends at the 98 % quantile, for angles at most at 1 rad.

    Args:
        data: Result of `heliostat.coverage`.
        ax: Axes to draw into; default new ones.
        below: Threshold whose contour is drawn. [SI unit of the quantity]

    Returns:
        The axes, with a color bar and a legend beside them.
    """
    if ax is None:
        ax = new_axes()
    display, norm = display_of(data), None
    draw = _cells if "y" in data.dims else _dots
    if data.attrs["quantity"] == "cause":
        draw = _categories
    elif display.finite.size:
        limit = float(to_deg(1.0)) if display.unit == "deg" else np.inf  # no information above
        norm = map_norm(np.minimum(_drawable(display), limit), logarithmic=display.logarithmic)
    handles = draw(data, display, norm, ax)
    if below is not None and display.finite.size and min(data.sizes.get(d, 1) for d in "xy") > 1:
        level = display.converted(below)
        shown = np.where(display.served, np.minimum(display.values, 1e300), np.nan)
        if np.nanmin(shown) < level < np.nanmax(shown):
            ax.contour(data["x"], data["y"], shown, [level], colors="white", linewidths=1.5)
            handles.append(Line2D([], [], color="0.6", label=f"{level:.3g} {display.unit}"))
    handles += _nodes(data, ax)
    ax.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
    ax.grid(visible=False)
    figure = ax.get_figure(root=True)
    assert figure is not None
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2)
    return ax


def coverage_figure(data: xr.Dataset, *, below: float | None = None) -> Figure:
    """Draw a map and, next to it, the cumulative distribution over the served positions.

    Args:
        data: Result of `heliostat.coverage`.
        below: Threshold to mark in both. [SI unit of the quantity]
    """
    extent = [np.ptp(data[axis].values) if data[axis].size > 1 else 1.0 for axis in "xy"]
    with styled():
        height = min(max(5.2 * extent[1] / max(extent[0], 1e-9), 2.4), 6.0)
        figure = Figure(figsize=(10.0, height + 1.5))
        ax, beside = figure.subplots(1, 2, width_ratios=(1.7, 1))
        figure.suptitle(data.attrs["title"].replace("; ", "\n"), x=0.02, ha="left", fontsize=10)
        coverage(data, ax, below=below)
        distribution(data, beside, below=below)
    return figure


def distribution(data: xr.Dataset, ax: Axes | None = None, *, below: float | None = None) -> Axes:
    """Draw the share of the served positions at which the quantity is below each value.

    Args:
        data: Result of `heliostat.coverage`.
        ax: Axes to draw into; default new ones.
        below: Threshold to mark. [SI unit of the quantity]
    """
    if ax is None:
        ax = new_axes()
    if data.attrs["quantity"] == "cause":
        return _shares(data, ax)
    display = display_of(data)
    other = "area" if "y" in data.dims else "places"
    ax.set(xlabel=display.label, ylabel=f"share of the served {other} below the value", ylim=(0, 1))
    if display.finite.size:
        draw_distribution(ax, display, color=BLUE)
        if display.logarithmic:
            logarithmic(ax, "x")
    if below is not None and display.served.any():
        level, share_below = display.converted(below), share_of(data, below)
        ax.axvline(level, color=RED, linestyle="--")
        ax.plot([level], [share_below], "o", color=RED)
        ax.set_title(f"{100 * share_below:.3g} % below {level:.3g} {display.unit}", fontsize=10)
    return ax


def shares_of_causes(data: xr.Dataset) -> dict[str, float]:
    """Share of the positions outside all obstacles that each set of paths reaches.

    Args:
        data: Result of `heliostat.coverage` for the quantity "cause".

    Returns:
        Shares of the sets that occur, by their names, the largest first.
    """
    array = data["cause"]
    values = array.values[data["served"].values]
    names = array.attrs["flag_meanings"].split("; ")
    indices, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {names[indices[i]]: float(counts[i] / values.size) for i in order}


def _shares(data: xr.Dataset, ax: Axes) -> Axes:
    """Draw the share of each set of paths as a bar."""
    shares = shares_of_causes(data)
    looks = _cause_looks(data)
    other = "area" if "y" in data.dims else "places"
    for name, share in shares.items():
        ax.barh(name, 100 * share, **looks[name])
    ax.set(xlabel=f"share of the {other} outside all obstacles [%]", xlim=(0, 100))
    ax.invert_yaxis()
    return ax


def _cause_looks(data: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Color and hatching of each set of paths; sets of the same color differ in the hatching."""
    names = data["cause"].attrs["flag_meanings"].split("; ")
    looks = itertools.cycle(itertools.product(_HATCHES, CATEGORIES))
    found = {}
    for name in names:
        hatch, color = ("", GRAY) if name == "no path" else next(looks)
        found[name] = {"facecolor": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
    return found


def _categories(data: xr.Dataset, display: Display, norm: Normalize | None, ax: Axes) -> list[Any]:
    """Draw the sets of paths that reach the positions, and return legend entries."""
    del norm
    handles: list[Any] = []
    values = data["cause"].values
    x, y = data["x"].values, data["y"].values
    for index, (name, look) in enumerate(_cause_looks(data).items()):
        chosen = (values == index) & display.served
        if not chosen.any():
            continue
        if "y" in data.dims:
            edges = (*outer_edges(x), *outer_edges(y))
            ax.set(xlim=edges[:2], ylim=edges[2:])
            shown = np.where(chosen, 0.0, np.nan)
            place: dict[str, Any] = {"origin": "lower", "extent": edges, "interpolation": "nearest"}
            ax.imshow(shown, cmap=ListedColormap([look["facecolor"]]), **place)
            if look["hatch"] and min(chosen.shape) > 1:
                hatched = ax.contourf(
                    x, y, chosen, [0.5, 1.5], colors="none", hatches=[look["hatch"]]
                )
                hatched.set(edgecolor=look["edgecolor"], linewidth=0)
        else:
            ax.scatter(x[chosen], y[chosen], s=60, zorder=3, **look)
        handles.append(Patch(**look, label=name))
    if "y" not in data.dims:
        _names(data, ax)
    return handles


def draw_distribution(ax: Axes, display: Display, **look: Any) -> None:
    """Draw the cumulative distribution of the served values as a curve.

    Args:
        ax: Axes to draw into.
        display: Values, of which at least one is finite.
        look: Properties of the line.
    """
    drawable = np.sort(_drawable(display))
    # A logarithmic scale cannot show values such as a rate of zero; they are below all others.
    smaller = int((display.values[display.served] < drawable[0]).sum())
    share = (smaller + np.arange(1, drawable.size + 1)) / display.served.sum()
    ax.step(drawable, share, where="post", **look)


def share_of(data: xr.Dataset, below: float) -> float:
    """Share of the served positions at which the quantity is below a threshold.

    Args:
        data: Result of `heliostat.coverage`, with at least one served position.
        below: The threshold. [SI unit of the quantity]
    """
    values = data[data.attrs["quantity"]].values[data["served"].values]
    return float(np.mean(values < below))


def _drawable(display: Display) -> np.ndarray:
    """Finite values that the scale can show."""
    finite = display.finite
    if display.logarithmic and (finite > 0).any():
        finite = finite[finite > 0]
    return finite


def _cells(data: xr.Dataset, display: Display, norm: Normalize | None, ax: Axes) -> list[Any]:
    """Draw a map, and return legend entries."""
    edges = (*outer_edges(data["x"].values), *outer_edges(data["y"].values))
    place: dict[str, Any] = {"origin": "lower", "extent": edges, "interpolation": "nearest"}
    infinite = display.served & np.isposinf(display.values)
    ax.set(xlim=edges[:2], ylim=edges[2:])
    handles: list[Any] = []
    if norm is not None:
        shown = np.where(display.served & ~infinite, display.values, np.nan)
        if display.logarithmic:
            shown = np.maximum(shown, norm.vmin or 0.0)
        _bar(ax, ax.imshow(shown, norm=norm, **place), display, norm)
    if infinite.any():
        red = ListedColormap([RED])
        ax.imshow(np.where(infinite, 0.0, np.nan), cmap=red, **place)
        designed = data.attrs["moved"] == "target" and data.attrs["steering"] == "each point"
        label = "no bound, or SNR out of reach" if designed else "no bound exists"
        handles.append(Patch(color=RED, label=label))
    if not display.served.all():
        ax.patch.set(**_LOST, linewidth=0)
        handles.append(Patch(**_LOST, linewidth=0, label=unserved_reason(data)))
    near = data["near_field"].values & display.served
    if near.any() and min(near.shape) > 1:
        ax.contourf(data["x"], data["y"], near, levels=[0.5, 1.5], colors="none", hatches=[_NEAR])
        face: dict[str, Any] = {"facecolor": "white", "edgecolor": "black", "hatch": _NEAR}
        label = "near field of a surface: bounds may be wrong"
        handles.append(Patch(**face, linewidth=0, label=label))
    return handles


def _dots(data: xr.Dataset, display: Display, norm: Normalize | None, ax: Axes) -> list[Any]:
    """Draw listed positions with their names, and return legend entries."""
    x, y = data["x"].values, data["y"].values
    known = display.served & np.isfinite(display.values)
    if norm is not None:
        dots = ax.scatter(x[known], y[known], c=display.values[known], norm=norm, s=60, zorder=3)
        _bar(ax, dots, display, norm)
    handles: list[Any] = []
    for lost, color, label in (
        (display.served & ~known, RED, "no bound exists"),
        (~display.served, "#9A9A9A", unserved_reason(data)),
    ):
        if lost.any():
            handles += ax.plot(x[lost], y[lost], "X", color=color, label=label)
    _names(data, ax)
    return handles


def _names(data: xr.Dataset, ax: Axes) -> None:
    """Write the name of each listed position beside it."""
    for name, x, y in zip(data["place"].values, data["x"].values, data["y"].values, strict=True):
        ax.annotate(str(name), (x, y), (4, 4), textcoords="offset points", fontsize=8)


def _bar(ax: Axes, image: Any, display: Display, norm: Normalize) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None
    beyond = "max" if display.logarithmic else "neither"
    bar = figure.colorbar(image, ax=ax, label=display.label, extend=beyond)
    if display.logarithmic:
        plain_ticks(bar.ax.yaxis, norm)


def unserved_reason(data: xr.Dataset) -> str:
    """Return the reason why no value can exist at some positions."""
    alone = data.sizes["surface"] == 1
    if data.attrs["moved"] == "user" and (not alone or data.attrs.get("obstacles", "[]") != "[]"):
        return "no path, or outside the area" if "polygon" in data.attrs else "no path"
    fixed_position = data.attrs["quantity"] == "position_bound"
    if fixed_position and data.attrs["steering"] == "fixed" and not alone:
        behind = "in front of fewer than two surfaces"
    else:
        behind = "behind the surface" if alone else "behind a surface"
    return f"{behind}, or outside the area" if "polygon" in data.attrs else behind


def _obstacles(data: xr.Dataset, ax: Axes) -> list[Any]:
    """Draw the outlines of the obstacles, and return legend entries."""
    outlines = json.loads(data.attrs.get("obstacles", "[]"))
    for outline in outlines:
        ax.add_patch(Polygon(outline["footprint"], closed=True, zorder=2.5, **OBSTACLE))
    return [Patch(label="obstacle", **OBSTACLE)] if outlines else []


def _nodes(data: xr.Dataset, ax: Axes) -> list[Any]:
    """Mark the nodes in view with the normals of the surfaces, and return legend entries."""
    moved = data.attrs["moved"]
    nodes = np.atleast_2d(data[moved].values)
    if "y" not in data.dims:  # a mark would cover the value at the node
        listed = np.column_stack([data[axis].values for axis in "xyz"])
        nodes = nodes[~(nodes[:, None] == listed[None]).all(axis=2).any(axis=1)]
    surfaces = np.atleast_2d(data["surfaces"].values)
    handles = _obstacles(data, ax)
    marks = [
        ("base station", "^", "black", data["base_station"].values[None]),
        ("surface and its normal", "s", ORANGE, surfaces),
        (f"{moved}{'s' * (len(nodes) > 1)} of the scenario", "o", "white", nodes),
    ]
    if "y" not in data.dims:
        ax.margins(0.15)
        ax.autoscale_view()
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    inside = "y" in data.dims
    for label, marker, color, places in marks:
        x, y = places[:, 0], places[:, 1]
        seen = (left <= x) & (x <= right) & (bottom <= y) & (y <= top) | (not inside)
        if seen.any():
            edge = "white" if color == "black" else "black"
            look: dict[str, Any] = {"marker": marker, "color": color, "markeredgecolor": edge}
            look |= {"linestyle": "none", "markersize": 8, "label": label, "clip_on": False}
            handles += ax.plot(x[seen], y[seen], zorder=4, **look)
    length = 0.08 * max(right - left, top - bottom)
    for place, normal in zip(surfaces, np.atleast_2d(data["normals"].values), strict=True):
        tip = place[:2] + length * normal[:2]
        arrow = {"arrowstyle": "-|>", "color": ORANGE, "linewidth": 1.5}
        ax.annotate("", tip, place[:2], arrowprops=arrow, zorder=4)
    return handles
