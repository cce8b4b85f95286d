"""Candidate positions and orientations of surfaces on the walls of a site."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from heliostat.geometry.walls import Wall, evenly_spaced, facing_wall, walls_of
from heliostat.scenario.localization.nodes import SurfaceSpec
from heliostat.scenario.localization.schema import LocalizationSections
from heliostat.scenario.localization.visibility import outside_obstacles, visible_through

WIDEST_SPACING = 5.0
"""Largest default distance between neighboring positions. [m]"""

NOT_ON_WALL = "above or below the wall"
INSIDE = "inside an obstacle"
HIDDEN = "base station blocked or behind the panel"
TAKEN = "at a kept surface"
USER_BEHIND = "user of the scenario behind the panel"
"""Reasons why a candidate is dropped."""


class Candidate(NamedTuple):
    """A panel on a wall."""

    wall: Wall
    along: float  # distance from the start of the wall [m]
    turn: float  # azimuth of the panel relative to the normal of the wall [rad]
    panel: SurfaceSpec


def site_walls(
    scenario: LocalizationSections,
    names: Sequence[str] | None,
    listed: Mapping[str, Sequence[Sequence[float]]],
) -> list[Wall]:
    """Return the walls that carry candidates.

    Args:
        scenario: A localization scenario.
        names: Names of obstacles, of their walls, or of listed walls; default all listed walls, or
            without any, all walls of all obstacles.
        listed: Further walls by name: both ends, x and y. Their outer side faces the base station.
            [m]

    Raises:
        ValueError: A name is unknown, a listed wall has no length, or there are no walls.
    """
    groups: dict[str, list[Wall]] = {}
    for name, (start, end) in listed.items():
        if math.dist(start, end) < 1e-6:
            raise ValueError(f"wall {name} has no length; give its two ends")
        groups[name] = [facing_wall(name, start, end, scenario.base_station.position)]
    if names is None and groups:
        return [wall for walls in groups.values() for wall in walls]
    for obstacle in scenario.obstacles:
        footprint = np.asarray(obstacle.footprint, dtype=float)
        top = obstacle.base + obstacle.height
        walls = walls_of(obstacle.name, footprint, obstacle.base, top, scenario.site.bearing)
        groups.setdefault(obstacle.name, []).extend(walls)
    if not groups:
        raise ValueError(
            f"{scenario.name} has no obstacles whose walls could carry surfaces; list walls, e.g. "
            "--wall facade-north=0,10,30,10, in Python walls={'facade-north': [[0, 10], [30, 10]]}"
        )
    if names is None:
        return [wall for walls in groups.values() for wall in walls]
    single = {wall.name: [wall] for walls in groups.values() for wall in walls}
    chosen: dict[str, Wall] = {}
    for name in names:
        found = groups.get(name) or single.get(name)
        if not found:
            near = difflib.get_close_matches(name, [*groups, *single], n=1)
            remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(groups)}"
            raise ValueError(f"{name} is neither an obstacle nor a wall; {remedy}")
        chosen |= {wall.name: wall for wall in found}
    return list(chosen.values())


def default_spacing(walls: Sequence[Wall]) -> float:
    """Return a tenth of the longest wall, at most `WIDEST_SPACING`. [m]

    Args:
        walls: At least one wall.
    """
    return min(WIDEST_SPACING, max(wall.length for wall in walls) / 10)


def candidate(
    template: SurfaceSpec, wall: Wall, along: float, height: float, turn: float
) -> Candidate:
    """Return a panel on a wall with the size and the elements of a template.

    Args:
        template: A surface of the scenario; its tilt is kept.
        wall: The wall.
        along: Distance from the start of the wall. [m]
        height: Height. [m]
        turn: Azimuth relative to the normal of the wall. [rad]
    """
    azimuth = math.remainder(wall.azimuth + turn, 2 * math.pi)
    changes = {
        "position": wall.position(along, height),
        "azimuth": round(azimuth, 12),
        "horizontal": None,
        "vertical": None,
        "normal": None,
        "focus": None,
        "name": None,
    }
    return Candidate(wall, along, turn, template.model_copy(update=changes))


def grid(
    template: SurfaceSpec,
    walls: Sequence[Wall],
    spacing: float,
    heights: Sequence[float],
    turns: Sequence[float],
) -> list[Candidate]:
    """Return panels at evenly spaced positions of all walls, at all heights and azimuths.

    Args:
        template: A surface of the scenario.
        walls: The walls.
        spacing: Distance between neighboring positions on a wall. [m]
        heights: Heights. [m]
        turns: Azimuths relative to the normal of the wall. [rad]
    """
    return [
        candidate(template, wall, float(along), height, turn)
        for wall in walls
        for along in evenly_spaced(wall.length, spacing)
        for height in heights
        for turn in turns
    ]


def usable(
    scenario: LocalizationSections,
    candidates: Sequence[Candidate],
    *,
    user_ahead: bool,
    kept: Sequence[SurfaceSpec] = (),
) -> tuple[list[Candidate], dict[str, int]]:
    """Return the candidates that the base station reaches, and the numbers of those dropped.

    Args:
        scenario: A localization scenario.
        candidates: The candidates.
        user_ahead: Whether the scenario's users have to be in front of the panel, because the path
            through it would be the only one in the scenario.
        kept: Surfaces that stay, with which a candidate must not overlap.

    Returns:
        The candidates that remain, and the number of dropped ones by reason.
    """
    positions = np.array([each.panel.position for each in candidates]).reshape(-1, 3)
    free = outside_obstacles(scenario, positions)
    base_station = np.asarray(scenario.base_station.position, dtype=float)
    users = [np.asarray(user.position, dtype=float) for user in scenario.all_users]
    remaining: list[Candidate] = []
    dropped: dict[str, int] = {}
    lit: dict[tuple[float, ...], bool] = {}
    for each, outside in zip(candidates, free, strict=True):
        panel, reason = each.panel, ""
        if not each.wall.base <= panel.position[2] <= each.wall.top:
            reason = NOT_ON_WALL
        elif not outside:
            reason = INSIDE
        elif any(
            math.dist(panel.position, other.position) <= other.diagonal(scenario.wavelength)
            for other in kept
        ):
            reason = TAKEN
        elif not _ahead(panel, base_station):
            reason = HIDDEN
        elif user_ahead and not all(_ahead(panel, user) for user in users):
            reason = USER_BEHIND
        else:
            if panel.position not in lit:
                lit[panel.position] = _reached(scenario, panel)
            reason = "" if lit[panel.position] else HIDDEN
        if reason:
            dropped[reason] = dropped.get(reason, 0) + 1
        else:
            remaining.append(each)
    return remaining, dropped


def _ahead(panel: SurfaceSpec, place: np.ndarray) -> bool:
    """Whether a position is in front of a panel."""
    offset = place - np.asarray(panel.position)
    return bool(np.dot(offset, panel.facing) > 1e-9 * np.linalg.norm(offset))


def _reached(scenario: LocalizationSections, panel: SurfaceSpec) -> bool:
    """Whether the base station reaches a panel: the path back to the base station is clear."""
    there = np.array([scenario.base_station.position], dtype=float)
    return bool(visible_through(scenario, [panel], there)[0, 0])
