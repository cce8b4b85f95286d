"""Obstacles with vertical walls, and the straight paths that they block."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely
from jaxtyping import Bool, Float

SKIN = 1e-6
"""Depth below the surface of an obstacle beyond which a point counts as inside. End points on a
wall therefore count as outside. [m]"""


class Obstacle(NamedTuple):
    """Vertical prism over a polygonal footprint."""

    footprint: Float[np.ndarray, "corner 2"]  # corners of a simple polygon [m]
    base: float  # height of its lower end [m]
    top: float  # height of its upper end [m]

    @property
    def interior(self) -> shapely.Geometry:
        """The footprint, reduced by `SKIN` on all sides."""
        return shapely.buffer(shapely.polygons(self.footprint), -SKIN, join_style="mitre")


def blocked(
    starts: Float[np.ndarray, "path xyz"],
    ends: Float[np.ndarray, "path xyz"],
    obstacles: Sequence[Obstacle],
) -> Bool[np.ndarray, "path"]:
    """Return whether any obstacle blocks the straight path between two positions.

    A path is blocked if it passes through the interior of an obstacle. Paths that touch a wall, an
    edge or the top are not blocked.

    Args:
        starts: Positions where the paths begin. [m]
        ends: Positions where they end. [m]
        obstacles: The obstacles.
    """
    found = np.zeros(len(starts), dtype=bool)
    rise = ends[:, 2] - starts[:, 2]
    level = rise == 0
    for obstacle in obstacles:
        low, high = obstacle.base + SKIN, obstacle.top - SKIN
        # First and last fraction of each path at which its height is between those of the obstacle.
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = (np.array([[low], [high]]) - starts[:, 2]) / rise
        within = (starts[:, 2] > low) & (starts[:, 2] < high)
        first = np.where(level, np.where(within, 0.0, 1.0), np.clip(reached.min(axis=0), 0, 1))
        last = np.where(level, np.where(within, 1.0, 0.0), np.clip(reached.max(axis=0), 0, 1))
        candidates = np.flatnonzero((first < last) & ~found)
        if candidates.size:
            begin, step = starts[candidates, :2], (ends - starts)[candidates, :2]
            shares = np.stack([first[candidates], last[candidates]], axis=1)
            lines = shapely.linestrings(begin[:, None] + shares[:, :, None] * step[:, None])
            interior = obstacle.interior
            shapely.prepare(interior)
            found[candidates] = shapely.intersects(interior, lines)
    return found


def inside(
    positions: Float[np.ndarray, "point xyz"], obstacle: Obstacle
) -> Bool[np.ndarray, "point"]:
    """Return whether each position is in the interior of an obstacle.

    Args:
        positions: The positions. [m]
        obstacle: The obstacle.
    """
    height = positions[:, 2]
    between = (height > obstacle.base + SKIN) & (height < obstacle.top - SKIN)
    return between & shapely.contains_xy(obstacle.interior, positions[:, 0], positions[:, 1])


def fault_of(obstacle: Obstacle) -> str:
    """Return why a footprint is not a valid polygon; empty if it is valid.

    Args:
        obstacle: The obstacle.
    """
    outline = shapely.polygons(obstacle.footprint)
    if not shapely.is_valid(outline):
        return str(shapely.is_valid_reason(outline)).split("[")[0].lower()
    return "it has no area" if shapely.area(outline) < SKIN else ""
