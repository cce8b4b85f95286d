"""Visibility of the paths of a localization scenario: obstacles and orientation of surfaces."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from heliostat.scenario.localization.schema import LocalizationSections, ObstacleSpec


def visible_paths(
    scenario: LocalizationSections, positions: Float[np.ndarray, "point xyz"]
) -> Bool[np.ndarray, "point path"]:
    """Return whether each path of `LocalizationSections.path_names` reaches each position.

    Args:
        scenario: A localization scenario.
        positions: Positions of the user. [m]
    """
    obstacles, found = scenario.obstacles, []
    base_station = np.asarray(scenario.base_station.position, dtype=float)
    if scenario.direct != "blocked":
        between = () if scenario.direct == "clear" else obstacles
        found.append(~_blocked(base_station, positions, between))
    for panel in scenario.panels:
        place = np.asarray(panel.position, dtype=float)
        ahead = (positions - place) @ np.asarray(panel.facing) > 0
        lit = not _blocked(base_station, place[None], obstacles)[0]
        found.append(ahead & lit & ~_blocked(place, positions, obstacles))
    within = np.zeros(len(positions), dtype=bool)
    for obstacle in obstacles:
        within |= obstacle.contains(positions)
    return np.stack(found, axis=1) & ~within[:, None]


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
    """Yield a sentence for each path to the scenario's user that obstacles block.

    Args:
        scenario: A localization scenario.
    """
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
