"""Figures of a tracked user: the path with its errors, and errors and rate over the periods."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Patch, Polygon
from matplotlib.ticker import MaxNLocator

from heliostat.plots.scene import OBSTACLE
from heliostat.plots.style import (
    BLUE,
    BS_POINT,
    CATEGORIES,
    GRAY,
    GREEN,
    ORANGE,
    POINT,
    RED,
    THICK,
    WIDTH,
    half_axes,
    length_unit,
    plain_ticks,
    styled,
)
from heliostat.units import format_quantity, to_deg

ELLIPSES = 12
"""Maximum number of periods for which the path shows an error ellipse."""
VISIBLE = 0.06
"""Size that a typical ellipse is enlarged to, as a fraction of the path's extent."""


def enlargement(ellipse: float, extent: float) -> float:
    """Factor by which errors are enlarged: 1, 2 or 5 times a power of ten, at least 1.

    Args:
        ellipse: Semi-major axis of a typical ellipse. [m]
        extent: Extent of the path. [m]
    """
    if not 0 < ellipse < VISIBLE * extent:
        return 1.0
    wanted = VISIBLE * extent / ellipse
    power = 10.0 ** math.floor(math.log10(wanted))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= wanted * (1 + 1e-9))


def path_figure(
    track: xr.Dataset,
    base_station: Sequence[float],
    surfaces: Mapping[str, Sequence[float]],
    title: str,
    obstacles: Sequence[np.ndarray] = (),
) -> Figure:
    """Draw the path from above, with errors and 95 % ellipses of the bound in some periods.

    Base station and surfaces are shown where they are or, far from the path, as arrows to them.
    With several propagation paths, colors show which of them serves the user.

    Args:
        track: See `heliostat.run_protocol`.
        base_station: Position of the base station, x and y. [m]
        surfaces: Position of each surface, x and y, by its name. [m]
        title: Title of the figure; a semicolon ends a line.
        obstacles: Footprints of the obstacles, [corner xy]. [m]
    """
    place = np.stack([track.x.values, track.y.values], axis=1)
    found = track.found.values.astype(bool)
    error = np.stack([track.x_estimate.values, track.y_estimate.values], axis=1) - place
    shown = np.flatnonzero(found)
    if len(shown) > ELLIPSES:
        shown = shown[np.linspace(0, len(shown) - 1, ELLIPSES).round().astype(int)]
    covariance = track.bound_covariance.values
    bounded = [i for i in shown if np.isfinite(covariance[i]).all()]
    axes_of = {i: half_axes(covariance[i]) for i in bounded}
    typical = float(np.median([half[0] for half, _ in axes_of.values()])) if bounded else 0.0
    extent = float(np.ptp(place, axis=0).max())
    factor = enlargement(typical, extent)

    span = max(extent, 6 * typical)
    near = span < 0.5  # absolute coordinates would differ in the last digits only
    origin = place[0] if near else np.zeros(2)
    unit, scale = length_unit(np.array([span])) if near and span > 0 else ("m", 1.0)

    def drawn(points: np.ndarray) -> np.ndarray:
        return scale * (points - origin)

    with styled():
        figure = Figure(figsize=(WIDTH, 5.6))
        axes = figure.add_subplot()
        figure.suptitle(title.replace("; ", "\n"), x=0.02, ha="left", fontsize=10)
        axes.plot(*drawn(place).T, color=GRAY, marker=".", linewidth=0.8, label="path")
        for name, color, used in _serving(track):
            axes.plot(
                *drawn(place[used]).T,
                linestyle="none",
                marker="o",
                markersize=5,
                color=color,
                zorder=2.5,
                label=f"served by {name}",
            )
        axes.plot(*drawn(place[:1]).T, **POINT, marker="o", color=GREEN, label="start")
        enlarged = "" if factor == 1 else f", enlarged {factor:,.0f} times"
        label = f"bound, 95 % ellipse{enlarged}"
        for i in bounded:
            half, turn = axes_of[i]
            width, height = 2 * scale * factor * half
            look: dict[str, Any] = {"edgecolor": BLUE, "facecolor": (*to_rgb(BLUE), 0.15)}
            axes.add_patch(
                Ellipse(drawn(place)[i], width, height, angle=turn, zorder=3, label=label, **look)
            )
            label = "_"
        off = drawn(place[shown] + factor * error[shown])
        # Errors much larger than the path would shrink it to a dot.
        reach = 0.6 * scale * max(span, 1e-12)
        inside = np.abs(off - drawn(place[shown])).max(axis=1, initial=0) <= reach
        axes.plot(
            *off[inside].T,
            linestyle="none",
            marker="o",
            markersize=2.5,
            color=BLUE,
            zorder=4,
            label=f"estimate{', error' + enlarged[1:] if enlarged else ''}",
        )
        if not inside.all():
            axes.plot(
                *drawn(place[shown])[~inside].T,
                **(POINT | {"markersize": 9}),
                marker="d",
                color=ORANGE,
                zorder=5,
                label="estimate far outside",
            )
        if not found.all():
            axes.plot(
                *drawn(place[~found]).T,
                linestyle="none",
                marker="x",
                markeredgewidth=1.8,
                color=RED,
                zorder=5,
                label="lost",
            )
        for node, look in (
            (base_station, BS_POINT | {"label": "base station"}),
            *(
                (place, {"marker": "s", "color": ORANGE, "label": name})
                for name, place in surfaces.items()
            ),
        ):
            offset = np.subtract(node, place.mean(axis=0))
            if not near and np.abs(offset).max() < 1.5 * span:
                axes.plot(*node, **POINT | look)
            else:
                _point_to(axes, offset, look)
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.08)
        if obstacles:  # they must not extend the view
            axes.autoscale_view()
            axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
        for number, footprint in enumerate(obstacles):
            label = "obstacle" if number == 0 else "_"
            corners = drawn(np.asarray(footprint))
            axes.add_patch(Polygon(corners, closed=True, zorder=1, label=label, **OBSTACLE))
        for name, label_of, at in (
            ("x", axes.set_xlabel, origin[0]),
            ("y", axes.set_ylabel, origin[1]),
        ):
            label_of(f"{name} from {at:.4g} m [{unit}]" if near else f"{name} [{unit}]")
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _serving(track: xr.Dataset) -> list[tuple[str, str, np.ndarray]]:
    """Name, color and periods of each path that serves the user; none if there is only one."""
    if track.sizes["path"] == 1:
        return []
    colors = [color for color in CATEGORIES if color not in (BLUE, GREEN, ORANGE, RED)]
    periods = [track.serving.values == i for i in range(track.sizes["path"])]
    return [
        (str(name), colors[i % len(colors)], used)
        for i, (name, used) in enumerate(zip(track.path.values, periods, strict=True))
        if used.any()
    ]


