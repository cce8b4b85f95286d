"""Map of a placement, and the share of the positions that meet the goal."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon

from heliostat.api.placement_results import Placement
from heliostat.plots.scene import OBSTACLE
from heliostat.plots.style import CATEGORIES, ORANGE, POINT, RED, styled

MET, MET_BEFORE, UNMET = "#A6D8C8", "#4FA98B", "#F3D9CF"
"""Colors of the positions."""


def placement_figure(found: Placement) -> Figure:
    """Draw the site with the chosen surfaces, and the share against their number.

    Args:
        found: Result of `heliostat.place`.
    """
    (left, right), (bottom, top) = _view(found)
    with styled():
        height = min(max(7.0 * (top - bottom) / (right - left), 2.8), 7.0)
        figure = Figure(figsize=(11.0, height + 1.4))
        ax, beside = figure.subplots(1, 2, width_ratios=(2.6, 1))
        title = f"{found.scenario.name}: {found.goal} at {100 * found.share:.3g} % of the positions"
        figure.suptitle(title, x=0.02, ha="left", fontsize=10)
        handles = placement_map(found, ax)
        figure.legend(handles=handles, loc="outside lower center", ncols=4, columnspacing=1.2)
        shares(found, beside)
    return figure


def placement_map(found: Placement, ax: Axes) -> list[Any]:
    """Draw obstacles, positions, candidates and the chosen surfaces; return legend entries.

    Args:
        found: Result of `heliostat.place`.
        ax: Axes to draw in.
    """
    groups = [
        (~found.met & ~found.met_before, UNMET, "goal not met"),
        (found.met & ~found.met_before, MET, "goal met with the surfaces"),
        (found.met_before, MET_BEFORE, "goal met without them"),
    ]
    handles: list[Any] = []
    for chosen, color, label in groups:
        if chosen.any():
            _positions(found, chosen, color, ax)
            handles.append(Patch(facecolor=color, edgecolor="0.6", label=label))
    for footprint in found.scenario.footprints:
        ax.add_patch(Polygon(footprint, closed=True, zorder=1.5, **OBSTACLE))
    if found.scenario.obstacles:
        handles.append(Patch(label="obstacle", **OBSTACLE))
    _candidates(found, ax)
    base_station = found.scenario.base_station.position
    look = POINT | {"zorder": 5}
    handles += ax.plot(*base_station[:2], "^", color="black", label="base station", **look)
    (left, right), (bottom, top) = _view(found)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    reach = 0.07 * max(right - left, top - bottom)
    look = look | {"markeredgecolor": "black"}
    for i, surface in enumerate(found.surfaces):
        x, y, _ = surface.position
        u, v = reach * np.cos(surface.azimuth), reach * np.sin(surface.azimuth)
        arrow = {"arrowstyle": "-|>", "color": RED, "linewidth": 1.8}
        ax.annotate("", (x + u, y + v), (x, y), arrowprops=arrow, zorder=4)
        label = "chosen surface and its normal" if i == 0 else "_"
        ax.plot(x, y, "s", color=ORANGE, label=label, **look)
        beyond = x > (left + right) / 2  # names are towards the middle, within the axes
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "linewidth": 0, "alpha": 0.8}
        ax.annotate(
            surface.name,
            (x, y),
            (-8 if beyond else 8, 8),
            textcoords="offset points",
            horizontalalignment="right" if beyond else "left",
            bbox=box,
            fontsize=8,
            zorder=6,
        )
    mark: dict[str, Any] = {
        "marker": "s",
        "linestyle": "none",
        "color": ORANGE,
        "markeredgecolor": "black",
    }
    handles.append(Line2D([], [], label="chosen surface and its normal", **mark))
    handles.append(Line2D([], [], marker="o", linestyle="none", color="0.4", label="candidate"))
    ax.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
    ax.grid(visible=False)
    return handles


def _view(found: Placement) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of x and y that contain positions, candidates and base station, with a margin. [m]"""
    shown: list[Any] = [
        found.positions,
        found.candidates.position,
        [found.scenario.base_station.position],
    ]
    places: np.ndarray = np.vstack(shown)[:, :2]
    low, high = places.min(axis=0), places.max(axis=0)
    margin = 0.06 * max(float(np.max(high - low)), 1.0)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return (left, right), (bottom, top)


def _positions(found: Placement, chosen: np.ndarray, color: str, ax: Axes) -> None:
    """Draw positions as cells of a grid, or as dots with names."""
    x, y = found.positions[chosen, 0], found.positions[chosen, 1]
    if found.area is None:
        ax.plot(x, y, "o", color=color, markeredgecolor="black", markersize=8, zorder=3)
        for name, at, used in zip(found.names, found.positions, chosen, strict=True):
            if used:
                ax.annotate(name, at[:2], (5, -10), textcoords="offset points", fontsize=8)
        return
    columns, rows = found.area
    image = np.full((len(rows), len(columns)), np.nan)
    image[np.abs(y[:, None] - rows).argmin(axis=1), np.abs(x[:, None] - columns).argmin(axis=1)] = 0
    edges = []
    for centers in (columns, rows):
        half = (centers[-1] - centers[0]) / (len(centers) - 1) / 2 if len(centers) > 1 else 0.5
        edges += [float(centers[0] - half), float(centers[-1] + half)]
    place: dict[str, Any] = {"origin": "lower", "extent": edges, "interpolation": "nearest"}
    ax.imshow(image, cmap=ListedColormap([color]), zorder=1, **place)


def _candidates(found: Placement, ax: Axes) -> None:
    """Draw each position of candidates, colored by the best share at this position."""
    places, index = np.unique(found.candidates.position[:, :2], axis=0, return_inverse=True)
    best = np.zeros(len(places))
    np.maximum.at(best, index.ravel(), found.candidates.share)
    dots = ax.scatter(places[:, 0], places[:, 1], c=100 * best, s=18, cmap="viridis", zorder=3)
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.colorbar(dots, ax=ax, label="share with a single surface [%]", shrink=0.8)


def shares(found: Placement, ax: Axes) -> None:
    """Plot the share of the positions that meet the goal against the number of surfaces.

    Args:
        found: Result of `heliostat.place`.
        ax: Axes to draw in.
    """
    number = np.arange(found.share_by_number.shape[1])
    for i, (rows, columns) in enumerate(found.sizes.tolist()):
        share = 100 * found.share_by_number[i]
        color = CATEGORIES[i % len(CATEGORIES)]
        ax.plot(number, share, "o-", color=color, label=f"{rows} x {columns} elements")
    last = number[-1]
    ax.plot(last, 100 * found.share, "*", color=RED, markersize=11, label="after refinement")
    ax.plot(
        last, 100 * found.bound, "_", color="black", markersize=16, label="upper bound on the grid"
    )
    ax.set(xlabel="number of surfaces", ylabel="share of the positions [%]", ylim=(0, 104))
    ax.set_xticks(number)
    ax.legend(loc="lower right", fontsize=8)
