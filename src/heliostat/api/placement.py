"""Public function for the placement of surfaces on the walls of a site."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from heliostat.api.arguments import checked_count, public
from heliostat.api.placement_arguments import (
    MOST_SURFACES,
    Layout,
    check_memory,
    counted_positions,
    goals_of,
    layout_of,
    sizes_of,
    walls_of,
)
from heliostat.api.placement_results import Candidates, Placement, PlacementError
from heliostat.api.placement_site import (
    Site,
    check_steering,
    is_only_path,
    prepared,
    site_of,
    table_of,
)
from heliostat.maps.placement import Base
from heliostat.maps.placement_search import Certified, Found, certified, greedy, improved
from heliostat.maps.placement_sets import Table, met, scores, values_of
from heliostat.scenario import LocalizationScenario
from heliostat.scenario.goals import Goal
from heliostat.scenario.localization.candidates import Candidate, candidate, grid, usable

OnProgress: TypeAlias = Callable[[str, int, int], None]

TURNS = (-math.pi / 6, 0.0, math.pi / 6)
"""Default azimuths of the panels relative to the normals of the walls. [rad]"""
REFINED = (1 / 4, 1 / 16)
"""Steps of the local refinement, relative to the distance of neighboring candidates."""
ROUNDS = 3
"""Largest number of rounds of the local refinement with each step."""


class _Best(NamedTuple):
    """The best set of one size on the grid."""

    site: Site
    table: Table
    candidates: list[Candidate]
    dropped: dict[str, int]
    steps: list[Found]
    """Best known set of each number of surfaces from 1 on."""
    certified: Certified


@public(LocalizationScenario)
def place(
    scenario: LocalizationScenario,
    goal: str,
    surfaces: int = 1,
    *,
    candidates: Sequence[str] | None = None,
    walls: Mapping[str, ArrayLike] | None = None,
    spacing: float | None = None,
    heights: Sequence[float] | None = None,
    turns: Sequence[float] = TURNS,
    sizes: Sequence[tuple[int, int]] | None = None,
    keep: bool = False,
    area: ArrayLike | None = None,
    points: int | None = None,
    positions: ArrayLike | None = None,
    headings: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    at_users: bool = False,
    active_antennas: int | None = None,
    on_progress: OnProgress | None = None,
) -> Placement:
    """Choose where to mount surfaces, so that a goal is met at as many positions as possible.

    Candidates are panels at evenly spaced positions along walls, at all given heights and azimuths.
    They have the reflection, phase resolution, spacing, sweep and tilt of the first surface of the
    scenario, and are steered to each position of the user. Candidates that the base station does
    not reach are dropped.

    A set of candidates is better than another if the goal is met at a larger share of the
    positions, or, with equal shares, if its quantile is better, see `Placement`. Surfaces are added
    one by one, and after each step single surfaces are exchanged. Then all other sets are
    evaluated, except those that cannot have a larger share, as far as the limit
    `placement_search.MOST_VALUES` permits. Finally, positions and heights are refined.

    Args:
        scenario: A localization scenario.
        goal: "peb below 10 cm" (position error bound), "rate above 100 Mbit/s", or both joined by
            "and".
        surfaces: Number of surfaces to place.
        candidates: Names of obstacles or of walls. A wall of an obstacle is named by the obstacle
            and the direction that it faces, e.g. "north-east/south"; north is the y axis, rotated
            by ``site.bearing``. Default all listed walls, or without any, all walls of all
            obstacles.
        walls: Further walls by name: both ends, [end, xy]. Their outer side faces the base station.
            They do not block paths. [m]
        spacing: Distance between neighboring positions on a wall; default a tenth of the longest
            wall, at most 5 m. [m]
        heights: Heights of the panels; default those of the scenario's surfaces. [m]
        turns: Azimuths of the panels relative to the normal of their wall. [rad]
        sizes: Rows and columns of the panels; default those of the first surface. All surfaces of a
            set have the same size.
        keep: Keep the surfaces of the scenario; by default they are replaced.
        area: See `coverage`.
        points: Approximate number of points in the area; default 2,000, or 500 with spherical waves
            or quantized phases. Points within obstacles do not count.
        positions: Positions of users in place of an area, see `coverage`. [m]
        headings: Heading of the user at each position; default that of the scenario. [rad]
        names: Names of the positions; default their numbers.
        at_users: Place surfaces for the users of the scenario in place of an area, each with its
            own heading and array.
        active_antennas: Number of active antennas; default as many as fit into the period.
        on_progress: Function called with the name of a stage, the number of finished steps and the
            total number.

    Returns:
        The chosen surfaces, the scenario with them, shares and an upper bound on the share.

    Raises:
        PlacementError: An argument is out of range, or there are too few candidates.
        ScenarioError: The surfaces of the scenario are not steered, or ``link.codes`` is none.
    """
    advance: OnProgress = on_progress or (lambda name, done, total: None)
    goals = goals_of(goal)
    number = checked_count("surfaces", surfaces, most=MOST_SURFACES, error=PlacementError)
    check_steering(scenario, keep=keep)
    layout = layout_of(scenario, walls_of(scenario, candidates, walls), spacing, heights, turns)
    every_size = sizes_of(scenario, sizes)
    counted = counted_positions(
        scenario, area, points, positions, headings, names, at_users=at_users
    )
    found = []
    for rows, columns in every_size:
        template = scenario.panel.model_copy(update={"rows": rows, "columns": columns})
        listed = grid(template, layout.walls, layout.spacing, layout.heights, layout.turns)
        alone = is_only_path(scenario, number, keep=keep)
        stays = scenario.panels if keep else ()
        usables, dropped = usable(scenario, listed, user_ahead=alone, kept=stays)
        if len(usables) < number:
            reasons = "; ".join(f"{count} {reason}" for reason, count in dropped.items())
            raise PlacementError(
                f"{len(usables)} of {len(listed)} candidates are usable ({reasons}), fewer than "
                f"the surfaces to place, {number}; give other walls, heights or spacing."
            )
        check_memory(scenario, goals, len(usables), len(counted.poses))
        site = prepared(
            scenario,
            usables,
            goals,
            counted.poses,
            counted.users,
            number,
            active_antennas,
            keep=keep,
        )
        found.append(_best(site, usables, dropped, number, advance))
    best = max(found, key=lambda each: each.certified.best.merit)
    chosen, sums = _refined(best, layout, advance)
    setting = best.site.setting
    placed_scenario, placed = site_of(best.site, chosen)
    before, after = (values_of(setting, base) for base in (best.site.start, sums))
    shares, quantiles = _by_number(found, goals, number)
    return Placement(
        goal=" ".join(goal.split()),
        scenario=placed_scenario,
        surfaces=placed,
        share=float(met(goals, after).mean()),
        quantile=float(goals[0].quantile_90(after[0])),
        share_on_grid=best.certified.best.merit[0],
        bound=max(each.certified.bound for each in found),
        sets=sum(each.certified.sets for each in found),
        sizes=np.array(every_size),
        share_by_number=shares,
        quantile_by_number=quantiles,
        candidates=_described(best, goals),
        positions=counted.poses[:, :3],
        names=counted.names,
        area=counted.area,
        met=met(goals, after),
        met_before=met(goals, before),
        values={goal.quantity: value for goal, value in zip(goals, after, strict=True)},
        active_antennas=setting.active_antennas,
    )


def _best(
    site: Site,
    candidates: list[Candidate],
    dropped: dict[str, int],
    number: int,
    advance: OnProgress,
) -> _Best:
    """Search the best set of one size."""
    size = f"{candidates[0].panel.rows} x {candidates[0].panel.columns}"
    table = table_of(site, candidates, lambda done, total: advance(f"paths, {size}", done, total))
    steps = greedy(table, number, lambda n, done, total: advance(f"{n}, {size}", done, total))
    if len(steps) < number:
        raise PlacementError(
            f"only {len(steps)} of {number} surfaces fit without overlap; give more walls or a "
            "smaller spacing."
        )
    proven = certified(
        table, steps[-1], lambda n, done, total: advance(f"{n}, {size}", done, total)
    )
    return _Best(site, table, candidates, dropped, [*steps[:-1], proven.best], proven)


def _refined(best: _Best, layout: Layout, advance: OnProgress) -> tuple[list[Candidate], Base]:
    """Move the surfaces of a set in small steps along their walls, and sum over their paths."""
    panels = [best.candidates[i] for i in best.certified.best.chosen]
    places = tuple(range(len(panels)))
    for step, scale in enumerate(REFINED):
        for _ in range(ROUNDS):
            before = list(panels)
            for slot in places:
                advance("refinement", step * len(places) + slot, len(REFINED) * len(places))
                near = [*panels, *_neighbors(best.site, panels[slot], layout, scale)]
                moved = improved(table_of(best.site, near), places, slot)
                assert moved is not None  # the surface itself is among them
                panels[slot] = near[moved.chosen[slot]]
            if panels == before:
                break
    advance("refinement", 1, 1)
    return panels, table_of(best.site, panels).sums(places)


def _neighbors(site: Site, center: Candidate, layout: Layout, scale: float) -> list[Candidate]:
    """Usable positions around a panel; always as many, so that one program is compiled."""
    wall, (_, _, z) = center.wall, center.panel.position
    margin = min(center.panel.diagonal(site.scenario.wavelength), wall.length / 2)
    along = center.along + scale * layout.spacing * np.arange(-2, 3)
    heights = z + scale * layout.height_step * np.arange(-1, 2)
    listed = [
        candidate(center.panel, wall, float(a), float(h), center.turn)
        for a in np.clip(along, margin, wall.length - margin)
        for h in np.clip(heights, min(layout.heights), max(layout.heights))
    ]
    kept, _ = usable(site.scenario, listed, user_ahead=site.only_path, kept=site.kept)
    return kept + [center] * (len(listed) - len(kept))


def _by_number(
    found: Sequence[_Best], goals: tuple[Goal, ...], number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Share and quantile for 0, 1, 2, ... surfaces of each size."""
    shares, quantiles = np.zeros((2, len(found), number + 1))
    sign = -1.0 if goals[0].quantity == "peb" else 1.0
    for row, best in enumerate(found):
        none = values_of(best.site.setting, best.site.start)
        shares[row, 0] = met(goals, none).mean()
        quantiles[row, 0] = goals[0].quantile_90(none[0])
        shares[row, 1:] = [step.merit[0] for step in best.steps]
        quantiles[row, 1:] = [sign * step.merit[1] for step in best.steps]
    return shares, quantiles


def _described(best: _Best, goals: tuple[Goal, ...]) -> Candidates:
    alone = scores(goals, best.table.values(best.site.start, 0))
    panels = [each.panel for each in best.candidates]
    return Candidates(
        wall=tuple(each.wall.name for each in best.candidates),
        position=np.array([panel.position for panel in panels]),
        azimuth=np.array([panel.azimuth for panel in panels]),
        share=alone.share,
        dropped=best.dropped,
    )
