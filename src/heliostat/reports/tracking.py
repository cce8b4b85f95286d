"""What `heliostat track` finds out about the working process, and how it is told."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from heliostat.api.localization import pose_bounds
from heliostat.api.tracking import DEFAULT_WEIGHT, read_track, run_protocol
from heliostat.plots import localization as localization_plots
from heliostat.plots import tracking as tracking_plots
from heliostat.reports.tables import (
    Row,
    Table,
    angle,
    length,
    listed,
    number,
    provenance,
    rate,
    without_infinities,
    write_rows,
)
from heliostat.scenario import LocalizationScenario
from heliostat.units import format_quantity, to_deg

GROSS_ERROR = 5.0
"""Errors that are more than so many times their bound are no matter of noise alone."""


@dataclass(frozen=True)
class Track:
    """A scenario with all that `heliostat track` finds out about it."""

    scenario: LocalizationScenario
    overrides: Mapping[str, str]
    file: Path | None
    """The recorded walk; None where the user jumps."""
    mobility: float
    """Radius of the disc it jumps in, if so. [m]"""
    weight: float | None
    """[(m + rad) s/bit]; None where a balance is given"""
    balance: float | None
    """[1]"""
    invented_errors: bool
    periods: xr.Dataset
    """See `heliostat.run_protocol`."""

    @property
    def title(self) -> str:
        """What was run, in words."""
        walk = (
            f"the walk of {self.file.name}"
            if self.file
            else f"jumps of up to {format_quantity(self.mobility, 'length')}"
        )
        source = "errors invented" if self.invented_errors else "estimated from pilots"
        weighing = (
            f"balance {self.balance:g}"
            if self.balance is not None
            else f"weight {self.weight:g} (m + rad) s/bit"
        )
        count = self.periods.sizes["period"]
        return f"{self.scenario.name}: {count} periods, {walk}; {source}, {weighing}"


def run_track(
    scenario: LocalizationScenario,
    periods: int | None = None,
    *,
    file: Path | None = None,
    mobility: float | None = None,
    weight: float | None = None,
    balance: float | None = None,
    invented_errors: bool = False,
    overrides: Mapping[str, str] | None = None,
) -> Track:
    """Run the working process.

    Args:
        scenario: A loaded scenario.
        periods: How many; default 50, or as many as the file has.
        file: A recorded walk, see `heliostat.api.tracking.read_track`.
        mobility: See `heliostat.run_protocol`. [m]
        weight: Likewise. [(m + rad) s/bit]
        balance: Likewise. [1]
        invented_errors: Likewise.
        overrides: What the scenario was loaded with, for the record.

    Raises:
        TrackError: As `heliostat.run_protocol` and `heliostat.api.tracking.read_track`.
    """
    walk = None if file is None else read_track(file)
    if periods is None:
        periods = 50 if walk is None else len(walk)
    if weight is None and balance is None:
        weight = DEFAULT_WEIGHT
    found = run_protocol(
        scenario,
        periods,
        mobility=mobility,
        track=walk,
        weight=weight,
        balance=balance,
        invented_errors=invented_errors,
    )
    radius = scenario.errors.mobility if mobility is None else mobility
    return Track(
        scenario, dict(overrides or {}), file, radius, weight, balance, invented_errors, found
    )


def rows(track: Track) -> list[Row]:
    """What it came to; errors over the periods in which the user was found."""
    run = track.periods
    found = run.detected.values.astype(bool)
    count, lost = found.size, int(np.sum(~found))
    told = [
        number("periods", "Periods", count),
        Row("lost_periods", "1", "Lost periods", f"{lost} of {count}", lost),
    ]
    if found.any():
        error, bound = run.position_error.values[found], run.peb.values[found]
        turned = np.abs(run.heading_error.values[found])
        told += [
            length("position_error_median", "Position error, median", float(np.median(error))),
            length("position_error_90", "Position error, 90 % quantile", _high(error)),
            length("peb_median", "Its bound (PEB), median", float(np.median(bound))),
            *_relative(error, bound),
            angle("heading_error_median", "Heading error, median", float(np.median(turned))),
            angle("reb_median", "Its bound (REB), median", float(np.median(run.reb.values[found]))),
        ]
    antennas = run.active_antennas.values
    least, most = int(antennas.min()), int(antennas.max())
    spread = f"{least}" if least == most else f"{least} to {most}"
    return [
        *told,
        rate("eadr_mean", "Effective rate, mean", float(run.eadr.mean())),
        Row("active_antennas_mean", "1", "Active antennas", spread, float(antennas.mean())),
    ]


def _high(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.9, method="inverted_cdf"))


def _relative(error: np.ndarray, bound: np.ndarray) -> list[Row]:
    """Errors over their bounds, where all have one."""
    bounded = bool(np.isfinite(bound).all())
    ratio = error / bound if bounded else np.full(error.shape, math.inf)
    told = {
        "position_error_to_bound_median": ("Error over bound, median", float(np.median(ratio))),
        "position_error_to_bound_90": ("Error over bound, 90 % quantile", _high(ratio)),
        "position_error_to_bound_rms": (
            "Error over bound, root mean square",
            float(np.sqrt(np.mean(ratio**2))),
        ),
    }
    text = "{:.3g}" if bounded else "no bound exists"
    rows = [Row(name, "1", label, text.format(v), v) for name, (label, v) in told.items()]
    gross = int(np.sum(error > GROSS_ERROR * bound))
    label = f"Errors over {GROSS_ERROR:g} times their bound"
    told_gross = f"{gross} of {error.size}" if bounded else "no bound exists"
    return [*rows, Row("gross_errors", "1", label, told_gross, gross if bounded else math.inf)]


def table(track: Track) -> Table:
    """What people are told."""
    return listed(track.title, rows(track))


def notes(track: Track) -> list[str]:
    """What the numbers rest on, and which of the model's assumptions are strained."""
    scenario, found = track.scenario, []
    if reason := pose_bounds(scenario).reason:
        found.append(reason)
    elif scenario.model.gain == "known" and len(scenario.sweep) == 1:
        found.append(
            "Gain: the user is taken to know the link's complex gain, phase included; with one "
            "configuration of the surface the position is seen by that alone."
        )
    errors = scenario.errors
    if track.invented_errors and not (errors.position or errors.heading or errors.gain_variance):
        found.append("Errors: those of the scenario are all zero, so every estimate is the truth.")
    if track.file is None and track.mobility == 0:
        found.append("Mobility: none, the user stays where it is; give --mobility or --track.")
    if scenario.model.as_printed:
        found.append("Bounds: model.as_printed has no effect here, the corrected ones are shown.")
    return found + scenario.warnings()


