"""Report of `heliostat track` on a sensing scenario."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from heliostat.api.target_search import AXES, snapshots_of
from heliostat.plots import target_search as target_search_plots
from heliostat.reports.report import Report
from heliostat.reports.tables import (
    Line,
    Row,
    Table,
    columns_of,
    decibels,
    length,
    listed,
    number,
)
from heliostat.scenario import SensingScenario
from heliostat.units import format_quantity


@dataclass(frozen=True)
class Search:
    """A scenario with the results of a search for its target."""

    scenario: SensingScenario
    overrides: Mapping[str, str]
    most: int
    """Maximum number of dwells."""
    dwells: xr.Dataset
    """See `heliostat.find_target`."""

    @property
    def title(self) -> str:
        """Scenario and search region."""
        low, high = self.dwells.attrs["region_low"], self.dwells.attrs["region_high"]
        sides = ", ".join(
            f"{axis} {a:.4g} to {b:.4g} m" for axis, a, b in zip(AXES, low, high, strict=True)
        )
        return f"{self.scenario.name}: target search in {sides}"


def _estimated(name: str, label: str, value: float) -> Row:
    text = format_quantity(value, "length") if np.isfinite(value) else "none"
    return Row(name, "m", label, text, value)


def rows(found: Search) -> list[Row]:
    """Summary of a search."""
    run, last = found.dwells, found.dwells.isel(dwell=-1)
    attrs, count = run.attrs, run.sizes["dwell"]
    error, std = float(last.position_error), float(last.position_std)
    needed = int(attrs["dwells_needed"])
    scans = int((run.kind == "scan").sum())
    inconsistent, lost = int(attrs["inconsistent_dwells"]), int(attrs["lost_dwells"])
    text = f"{needed}" if needed else f"not within {count}"
    known = int(attrs["dwells_known_target"])
    return [
        length("accuracy", "Requested accuracy (standard deviation)", float(attrs["accuracy"])),
        Row("dwells_needed", "1", "Dwells until it is reached", text, needed),
        number("dwells_known_target", "Dwells if the position were known", known),
        Row("scans", "1", "Scans", f"{scans} of {count}", scans),
        number("lost_dwells", "Dwells without an accepted estimate", lost),
        number("inconsistent_dwells", "Focused dwells with a rejected estimate", inconsistent),
        _estimated("position_error", "Position error after the last dwell", error),
        _estimated("position_std", "Position standard deviation (estimated)", std),
        length("bound", "Position error bound of all dwells", float(last.bound)),
        length("known_target_bound", "Known-target bound", float(last.known_target_bound)),
        decibels("excess", "Excess over the known-target bound", float(last.excess_db)),
    ]


HEADS = ("dwell", "kind", "error", "std. dev.", "bound", "known target", "excess")


def _dwell_lines(found: Search) -> list[Line]:
    """One line for each dwell."""
    lines = []
    for dwell in found.dwells.dwell.values:
        at = found.dwells.sel(dwell=dwell)
        outcome = "" if at.found else ", rejected" if at.energy_consistent else ", too weak"
        cells = [
            Row("kind", "1", "", f"{at.kind.item()}{outcome}", 0.0),
            _estimated("position_error", "", float(at.position_error)),
            _estimated("position_std", "", float(at.position_std)),
            length("bound", "", float(at.bound)),
            length("known_target_bound", "", float(at.known_target_bound)),
            decibels("excess", "", float(at.excess_db)),
        ]
        lines.append(Line(str(dwell), cells))
    return lines


def _notes(found: Search) -> list[str]:
    """Reasons why the accuracy was not reached, and warnings of the scenario."""
    run, texts = found.dwells, []
    if not run.attrs["target_in_region"]:
        texts.append("Region: the target is outside and cannot be found; give another --region.")
    elif not run.attrs["dwells_needed"] and run.attrs["accuracy"] > 0:
        texts.append(
            f"Accuracy: not reached within {found.most} dwells; give more --dwells, a larger "
            "--accuracy, or a smaller --region."
        )
    lost = found.scenario.dwell.symbols - snapshots_of(found.scenario) * (
        len(found.scenario.surfaces) * found.scenario.dwell.patterns
    )
    if lost:
        texts.append(f"Dwell: {lost} symbols are not used; all patterns have the same length.")
    warned = list(found.scenario.notes)
    return texts + [each for each in warned if not (lost and each.startswith("Dwell:"))]


def target_search_report(found: Search) -> Report:
    """Report on a target search."""
    run, scenario, attrs = found.dwells, found.scenario, found.dwells.attrs
    columns = columns_of(run, "dwell")
    return Report(
        name="dwells",
        title=found.title,
        scenario=scenario,
        overrides=found.overrides,
        tables=[
            listed(found.title, rows(found)),
            Table("Dwells", _dwell_lines(found), heads=HEADS),
        ],
        notes=_notes(found),
        numbers={
            "dwells": run.sizes["dwell"],
            "target_m": attrs["target"].tolist(),
            "region_m": np.stack([attrs["region_low"], attrs["region_high"]], axis=1).tolist(),
            "each_dwell": columns,
        },
        dataset=run,
        figures={
            "search": (
                "Search region from above, and the estimates around the target.",
                partial(
                    target_search_plots.search_figure,
                    run,
                    np.array(scenario.base_station.position),
                    np.array([surface.position for surface in scenario.surfaces]),
                    scenario.name,
                ),
            ),
            "dwells": (
                "Error, estimated standard deviation and bounds over the dwells.",
                partial(target_search_plots.dwells_figure, run, scenario.name),
            ),
        },
        columns={"dwell": run.dwell.values.tolist()} | columns,
    )
