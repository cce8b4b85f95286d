"""Figures of a target search: positions from above, and errors with bounds over the dwells."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from heliostat.plots.style import (
    BLUE,
    BS_POINT,
    GRAY,
    GREEN,
    ORANGE,
    POINT,
    RED,
    SPREAD_95,
    WIDTH,
    half_axes,
    length_unit,
    plain_ticks,
    styled,
)


def search_figure(
    dwells: xr.Dataset, base_station: np.ndarray, surfaces: np.ndarray, title: str
) -> Figure:
    """Draw the search region from above, and the estimates around the target.

    Args:
        dwells: See `heliostat.find_target`.
        base_station: Position of the base station, [xyz]. [m]
        surfaces: Positions of the surfaces, [surface xyz]. [m]
        title: Title of the figure.
    """
    low, high = dwells.attrs["region_low"][:2], dwells.attrs["region_high"][:2]
    target = dwells.attrs["target"][:2]
    there = np.isfinite(dwells.position_std.values)
    place = np.stack([dwells.x_estimate.values, dwells.y_estimate.values], axis=1)
    with styled():
        figure = Figure(figsize=(WIDTH, 4.4))
        figure.suptitle(title, x=0.02, ha="left", fontsize=10)
        whole, near = figure.subplots(1, 2)
        box: dict[str, Any] = {"facecolor": (*to_rgb(GRAY), 0.12), "edgecolor": GRAY}
        whole.add_patch(Rectangle((low[0], low[1]), *(high - low), **box, label="region"))
        whole.plot(*base_station[:2], **POINT, **(BS_POINT | {"label": "base station"}))
        whole.plot(*surfaces[:, :2].T, **POINT, marker="s", color=ORANGE, label="surfaces")
        whole.plot(*target, **POINT, marker="o", color=GREEN, label="target")
        look: dict[str, Any] = {"linestyle": "none", "marker": "x", "color": BLUE, "markersize": 9}
        whole.plot(*place[there].T, **look, label="estimates")
        whole.set(xlabel="x [m]", ylabel="y [m]", title="Region, from above")
        whole.set_aspect("equal", adjustable="datalim")
        whole.margins(0.06)
        _close_by(near, dwells, place, target, there)
        handles, labels = whole.get_legend_handles_labels()
        if there.any():
            handles.append(Patch(facecolor=(*to_rgb(BLUE), 0.15), edgecolor=BLUE))
            labels.append("estimated 95 % ellipse")
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _close_by(
    axes: Axes, dwells: xr.Dataset, place: np.ndarray, target: np.ndarray, there: np.ndarray
) -> None:
    """Draw accepted estimates and ellipses around the target; label the first by dwell."""
    axes.set_title("Around the target")
    shown = np.flatnonzero(there & dwells.found.values.astype(bool))
    if not shown.size:
        axes.text(0.5, 0.5, "no estimate was accepted", transform=axes.transAxes, ha="center")
        axes.set(xticks=[], yticks=[])
        return
    off, covariance = place - target, dwells.covariance.values[:, :2, :2]
    reach = max(
        float(np.abs(off[i]).max() + SPREAD_95 * np.sqrt(np.diag(covariance[i])).max())
        for i in shown
    )
    unit, scale = length_unit(np.array([reach]))
    for i in shown:
        half, turn = half_axes(covariance[i])
        fill: dict[str, Any] = {"facecolor": (*to_rgb(BLUE), 0.10), "edgecolor": BLUE}
        axes.add_patch(Ellipse(scale * off[i], *(2 * scale * half), angle=turn, **fill))
        axes.plot(*scale * off[i], marker="x", color=BLUE, zorder=5)
    for i in shown[:3]:
        # Later estimates overlap.
        offset: dict[str, Any] = {"xytext": (5, 5), "textcoords": "offset points", "fontsize": 8}
        axes.annotate(f"{dwells.dwell.values[i]}", scale * off[i], color=BLUE, zorder=6, **offset)
    axes.plot(0, 0, **POINT, marker="o", color=GREEN, zorder=4)
    axes.set(xlabel=f"x from the target [{unit}]", ylabel=f"y from the target [{unit}]")
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlim(-1.05 * scale * reach, 1.05 * scale * reach)
    axes.set_ylim(-1.05 * scale * reach, 1.05 * scale * reach)


def dwells_figure(dwells: xr.Dataset, title: str) -> Figure:
    """Plot error, standard deviation and bounds over the dwells, with the excess below.

    Args:
        dwells: See `heliostat.find_target`.
        title: Title of the figure.
    """
    number = dwells.dwell.values
    found = dwells.found.values.astype(bool)
    curves: dict[str, dict[str, Any]] = {
        "bound": {"color": BLUE, "marker": ".", "label": "bound of all dwells"},
        "known_target_bound": {
            "color": GREEN,
            "linestyle": "--",
            "marker": ".",
            "label": "known-target bound",
        },
        "position_std": {
            "color": GRAY,
            "linestyle": "none",
            "marker": "o",
            "markersize": 7,
            "markerfacecolor": "none",
            "label": "standard deviation (estimated)",
        },
    }
    with styled():
        figure = Figure(figsize=(WIDTH, 5.6))
        figure.suptitle(title, x=0.02, ha="left", fontsize=10)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        names = [*curves, "position_error"]
        positive = np.concatenate([dwells[name].values for name in names])
        positive = positive[np.isfinite(positive) & (positive > 0)]
        unit, scale = length_unit(positive)
        for name, look in curves.items():
            values = dwells[name].values
            upper.plot(number, np.where(np.isfinite(values), scale * values, np.nan), **look)
        error = dwells.position_error.values
        for which, look in (
            (found, {"color": ORANGE, "markeredgecolor": "#805000", "label": "error"}),
            (
                ~found & np.isfinite(error),
                {"color": "white", "markeredgecolor": RED, "label": "error of a rejected estimate"},
            ),
        ):
            if which.any():
                upper.plot(
                    number[which], scale * error[which], linestyle="none", marker="o", **look
                )
        goal = dwells.attrs["accuracy"]
        if goal > 0:
            upper.axhline(scale * goal, color="black", linewidth=0.8, label="requested accuracy")
        upper.set_yscale("log")
        ends = np.append(positive, goal) if goal > 0 else positive
        upper.set_ylim(scale * ends.min() / 1.5, scale * ends.max() * 1.5)
        plain_ticks(upper.yaxis, Normalize(*upper.get_ylim()))
        upper.set_ylabel(f"position error, RMS [{unit}]")
        excess = dwells.excess_db.values
        finite = np.isfinite(excess)
        scan = dwells.kind.values == "scan"
        for which, color, label in ((scan, GRAY, "scan"), (~scan, BLUE, "focused")):
            bars = which & finite
            if bars.any():
                lower.bar(number[bars], excess[bars], 0.6, color=color, label=label)
        lower.axhline(0, color="black", linewidth=0.8)
        lower.set(xlabel="dwell", ylabel="excess over\nknown target [dB]")
        lower.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
        lower.set_xlim(0.4, number[-1] + 0.6)
        figure.align_ylabels([upper, lower])
        handles, labels = upper.get_legend_handles_labels()
        more, names_too = lower.get_legend_handles_labels()
        figure.legend(handles + more, labels + names_too, loc="outside lower center", ncols=3)
    return figure