def _keyed(track: Track) -> dict[str, list[Any]]:
    """What has one value a period, by name with unit."""
    columns = {}
    for name, values in track.periods.data_vars.items():
        if values.dims == ("period",):
            key = Row(str(name), str(values.attrs["units"]), "", "", 0.0).key
            columns[key] = values.values.tolist()
    return columns


def document(track: Track) -> dict[str, Any]:
    """What a program is told, ready for JSON; null stands for inf."""
    told = {row.key: row.value for row in rows(track)} | {
        "weight": track.weight,
        "balance": track.balance,
        "invented_errors": track.invented_errors,
        "mobility_m": track.mobility if track.file is None else None,
        "track": None if track.file is None else str(track.file),
        "each_period": _keyed(track),
        "warnings": notes(track),
        "provenance": provenance(track.scenario, track.overrides),
    }
    return cast("dict[str, Any]", without_infinities(told))


def write_csv(track: Track, file: Path) -> None:
    """One line a period; its first columns are a walk that `read_track` reads.

    Args:
        track: What was found out.
        file: What to write.
    """
    columns = _keyed(track)
    walk = {
        "x": columns.pop("x_m"),
        "y": columns.pop("y_m"),
        "heading_deg": to_deg(columns.pop("heading_rad")).tolist(),
    }
    write_rows(walk | columns, file, "period", first=0)


def write(track: Track, folder: Path, *, pdf: bool = False) -> None:
    """Write data and pictures.

    Args:
        track: What was found out.
        folder: An existing folder.
        pdf: Write the pictures as PDF too.
    """
    surface = track.scenario.surface.position
    figures = {
        "path": tracking_plots.path_figure(track.periods, (surface[0], surface[1]), track.title),
        "periods": tracking_plots.periods_figure(track.periods, track.title),
    }
    localization_plots.save_figures(figures, folder, pdf=pdf)
    write_csv(track, folder / "track.csv")
    origin = provenance(track.scenario, track.overrides)
    attrs = {"title": track.title} | origin | {"overrides": json.dumps(origin["overrides"])}
    track.periods.assign_attrs(attrs).to_netcdf(folder / "track.nc", engine="h5netcdf")
