"""Figures of sensing: scene, beampatterns, bounds, convergence and map."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from heliostat.api.sensing import DirectionBounds
from heliostat.plots.scene import BLOCKED, Sketch, outline, symbol_size
from heliostat.plots.style import (
    BLUE,
    BS_POINT,
    GRAY,
    GREEN,
    ORANGE,
    POINT,
    RED,
    THICK,
    WIDTH,
    map_norm,
    outer_edges,
    plain_ticks,
    styled,
)
from heliostat.scene.sensing import SensingScene
from heliostat.units import to_db, to_dbm, to_deg

EIRP = "equivalent isotropically\nradiated power (EIRP) [dBm]"
DYNAMIC_DB = 40.0
"""Range of the color scale of beampatterns. [dB]"""


def _nodes(scene: SensingScene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of base station, surfaces [surface xyz] and target. [m]"""
    surfaces = np.stack([np.asarray(s.position) for s in scene.surfaces])
    return np.asarray(scene.base_station.position), surfaces, np.asarray(scene.target.position)


def sketch(scene: SensingScene) -> Sketch:
    """Return drawing instructions for a scene; arrays and panels are not to scale."""
    base_station, surfaces, target = _nodes(scene)
    nodes = np.vstack([base_station, surfaces, target])
    size = symbol_size(nodes)
    axis = size * np.asarray(scene.base_station.array.axis)
    lines: list[tuple[np.ndarray, dict[str, Any]]] = [
        (np.stack([base_station, target]), BLOCKED),
        (np.stack([base_station - axis, base_station + axis]), THICK | {"color": "black"}),
    ]
    arrows = []
    for i, (surface, place) in enumerate(zip(scene.surfaces, surfaces, strict=True)):
        path = {"color": BLUE, "label": "signal path" if i == 0 else "_"}
        lines.append((np.stack([base_station, place, target]), path))
        lines.append((outline(place, surface.array, size), {"color": ORANGE, "linewidth": 2.5}))
        arrows.append((place, 2.5 * size * np.asarray(surface.array.normal), ORANGE))
    several = len(surfaces) > 1
    point = {"marker": "s", "color": ORANGE}
    label = "surfaces and their normals" if several else "surface and its normal"
    lines += [
        (base_station[None], POINT | BS_POINT),
        (surfaces, POINT | point | {"label": label}),
        (target[None], POINT | {"marker": "o", "color": GREEN, "label": "target"}),
    ]
    return Sketch(nodes, lines, arrows)


# Designs -----------------------------------------------------------------------------------------


def draw_beampattern(
    axes: Axes,
    pattern: np.ndarray,
    elevation: np.ndarray,
    azimuth: np.ndarray,
    target: np.ndarray,
    highest: float,
) -> AxesImage:
    """Draw the beampattern of one surface, with a circle at the target.

    Args:
        axes: Axes to draw in.
        pattern: Power by direction. [row column] [W]
        elevation: Elevations of the rows. [rad]
        azimuth: Azimuths of the columns. [rad]
        target: Elevation and azimuth of the target. [rad]
        highest: Upper end of the color scale. [dBm]
    """
    image = axes.imshow(
        np.asarray(to_dbm(pattern)),
        extent=(*outer_edges(to_deg(azimuth)), *outer_edges(to_deg(elevation))[::-1]),
        vmin=highest - DYNAMIC_DB,
        vmax=highest,
        aspect="auto",
        interpolation="bilinear",
    )
    theta, phi = to_deg(target)
    look: dict[str, Any] = {"marker": "o", "markersize": 11, "linestyle": "none"}
    hollow = look | {"markerfacecolor": "none", "markeredgewidth": 1.6}
    axes.plot(phi, theta, **hollow, markeredgecolor="black", zorder=3)
    axes.plot(phi, theta, **hollow | {"markersize": 9}, markeredgecolor="white")
    axes.grid(False)
    axes.set_box_aspect(1)
    axes.xaxis.set_major_locator(MultipleLocator(45))
    axes.yaxis.set_major_locator(MultipleLocator(45))
    return image


