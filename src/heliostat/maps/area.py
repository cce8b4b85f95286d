"""Rectangles, the points at which maps are computed, and their computation in chunks."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from heliostat.scene.localization import PassiveSurface
from heliostat.surface.active import ActiveSurface


class Area(NamedTuple):
    """A horizontal rectangle. [m]"""

    x0: float
    x1: float
    y0: float
    y1: float

    def cells(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Centers of nearly square cells that fill the rectangle: x of columns, y of rows. [m]

        Args:
            points: Approximate number of cells.
        """
        width, height = self.x1 - self.x0, self.y1 - self.y0
        columns = min(max(round(math.sqrt(points * width / height)), 1), points)
        rows = max(round(points / columns), 1)
        x = self.x0 + width * (np.arange(columns) + 0.5) / columns
        y = self.y0 + height * (np.arange(rows) + 0.5) / rows
        return x, y


def area_around(positions: Float[np.ndarray, "position xyz"]) -> Area:
    """Return a rectangle that contains all positions, with a margin.

    Args:
        positions: The positions. [m]
    """
    every = positions[:, :2]
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


def in_chunks(
    compute: Callable[[np.ndarray], tuple[np.ndarray, ...]],
    points: Float[np.ndarray, "point _"],
    size: int,
    *,
    threads: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, ...]:
    """Compute arrays with an entry for each of many points, in chunks to limit memory.

    All chunks have the same size, so that one program is compiled; the last is padded with copies
    of the last point.

    Args:
        compute: Function of a chunk of points.
        points: All points, at least one.
        size: Largest number of points in a chunk.
        threads: Number of chunks computed at the same time.
        on_progress: Function called with the number of finished points and the total number.
    """
    count = len(points)
    size = min(size, count)
    index = np.minimum(np.arange(-(-count // size) * size), count - 1).reshape(-1, size)
    on_progress(0, count)
    parts = []
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for part in pool.map(compute, points[index]):
            parts.append(part)
            on_progress(min(len(parts) * size, count), count)
    return tuple(np.concatenate(arrays)[:count] for arrays in zip(*parts, strict=True))


def facing(
    surfaces: Sequence[PassiveSurface | ActiveSurface], positions: Float[np.ndarray, "point xyz"]
) -> Bool[np.ndarray, "point surface"]:
    """Whether each position lies in front of each surface.

    Args:
        surfaces: The surfaces.
        positions: The positions. [m]
    """
    ahead = [
        (positions - np.asarray(surface.position)) @ np.asarray(surface.array.normal)
        for surface in surfaces
    ]
    return np.stack(ahead, axis=-1) > 0
