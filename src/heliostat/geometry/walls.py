"""Walls on which surfaces can be mounted, and evenly spaced positions on them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SIDES = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
"""Names of walls by the direction that they face, clockwise."""


class Wall(NamedTuple):
    """A vertical wall."""

    name: str
    start: Float[np.ndarray, "2"]  # one end of its line from above [m]
    end: Float[np.ndarray, "2"]  # the other end [m]
    normal: Float[np.ndarray, "2"]  # horizontal unit normal of its outer side [1]
    base: float  # height of its lower edge [m]
    top: float  # height of its upper edge [m]

    @property
    def length(self) -> float:
        """Horizontal length. [m]"""
        return float(np.linalg.norm(self.end - self.start))

    @property
    def azimuth(self) -> float:
        """Azimuth of the normal, anticlockwise from the x axis. [rad]"""
        return math.atan2(self.normal[1], self.normal[0])

    def position(self, along: float, height: float) -> tuple[float, float, float]:
        """Return a position on the wall, rounded to 1 µm. [m]

        Args:
            along: Distance from the start. [m]
            height: Height. [m]
        """
        x, y = self.start + along / self.length * (self.end - self.start)
        return round(float(x), 6), round(float(y), 6), round(height, 6)


def walls_of(
    name: str,
    footprint: Float[np.ndarray, "corner 2"],
    base: float,
    top: float,
    bearing: float = 0.0,
) -> list[Wall]:
    """Return the outer walls of an obstacle, named by its name and the direction that they face.

    Args:
        name: Name of the obstacle.
        footprint: Corners of its footprint in order. [m]
        base: Height of its lower end. [m]
        top: Height of its upper end. [m]
        bearing: Direction of the y axis, clockwise from north. [rad]

    Returns:
        A wall for each edge, named ``name/south``; further walls that face the same direction are
        named ``name/south-2`` and so on, in the order of the corners.
    """
    after = np.roll(footprint, -1, axis=0)
    twice_area = np.sum(footprint[:, 0] * after[:, 1] - after[:, 0] * footprint[:, 1])
    found: list[Wall] = []
    counts: dict[str, int] = {}
    for start, end in zip(footprint, after, strict=True):
        along = end - start
        if not along.any():
            continue
        right = np.array([along[1], -along[0]]) / np.linalg.norm(along)
        normal = right if twice_area > 0 else -right
        clockwise = math.degrees(math.atan2(normal[0], normal[1]) + bearing)
        side = SIDES[round(clockwise / 45) % 8]
        counts[side] = counts.get(side, 0) + 1
        number = "" if counts[side] == 1 else f"-{counts[side]}"
        found.append(Wall(f"{name}/{side}{number}", start, end, normal + 0.0, base, top))
    return found


def facing_wall(
    name: str, start: Sequence[float], end: Sequence[float], towards: Sequence[float]
) -> Wall:
    """Return a wall without limits of height whose outer side faces a position.

    Args:
        name: Name of the wall.
        start: One end of its line from above, x and y. [m]
        end: The other end. [m]
        towards: The position. [m]
    """
    first, last = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = last - first
    normal = np.array([along[1], -along[0]]) / np.linalg.norm(along)
    if np.dot(np.asarray(towards, dtype=float)[:2] - first, normal) < 0:
        normal = -normal
    return Wall(name, first, last, normal + 0.0, -math.inf, math.inf)


def evenly_spaced(length: float, spacing: float) -> Float[np.ndarray, "position"]:
    """Return positions along a line, centered on it; at least one. [m]

    Args:
        length: Length of the line. [m]
        spacing: Distance between neighboring positions. [m]
    """
    count = max(int(length / spacing + 1e-9), 1)
    return length / 2 + spacing * (np.arange(count) - (count - 1) / 2)
