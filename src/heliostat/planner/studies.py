"""Placement of a surface on the walls, and sweeps of one field, for the page."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import yaml

from heliostat.api.coverage import coverage
from heliostat.api.placement import place
from heliostat.api.placement_results import Placement
from heliostat.batch.python import sweep
from heliostat.planner.requests import RefusedError
from heliostat.planner.results import refuse_large
from heliostat.scenario import AnyScenario, LocalizationScenario, SensingScenario
from heliostat.scenario.goals import parse_goals
from heliostat.scenario.panels import VECTORS

OnProgress: TypeAlias = Callable[[str, int, int], None]

NEW = "new"
"""Instead of the key of a surface: a further one."""
MOST_RANKED = 10
"""Number of candidates in the ranking."""
MOST_VALUES = 50
"""Largest number of values of a sweep."""
OUTPUTS: Mapping[str, Mapping[str, str]] = {
    "localization": {
        "pose_bounds.peb": "position error bound (PEB)",
        "pose_bounds.reb": "heading error bound (REB)",
        "effective_rate.eadr": "effective achievable data rate (EADR)",
        "effective_rate.snr": "SNR of the data",
    },
    "sensing": {
        "direction_bounds.position_bound": "position error bound",
        "design_beamforming.worst_crb": "worst CRB of the design",
    },
}
"""Quantities of a sweep, by system."""


def best_places(
    scenario: LocalizationScenario,
    surface: str,
    goal: str,
    walls: Sequence[str],
    area: Sequence[float] | None,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Rank positions on walls for one surface, or for a new one; the others keep their places.

    Args:
        scenario: A localization scenario.
        surface: Key of the surface, or `NEW`.
        goal: See `heliostat.place`.
        walls: Names of walls.
        area: Rectangle of the user's positions; default see `heliostat.place`. [m]
        on_progress: See `heliostat.place`.

    Returns:
        The best position, refined, and the best other candidates, each with the overrides that
        adopt it; all positions of candidates with their best share; the present share, and that
        without the surface.

    Raises:
        PlacementError: An argument is out of range, or there are too few candidates.
        ScenarioError: The scenario does not suit a placement.
    """
    if surface not in (NEW, *scenario.panel_keys):
        raise RefusedError("surface is not the key of a surface")
    added = surface == NEW
    index = 0 if added else scenario.panel_keys.index(surface)
    panel, replaced = scenario.panels[index], not added and len(scenario.panels) == 1
    found = place(
        scenario if added or replaced else _without(scenario, index),
        goal,
        candidates=list(walls),
        heights=[panel.position[2]],
        sizes=[(panel.rows, panel.columns)],
        keep=not replaced,
        area=None if area is None else list(area),
        on_progress=on_progress,
    )
    vectors = dict.fromkeys(VECTORS) if panel.turned_by == "horizontal" else {}
    sections = yaml.safe_load(found.scenario.dump())["surfaces"] if added else []

    def entry(wall: str, position: np.ndarray, azimuth: float, share: float) -> dict[str, Any]:
        place = np.round(position, 6).tolist()
        changes = {"position": place, "azimuth": f"{math.degrees(azimuth):.9g} deg", **vectors}
        if added:
            overrides = {"surface": None, "surfaces": [*sections[:-1], sections[-1] | changes]}
        else:
            overrides = {f"{surface}.{key}": value for key, value in changes.items()}
        return {
            "wall": wall,
            "position": place,
            "azimuth_deg": math.degrees(azimuth),
            "share": share,
            "overrides": overrides,
        }

    best, ranked, listed = found.surfaces[-1], _ranked(found), found.candidates
    others = [i for i in ranked if not np.allclose(listed.position[i], best.position, atol=0.01)]
    return {
        "goal": found.goal,
        "ranked": [
            entry(best.wall, best.position, best.azimuth, found.share),
            *(
                entry(listed.wall[i], listed.position[i], listed.azimuth[i], float(listed.share[i]))
                for i in others[: MOST_RANKED - 1]
            ),
        ],
        "candidates": [[*listed.position[i, :2].tolist(), float(listed.share[i])] for i in ranked],
        "present": _share(scenario, found),
        "without": float(found.met_before.mean()),
        "bound": found.bound,
        "differs": _differs(scenario, None if added else index),
    }


def _without(scenario: LocalizationScenario, index: int) -> LocalizationScenario:
    """The scenario without one of its surfaces."""
    surfaces = yaml.safe_load(scenario.dump())["surfaces"]
    kept = [section for i, section in enumerate(surfaces) if i != index]
    changed = scenario.updated({"surfaces": kept})
    assert isinstance(changed, LocalizationScenario)
    return changed


