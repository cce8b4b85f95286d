"""Evaluation of candidate surfaces at a site, and the scenario with the chosen ones."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from heliostat.api.localization import build, chosen_antennas, most_active_antennas
from heliostat.api.map_quantities import within_fraunhofer
from heliostat.api.placement_results import PlacedSurface, PlacementError
from heliostat.maps.placement import (
    Base,
    Mounts,
    Setting,
    direct_sums,
    joined,
    terms_of,
)
from heliostat.maps.placement_sets import Table
from heliostat.rates.effective import time_ratio
from heliostat.scenario import LocalizationScenario, Problem, ScenarioError
from heliostat.scenario.goals import Goal
from heliostat.scenario.localization.build import surface_gain
from heliostat.scenario.localization.candidates import Candidate
from heliostat.scenario.localization.nodes import SurfaceSpec
from heliostat.scenario.localization.visibility import visible_paths, visible_through
from heliostat.scene.localization import LocalizationScene


class Site(NamedTuple):
    """A scenario prepared for candidates of one size."""

    scenario: LocalizationScenario
    setting: Setting
    """Setting at all positions; its scene is that of the first array of users."""
    parts: tuple[tuple[Setting, np.ndarray], ...]
    """Setting for each array of users, and the indices of its positions."""
    start: Base
    """Sums over the paths that are in every set: the direct one, and those of kept surfaces."""
    wavefront: str
    """``model.wavefront`` of the scenario; ``auto`` is resolved for all candidates together."""
    only_path: bool
    """See `is_only_path`."""
    kept: tuple[SurfaceSpec, ...]
    """Surfaces of the scenario that are kept."""


def is_only_path(scenario: LocalizationScenario, number: int, *, keep: bool) -> bool:
    """Return whether the path through a placed surface is the only one at the site.

    A scenario with a single path is refused if its user is behind the surface.

    Args:
        scenario: A localization scenario.
        number: Number of surfaces that are placed.
        keep: Whether the surfaces of the scenario are kept.
    """
    return number == 1 and not keep and scenario.direct == "blocked"


def check_steering(scenario: LocalizationScenario, *, keep: bool) -> None:
    """Refuse scenarios whose surfaces or codes do not suit a placement.

    Args:
        scenario: A localization scenario.
        keep: Whether its surfaces are kept.

    Raises:
        ScenarioError: A surface is not steered to each position, or the paths are not separated.
    """
    problems = []

    def refuse(field: str, found: object, sentence: str) -> None:
        problems.append(Problem(scenario.name, field, str(found), sentence))

    used = list(zip(scenario.panel_keys, scenario.panels, strict=True))
    for key, panel in used if keep else used[:1]:
        if panel.phases != "designed":
            refuse(f"{key}.phases", panel.phases, "placement needs steered surfaces: designed")
        if keep and panel.focus is not None:
            refuse(
                f"{key}.focus", list(panel.focus), "placement steers to each position; remove it"
            )
    if scenario.link.codes == "none":
        refuse("link.codes", "none", "placement needs codes that separate the paths: hadamard")
    if scenario.model.as_printed:
        refuse("model.as_printed", True, "placement needs the corrected equations: false")
    if problems:
        raise ScenarioError(problems)


def prepared(
    scenario: LocalizationScenario,
    candidates: Sequence[Candidate],
    goals: tuple[Goal, ...],
    poses: np.ndarray,
    users: np.ndarray,
    number: int,
    active_antennas: int | None,
    *,
    keep: bool,
) -> Site:
    """Return a site for the candidates and for others of their size.

    Args:
        scenario: A localization scenario.
        candidates: At least one candidate; all have the same size.
        goals: The goals.
        poses: x, y, z [m] and heading [rad] of the user at each position.
        users: Index of a user of the scenario with the array of that at each position.
        number: Number of surfaces that are placed.
        active_antennas: Number of active antennas; default as many as fit into the period.
        keep: Whether the surfaces of the scenario are kept.

    Raises:
        ValueError: The number of antennas is out of range.
    """
    template = candidates[0].panel
    wavefront: str = scenario.model.wavefront
    if wavefront == "auto":
        panels = [each.panel for each in candidates] + list(scenario.panels) * keep
        near = any(within_fraunhofer(scenario, panel, poses[:, :3]).any() for panel in panels)
        wavefront = "spherical" if near else "plane"
    first = len(scenario.panels) * keep
    gains = np.array([surface_gain(scenario, first + slot) for slot in range(number)])
    parts: list[tuple[Setting, np.ndarray]] = []
    starts, ratio = [], np.zeros(len(poses))
    visible = visible_paths(scenario, poses[:, :3])
    for user in np.unique(users):
        index = np.flatnonzero(users == user)
        unblocked = _unblocked(scenario.for_user(int(user)), wavefront)
        most = most_active_antennas(unblocked)
        active = int(chosen_antennas(unblocked, active_antennas if user == users[0] else most))
        if parts and active != parts[0][0].active_antennas:
            raise PlacementError(
                f"{parts[0][0].active_antennas} active antennas for one user and {active} for "
                "another do not fit together; give active_antennas or a longer frame.period."
            )
        sizes = {"rows": template.rows, "columns": template.columns}
        sized = {f"{scenario.panel_keys[0]}.{side}": size for side, size in sizes.items()}
        scene = build(unblocked.updated(sized))
        ratio[index] = float(time_ratio(scene, active))
        own = poses[index]
        part = Setting(scene, active, template.bits, own, goals, gains, ratio[index])
        parts.append((part, index))
        starts.append(_start(scenario, part, build(unblocked), visible[index], keep))
    whole = parts[0][0]._replace(poses=poses, ratio=ratio)
    start = joined(starts, [index for _, index in parts])
    only_path = is_only_path(scenario, number, keep=keep)
    kept = scenario.panels if keep else ()
    return Site(scenario, whole, tuple(parts), start, wavefront, only_path, kept)


def _unblocked(scenario: LocalizationScenario, wavefront: str) -> LocalizationScenario:
    """The scenario without obstacles, as visibility is computed apart, and with exact phases."""
    changes: dict[str, Any] = {"model.wavefront": wavefront}
    changes |= {f"{key}.bits": None for key in scenario.panel_keys}
    return scenario.without_obstacles().updated(changes)


def _start(
    scenario: LocalizationScenario,
    setting: Setting,
    scene: LocalizationScene,
    visible: np.ndarray,
    keep: bool,
) -> Base:
    """Sums over the direct path and the paths through the kept surfaces of a scene."""
    direct = scenario.direct != "blocked"
    start = direct_sums(setting, visible[:, 0])
    for index, panel in enumerate(scenario.panels if keep else ()):
        alone = setting._replace(scene=scene.through(index), bits=panel.bits)
        seen = visible[:, direct + index][None]
        terms = terms_of(alone, _mounts([panel]), seen)
        start = start.plus(terms, 0, complex(surface_gain(scenario, index)))
    return start


def table_of(
    site: Site,
    candidates: Sequence[Candidate],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Table:
    """Evaluate candidates at all positions.

    Args:
        site: The site.
        candidates: The candidates, of the size of the site.
        on_progress: Function called with the number of finished pairs and the total number.
    """
    panels = [each.panel for each in candidates]
    mounts = _mounts(panels)
    visible = visible_through(site.scenario, panels, site.setting.poses[:, :3]).T
    terms = [terms_of(part, mounts, visible[:, at], on_progress) for part, at in site.parts]
    whole = jax.device_put(joined(terms, [at for _, at in site.parts]))
    distance = np.linalg.norm(mounts.position[:, None] - mounts.position[None], axis=2)
    apart = distance > panels[0].diagonal(site.scenario.wavelength)
    return Table(site.setting, whole, site.start, visible, apart)


def _mounts(panels: Sequence[SurfaceSpec]) -> Mounts:
    position = np.array([panel.position for panel in panels], dtype=float)
    return Mounts(position, np.stack([panel.axes for panel in panels]))


def site_of(
    site: Site, chosen: Sequence[Candidate]
) -> tuple[LocalizationScenario, tuple[PlacedSurface, ...]]:
    """Return the scenario with the chosen surfaces, and their description.

    Args:
        site: The site.
        chosen: The chosen candidates, in order.
    """
    scenario = site.scenario
    panels = [panel.model_dump(mode="json", exclude_none=True) for panel in site.kept]
    taken = {panel["name"] for panel in panels if "name" in panel}
    placed = []
    for each in chosen:
        stem = each.wall.name.replace("/", "-")[:36]
        name = next(n for i in range(1, 100) if (n := f"{stem}-{i}") not in taken)
        taken.add(name)
        panel = each.panel.model_dump(mode="json", exclude_none=True)
        panels.append({"name": name} | panel)
        placed.append(
            PlacedSurface(
                name,
                each.wall.name,
                np.array(each.panel.position),
                float(each.panel.azimuth or 0.0),
                each.turn,
                each.panel.rows,
                each.panel.columns,
            )
        )
    changes = {"surface": None, "surfaces": panels, "model.wavefront": site.wavefront}
    return scenario.updated(changes), tuple(placed)
