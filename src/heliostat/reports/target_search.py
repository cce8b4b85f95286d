"""Report of `heliostat track` on a sensing scenario: tables, JSON, CSV and figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from heliostat.api.target_search import AXES, find_target, snapshots_of
from heliostat.plots import target_search as target_search_plots
from heliostat.plots.style import save_figures
from heliostat.reports.tables import (
    Line,
    Row,
    Table,
    decibels,
    length,
    listed,
    number,
    provenance,
    without_infinities,
    write_rows,
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


def search(
    scenario: SensingScenario,
    dwells: int,
    *,
    accuracy: float | None = None,
    region: Sequence[Sequence[float]] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Search:
    """Search for the target of a scenario.

    Args:
        scenario: A loaded scenario.
        dwells: Maximum number of dwells.
        accuracy: See `heliostat.find_target`. [m]
        region: See `heliostat.find_target`. [m]
        overrides: Overrides that the scenario was loaded with.

    Raises:
        SearchError: As `heliostat.find_target`.
    """
    found = find_target(scenario, dwells, accuracy=accuracy, region=region)
    return Search(scenario, dict(overrides or {}), dwells, found)


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


def tables(found: Search) -> list[Table]:
    """The summary and the table of dwells."""
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
    return [listed(found.title, rows(found)), Table("Dwells", lines, heads=HEADS)]


def notes(found: Search) -> list[str]:
    """Reasons why the accuracy was not reached, and warnings of the scenario."""
    run, texts = found.dwells, []
    if not run.attrs["target_in_region"]:
        texts.append(
            "Region: the target lies outside of it and cannot be found; give another --region."
        )
    elif not run.attrs["dwells_needed"] and run.attrs["accuracy"] > 0:
        texts.append(
            f"Accuracy: not reached within {found.most} dwells; allow more with --dwells, ask for "
            "less with --accuracy, or give a smaller --region."
        )
    lost = found.scenario.dwell.symbols - snapshots_of(found.scenario) * (
        len(found.scenario.surfaces) * found.scenario.dwell.patterns
    )
    if lost:
        texts.append(f"Dwell: {lost} symbols are not used, as all patterns have the same length.")
    warned = found.scenario.warnings()
    return texts + [each for each in warned if not (lost and each.startswith("Dwell:"))]


def _keyed(found: Search) -> dict[str, list[Any]]:
    """Columns with one value for each dwell, or dwell and surface, by name with unit."""
    columns = {}
    for name, values in found.dwells.data_vars.items():
        unit = str(values.attrs["units"]).replace("m²", "1")
        key = Row(str(name).removesuffix("_db"), unit, "", "", 0.0).key
        if values.dims[0] == "dwell" and "axis" not in values.dims:
            columns[key] = values.values.tolist()
    return columns


def document(found: Search) -> dict[str, Any]:
    """Summary, columns and provenance as a JSON document; infinite values become null."""
    attrs = found.dwells.attrs
    content = {row.key: row.value for row in rows(found)} | {
        "dwells": found.dwells.sizes["dwell"],
        "target_m": attrs["target"].tolist(),
        "region_m": np.stack([attrs["region_low"], attrs["region_high"]], axis=1).tolist(),
        "each_dwell": _keyed(found),
        "warnings": notes(found),
        "provenance": provenance(found.scenario, found.overrides),
    }
    return cast("dict[str, Any]", without_infinities(content))


def write_csv(found: Search, file: Path) -> None:
    """Write one line for each dwell, with one column for each surface where values differ.

    Args:
        found: The results.
        file: The file to write.
    """
    columns: dict[str, list[Any]] = {}
    for name, values in _keyed(found).items():
        if isinstance(values[0], list):
            for i, column in enumerate(zip(*values, strict=True)):
                columns[f"{name}_{i}"] = list(column)
        else:
            columns[name] = values
    write_rows(columns, file, "dwell", first=1)


def write(found: Search, folder: Path, *, pdf: bool = False) -> None:
    """Write data and figures.

    Args:
        found: The results.
        folder: An existing folder.
        pdf: Write the figures as PDF too.
    """
    scenario = found.scenario
    figures = {
        "search": target_search_plots.search_figure(
            found.dwells,
            np.array(scenario.base_station.position),
            np.array([surface.position for surface in scenario.surfaces]),
            scenario.name,
        ),
        "dwells": target_search_plots.dwells_figure(found.dwells, scenario.name),
    }
    save_figures(figures, folder, pdf=pdf)
    write_csv(found, folder / "dwells.csv")
    origin = provenance(scenario, found.overrides)
    attrs = {"title": found.title} | origin | {"overrides": json.dumps(origin["overrides"])}
    found.dwells.assign_attrs(attrs).to_netcdf(folder / "dwells.nc", engine="h5netcdf")
