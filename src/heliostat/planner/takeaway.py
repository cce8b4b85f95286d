"""What the page saves: figures and data of the map, the report, and code that computes the same."""

import json
import shlex
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from heliostat.api.map_quantities import QUANTITIES
from heliostat.design.result import BeamformingDesign
from heliostat.planner.cancellation import Check
from heliostat.planner.requests import MapArguments
from heliostat.planner.results import coverage_of
from heliostat.plots.coverage import coverage_figure
from heliostat.plots.style import save_figure
from heliostat.reports.coverage import write_csv, write_geojson
from heliostat.reports.run import report
from heliostat.reports.tables import write_dataset
from heliostat.scenario import AnyScenario, SensingScenario

FORMATS: Mapping[str, str] = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "csv": "text/csv",
    "geojson": "application/geo+json",
    "nc": "application/x-netcdf",
}
"""Types of the files of a map by suffix."""

_drawing = threading.Lock()
"""Matplotlib's settings belong to the process."""


def map_file(
    scenario: AnyScenario,
    check: Check,
    suffix: str,
    wanted: MapArguments,
    *,
    threshold: float | None,
    design: BeamformingDesign | None,
) -> bytes:
    """Return the content of a file that ``heliostat map`` writes.

    Args:
        scenario: A scenario.
        check: Called between two parts of the map.
        suffix: One of `FORMATS`.
        wanted: Quantity, area, number of cells and steering.
        threshold: Threshold whose contour is drawn. [SI]
        design: Design of a sensing scenario.

    Raises:
        CancelledError: By ``check``.
        ValueError: An argument is out of range.
    """
    data = coverage_of(scenario, check, wanted, design)
    with _drawing, tempfile.TemporaryDirectory(prefix="heliostat-") as folder:
        file = Path(folder) / f"map.{suffix}"
        if suffix == "csv":
            write_csv(data, file)
        elif suffix == "geojson":
            write_geojson(data, file)
        elif suffix == "nc":
            write_dataset(data, file)
        else:
            save_figure(coverage_figure(data, below=threshold), file)
        return file.read_bytes()


def report_page(scenario: AnyScenario, overrides: Mapping[str, Any]) -> bytes:
    """Return the page that ``heliostat run`` writes.

    Args:
        scenario: A scenario.
        overrides: Overrides with which it was loaded.

    Raises:
        ScenarioError: No design reaches the SNR that the scenario requires.
    """
    texts = {key: _text(value) for key, value in overrides.items()}
    with _drawing, tempfile.TemporaryDirectory(prefix="heliostat-") as folder:
        report(scenario, folder, overrides=texts)
        return (Path(folder) / "report.html").read_bytes()


# Code --------------------------------------------------------------------------------------------


class Source(NamedTuple):
    """Where a scenario is from."""

    name: str
    """A packaged name, or the name of a file."""
    overrides: Mapping[str, Any]
    designed_for: Mapping[str, Any]
    """Overrides for which the design of a sensing scenario was made."""


def snippets(
    scenario: AnyScenario, source: Source, wanted: MapArguments, threshold: float | None
) -> dict[str, str]:
    """Return Python code and commands that compute the map and the numbers of the page.

    Args:
        scenario: The scenario with its overrides.
        source: Name and overrides of the scenario.
        wanted: Quantity, area, number of cells and steering of the map.
        threshold: Threshold of the map. [SI]
    """
    return {
        "python": _python(scenario, source, wanted, threshold),
        "command": _command(scenario, source, wanted, threshold),
    }


def _loaded(name: str, overrides: Mapping[str, Any]) -> str:
    if not overrides:
        return f"hs.load({name!r})"
    entries = "".join(f"    {key!r}: {value!r},\n" for key, value in overrides.items())
    return f"hs.load({name!r}, {{\n{entries}}})"


def _python(
    scenario: AnyScenario, source: Source, wanted: MapArguments, threshold: float | None
) -> str:
    quantity = "None" if wanted.quantity is None else repr(wanted.quantity)
    area = "None" if wanted.area is None else repr(list(wanted.area))
    design = ", design=design" if isinstance(scenario, SensingScenario) else ""
    steering = "" if wanted.steering is None else f", steering={wanted.steering!r}"
    lines = [
        "import heliostat as hs",
        "",
        f"scenario = {_loaded(source.name, source.overrides)}",
    ]
    if isinstance(scenario, SensingScenario):
        own = source.designed_for == source.overrides
        base = "scenario" if own else _loaded(source.name, source.designed_for)
        lines += [
            f"design = hs.design_beamforming({base})",
            "bounds = hs.direction_bounds(scenario, design.covariance, design.reflection)",
            "print(bounds.position_bound)  # m",
        ]
    else:
        lines += [
            "bounds, rate = hs.pose_bounds(scenario), hs.effective_rate(scenario)",
            "print(bounds.peb, bounds.reb, rate.eadr)  # m, rad, bit/s",
        ]
    below = "" if threshold is None else f", below={threshold!r}"
    lines += [
        f"data = hs.coverage(\n    scenario, {quantity}, area={area}, points={wanted.cells**2}"
        f"{steering}{design}\n)",
        f"hs.plot.coverage(data{below})",
    ]
    return "\n".join(lines) + "\n"


def _command(
    scenario: AnyScenario, source: Source, wanted: MapArguments, threshold: float | None
) -> str:
    scene = [shlex.quote(source.name)]
    for key, value in source.overrides.items():
        scene += ["--set", shlex.quote(f"{key}={_text(value)}")]
    words = ["heliostat map", *scene]
    if wanted.quantity is not None:
        words += ["--quantity", wanted.quantity]
    if wanted.area is not None:
        words.append("--area=" + ",".join(map(repr, wanted.area)))
    words += ["--points", str(wanted.cells**2)]
    if wanted.steering is not None:
        words += ["--steering", shlex.quote(wanted.steering)]
    if threshold is not None and wanted.quantity not in (None, "cause"):
        words += ["--below", shlex.quote(_limit(threshold, QUANTITIES[wanted.quantity].unit))]
    lines = [" ".join(words), " ".join(["heliostat run", *scene])]
    if isinstance(scenario, SensingScenario) and source.designed_for != source.overrides:
        lines.insert(
            0,
            "# The map on the page is for the design of earlier fields; these commands design for\n"
            "# the present ones.",
        )
    return "\n".join(lines) + "\n"


def _limit(threshold: float, unit: str) -> str:
    """A threshold as ``heliostat map --below`` reads it."""
    return f"{threshold!r} {({'1': 'linear', 'rad²': 'rad2'}).get(unit, unit)}"


def _text(value: Any) -> str:
    """An override as text for ``--set``."""
    return value if isinstance(value, str) else json.dumps(value)
