"""Report of `heliostat place`."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from heliostat._version import __version__
from heliostat.api.placement_results import Placement
from heliostat.plots.placement import placement_figure
from heliostat.reports.report import Report
from heliostat.reports.tables import Line, Row, Table, angle, length, listed, number, rate
from heliostat.scenario import LocalizationScenario
from heliostat.units import to_deg

SITE = "site.yaml"
"""Name of the scenario file with the chosen surfaces."""


def _percent(name: str, label: str, value: float) -> Row:
    return Row(name, "1", label, f"{100 * value:.1f} %", value)


def _first(found: Placement) -> str:
    """Quantity of the first goal."""
    return next(iter(found.values))


def _quantile(found: Placement, name: str, label: str, value: float) -> Row:
    if _first(found) == "rate":
        return rate(name, label, value)
    return length(name, label, value)


def _label(found: Placement) -> str:
    return "PEB, 90 % quantile" if _first(found) == "peb" else "Rate, 10 % quantile"


def summary_rows(found: Placement) -> list[Row]:
    """Shares, quantile, gap and numbers of candidates.

    Args:
        found: Result of `heliostat.place`.
    """
    dropped, before = found.candidates.dropped, float(found.met_before.mean())
    gap = Row("gap", "1", "Gap to an exhaustive search", f"{100 * found.gap:.1f} %", found.gap)
    if found.gap == 0:
        gap = gap._replace(text="none")
    return [
        _percent("share", "Share of the positions that meets the goal", found.share),
        _percent("share_before", "Share without the surfaces", before),
        _quantile(found, f"{_first(found)}_quantile", _label(found), found.quantile),
        _percent("share_on_grid", "Share before the local refinement", found.share_on_grid),
        _percent("bound", "Upper bound for all sets of candidates", found.bound),
        gap,
        Row("sets", "1", "Sets of candidates", f"{found.sets:,}", found.sets),
        number("positions", "Positions outside obstacles", len(found.positions)),
        number("candidates", "Candidates", len(found.candidates.wall)),
        *(
            number(f"dropped_{re.sub('[^a-z]+', '_', reason)}", f"Dropped: {reason}", count)
            for reason, count in dropped.items()
        ),
    ]


def surfaces_table(found: Placement) -> Table:
    """Position, orientation and size of each chosen surface.

    Args:
        found: Result of `heliostat.place`.
    """
    lines = []
    for each in found.surfaces:
        cells = [
            Row(axis, "m", axis, f"{value:.2f} m", value)
            for axis, value in zip("xyz", each.position.tolist(), strict=True)
        ]
        turned = angle("azimuth", "azimuth", each.azimuth)
        cells.append(turned._replace(text=f"{to_deg(each.azimuth):.0f} deg"))
        elements = each.rows * each.columns
        size = f"{each.rows} x {each.columns}"
        cells.append(Row("elements", "1", "elements", size, elements))
        lines.append(Line(each.name, cells, f"{each.name}_"))
    heads = ("surface", "x", "y", "height", "azimuth", "elements")
    return Table("Chosen surfaces", lines, "", heads)


def shares_table(found: Placement) -> Table:
    """Share and quantile against number and size of the surfaces.

    Args:
        found: Result of `heliostat.place`.
    """
    lines = []
    for count in range(found.share_by_number.shape[1]):
        cells = []
        for i, (rows, columns) in enumerate(found.sizes.tolist()):
            name = f"{rows}x{columns}"
            share, high = found.share_by_number[i, count], found.quantile_by_number[i, count]
            cells.append(_percent(f"share_{name}", "share", float(share)))
            cells.append(_quantile(found, f"quantile_{name}", "quantile", float(high)))
        lines.append(Line(str(count), cells, f"surfaces_{count}_"))
    heads = ["surfaces"]
    for rows, columns in found.sizes.tolist():
        heads += [f"{rows} x {columns}: share", _label(found)]
    return Table("Share against number and size", lines, "before the refinement", tuple(heads))


def _dataset(found: Placement) -> xr.Dataset:
    """Candidates, positions and shares."""
    units = {"peb": "m", "rate": "bit/s"}
    meters, one = {"units": "m"}, {"units": "1"}
    listed_names = {"name": ("position", list(found.names))} if found.names else {}
    return xr.Dataset(
        {
            "candidate_position": (("candidate", "xyz"), found.candidates.position, meters),
            "candidate_azimuth": ("candidate", found.candidates.azimuth, {"units": "rad"}),
            "candidate_share": ("candidate", found.candidates.share, one),
            "position": (("position", "xyz"), found.positions, meters),
            "met": ("position", found.met, one),
            "met_before": ("position", found.met_before, one),
            "share": (("size", "surfaces"), found.share_by_number, one),
            "quantile": (
                ("size", "surfaces"),
                found.quantile_by_number,
                {"units": units[_first(found)]},
            ),
            "elements": (("size", "side"), found.sizes, one),
            **{name: ("position", v, {"units": units[name]}) for name, v in found.values.items()},
        },
        {
            "wall": ("candidate", list(found.candidates.wall)),
            "surfaces": np.arange(found.share_by_number.shape[1]),
            **listed_names,
        },
    )


def _site_text(found: Placement, original: LocalizationScenario) -> str:
    """The scenario with the chosen surfaces, with a comment."""
    share, count = f"{100 * found.share:.1f} %", len(found.surfaces)
    what = "surface" if count == 1 else "surfaces"
    return (
        f"# {original.name} with {count} placed {what}: {found.goal} at {share} of the positions.\n"
        f"# Written by heliostat {__version__}, heliostat place.\n{found.scenario.dump()}"
    )


def _remedy(found: Placement) -> str:
    """Sentence for a goal that is met nowhere."""
    values = found.values[_first(found)]
    best = float(np.max(values) if _first(found) == "rate" else np.min(values))
    reached = _quantile(found, "best", "", best).text
    return (
        f"Goal: no position meets {found.goal}; the best value at any position is {reached}. "
        "Choose a weaker goal, more or larger surfaces, or more base_station.power."
    )


def placement_report(
    found: Placement, original: LocalizationScenario, overrides: Mapping[str, str]
) -> Report:
    """Report on a placement.

    Args:
        found: Result of `heliostat.place`.
        original: Scenario that the surfaces were placed in.
        overrides: Overrides with which it was loaded.
    """
    title = f"{original.name}: {found.goal}"
    columns: dict[str, Any] = {"wall": list(found.candidates.wall)}
    for i, axis in enumerate("xyz"):
        columns[f"{axis}_m"] = found.candidates.position[:, i].tolist()
    columns["azimuth_deg"] = to_deg(found.candidates.azimuth).tolist()
    columns["share"] = found.candidates.share.tolist()
    surfaces = [
        {
            "name": each.name,
            "wall": each.wall,
            "position_m": each.position.tolist(),
            "azimuth_rad": each.azimuth,
            "turn_rad": each.turn,
            "rows": each.rows,
            "columns": each.columns,
        }
        for each in found.surfaces
    ]
    notes = list(found.notes)
    if found.share == 0:
        notes.insert(0, _remedy(found))
    elif found.gap == 0 and len(found.surfaces) > 0:
        notes.insert(0, "Exhaustive: no set of candidates on the grid has a larger share.")
    return Report(
        name="placement",
        title=title,
        scenario=original,
        overrides=overrides,
        tables=[listed(title, summary_rows(found)), surfaces_table(found), shares_table(found)],
        notes=notes,
        numbers={
            "goal": found.goal,
            "active_antennas": found.active_antennas,
            "surfaces": surfaces,
            "sizes": found.sizes.tolist(),
            "share_by_number": found.share_by_number.tolist(),
            "quantile_by_number": found.quantile_by_number.tolist(),
            "dropped": dict(found.candidates.dropped),
        },
        dataset=_dataset(found),
        figures={
            "placement": (
                "Obstacles, candidates with the share that each reaches alone, chosen surfaces, "
                "and the positions that meet the goal; share against the number of surfaces.",
                partial(placement_figure, found),
            )
        },
        columns=columns,
        texts={SITE: _site_text(found, original)},
    )
