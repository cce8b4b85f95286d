"""Maps and numbers that the page shows, computed with the public functions."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from heliostat.api.coverage import coverage, default_area
from heliostat.api.localization import effective_rate, pose_bounds
from heliostat.api.localization_evaluation import evaluate_link
from heliostat.api.map_quantities import QUANTITIES, with_one_wavefront
from heliostat.api.sensing import designed, direction_bounds
from heliostat.api.sensing_evaluation import DesignEvaluation
from heliostat.design.result import BeamformingDesign, patterned
from heliostat.maps.area import Area, grid_points
from heliostat.planner.cancellation import Check
from heliostat.planner.requests import MapArguments
from heliostat.plots.coverage import unserved_reason
from heliostat.reports import localization as localization_reports
from heliostat.reports import sensing as sensing_reports
from heliostat.reports.tables import Row, angle_bound, degrees, length, power_ratio, rate
from heliostat.scenario import (
    AnyScenario,
    LocalizationScenario,
    Problem,
    ScenarioError,
    SensingScenario,
)

KEPT_DESIGNS = 16
LARGEST_DESIGN = 100_000
"""Largest product of elements, antennas and patterns that is designed."""


class Map(NamedTuple):
    """A map for the page."""

    header: dict[str, Any]
    values: np.ndarray
    """The quantity in SI units, single precision, row by row; inf where there is no bound."""
    flags: np.ndarray
    """1 where a bound can exist, plus 2 in the near field of a surface whose waves are assumed
    plane."""


def held(scenario: AnyScenario, wavefront: str | None) -> AnyScenario:
    """Return a scenario with the given waves if it chooses them by the distance.

    While an object is dragged the waves stay the same, so that nothing is compiled.

    Args:
        scenario: A scenario.
        wavefront: "plane" or "spherical"; None changes nothing.
    """
    if wavefront is None or not isinstance(scenario, LocalizationScenario):
        return scenario
    if scenario.model.wavefront != "auto":
        return scenario
    return scenario.updated({"model.wavefront": wavefront})


def coverage_of(
    scenario: AnyScenario, check: Check, wanted: MapArguments, design: BeamformingDesign | None
) -> xr.Dataset:
    """Return the data of a map.

    Args:
        scenario: A scenario.
        check: Called between two parts of the map.
        wanted: Quantity, area, number of cells and steering.
        design: Design of a sensing scenario.

    Raises:
        CancelledError: By ``check``.
        ValueError: An argument is out of range.
    """
    return coverage(
        scenario,
        wanted.quantity,
        area=wanted.area,
        points=wanted.cells**2,
        steering=wanted.steering,
        design=design,
        on_progress=lambda done, total: check(),
    )


def compute_map(
    scenario: AnyScenario,
    check: Check,
    wanted: MapArguments,
    *,
    design: BeamformingDesign | None,
) -> Map:
    """Compute a map.

    Args:
        scenario: A scenario.
        check: Called between two parts of the map.
        wanted: Quantity, area, number of cells and steering.
        design: Design of a sensing scenario.

    Raises:
        CancelledError: By ``check``.
        ValueError: An argument is out of range.
    """
    begun = time.perf_counter()
    rectangle = default_area(scenario) if wanted.area is None else Area(*wanted.area)
    data = coverage_of(scenario, check, wanted, design)
    name = next(key for key, q in QUANTITIES.items() if q.variable == data.attrs["quantity"])
    array = data[data.attrs["quantity"]]
    header = {
        "area": list(rectangle),
        "columns": data.sizes["x"],
        "rows": data.sizes["y"],
        "height": float(data["z"]),
        "quantity": name,
        "unit": array.attrs["units"],
        "label": array.attrs["long_name"],
        "causes": array.attrs.get("flag_meanings", ""),
        "quantities": {
            key: entry.label for key, entry in QUANTITIES.items() if entry.system == scenario.system
        },
        "unserved": unserved_reason(data),
        "steering": data.attrs["steering"],
        "steerings": steering_choices(scenario),
        "wavefront": _wavefront(scenario, data),
        "milliseconds": 1e3 * (time.perf_counter() - begun),
    }
    flags = data["served"].values + 2 * data["near_field"].values.astype(np.uint8)
    return Map(header, array.values.astype(np.float32), flags.astype(np.uint8))


def steering_choices(scenario: AnyScenario) -> list[str]:
    """Return the possible values of ``steering`` of a map for the page.

    A sensing map is for the held design, so that its steering is fixed.
    """
    designed = isinstance(scenario, LocalizationScenario) and all(
        panel.phases == "designed" for panel in scenario.panels
    )
    return ["each point", "fixed"] if designed else ["fixed"]


def _wavefront(scenario: AnyScenario, data: xr.Dataset) -> str | None:
    """Waves of a map; None for sensing."""
    if not isinstance(scenario, LocalizationScenario):
        return None
    places = grid_points(data["x"].values, data["y"].values, float(data["z"]))
    return with_one_wavefront(scenario, places).model.wavefront


# Numbers -----------------------------------------------------------------------------------------


def compute_numbers(
    scenario: AnyScenario,
    check: Check,
    *,
    places: Sequence[Sequence[float]],
    design: BeamformingDesign | None,
    designed_here: bool,
) -> dict[str, Any]:
    """Compute the numbers of each user or the target, and of further places.

    Args:
        scenario: A scenario.
        check: Called between two users or places.
        places: Further positions of the user or target, x, y, z. [m]
        design: Design of a sensing scenario.
        designed_here: Whether the design was made for this scenario.

    Raises:
        CancelledError: By ``check``.
    """
    begun = time.perf_counter()
    if isinstance(scenario, SensingScenario):
        assert design is not None
        tables, reason = _sensing_tables(scenario, design, designed_here)
    else:
        tables, reason = _localization_tables(scenario, check)
    found = []
    for place in places:
        check()
        found.append(place_numbers(scenario, place, design))
    return {
        "tables": tables,
        "reason": reason,
        "places": found,
        "notes": list(scenario.notes),
        "milliseconds": 1e3 * (time.perf_counter() - begun),
    }


def _localization_tables(
    scenario: LocalizationScenario, check: Check
) -> tuple[list[dict[str, Any]], str]:
    """Tables of each user, and the reasons for missing bounds."""
    tables, reasons = [], []
    for i, name in enumerate(scenario.user_names):
        check()
        link = evaluate_link(scenario.for_user(i))
        of, who = (f" of {name}", f"{name}: ") if scenario.users else ("", "")
        tables.append(_table(f"Bounds and rate{of}", localization_reports.bounds_rows(link)))
        if best := localization_reports.allocation_rows(link):
            tables.append(_table(f"Best time allocation{of}", best))
        if link.bounds.reason:
            reasons.append(f"{who}{link.bounds.reason}")
    return tables, " ".join(reasons)


def _sensing_tables(
    scenario: SensingScenario, design: BeamformingDesign, designed_here: bool
) -> tuple[list[dict[str, Any]], str]:
    covariance, reflection = patterned(design)
    bounds = direction_bounds(scenario, covariance, reflection)
    found = DesignEvaluation(scenario, design, bounds)
    if designed_here:
        rows = sensing_reports.design_rows(found)
    else:
        worst = float(np.sqrt(np.max(bounds.crb)))
        rows = [
            length("position_bound", "Position error bound", bounds.position_bound),
            angle_bound("worst_direction", "Worst root CRB", worst),
        ]
    tables = [_table("Design" if designed_here else "Under the held design", rows)]
    for i in range(len(scenario.surfaces)):
        tables.append(_table(f"Surface {i}", sensing_reports.bound_rows(found, i)))
    return tables, bounds.reason


def _table(title: str, rows: Sequence[Row]) -> dict[str, Any]:
    return {"title": title, "rows": [[row.label, row.text] for row in rows]}


def place_numbers(
    scenario: AnyScenario, place: Sequence[float], design: BeamformingDesign | None
) -> dict[str, Any]:
    """Bounds with the user or target at another place, or the reason why there are none.

    Args:
        scenario: A scenario.
        place: The place, x, y, z. [m]
        design: Design of a sensing scenario.
    """
    position = [float(coordinate) for coordinate in place]
    try:
        if isinstance(scenario, SensingScenario):
            assert design is not None
            there = scenario.updated({"target.position": position})
            bounds = direction_bounds(there, *patterned(design))
            worst = float(np.sqrt(np.max(bounds.crb)))
            rows = [
                length("position_bound", "position bound", bounds.position_bound),
                degrees("direction", "worst direction", worst),
            ]
            return {"position": position, "cells": _cells(rows), "reason": bounds.reason}
        moved = scenario.for_user(0).updated({"user.position": position})
        pose, link = pose_bounds(moved), effective_rate(moved)
        rows = [
            length("peb", "PEB", pose.peb),
            degrees("reb", "REB", pose.reb),
            rate("eadr", "rate", link.eadr),
            power_ratio("snr", "SNR", link.snr),
        ]
        return {"position": position, "cells": _cells(rows), "reason": pose.reason}
    except ScenarioError as error:
        reason = " ".join(f"{problem.sentence}." for problem in error.problems)
        return {"position": position, "cells": [], "reason": reason}


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    return [[row.label, row.text] for row in rows]


# Designs -----------------------------------------------------------------------------------------


class Designs:
    """Designs of sensing scenarios, kept because a map is drawn many times for one design."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, BeamformingDesign] = OrderedDict()
        self._lock = threading.Lock()  # of the kept designs, which others read meanwhile
        self._one = threading.Lock()  # so that one design is computed at a time

    def of(
        self, key: str, scenario: SensingScenario, on_progress: Callable[[int, int], None]
    ) -> BeamformingDesign:
        """Return the design of a scenario for its target, computed if it is not kept.

        Args:
            key: Text that is equal for equal scenarios.
            scenario: The scenario.
            on_progress: Called with the number of finished steps of the design and of all steps.

        Raises:
            CancelledError: By ``on_progress``.
            ScenarioError: No design reaches the SNR that the scenario requires.
        """
        if (found := self._known(key)) is not None:
            return found
        with self._one:
            if (found := self._known(key)) is not None:
                return found
            on_progress(0, 1)
            refuse_large(scenario)
            found = designed(scenario, on_progress=on_progress)
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > KEPT_DESIGNS:
                    self._kept.popitem(last=False)
            return found

    def _known(self, key: str) -> BeamformingDesign | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)


