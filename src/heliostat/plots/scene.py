"""Drawing of a scene from above and in 3-D, shared by both systems."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]

from heliostat.geometry.arrays import PlanarArray
from heliostat.plots.style import GRAY, WIDTH, styled

OBSTACLE: dict[str, Any] = {"facecolor": "#C8C8C8", "edgecolor": "black", "linewidth": 1.0}
BLOCKED: dict[str, Any] = {
    "color": GRAY,
    "linestyle": (0, (4, 3)),
    "label": "blocked line of sight",
}


class Sketch(NamedTuple):
    """Drawing instructions for a scene."""

    nodes: np.ndarray  # positions of all nodes, [node xyz] [m]
    lines: list[tuple[np.ndarray, dict[str, Any]]]  # [point xyz] [m], and style
    arrows: list[tuple[np.ndarray, np.ndarray, str]]  # start and extent [m], and color
    obstacles: Sequence[np.ndarray] = ()  # footprints, [corner xy] [m]


def symbol_size(nodes: np.ndarray) -> float:
    """Return half the side length with which arrays and panels are drawn. [m]

    Args:
        nodes: Positions of all nodes of the scene. [node xyz] [m]
    """
    return 0.07 * float(np.ptp(nodes, axis=0).max())


def outline(center: np.ndarray, panel: PlanarArray, size: float) -> np.ndarray:
    """Return the closed outline of a panel. [corner xyz] [m]

    Args:
        center: Position of the panel. [m]
        panel: Array with its orientation.
        size: Half its side, as drawn. [m]
    """
    row, column = size * np.asarray(panel.horizontal), size * np.asarray(panel.vertical)
    corners = [row + column, row - column, -row - column, column - row, row + column]
    return np.asarray(center + np.stack(corners))


def _axes_of(space: Axes3D) -> tuple[Axis, Axis, Axis]:
    return space.xaxis, space.yaxis, space.zaxis


def draw_above(axes: Axes, sketch: Sketch) -> None:
    """Draw a scene from above.

    Args:
        axes: Axes to draw in.
        sketch: Drawing instructions.
    """
    for points, style in sketch.lines:
        axes.plot(points[:, 0], points[:, 1], **style)
    for (x, y, _), (u, v, _), color in sketch.arrows:
        axes.quiver(x, y, u, v, color=color, angles="xy", scale_units="xy", scale=1, width=0.007)
    axes.set(title="From above", xlabel="x [m]", ylabel="y [m]")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.12)
    for i, footprint in enumerate(sketch.obstacles):
        label = "obstacle" if i == 0 else "_"
        # Obstacles may be larger than the scene: unlike `add_patch`, this does not extend the view.
        axes.add_artist(Polygon(footprint, closed=True, zorder=1, label=label, **OBSTACLE))


def draw_space(space: Axes3D, sketch: Sketch) -> None:
    """Draw a scene in 3-D.

    Args:
        space: Axes to draw in.
        sketch: Drawing instructions.
    """
    nodes = sketch.nodes
    floor = min(0.0, float(nodes[:, 2].min()))
    for node in nodes:
        stem = np.stack([node, [*node[:2], floor]])
        space.plot(*stem.T, color=GRAY, linestyle=":", linewidth=1)
    for points, style in sketch.lines:
        space.plot(*points.T, **style)
    for start, extent, color in sketch.arrows:
        space.quiver(*start, *extent, color=color, arrow_length_ratio=0.3, linewidth=1.8)
    space.set_title("In 3-D")
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


def draw_scene(sketch: Sketch) -> Figure:
    """Draw a scene from above and in 3-D.

    Args:
        sketch: Drawing instructions.
    """
    with styled():
        room = ConstrainedLayoutEngine(rect=(0, 0, 0.96, 1))  # which ignores the label of z
        figure = Figure(figsize=(WIDTH, 4.2), layout=room)
        above = figure.add_subplot(1, 2, 1)
        draw_above(above, sketch)
        draw_space(figure.add_subplot(1, 2, 2, projection="3d"), sketch)
        handles, labels = above.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
