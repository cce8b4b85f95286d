"""What `heliostat track` finds out about a target that is looked for, and how it is told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from heliostat.api.target_search import AXES, find_target, snapshots_of
from heliostat.plots import localization as localization_plots
from heliostat.plots import target_search as target_search_plots
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
    """A scenario with all that `heliostat track` finds out about its target."""

    scenario: SensingScenario
    overrides: Mapping[str, str]
    most: int
    """Dwells that were allowed."""
    dwells: xr.Dataset
    """See `heliostat.find_target`."""

    @property
    def title(self) -> str:
        """What was done, in words."""
        low, high = self.dwells.attrs["region_low"], self.dwells.attrs["region_high"]
        sides = ", ".join(
            f"{axis} {a:.4g} to {b:.4g} m" for axis, a, b in zip(AXES, low, high, strict=True)
        )
        return f"{self.scenario.name}: a target somewhere in {sides}"


def search(
    scenario: SensingScenario,
    dwells: int,
    *,
    accuracy: float | None = None,
    region: Sequence[Sequence[float]] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Search:
    """Look for the target.

    Args:
        scenario: A loaded scenario.
        dwells: At most so many.
        accuracy: See `heliostat.find_target`. [m]
        region: Likewise. [m]
        overrides: What the scenario was loaded with, for the record.

    Raises:
        SearchError: As `heliostat.find_target`.
    """
    found = find_target(scenario, dwells, accuracy=accuracy, region=region)
    return Search(scenario, dict(overrides or {}), dwells, found)


def _estimated(name: str, label: str, value: float) -> Row:
    text = format_quantity(value, "length") if np.isfinite(value) else "none"
    return Row(name, "m", label, text, value)


def rows(found: Search) -> list[Row]:
    """What it came to."""
    run, last = found.dwells, found.dwells.isel(dwell=-1)
    attrs, count = run.attrs, run.sizes["dwell"]
    needed = int(attrs["dwells_needed"])
    scans = int((run.kind == "scan").sum())
    wrong, lost = int(attrs["inconsistent_dwells"]), int(attrs["lost_dwells"])
    text = f"{needed}" if needed else f"not within {count}"
    known = int(attrs["dwells_known_target"])
    return [
        length("accuracy", "Accuracy asked for", float(attrs["accuracy"])),
        Row("dwells_needed", "1", "Dwells until it is met", text, needed),
        number("dwells_known_target", "Dwells if the place were known", known),
        Row("scans", "1", "Of all dwells, scans", f"{scans} of {count}", scans),
        Row("lost_dwells", "1", "Dwells that left no belief", f"{lost}", lost),
        Row("inconsistent_dwells", "1", "Beliefs that broke their promise", f"{wrong}", wrong),
        _estimated("position_error", "Position error in the end", float(last.position_error)),
        _estimated("position_std", "Its deviation, as believed", float(last.position_std)),
        length("bound", "Its bound, by all that was sent", float(last.bound)),
        length("known_target_bound", "As if the place were known", float(last.known_target_bound)),
        decibels("excess", "Cost of ignorance", float(last.excess_db)),
    ]


HEADS = ("dwell", "kind", "error", "believed", "bound", "if known", "cost")


def tables(found: Search) -> list[Table]:
    """What people are told: the sum of it, and every dwell."""
    lines = []
    for dwell in found.dwells.dwell.values:
        at = found.dwells.sel(dwell=dwell)
        told = "" if at.found else ", broken" if not at.energy_consistent else ", lost"
        cells = [
            Row("kind", "1", "", f"{at.kind.item()}{told}", 0.0),
            _estimated("position_error", "", float(at.position_error)),
            _estimated("position_std", "", float(at.position_std)),
            length("bound", "", float(at.bound)),
            length("known_target_bound", "", float(at.known_target_bound)),
            decibels("excess", "", float(at.excess_db)),
        ]
        lines.append(Line(str(dwell), cells))
    return [listed(found.title, rows(found)), Table("Dwell by dwell", lines, heads=HEADS)]


def notes(found: Search) -> list[str]:
    """What the numbers rest on, and which of the model's assumptions are strained."""
    run, told = found.dwells, []
    if not run.attrs["target_in_region"]:
        told.append(
            "Region: the target lies outside of it, where nothing is looked for; give another "
            "--region."
        )
    elif not run.attrs["dwells_needed"] and run.attrs["accuracy"] > 0:
        told.append(
            f"Accuracy: not reached within {found.most} dwells; allow more with --dwells, ask for "
            "less with --accuracy, or give a smaller --region."
        )
    lost = found.scenario.dwell.symbols - snapshots_of(found.scenario) * (
        len(found.scenario.surfaces) * found.scenario.dwell.patterns
    )
    if lost:
        told.append(f"Dwell: {lost} of its symbols are left over by whole shares, and not used.")
    warned = found.scenario.warnings()
    return told + [each for each in warned if not (lost and each.startswith("Dwell:"))]


def _keyed(found: Search) -> dict[str, list[Any]]:
    """What has one value a dwell, or one a dwell and surface, by name with unit."""
    columns = {}
    for name, values in found.dwells.data_vars.items():
        key = Row(
            str(name).removesuffix("_db"),
            str(values.attrs["units"]).replace("m²", "1"),
            "",
            "",
            0.0,
        ).key
        if values.dims[0] == "dwell" and "axis" not in values.dims:
            columns[key] = values.values.tolist()
    return columns


def document(found: Search) -> dict[str, Any]:
    """What a program is told, ready for JSON; null stands for inf."""
    attrs = found.dwells.attrs
    told = {row.key: row.value for row in rows(found)} | {
        "dwells": found.dwells.sizes["dwell"],
        "target_m": attrs["target"].tolist(),
        "region_m": np.stack([attrs["region_low"], attrs["region_high"]], axis=1).tolist(),
        "each_dwell": _keyed(found),
        "warnings": notes(found),
        "provenance": provenance(found.scenario, found.overrides),
    }
    return cast("dict[str, Any]", without_infinities(told))


def write_csv(found: Search, file: Path) -> None:
    """One line a dwell; what each surface has stands in a column of its own.

    Args:
        found: What was found out.
        file: What to write.
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
    """Write data and pictures.

    Args:
        found: What was found out.
        folder: An existing folder.
        pdf: Write the pictures as PDF too.
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
    localization_plots.save_figures(figures, folder, pdf=pdf)
    write_csv(found, folder / "dwells.csv")
    origin = provenance(scenario, found.overrides)
    attrs = {"title": found.title} | origin | {"overrides": json.dumps(origin["overrides"])}
    found.dwells.assign_attrs(attrs).to_netcdf(folder / "dwells.nc", engine="h5netcdf")
