"""Pictures of scenes, maps and trade-offs: results in, figures out, no physics."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]

from heliostat.api.localization import TimeAllocation, TradeOff
from heliostat.geometry.arrays import PlanarArray
from heliostat.geometry.frames import user_axis
from heliostat.maps.localization import AreaMap, Quantity
from heliostat.scene.localization import LocalizationScene
from heliostat.units import format_quantity, to_deg

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"

_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
SUFFIXES = tuple(_METADATA)
"""What `save_figure` can write."""


@contextmanager
def styled() -> Iterator[None]:
    """Within this context figures are made, and saved, in heliostat's style."""
    with mpl.rc_context(fname=Path(__file__).with_name("heliostat.mplstyle")):
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the same figure gives the same bytes.

    Args:
        figure: What to write.
        path: Where; its suffix, one of `SUFFIXES`, tells the format.

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
        figures: Figures by the names of their files, without suffix.
        folder: An existing folder.
        pdf: Write each figure as PDF too; embedding the fonts takes longer than all else.
    """
    for name, figure in figures.items():
        for suffix in ("png", "pdf") if pdf else ("png",):
            save_figure(figure, folder / f"{name}.{suffix}")


# The scene ---------------------------------------------------------------------------------------


class Sketch(NamedTuple):
    """What a scene looks like, in space."""

    nodes: np.ndarray  # what stands in it, [node xyz] [m]
    lines: list[tuple[np.ndarray, dict[str, Any]]]  # [point xyz] in metres, and how it is drawn
    arrows: list[tuple[np.ndarray, np.ndarray, str]]  # start and extent in metres, and its colour


BLOCKED: dict[str, Any] = {
    "color": GREY,
    "linestyle": (0, (4, 3)),
    "label": "line of sight, blocked",
}
THICK: dict[str, Any] = {"linewidth": 3.5, "solid_capstyle": "butt"}
POINT: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "white", "markersize": 8}
BS_POINT: dict[str, Any] = {"marker": "^", "color": "black", "label": "base station and its array"}
"""How the parts of every scene are drawn."""


SPREAD_95 = math.sqrt(-2 * math.log(0.05))
"""An ellipse with this many standard deviations to each side holds 95 % of Gaussian errors."""


def half_axes(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Half axes of the 95 % ellipse, the longer first [m], and its turn from the x axis [deg].

    Args:
        covariance: Of x and y. [m²]
    """
    power, ways = np.linalg.eigh(covariance)
    turn = math.degrees(math.atan2(ways[1, 1], ways[0, 1]))
    return SPREAD_95 * np.sqrt(np.maximum(power[::-1], 0.0)), turn


def symbol_size(nodes: np.ndarray) -> float:
    """Half the side of arrays and panels, which are drawn larger than they are. [m]

    Args:
        nodes: What stands in the scene, [node xyz]. [m]
    """
    return 0.07 * float(np.ptp(nodes, axis=0).max())


def outline(centre: np.ndarray, panel: PlanarArray, size: float) -> np.ndarray:
    """The edge of a panel. [corner xyz] [m]

    Args:
        centre: Where it is. [m]
        panel: How it lies.
        size: Half its side. [m]
    """
    row, column = size * np.asarray(panel.horizontal), size * np.asarray(panel.vertical)
    corners = [row + column, row - column, -row - column, column - row, row + column]
    return np.asarray(centre + np.stack(corners))


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


def _axes_of(space: Axes3D) -> tuple[Axis, Axis, Axis]:
    return space.xaxis, space.yaxis, space.zaxis


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