def refuse_large(scenario: SensingScenario) -> None:
    """Refuse a design that takes minutes.

    Raises:
        ScenarioError: The arrays are too large.
    """
    size = sum(scenario.elements) * scenario.base_station.antennas * scenario.dwell.patterns
    if size > LARGEST_DESIGN:
        sentence = (
            f"elements x antennas x patterns are {size}; the planner designs up to "
            f"{LARGEST_DESIGN}, heliostat run has no limit"
        )
        raise ScenarioError([Problem(scenario.name, "surfaces", "", sentence)])


def same_sizes(one: SensingScenario, other: SensingScenario) -> bool:
    """Return whether a design of one scenario can be used in the other.

    Args:
        one: A scenario.
        other: Another scenario.
    """
    return (one.elements, one.base_station.antennas, one.dwell.patterns) == (
        other.elements,
        other.base_station.antennas,
        other.dwell.patterns,
    )


def packed(found: Map) -> bytes:
    """Return a map as bytes: length of the header, header as JSON, values, flags."""
    header = json.dumps(found.header).encode()
    header += b" " * (-len(header) % 4)  # so that the values are aligned
    size = np.uint32(len(header)).astype("<u4").tobytes()
    return size + header + found.values.astype("<f4").tobytes() + found.flags.tobytes()
