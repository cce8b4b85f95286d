"""Report of `heliostat compare`: several scenarios of one system side by side."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from heliostat.api.coverage import coverage, default_area
from heliostat.api.localization_evaluation import evaluate_localization
from heliostat.api.sensing_evaluation import evaluate_sensing
from heliostat.plots.comparison import difference_figure, distributions_figure, trade_offs_figure
from heliostat.reports.coverage import rows as map_rows
from heliostat.reports.localization import allocation_rows, bounds_rows
from heliostat.reports.report import Report
from heliostat.reports.sensing import design_rows
from heliostat.reports.tables import Line, Row, Table, document_of, share
from heliostat.scenario import AnyScenario, LocalizationScenario

POINTS = {"localization": 10_000, "sensing": 2_500}
"""Approximate number of points of each map."""
ROUNDING = 1e-9
"""Relative changes that may be due to rounding."""


def comparison_report(
    scenarios: Mapping[str, AnyScenario],
    *,
    quantity: str | None = None,
    area: ArrayLike | None = None,
    points: int | None = None,
) -> Report:
    """Evaluate two or more scenarios of one system, and compare them with the first.

    Args:
        scenarios: Scenarios by name.
        quantity: Quantity of the maps, see `heliostat.coverage`.
        area: Area of the maps; default a rectangle around the first scene. [m]
        points: Approximate number of points of each map.

    Raises:
        ValueError: There are fewer than two, or they describe different systems.
    """
    systems = {scenario.system for scenario in scenarios.values()}
    if len(scenarios) < 2 or len(systems) > 1:
        raise ValueError("A comparison needs two scenarios or more, all of the same system.")
    (first, base), *_ = scenarios.items()
    where: dict[str, Any] = {
        "area": list(default_area(base)) if area is None else area,
        "points": points or POINTS[base.system],
    }
    rows: dict[str, list[Row]] = {}
    maps: dict[str, xr.Dataset] = {}
    choices = {}
    for name, scenario in scenarios.items():
        if isinstance(scenario, LocalizationScenario):
            found = evaluate_localization(scenario, quantity=quantity, **where)
            maps[name] = found.area_map
            rows[name] = bounds_rows(found) + [
                row._replace(name=f"best_{row.name}", label=f"Best allocation: {row.label}")
                for row in allocation_rows(found)
                if row.name not in ("kkt_residual", "dominated_choices")
            ]
            choices[name] = found.trade_off
        else:
            designed = evaluate_sensing(scenario)
            maps[name] = coverage(scenario, quantity, design=designed.design, **where)
            rows[name] = design_rows(designed)
        for row, label in zip(map_rows(maps[name]), ("minimum", "median", "90"), strict=False):
            rows[name].append(
                row._replace(name=f"map_{row.name}_{label}", label=f"Map: {row.label}")
            )
        # The other rows are over the served area, which may differ between the scenarios.
        served = float(maps[name]["served"].mean())
        rows[name].append(share("map_served", "Map: served share of the area", served))
    figures = {
        "distribution": (
            "Share of the served area below each value.",
            partial(distributions_figure, maps),
        ),
        "difference": (
            f"Ratio of each map to that of {first}; gray where one of them has no value.",
            partial(difference_figure, maps),
        ),
    }
    if choices:
        figures["trade-off"] = (
            "Position error bound (PEB) against effective rate for each number of active antennas "
            "that is not dominated.",
            partial(trade_offs_figure, choices),
        )
    notes = [f"{name}: {note}" for name, scenario in scenarios.items() for note in scenario.notes]
    quantities = [maps[name][maps[first].attrs["quantity"]] for name in scenarios]
    return Report(
        name="compare",
        title=f"Comparison of {', '.join(scenarios)}",
        scenario=base,
        overrides={},
        tables=_tables(rows),
        notes=notes,
        numbers={
            "scenarios": {
                name: {"scenario_text": scenario.dump(), **document_of(rows[name])}
                for name, scenario in scenarios.items()
            }
        },
        dataset=xr.concat(
            quantities, xr.DataArray(list(scenarios), dims="scenario", name="scenario")
        ).to_dataset(),
        figures=figures,
        lead=f"Comparison of {', '.join(scenarios)}; changes and ratios are against {first}.",
    )


def _tables(rows: Mapping[str, list[Row]]) -> list[Table]:
    """Values of all scenarios, and their changes against the first."""
    names = list(rows)
    by_name = {name: {row.name: row for row in each} for name, each in rows.items()}
    common = [key for key in by_name[names[0]] if all(key in each for each in by_name.values())]
    values, changes = [], []
    for key in common:
        cells = [by_name[name][key] for name in names]
        values.append(Line(cells[0].label, cells))
        changed = [_change(cells[0], cell) for cell in cells[1:]]
        if any(cell.text != "same" for cell in changed):
            changes.append(Line(cells[0].label, changed))
    return [
        Table("Values", values, "", ("", *names)),
        Table("Changes", changes, f"against {names[0]}", ("", *names[1:])),
    ]


def _change(base: Row, other: Row) -> Row:
    """Relative change in percent; for decibels the difference."""
    if math.isclose(other.value, base.value, rel_tol=ROUNDING):
        text, value = "same", 0.0
    elif not (math.isfinite(base.value) and math.isfinite(other.value)):
        text, value = other.text, math.inf
    elif base.unit == "dB":
        value = other.value - base.value
        text = f"{value:+.1f} dB"
    elif base.value == 0:
        text, value = other.text, math.inf
    else:
        value = other.value / base.value - 1
        text = f"{100 * value:+.3g} %" if abs(value) < 9 else f"x {1 + value:.3g}"
    return other._replace(name=f"{other.name}_change", text=text, value=float(np.float64(value)))