def draw_scene(sketch: Sketch) -> Figure:
    """A scene from above and in 3-D.

    Args:
        sketch: What it looks like.
    """
    with styled():
        room = ConstrainedLayoutEngine(rect=(0, 0, 0.96, 1))  # it overlooks the label of z
        figure = Figure(figsize=(9.0, 4.8), layout=room)
        above = figure.add_subplot(1, 2, 1)
        for points, style in sketch.lines:
            above.plot(points[:, 0], points[:, 1], **style)
        for (x, y, _), (u, v, _), color in sketch.arrows:
            above.quiver(
                x, y, u, v, color=color, angles="xy", scale_units="xy", scale=1, width=0.007
            )
        above.set(title="From above", xlabel="x [m]", ylabel="y [m]")
        above.set_aspect("equal", adjustable="datalim")
        above.margins(0.12)

        space = figure.add_subplot(1, 2, 2, projection="3d")
        nodes = sketch.nodes
        floor = min(0.0, float(nodes[:, 2].min()))
        for node in nodes:
            stem = np.stack([node, [*node[:2], floor]])
            space.plot(*stem.T, color=GREY, linestyle=":", linewidth=1)
        for points, style in sketch.lines:
            space.plot(*points.T, **style)
        for start, extent, color in sketch.arrows:
            space.quiver(*start, *extent, color=color, arrow_length_ratio=0.3, linewidth=1.8)
        space.set_title("In space")
        for name, axis in zip("xyz", _axes_of(space), strict=True):
            axis.set_label_text(f"{name} [m]")
            axis.labelpad = 0 if name == "z" else 8
        height = 0.3 * float(np.ptp(nodes[:, :2], axis=0).max())
        space.set_zlim(floor, max(floor + height, space.get_zlim()[1]))
        space.set_aspect("equal")
        extents = np.array([np.ptp(axis.get_view_interval()) for axis in _axes_of(space)])
        for axis, extent in zip(_axes_of(space), extents, strict=True):
            most = max(2, int(6 * extent / extents.max()))
            axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
        space.set_box_aspect(extents, zoom=0.97)
        space.view_init(elev=22, azim=-60)

        handles, labels = above.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


# Maps --------------------------------------------------------------------------------------------

_LOST: dict[str, Any] = {"facecolor": "#E4E4E4", "edgecolor": "#9A9A9A", "hatch": "////"}


class Marks(NamedTuple):
    """Things of one kind that stand in a map."""

    label: str
    marker: str
    color: str
    places: np.ndarray  # [thing xyz] [m]


class Cells(NamedTuple):
    """What a map shows."""

    x: np.ndarray  # centres of the columns [m]
    y: np.ndarray  # centres of the rows [m]
    value: np.ndarray  # [row column], in the unit of the label
    served: np.ndarray  # [row column]: whether a value can be there at all
    label: str  # of the scale, with its unit
    norm: Normalize | None  # of the finite values; None where there are none
    infinite: str = "no bound exists"
    unserved: str = "behind the surface"


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


def draw_map(cells: Cells, marks: Sequence[Marks], title: str) -> Figure:
    """A map in colours, with what stands in it.

    Args:
        cells: What to draw.
        marks: What stands in it.
        title: Of the picture; a semicolon ends a line.
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
        figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.2)
    return figure


def _scale(quantity: Quantity, values: np.ndarray) -> tuple[str, float]:
    """Label of a quantity with the unit it is shown in, and that unit's factor from SI."""
    if quantity == "rate":
        return "effective rate [Mbit/s]", 1e-6
    if quantity == "reb":
        return "heading error bound [deg]", float(to_deg(1.0))
    unit, factor = length_unit(values)
    return f"position error bound [{unit}]", factor


def length_unit(values: np.ndarray) -> tuple[str, float]:
    """The unit of length that fits most of some finite values, and its factor from metres.

    Args:
        values: At least one. [m]
    """
    high = float(np.quantile(values, 0.98))
    units = {"m": 1.0, "cm": 1e2, "mm": 1e3, "µm": 1e6}
    unit = next((unit for unit, factor in units.items() if factor * high >= 0.8), "µm")
    return unit, units[unit]


def map_norm(values: np.ndarray, *, logarithmic: bool) -> Normalize:
    """The scale of a map; of a logarithmic one the worst places share the last colour.

    Args:
        values: All that are finite, at least one.
        logarithmic: Whether ratios count.
    """
    if not logarithmic:
        return Normalize(float(values.min()), float(values.max()))
    low, high = float(values.min()), float(np.quantile(values, 0.98))
    return LogNorm(low, max(high, 1.1 * low))


def _edges(centres: np.ndarray) -> tuple[float, float]:
    """Outer edges of evenly spaced cells."""
    half = (centres[-1] - centres[0]) / (len(centres) - 1) / 2 if len(centres) > 1 else 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def plain_ticks(axis: Axis, norm: Normalize) -> None:
    """Ticks of a logarithmic axis as plain numbers: decades, and between them if they are few.

    Args:
        axis: The axis.
        norm: Its range.
    """
    decades = np.log10((norm.vmax or 1) / (norm.vmin or 1))
    steps = (1,) if decades > 2.5 else (1, 2, 5) if decades > 0.7 else range(1, 10)
    axis.set_major_locator(LogLocator(subs=tuple(steps)))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:.4g}"))
    axis.set_minor_locator(NullLocator())


def _mark(axes: Axes, marks: Sequence[Marks]) -> list[Any]:
    """Mark what is in view, with one entry each for the legend."""
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


# The trade-off -----------------------------------------------------------------------------------


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
