"""Figures of localization: scene, map and trade-off of time allocations."""

import textwrap
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from heliostat.api.localization_results import TimeAllocation, TradeOff
from heliostat.geometry.frames import user_axis
from heliostat.plots.coverage import coverage
from heliostat.plots.scene import BLOCKED, Sketch, outline, symbol_size
from heliostat.plots.style import (
    BLUE,
    BS_POINT,
    GREEN,
    ORANGE,
    POINT,
    RED,
    THICK,
    WIDTH,
    length_unit,
    plain_ticks,
    styled,
)
from heliostat.scene.localization import LocalizationScene
from heliostat.units import format_quantity

COINCIDENT = 0.01
"""Lines closer than this fraction of the axis are drawn as one."""


def sketch(
    scene: LocalizationScene,
    obstacles: Sequence[np.ndarray] = (),
    others: Sequence[Sequence[float]] = (),
) -> Sketch:
    """Return drawing instructions for a scene; arrays and panels are not to scale.

    Args:
        scene: The scene.
        obstacles: Footprints of the obstacles, [corner xy]. [m]
        others: Positions of further users. [m]
    """
    base_station, user = np.asarray(scene.base_station.position), np.asarray(scene.user.position)
    places = [np.asarray(surface.position) for surface in scene.surfaces]
    further = [np.asarray(place, dtype=float) for place in others]
    nodes = np.stack([base_station, *places, user, *further])
    size = symbol_size(nodes)
    bs_axis = size * np.asarray(scene.base_station.array.axis)
    axis = size * np.asarray(jax.jit(user_axis)(scene.user.heading))
    heading = format_quantity(float(scene.user.heading), "angle")

    surface_point = {"marker": "s", "color": ORANGE}
    user_point = {"marker": "o", "color": GREEN, "label": f"user and its array, heading {heading}"}
    path = {"color": BLUE, "label": "signal path"}
    if scene.single_path:
        path["label"] += f", {_hops(base_station, places[0], user)}"
    clear = scene.direct is not None and abs(scene.direct.gain) > 0
    direct = np.stack([base_station, user])
    lines: list[tuple[np.ndarray, dict[str, Any]]]
    lines = [(direct, path | {"label": "_"} if clear else BLOCKED)]
    arrows = []
    for i, (place, surface) in enumerate(zip(places, scene.surfaces, strict=True)):
        panel = surface.array
        named = {"label": "surface and its normal"} if i == 0 else {}
        hops = np.stack([base_station, place, user])
        if np.dot(user - place, np.asarray(panel.normal)) > 0 and abs(surface.gain) > 0:
            lines.append((hops, path if i == 0 else path | {"label": "_"}))
        lines += [
            (outline(place, panel, size), {"color": ORANGE, "linewidth": 2.5}),
            (place[None], POINT | surface_point | named),
        ]
        arrows.append((place, 2.5 * size * np.asarray(panel.normal), ORANGE))
    lines += [
        (np.stack([base_station - bs_axis, base_station + bs_axis]), THICK | {"color": "black"}),
        (np.stack([user - axis, user + axis]), THICK | {"color": GREEN}),
        (base_station[None], POINT | BS_POINT),
        (user[None], POINT | user_point),
    ]
    if further:
        hollow = {
            "marker": "o",
            "color": GREEN,
            "markerfacecolor": "white",
            "markeredgecolor": GREEN,
        }
        lines.append((np.stack(further), POINT | hollow | {"label": "other users"}))
    arrows.append((user, 2.5 * axis, GREEN))
    return Sketch(nodes, lines, arrows, obstacles)


def _hops(base_station: np.ndarray, surface: np.ndarray, user: np.ndarray) -> str:
    return " and ".join(
        format_quantity(float(np.linalg.norm(end - start)), "length")
        for start, end in ((base_station, surface), (surface, user))
    )


def map_figure(data: xr.Dataset) -> Figure:
    """Draw a map with the width of the other figures of a report.

    Args:
        data: Result of `heliostat.coverage`.
    """
    with styled():
        figure = Figure(figsize=(WIDTH, 6.0))
        figure.suptitle(data.attrs["title"].replace("; ", "\n"), x=0.02, ha="left", fontsize=10)
        coverage(data, figure.add_subplot())
    return figure