def beampattern_figure(
    patterns: np.ndarray,
    elevation: np.ndarray,
    azimuth: np.ndarray,
    target: np.ndarray,
    of: int,
) -> Figure:
    """Draw the beampattern of each surface.

    Args:
        patterns: Power by direction, of the first surfaces. [surface row column] [W]
        elevation: Elevations of the rows. [rad]
        azimuth: Azimuths of the columns. [rad]
        target: Elevation and azimuth of the target at each of these surfaces. [rad]
        of: Number of all surfaces.
    """
    count = len(patterns)
    columns = min(count, 2)
    rows = -(-count // columns)
    high = float(to_dbm(patterns.max()))
    with styled():
        figure = Figure(figsize=(WIDTH, 0.8 + (4.6 if columns == 1 else 2.6) * rows))
        every = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for i, axes in enumerate(every.flat):
            if i >= count:
                axes.set_visible(False)
                continue
            image = draw_beampattern(axes, patterns[i], elevation, azimuth, target[i], high)
            axes.set_title(f"Surface {i}")
        for axes in every[:, 0]:
            axes.set_ylabel("elevation [deg]")
        for i in range(max(count - columns, 0), count):
            every.flat[i].set_xlabel("azimuth [deg]")
            every.flat[i].tick_params(labelbottom=True)
        figure.colorbar(image, ax=every.ravel().tolist(), label=EIRP, extend="min")
        note = "The circle marks the target."
        if of > count:
            note += f" The first {count} of {of} surfaces are shown."
        figure.supxlabel(note, fontsize=8, x=0.02, ha="left")
    return figure


def bounds_figure(bounds: DirectionBounds, lower_bound: float) -> Figure:
    """Plot the bounds on the direction at each surface.

    Args:
        bounds: Bounds under the design.
        lower_bound: Lower bound on the worst CRB of any design. [rad²]
    """
    both = np.sqrt(bounds.crb)
    surfaces = np.arange(len(both))
    kinds = (
        ("elevation", "^", BLUE, bounds.direction_std[:, 0], -0.12),
        ("azimuth", "v", ORANGE, bounds.direction_std[:, 1], 0.12),
        ("root of the Cramér-Rao bound (CRB)", "D", "black", both, 0.0),
    )
    with styled():
        figure = Figure(figsize=(WIDTH, 3.6))
        axes = figure.add_subplot()
        lost = np.zeros(len(surfaces), dtype=bool)
        values = [lower_bound**0.5] if np.isfinite(lower_bound) and lower_bound > 0 else []
        for label, marker, color, value, aside in kinds:
            shown = np.asarray(to_deg(np.where(np.isfinite(value), value, np.nan)))
            look: dict[str, Any] = {"marker": marker, "color": color, "linestyle": "none"}
            axes.plot(surfaces + aside, shown, **look, markersize=8, label=label)
            lost |= ~np.isfinite(value)
            values += value[np.isfinite(value)].tolist()
        if len(values) and np.isfinite(lower_bound) and lower_bound > 0:
            axes.axhline(
                float(to_deg(lower_bound**0.5)),
                color=GRAY,
                linestyle="--",
                linewidth=1.2,
                label="lower bound on the largest root CRB of any design",
            )
        for i in surfaces[lost]:
            text = f"no bound:\n{', '.join(bounds.lost[i])}"
            axes.annotate(text, (i, 0.98), xycoords=("data", "axes fraction"), ha="center",
                          va="top", color=RED, fontsize=8)  # fmt: skip
        axes.set(xlabel="surface", ylabel="standard deviation [deg]")
        axes.set_xlim(-0.6, len(surfaces) - 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
        axes.xaxis.grid(False)
        if values:
            low, high = float(to_deg(min(values))), float(to_deg(max(values)))
            room = 1.4 if lost.any() else 1.15
            if high > 5 * low:
                axes.set_yscale("log")
                axes.set_ylim(low / 1.25, high * room)
                plain_ticks(axes.yaxis, map_norm(np.array(axes.get_ylim()), logarithmic=True))
            else:
                axes.set_ylim(0, high * room)
        else:
            axes.set_yticks([])
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def convergence_figure(history: np.ndarray, lower_bound: float) -> Figure:
    """Plot the largest Cramér-Rao bound (CRB) of the best design so far against the step.

    Args:
        history: Worst CRB after each step. [rad²]
        lower_bound: Lower bound on the worst CRB of any design. [rad²]
    """
    steps = np.arange(1, len(history) + 1)
    with styled():
        figure = Figure(figsize=(WIDTH, 3.4))
        axes = figure.add_subplot()
        finite = np.isfinite(history)
        level = np.where(finite, np.asarray(to_db(history)), np.nan)
        axes.plot(steps, level, color=BLUE, marker="o", label="best design so far")
        if np.isfinite(lower_bound) and lower_bound > 0:
            look: dict[str, Any] = {"color": GRAY, "linestyle": "--", "linewidth": 1.2}
            axes.axhline(float(to_db(lower_bound)), **look, label="lower bound on any design")
        if not finite.any():
            axes.set_yticks([])
            axes.text(0.5, 0.5, "No CRB exists.", transform=axes.transAxes, ha="center")
        axes.set(xlabel="step", ylabel="worst Cramér-Rao bound (CRB) [dB rad²]")
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:.4g}"))
        figure.legend(loc="outside lower center", ncols=4)
    return figure
