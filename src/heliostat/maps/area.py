"""Rectangles and the points at which maps are computed."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Area(NamedTuple):
    """A horizontal rectangle. [m]"""

    x0: float
    x1: float
    y0: float
    y1: float

    def cells(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Centres of nearly square cells that fill the rectangle: x of columns, y of rows. [m]

        Args:
            points: Approximate number of cells.
        """
        width, height = self.x1 - self.x0, self.y1 - self.y0
        columns = min(max(round(math.sqrt(points * width / height)), 1), points)
        rows = max(round(points / columns), 1)
        x = self.x0 + width * (np.arange(columns) + 0.5) / columns
        y = self.y0 + height * (np.arange(rows) + 0.5) / rows
        return x, y


def area_around(positions: Iterable[Sequence[float]]) -> Area:
    """A rectangle that contains all positions, with a margin.

    Args:
        positions: x, y and optionally z of each. [m]
    """
    every = np.array([position[:2] for position in positions])
    low, high = every.min(axis=0), every.max(axis=0)
    longest = max(float(np.max(high - low)), 1.0)
    half = np.maximum((high - low) / 2 + 0.15 * longest, 0.4 * longest)
    (x0, y0), (x1, y1) = (low + high) / 2 - half, (low + high) / 2 + half
    return Area(float(x0), float(x1), float(y0), float(y1))


def grid_points(
    x: Float[np.ndarray, "column"], y: Float[np.ndarray, "row"], height: float
) -> Float[np.ndarray, "point xyz"]:
    """All points of a horizontal grid, row by row. [m]

    Args:
        x: Coordinates of the columns. [m]
        y: Coordinates of the rows. [m]
        height: z of all points. [m]
    """
    across, along = np.meshgrid(x, y)
    return np.stack([across, along, np.full_like(across, height)], axis=-1).reshape(-1, 3)
