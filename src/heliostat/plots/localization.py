"""Figures of localization: scene, map and trade-off of time allocations."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from heliostat.api.localization import TimeAllocation, TradeOff
from heliostat.geometry.frames import user_axis
from heliostat.maps.localization import AreaMap, Quantity
from heliostat.plots.coverage import Cells, Marks, draw_map
from heliostat.plots.scene import BLOCKED, Sketch, draw_scene, outline, symbol_size
from heliostat.plots.style import (
    BLUE,
    BS_POINT,
    GREEN,
    ORANGE,
    POINT,
    RED,
    THICK,
    length_unit,
    map_norm,
    plain_ticks,
    styled,
)
from heliostat.scene.localization import LocalizationScene
from heliostat.units import format_quantity, to_deg


def _sketch(scene: LocalizationScene) -> Sketch:
    """Lines and arrows of a scene; the arrays and the panel are larger than they are."""
    panel = scene.surface.array
    base_station, surface, user = _nodes(scene)
    nodes = np.stack([base_station, surface, user])
    size = symbol_size(nodes)
    bs_axis = size * np.asarray(scene.base_station.array.axis)
    axis = size * np.asarray(user_axis(scene.user.heading))
    hops = " and ".join(
        format_quantity(float(np.linalg.norm(end - start)), "length")
        for start, end in ((base_station, surface), (surface, user))
    )
    heading = format_quantity(float(scene.user.heading), "angle")

    surface_point = {"marker": "s", "color": ORANGE, "label": "surface and its normal"}
    user_point = {"marker": "o", "color": GREEN, "label": f"user, its array turned by {heading}"}
    lines: list[tuple[np.ndarray, dict[str, Any]]] = [
        (np.stack([base_station, user]), BLOCKED),
        (np.stack([base_station, surface, user]), {"color": BLUE, "label": f"path, {hops}"}),
        (outline(surface, panel, size), {"color": ORANGE, "linewidth": 2.5}),
        (np.stack([base_station - bs_axis, base_station + bs_axis]), THICK | {"color": "black"}),
        (np.stack([user - axis, user + axis]), THICK | {"color": GREEN}),
        (base_station[None], POINT | BS_POINT),
        (surface[None], POINT | surface_point),
        (user[None], POINT | user_point),
    ]
    normal = 2.5 * size * np.asarray(panel.normal)
    return Sketch(nodes, lines, [(surface, normal, ORANGE), (user, 2.5 * axis, GREEN)])


def _nodes(scene: LocalizationScene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of base station, surface and user. [m]"""
    base_station, surface = scene.base_station.position, scene.surface.position
    return np.asarray(base_station), np.asarray(surface), np.asarray(scene.user.position)


def scene_figure(scene: LocalizationScene) -> Figure:
    """The scene from above and in 3-D; arrays and panel are drawn larger than they are.

    Args:
        scene: The scene.
    """
    return draw_scene(_sketch(scene))


def map_figure(area_map: AreaMap, scene: LocalizationScene, title: str) -> Figure:
    """A map in colours, with what stands in it.

    Errors have a logarithmic scale; the worst places, one in fifty, share its last colour.

    Args:
        area_map: What to draw.
        scene: Where base station, surface and user are.
        title: Of the picture; a semicolon ends a line.
    """
    finite = area_map.value[area_map.served & np.isfinite(area_map.value)]
    label, factor, norm = "", 1.0, None
    if finite.size:
        label, factor = _scale(area_map.quantity, finite)
        logarithmic = area_map.quantity != "rate"
        norm = map_norm(factor * finite, logarithmic=logarithmic)
    value = factor * area_map.value
    cells = Cells(area_map.x, area_map.y, value, area_map.served, label, norm)
    base_station, surface, user = (node[None] for node in _nodes(scene))
    marks = [
        Marks("base station", "^", "black", base_station),
        Marks("surface", "s", ORANGE, surface),
        Marks("user", "o", "white", user),
    ]
    return draw_map(cells, marks, title)