def _peb_scale(trade_off: TradeOff) -> tuple[str, float]:
    """Axis label of the PEB with its unit, and the factor of the unit from meters."""
    bounded = trade_off.peb[np.isfinite(trade_off.peb)]
    if not bounded.size:
        return "position error bound (PEB)", 1.0
    unit, factor = length_unit(bounded)
    return f"position error bound (PEB) [{unit}]", factor


def _draw_choices(
    axes: Axes,
    across: np.ndarray,
    up: np.ndarray,
    trade_off: TradeOff,
    allocation: TimeAllocation | None,
) -> None:
    """Draw all allocations as dots and mark the best one."""
    kept = ~trade_off.dominated
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": BLUE}
    axes.plot(across[~kept], up[~kept], **dot, color="white", label="dominated")
    axes.plot(across[kept], up[kept], **dot, color=BLUE, label="not dominated")
    for index, look in _marks(trade_off, allocation):
        axes.plot(across[index], up[index], **look)


def _peb_axis(axes: Axes, trade_off: TradeOff, reason: str) -> None:
    """Make the axis of the PEB logarithmic, or write a sentence if there is no PEB."""
    if np.isfinite(trade_off.peb).any():
        axes.set_yscale("log")
        plain_ticks(axes.yaxis, Normalize(*axes.get_ylim()))
        return
    axes.set_yticks([])
    text = textwrap.fill(f"No PEB exists. {reason}", 46)
    middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
    axes.text(0.5, 0.5, text, transform=axes.transAxes, **middle)


def draw_trade_off(
    axes: Axes, trade_off: TradeOff, allocation: TimeAllocation | None, reason: str = ""
) -> None:
    """Plot the position error bound (PEB) against the rate for all allocations.

    Args:
        axes: Axes to draw in.
        trade_off: All allocations.
        allocation: The best allocation; None if it is not to be marked.
        reason: Reason for a missing bound.
    """
    label, factor = _peb_scale(trade_off)
    rate, peb, kept = trade_off.eadr / 1e6, factor * trade_off.peb, ~trade_off.dominated
    axes.plot(rate[kept], peb[kept], color=BLUE, linewidth=0.8)
    _draw_choices(axes, rate, peb, trade_off, allocation)
    _peb_axis(axes, trade_off, reason)
    axes.set(title="PEB against rate", xlabel="effective rate [Mbit/s]", ylabel=label)
    if not np.isfinite(peb).any():
        axes.set_xlim(0, rate.max() or 1)


def trade_off_figure(
    trade_off: TradeOff, allocation: TimeAllocation | None, reason: str = ""
) -> Figure:
    """Plot the PEB against the rate for all allocations, and both against the pilot share.

    Args:
        trade_off: All allocations.
        allocation: The best allocation; None if no bound exists.
        reason: Reason for the missing bound.
    """
    label, factor = _peb_scale(trade_off)
    share = trade_off.ratio
    with styled():
        figure = Figure(figsize=(WIDTH, 7.4))
        plane, upper, lower = figure.subplots(3, 1, height_ratios=(2, 1, 1))
        draw_trade_off(plane, trade_off, allocation, reason)
        lower.sharex(upper)
        _draw_choices(upper, share, trade_off.eadr / 1e6, trade_off, allocation)
        _draw_choices(lower, share, factor * trade_off.peb, trade_off, allocation)
        if allocation is not None:
            optimum, peak = allocation.ratio, allocation.peak_rate_ratio
            # One line instead of two on top of each other.
            both = abs(optimum - peak) < COINCIDENT * np.ptp(upper.get_xlim())
            optimal = "optimal share, also of largest rate" if both else "optimal share"
            lines = [(optimum, RED, "-", f"{optimal}, continuous")]
            if not both:
                lines.append((peak, ORANGE, "--", "share of largest rate, continuous"))
            for ratio, color, line, text in lines:
                for axes in (upper, lower) if ratio <= share[-1] else ():
                    look: dict[str, Any] = {"color": color, "linestyle": line, "linewidth": 1}
                    axes.axvline(ratio, **look, zorder=0, label=text)
        _peb_axis(lower, trade_off, "")
        upper.set(title="Rate and PEB against pilot share", ylabel="rate [Mbit/s]")
        upper.tick_params(labelbottom=False)
        lower.set(
            xlabel="pilot share of the period",
            ylabel=label.replace("position error bound (PEB)", "PEB"),
        )
        handles, labels = upper.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
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