def _point_to(axes: Axes, offset: np.ndarray, look: dict[str, Any]) -> None:
    """Draw an arrow at the edge of the axes towards a node outside, with its distance.

    Args:
        axes: The axes.
        offset: Position of the node relative to the middle of the path. [m]
        look: Color and label of the node.
    """
    distance = float(np.linalg.norm(offset))
    direction = offset / distance
    end = 0.5 + 0.49 * offset / np.abs(offset).max()
    fraction: Any = "axes fraction"
    shared: dict[str, Any] = {"textcoords": "offset points", "color": look["color"]}
    arrow = {"arrowstyle": "->", "color": look["color"]}
    axes.annotate(
        "", end, (-25 * direction[0], -25 * direction[1]), fraction, arrowprops=arrow, **shared
    )
    axes.annotate(
        f"{look['label']}, {format_quantity(distance, 'length')}",
        end,
        (-28 * direction[0], -28 * direction[1]),
        fraction,
        ha="left" if offset[0] < 0 else "right",
        # Two nodes in the same direction have one label above the other.
        va="bottom" if look["marker"] == "s" else "top",
        fontsize=8,
        **shared,
    )


def periods_figure(track: xr.Dataset, title: str) -> Figure:
    """Plot errors with bounds, rate and active antennas over the periods; mark lost periods.

    Args:
        track: See `heliostat.run_protocol`.
        title: Title of the figure; a semicolon ends a line.
    """
    period = track.period.values + 1
    lost = ~track.found.values.astype(bool)
    with styled():
        figure = Figure(figsize=(WIDTH, 7.2))
        figure.suptitle(title.replace("; ", "\n"), x=0.02, ha="left", fontsize=10)
        several = track.sizes["path"] > 1
        heights = (3, 3, 2, 1.4, 1.2) if several else (3, 3, 2, 1.4)
        rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        positive = np.concatenate([track.position_error.values[~lost], track.peb.values])
        positive = positive[np.isfinite(positive) & (positive > 0)]
        unit, scale = length_unit(positive) if positive.size else ("m", 1.0)
        turn_unit, turn_scale = _angle_unit(track.reb.values)
        for axes, error, bound, factor, label in (
            (rows[0], "position_error", "peb", scale, f"position error [{unit}]"),
            (rows[1], "heading_error", "reb", turn_scale, f"heading error [{turn_unit}]"),
        ):
            axes.plot(
                period,
                factor * track[bound].values,
                color=BLUE,
                marker="_" if len(period) == 1 else None,
                label="bound on the RMS error",
            )
            _dots(
                axes,
                period[~lost],
                factor * np.abs(track[error].values[~lost]),
                "error of the estimate",
            )
            _logarithmic(axes, label)
        rate = track.eadr.values / 1e6
        _dots(rows[2], period[~lost], rate[~lost], "_dots")
        rows[2].plot(period, rate, color=GRAY, linewidth=0.8, zorder=1)
        low, high = float(rate[~lost].min(initial=math.inf)), float(rate.max())
        if not lost.any() and low < high:
            rows[2].set_ylim(max(low - 0.3 * (high - low), 0.0), high + 0.3 * (high - low))
        else:
            rows[2].set_ylim(0, 1.1 * high if high > 0 else 1)
        rows[2].set_ylabel("rate [Mbit/s]")
        rows[3].step(period, track.active_antennas.values, where="mid", color=GRAY)
        rows[3].set(ylabel="antennas")
        rows[-1].set(xlabel="period")
        rows[3].set_ylim(0, 1.2 * track.active_antennas.values.max())
        rows[3].yaxis.set_major_locator(MaxNLocator(4, integer=True))
        rows[3].xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
        rows[3].set_xlim(period[0] - 1, period[-1] + 1)
        if several:
            _path_use(rows[4], track, period)
        for axes in rows:
            for first, last in _runs(period[lost]):
                axes.axvspan(first - 0.5, last + 0.5, color=RED, alpha=0.2, linewidth=0, zorder=0)
        figure.align_ylabels(rows)
        handles, labels = rows[0].get_legend_handles_labels()
        if several:
            handles += rows[4].get_legend_handles_labels()[0]
            labels += rows[4].get_legend_handles_labels()[1]
        if lost.any():
            handles.append(Patch(color=RED, alpha=0.2, linewidth=0))
            labels.append("lost: no data")
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _path_use(axes: Axes, track: xr.Dataset, period: np.ndarray) -> None:
    """Mark in which periods each path reaches the user, and which one serves it."""
    names = [str(name) for name in track.path.values]
    seen = "reaches the user"
    for i in range(len(names)):
        for first, last in _runs(period[track.visible.values[:, i]]):
            axes.plot([first - 0.5, last + 0.5], [i, i], **THICK, color=GRAY, alpha=0.4, label=seen)
            seen = "_"
    served = track.serving.values >= 0
    axes.plot(
        period[served],
        track.serving.values[served],
        linestyle="none",
        marker="o",
        markersize=3,
        color=BLUE,
        label="serves the user",
    )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _angle_unit(values: np.ndarray) -> tuple[str, float]:
    """Unit suited to the given angles, and its factor from radians."""
    finite = values[np.isfinite(values) & (values > 0)]
    high = float(np.quantile(finite, 0.98)) if finite.size else math.inf
    if to_deg(high) >= 0.05:
        return "deg", float(to_deg(1.0))
    return ("mrad", 1e3) if high >= 1e-4 else ("µrad", 1e6)


def _dots(axes: Axes, across: np.ndarray, up: np.ndarray, label: str) -> None:
    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 3.5}
    axes.plot(across, up, **look, color=ORANGE, markeredgecolor="#805000", label=label)


def _logarithmic(axes: Axes, label: str) -> None:
    """Logarithmic axis over the positive finite values, if there are any."""
    axes.set_ylabel(label)
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    if np.isinf(values).any():
        look: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 8, "color": BLUE}
        text = "no bound exists" if np.isinf(axes.lines[0].get_ydata()).all() else "gaps: no bound"
        axes.text(0.99, 0.98, text, transform=axes.transAxes, **look)
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    low, high = float(values.min()), float(values.max())
    axes.set_ylim(low / 1.5, high * 1.5)
    plain_ticks(axes.yaxis, Normalize(*axes.get_ylim()))


def _runs(periods: np.ndarray) -> list[tuple[int, int]]:
    """First and last number of each run of consecutive numbers."""
    if not periods.size:
        return []
    parts = np.split(periods, np.flatnonzero(np.diff(periods) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts]
