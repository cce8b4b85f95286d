"""Visibility of the paths of a localization scenario: obstacles and orientation of surfaces."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from heliostat.scenario.localization.nodes import ObstacleSpec
from heliostat.scenario.localization.schema import LocalizationSections
from heliostat.scenario.panels import PanelSpec


def visible_paths(
    scenario: LocalizationSections, positions: Float[np.ndarray, "point xyz"]
) -> Bool[np.ndarray, "point path"]:
    """Return whether each path of `LocalizationSections.path_names` reaches each position.

    Args:
        scenario: A localization scenario.
        positions: Positions of the user. [m]
    """
    base_station = np.asarray(scenario.base_station.position, dtype=float)
    seen = visible_through(scenario, scenario.panels, positions)
    if scenario.direct != "blocked":
        between = () if scenario.direct == "clear" else scenario.obstacles
        seen = np.column_stack([~_blocked(base_station, positions, between), seen])
    return seen & outside_obstacles(scenario, positions)[:, None]


def outside_obstacles(
    scenario: LocalizationSections, positions: Float[np.ndarray, "point xyz"]
) -> Bool[np.ndarray, "point"]:
    """Return whether each position is outside all obstacles.

    Args:
        scenario: A localization scenario.
        positions: The positions. [m]
    """
    within = np.zeros(len(positions), dtype=bool)
    for obstacle in scenario.obstacles:
        within |= obstacle.contains(positions)
    return ~within


def visible_through(
    scenario: LocalizationSections,
    panels: Sequence[PanelSpec],
    positions: Float[np.ndarray, "point xyz"],
) -> Bool[np.ndarray, "point panel"]:
    """Return whether the path through each panel reaches each position outside the obstacles.

    Args:
        scenario: A localization scenario.
        panels: The panels; they need not belong to the scenario.
        positions: Positions of the user. [m]
    """
    obstacles = scenario.obstacles
    base_station = np.asarray(scenario.base_station.position, dtype=float)
    clear: dict[tuple[float, ...], np.ndarray] = {}  # panels at one position share it
    found = []
    for panel in panels:
        place = np.asarray(panel.position, dtype=float)
        if panel.position not in clear:
            lit = not _blocked(base_station, place[None], obstacles)[0]
            clear[panel.position] = lit & ~_blocked(place, positions, obstacles)
        ahead = (positions - place) @ np.asarray(panel.facing) > 0
        found.append(ahead & clear[panel.position])
    return np.stack(found, axis=1)


def _blocked(
    start: np.ndarray, ends: np.ndarray, obstacles: tuple[ObstacleSpec, ...]
) -> np.ndarray:
    if not obstacles:
        return np.zeros(len(ends), dtype=bool)
    # Scenarios without obstacles do not need shapely.
    from heliostat.geometry.obstacles import blocked  # noqa: PLC0415

    starts = np.broadcast_to(start, ends.shape)
    return blocked(starts, ends, [obstacle.prism for obstacle in obstacles])


def blocked_paths(scenario: LocalizationSections) -> Iterator[str]:
    """Yield a sentence for each path to the scenario's user that obstacles block."""
    user = np.asarray(scenario.user.position, dtype=float)
    base_station = np.asarray(scenario.base_station.position, dtype=float)
    hops = [
        (name, [(base_station, np.asarray(panel.position)), (np.asarray(panel.position), user)])
        for name, panel in zip(scenario.panel_names, scenario.panels, strict=True)
    ]
    if scenario.direct == "auto":
        hops.insert(0, ("the direct path", [(base_station, user)]))
    for name, parts in hops:
        for start, end in parts:
            owners = [o.name for o in scenario.obstacles if _blocked(start, end[None], (o,))[0]]
            if owners:
                path = name if name == "the direct path" else f"the path through {name}"
                verb = "blocks" if len(owners) == 1 else "block"
                yield f"Blocked: {' and '.join(owners)} {verb} {path}."
                break
