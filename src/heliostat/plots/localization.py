"""Figures of localization: scene, map and trade-off of time allocations."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from heliostat.api.localization import TimeAllocation, TradeOff
from heliostat.geometry.frames import user_axis
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
    plain_ticks,
    styled,
)
from heliostat.scene.localization import LocalizationScene
from heliostat.units import format_quantity

COINCIDENT = 0.005
"""Pilot shares closer than this are drawn as one line."""


def _sketch(scene: LocalizationScene) -> Sketch:
    """Drawing instructions of a scene; arrays and panel are not to scale."""
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
    user_point = {"marker": "o", "color": GREEN, "label": f"user and its array, heading {heading}"}
    lines: list[tuple[np.ndarray, dict[str, Any]]] = [
        (np.stack([base_station, user]), BLOCKED),
        (np.stack([base_station, surface, user]), {"color": BLUE, "label": f"signal path, {hops}"}),
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
    """Scene from above and in 3-D, with arrays and panel not drawn to scale.

    Args:
        scene: The scene.
    """
    return draw_scene(_sketch(scene))


def trade_off_figure(
    trade_off: TradeOff, allocation: TimeAllocation | None, reason: str = ""
) -> Figure:
    """PEB against rate over all allocations, and both against the pilot share.

    Args:
        trade_off: All allocations.
        allocation: The best allocation; None if no bound exists.
        reason: Reason for the missing bound.
    """
    rate, share, kept = trade_off.eadr / 1e6, trade_off.ratio, ~trade_off.dominated
    bounded = trade_off.peb[np.isfinite(trade_off.peb)]
    label, factor = "position error bound (PEB)", 1.0
    if bounded.size:
        unit, factor = length_unit(bounded)
        label = f"{label} [{unit}]"
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
            hollow = dot | {"color": "white", "label": "dominated"}
            axes.plot(across[~kept], up[~kept], **hollow)
            axes.plot(across[kept], up[kept], **dot, color=BLUE, label="not dominated")
            for index, look in _marks(trade_off, allocation):
                axes.plot(across[index], up[index], **look)
        if allocation is not None:
            optimum, peak = allocation.ratio, allocation.peak_rate_ratio
            both = abs(optimum - peak) < COINCIDENT  # one line instead of two on top of each other
            optimal = "optimal share, also of largest rate" if both else "optimal share"
            lines = [(optimum, RED, "-", f"{optimal}, continuous")]
            if not both:
                lines.append((peak, ORANGE, "--", "share of largest rate, continuous"))
            for ratio, color, line, label_ratio in lines:
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
                text = "No PEB exists." if axes is lower else f"No PEB exists. {reason}"
                middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
                text = textwrap.fill(text, 46)
                axes.text(0.5, 0.5, text, transform=axes.transAxes, **middle)
        plane.set(title="PEB against rate", ylabel=label)
        plane.set(xlabel="effective rate [Mbit/s]", xlim=None if bounded.size else (0, rate.max()))
        upper.set(title="Rate and PEB against pilot share", ylabel="rate [Mbit/s]")
        upper.tick_params(labelbottom=False)
        lower.set(
            xlabel="pilot share of the period",
            ylabel=label.replace("position error bound (PEB)", "PEB"),
        )
        handles, labels = upper.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _marks(
    trade_off: TradeOff, allocation: TimeAllocation | None
) -> list[tuple[int, dict[str, Any]]]:
    """Indices and styles of the best allocation and that of largest rate."""
    peak = int(np.argmax(trade_off.eadr))
    best = -1
    if allocation is not None:
        best = int(np.argmax(trade_off.active_antennas == allocation.active_antennas))
    look: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "black", "clip_on": False}
    star = look | {"marker": "*", "color": RED, "markersize": 13}
    diamond = look | {"marker": "D", "color": ORANGE, "markersize": 7}
    count = [f"{n} active antenna" + "s" * int(n > 1) for n in trade_off.active_antennas]
    if best == peak:
        return [(best, star | {"label": f"best allocation, also of largest rate: {count[best]}"})]
    marks = [(peak, diamond | {"label": f"largest rate: {count[peak]}"})]
    if best >= 0:
        marks.append((best, star | {"label": f"best allocation: {count[best]}"}))
    return marks