def _scale(quantity: Quantity, values: np.ndarray) -> tuple[str, float]:
    """Label of a quantity with the unit it is shown in, and that unit's factor from SI."""
    if quantity == "rate":
        return "effective rate [Mbit/s]", 1e-6
    if quantity == "reb":
        return "heading error bound [deg]", float(to_deg(1.0))
    unit, factor = length_unit(values)
    return f"position error bound [{unit}]", factor


def trade_off_figure(
    trade_off: TradeOff, allocation: TimeAllocation | None, reason: str = ""
) -> Figure:
    """PEB against rate over all allocations, and both against the share of the period.

    Args:
        trade_off: All allocations.
        allocation: The best one; None if no bound exists.
        reason: Why it does not.
    """
    rate, share, kept = trade_off.eadr / 1e6, trade_off.ratio, ~trade_off.dominated
    bounded = trade_off.peb[np.isfinite(trade_off.peb)]
    label, factor = _scale("peb", bounded) if bounded.size else ("position error bound", 1.0)
    peb = factor * trade_off.peb
    with styled():
        figure = Figure(figsize=(9.0, 4.4))
        grid = figure.add_gridspec(2, 2, width_ratios=(1.2, 1))
        plane = figure.add_subplot(grid[:, 0])
        upper = figure.add_subplot(grid[0, 1])
        lower = figure.add_subplot(grid[1, 1], sharex=upper)
        plane.plot(rate[kept], peb[kept], color=BLUE, linewidth=0.8)
        for axes, across, up in ((plane, rate, peb), (upper, share, rate), (lower, share, peb)):
            dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": BLUE}
            hollow = dot | {"color": "white", "label": "dominated by another"}
            axes.plot(across[~kept], up[~kept], **hollow)
            axes.plot(across[kept], up[kept], **dot, color=BLUE, label="worth taking")
            for index, look in _marks(trade_off, allocation):
                axes.plot(across[index], up[index], **look)
        if allocation is not None:
            for ratio, color, line, label_ratio in (
                (allocation.ratio, RED, "-", "best share, closed form"),
                (allocation.peak_rate_ratio, ORANGE, "--", "largest rate, closed form"),
            ):
                for axes in (upper, lower) if ratio <= share[-1] else ():
                    axes.axvline(
                        ratio, color=color, linestyle=line, linewidth=1, zorder=0, label=label_ratio
                    )
        for axes in (plane, lower):
            if bounded.size:
                axes.set_yscale("log")
                plain_ticks(axes.yaxis, Normalize(*axes.get_ylim()))
            else:
                axes.set_yticks([])
                told = "No PEB exists." if axes is lower else f"No PEB exists. {reason}"
                middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
                told = textwrap.fill(told, 46)
                axes.text(0.5, 0.5, told, transform=axes.transAxes, **middle)
        plane.set(title="Each allocation of the period", ylabel=label)
        plane.set(xlabel="effective rate [Mbit/s]", xlim=None if bounded.size else (0, rate.max()))
        upper.set(title="Against the pilots' share", ylabel="rate [Mbit/s]")
        upper.tick_params(labelbottom=False)
        lower.set(
            xlabel="share of the period for pilots",
            ylabel=label.replace("position error bound", "PEB"),
        )
        handles, labels = upper.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _marks(
    trade_off: TradeOff, allocation: TimeAllocation | None
) -> list[tuple[int, dict[str, Any]]]:
    """The choices to point out: their indices, and how they are drawn."""
    peak = int(np.argmax(trade_off.eadr))
    best = -1
    if allocation is not None:
        best = int(np.argmax(trade_off.active_antennas == allocation.active_antennas))
    look: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "black", "clip_on": False}
    star = look | {"marker": "*", "color": RED, "markersize": 13}
    diamond = look | {"marker": "D", "color": ORANGE, "markersize": 7}
    count = [f"{n} active antenna" + "s" * int(n > 1) for n in trade_off.active_antennas]
    if best == peak:
        return [(best, star | {"label": f"best allocation, of largest rate: {count[best]}"})]
    marks = [(peak, diamond | {"label": f"largest rate: {count[peak]}"})]
    if best >= 0:
        marks.append((best, star | {"label": f"best allocation: {count[best]}"}))
    return marks
