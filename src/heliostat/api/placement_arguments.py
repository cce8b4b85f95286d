"""Checked arguments of the placement."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from heliostat.api.arguments import described, is_whole
from heliostat.api.coverage import inside_polygon, places_of
from heliostat.api.placement_results import PlacementError
from heliostat.bounds.paths import SEPARATE
from heliostat.geometry.walls import Wall
from heliostat.scenario import LocalizationScenario
from heliostat.scenario.goals import Goal, parse_goals
from heliostat.scenario.localization.candidates import default_spacing, site_walls
from heliostat.scenario.localization.visibility import outside_obstacles

POINTS, FEWER_POINTS = 2000, 500
"""Approximate default numbers of points; the second with spherical waves or quantized phases."""
MOST_SURFACES = 16
MOST_CANDIDATES = 20_000
MOST_NUMBERS = 2e8
"""Largest number of numbers that are kept for all pairs of a candidate and a position; 1.6 GB."""


class Layout(NamedTuple):
    """Grid of the candidates."""

    walls: list[Wall]
    spacing: float  # between neighboring positions on a wall [m]
    heights: tuple[float, ...]  # [m]
    turns: tuple[float, ...]  # azimuths relative to the normals of the walls [rad]

    @property
    def height_step(self) -> float:
        """Mean distance of neighboring heights, 0 for a single height. [m]"""
        return (max(self.heights) - min(self.heights)) / max(len(self.heights) - 1, 1)


class Counted(NamedTuple):
    """Positions of the user that count."""

    poses: np.ndarray  # x, y, z [m] and heading [rad], [position, 4]
    users: np.ndarray  # index of the first user of the scenario with the same array, [position]
    names: tuple[str, ...]  # of listed positions; empty for an area
    area: tuple[np.ndarray, np.ndarray] | None  # x of columns and y of rows of the points [m]


def goals_of(text: str) -> tuple[Goal, ...]:
    """Return the goals.

    Args:
        text: Argument ``goal`` of `place`.

    Raises:
        PlacementError: It is no goal.
    """
    try:
        return parse_goals(text)
    except ValueError as error:
        raise PlacementError(f"goal: {error}.") from None


def walls_of(
    scenario: LocalizationScenario,
    candidates: Sequence[str] | None,
    walls: Mapping[str, ArrayLike] | None,
) -> list[Wall]:
    """Return the walls that carry candidates.

    Raises:
        PlacementError: A name is unknown, or a wall is not given by two ends.
    """
    listed = {}
    for name, ends in (walls or {}).items():
        corners = np.asarray(ends, dtype=float)
        if corners.shape != (2, 2) or not np.isfinite(corners).all():
            raise PlacementError(
                f"wall {name} has the shape {corners.shape}; it needs two ends, x and y of each in "
                "meters."
            )
        listed[name] = corners.tolist()
    if isinstance(candidates, str):
        raise PlacementError(f"candidates is {candidates!r}; give a list of names.")
    try:
        return site_walls(scenario, candidates, listed)
    except ValueError as error:
        raise PlacementError(f"candidates: {error}.") from None


def layout_of(
    scenario: LocalizationScenario,
    walls: list[Wall],
    spacing: float | None,
    heights: Sequence[float] | None,
    turns: Sequence[float],
) -> Layout:
    """Return the grid of the candidates.

    Raises:
        PlacementError: An argument is out of range, or the candidates are too many.
    """
    step = _numbers("spacing", [default_spacing(walls) if spacing is None else spacing])[0]
    if step <= 0:
        raise PlacementError(f"spacing is {step:g} m; it must be positive.")
    if heights is None:
        heights = sorted({panel.position[2] for panel in scenario.panels})
    levels, angles = _numbers("heights", heights), _numbers("turns", turns)
    if any(abs(angle) >= math.pi / 2 for angle in angles):
        raise PlacementError("turns must be between -pi/2 and pi/2 (-90 and 90 degrees).")
    count = sum(max(wall.length / step, 1) for wall in walls) * len(levels) * len(angles)
    if count > MOST_CANDIDATES:
        raise PlacementError(
            f"{count:.0f} candidates are too many, at most {MOST_CANDIDATES}; give fewer walls, "
            "heights or turns, or a larger spacing."
        )
    return Layout(walls, step, levels, angles)


def check_memory(
    scenario: LocalizationScenario, goals: tuple[Goal, ...], candidates: int, positions: int
) -> None:
    """Refuse more pairs of candidates and positions than the memory permits.

    Args:
        scenario: A localization scenario.
        goals: The goals.
        candidates: Number of candidates of one size.
        positions: Number of positions.

    Raises:
        PlacementError: They are too many.
    """
    rates = any(goal.quantity == "rate" for goal in goals)
    each = SEPARATE + 2 * scenario.user.antennas * rates
    if candidates * positions * each > MOST_NUMBERS:
        raise PlacementError(
            f"{candidates} candidates at {positions} positions are too many, at most "
            f"{MOST_NUMBERS / each:.2g} pairs; give fewer points, walls or heights, or a larger "
            "spacing."
        )


def sizes_of(
    scenario: LocalizationScenario, sizes: Sequence[tuple[int, int]] | None
) -> list[tuple[int, int]]:
    """Return rows and columns of each size.

    Raises:
        PlacementError: A size is not two positive whole numbers.
    """
    if sizes is None:
        return [(scenario.panel.rows, scenario.panel.columns)]
    try:
        found = [(rows, columns) for rows, columns in sizes]
    except (TypeError, ValueError):
        found = []
    if not found or not all(is_whole(n) and 1 <= n <= 4096 for size in found for n in size):
        raise PlacementError(
            f"sizes is {described(sizes)}; give rows and columns of each size, e.g. [(32, 32)]."
        )
    return list(dict.fromkeys((int(rows), int(columns)) for rows, columns in found))


def counted_positions(
    scenario: LocalizationScenario,
    area: ArrayLike | None,
    points: int | None,
    positions: ArrayLike | None,
    headings: ArrayLike | None,
    names: Sequence[str] | None,
    *,
    at_users: bool,
) -> Counted:
    """Return the positions outside all obstacles.

    Raises:
        PlacementError: An argument is out of range, or no position is left.
    """
    if at_users:
        if any(given is not None for given in (area, points, positions, headings, names)):
            raise PlacementError(
                "at_users replaces area, points, positions, headings and names; leave those out."
            )
        listed_users = scenario.all_users
        positions, names = [user.position for user in listed_users], scenario.user_names
        headings = [user.heading for user in listed_users]
    if points is None and positions is None:
        slow = scenario.model.wavefront != "plane" or scenario.panel.bits is not None
        points = FEWER_POINTS if slow else POINTS
    try:
        places, axes = places_of(scenario, area, points, positions, names, each=True)
    except ValueError as error:
        raise PlacementError(str(error)) from None
    counts = outside_obstacles(scenario, places)
    if area is not None and np.ndim(area) == 2:
        counts &= inside_polygon(np.asarray(area, dtype=float), places)
    if not counts.any():
        raise PlacementError("no position is outside the obstacles; give another area.")
    turned: Any = np.full(len(places), float(scenario.user.heading))
    if headings is not None:
        turned = np.asarray(headings, dtype=float)
        if turned.shape != (len(places),) or not np.isfinite(turned).all():
            raise PlacementError(f"headings needs {len(places)} finite numbers, one per position.")
    poses = np.column_stack([places, turned])[counts]
    users = np.zeros(len(places), dtype=int)
    if at_users:
        arrays = [(user.antennas, user.spacing, user.antenna_gain) for user in scenario.all_users]
        users = np.array([arrays.index(array) for array in arrays])
    if positions is None:
        return Counted(poses, users[counts], (), (axes["x"][1], axes["y"][1]))
    listed = zip(axes["place"][1], counts, strict=True)
    kept = tuple(str(name) for name, used in listed if used)
    return Counted(poses, users[counts], kept, None)


def _numbers(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """Finite numbers, at least one, without repetition."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        found = []
    if not found or not all(map(math.isfinite, found)):
        raise PlacementError(f"{name} is {described(values)}; give finite numbers.")
    return tuple(dict.fromkeys(found))