def _ranked(found: Placement) -> list[int]:
    """The best candidate at each position, best positions first."""
    order = np.argsort(-found.candidates.share, kind="stable")
    first: dict[tuple[float, ...], int] = {}
    for i in order.tolist():
        first.setdefault(tuple(found.candidates.position[i].tolist()), i)
    return list(first.values())


def _share(scenario: LocalizationScenario, found: Placement) -> float:
    """Share of the positions at which the scenario as it is meets the goal."""
    met = np.ones(len(found.positions), dtype=bool)
    for goal in parse_goals(found.goal):
        data = coverage(scenario, goal.quantity, positions=found.positions)
        met &= data["served"].values & goal.met(data[data.attrs["quantity"]].values)
    return float(met.mean())


def _differs(scenario: LocalizationScenario, index: int | None) -> str:
    """Sentence about a surface whose candidates have properties of another one."""
    if index is None:
        return "The new surface is like the first one, apart from its place."
    others = [panel for i, panel in enumerate(scenario.panels) if i != index]
    own_fields = {"name", "position", "azimuth", "rows", "columns", *VECTORS}
    chosen = scenario.panels[index].model_dump(exclude=own_fields)
    if not others or others[0].model_dump(exclude=own_fields) == chosen:
        return ""
    return "The candidates have the reflection, phases and tilt of the first other surface."


# Sweeps ------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)\s*")


def field_values(start: str, end: str, count: int, *, whole: bool) -> tuple[list[Any], str]:
    """Return evenly spaced values of a field, as in a scenario, and their unit.

    Args:
        start: First value, with its unit.
        end: Last value, in the same unit.
        count: Number of values.
        whole: Whether the field takes whole numbers; equal ones are left out.

    Raises:
        RefusedError: A text is not a number with a unit, or the units differ.
    """
    if not 2 <= count <= MOST_VALUES:
        raise RefusedError(f"the number of values is not a whole number from 2 to {MOST_VALUES}")
    ends = [_NUMBER.fullmatch(text) for text in (start, end)]
    if ends[0] is None or ends[1] is None:
        raise RefusedError("from and to are not numbers with a unit, such as 20 dBm")
    (low, unit), (high, other) = ends[0].groups(), ends[1].groups()
    if unit != other:
        raise RefusedError(f"from and to have different units: {unit or 'none'}, {other or 'none'}")
    numbers = np.linspace(float(low), float(high), count)
    if whole:
        return list(dict.fromkeys(np.rint(numbers).astype(int).tolist())), unit
    if unit:
        return [f"{value:.9g} {unit}" for value in numbers.tolist()], unit
    return [float(f"{value:.9g}") for value in numbers.tolist()], unit


def curve(
    scenario: AnyScenario,
    key: str,
    values: Sequence[Any],
    output: str,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Compute one quantity over the values of one field.

    Args:
        scenario: A scenario.
        key: Dotted key of the field.
        values: Its values.
        output: One of `OUTPUTS` of the scenario's system.
        on_progress: See `heliostat.sweep`.

    Raises:
        RefusedError: The quantity is not one of the system.
        ScenarioError: A value of the field is not valid, or a design would take minutes.
    """
    if output not in OUTPUTS[scenario.system]:
        raise RefusedError("output is not a quantity of the scenario")
    for value in (values[0], values[-1]):
        there = scenario.updated({key: value})
        if isinstance(there, SensingScenario):
            refuse_large(there)
    # The random draws of the scenario stay the same, as on the rest of the page.
    axes = {key: list(values), "link.seed": [scenario.link.seed]}
    data = sweep(scenario, axes, [output], on_progress=on_progress)
    found = np.ravel(next(iter(data.data_vars.values())).values)
    return {
        "x": [float(str(value).split()[0]) for value in values],
        "y": [value if math.isfinite(value) else None for value in found.tolist()],
        "unit": next(iter(data.data_vars.values())).attrs["units"].replace("rad2", "rad²"),
        "label": OUTPUTS[scenario.system][output],
        "reasons": list(json.loads(data.attrs.get("failure_reasons", "{}"))),
        "python": (
            f"data = hs.sweep(\n    scenario,\n    {{{key!r}: {list(values)!r}, "
            f"'link.seed': [{scenario.link.seed}]}},\n    [{output!r}],\n)\n"
        ),
    }
