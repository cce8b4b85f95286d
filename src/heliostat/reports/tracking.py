"""Report of `heliostat track` on a localization scenario: table, JSON, CSV and figures."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from heliostat.api.localization import pose_bounds
from heliostat.api.tracking import read_track, run_protocol
from heliostat.plots import tracking as tracking_plots
from heliostat.plots.style import save_figures
from heliostat.protocol.tracking import TradeOffObjective
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
"""Ratio of an error to its bound above which it counts as gross, i.e. not caused by noise alone."""


@dataclass(frozen=True)
class Walk:
    """Motion of the user: a recorded track, or random steps."""

    periods: int | None = None
    """Number of periods; None for 50, or for the length of the track."""
    file: Path | None = None
    """Recorded track, see `heliostat.api.tracking.read_track`; None for random steps."""
    mobility: float | None = None
    """Largest random step; None for the scenario's. [m]"""


@dataclass(frozen=True)
class Track:
    """A scenario with the results of tracking its user."""

    scenario: LocalizationScenario
    overrides: Mapping[str, str]
    walk: Walk
    objective: TradeOffObjective
    invented_errors: bool
    periods: xr.Dataset
    """See `heliostat.run_protocol`."""

    @property
    def mobility(self) -> float:
        """Largest random step. [m]"""
        radius = self.walk.mobility
        return self.scenario.errors.mobility if radius is None else radius

    @property
    def title(self) -> str:
        """Scenario, motion, source of the estimates, and objective."""
        file = self.walk.file
        walk = (
            f"track {file.name}"
            if file
            else f"steps of up to {format_quantity(self.mobility, 'length')}"
        )
        source = "random errors" if self.invented_errors else "estimated from pilots"
        weight, balance = self.objective.numbers()
        objective = (
            f"weight {weight:g} (m + rad) s/bit" if balance is None else f"balance {balance:g}"
        )
        count = self.periods.sizes["period"]
        return f"{self.scenario.name}: {count} periods, {walk}; {source}, {objective}"


def run_track(
    scenario: LocalizationScenario,
    walk: Walk,
    objective: TradeOffObjective,
    *,
    invented_errors: bool = False,
    overrides: Mapping[str, str] | None = None,
) -> Track:
    """Track the user of a scenario.

    Args:
        scenario: A loaded scenario.
        walk: Motion of the user.
        objective: Objective of the time allocation.
        invented_errors: See `heliostat.run_protocol`.
        overrides: Overrides that the scenario was loaded with.

    Raises:
        TrackError: As `heliostat.run_protocol` and `heliostat.api.tracking.read_track`.
    """
    track = None if walk.file is None else read_track(walk.file)
    default = 50 if track is None else len(track)
    weight, balance = objective.numbers()
    periods = run_protocol(
        scenario,
        walk.periods or default,
        mobility=walk.mobility,
        track=track,
        weight=weight,
        balance=balance,
        invented_errors=invented_errors,
    )
    return Track(scenario, dict(overrides or {}), walk, objective, invented_errors, periods)


def rows(track: Track) -> list[Row]:
    """Summary of a track; errors are those of the periods in which the user was found."""
    run = track.periods
    found = run.detected.values.astype(bool)
    count, lost = found.size, int(np.sum(~found))
    found_rows = [
        number("periods", "Periods", count),
        Row("lost_periods", "1", "Lost periods", f"{lost} of {count}", lost),
    ]
    if found.any():
        error, bound = run.position_error.values[found], run.peb.values[found]
        turned, reb = np.abs(run.heading_error.values[found]), run.reb.values[found]
        found_rows += [
            length("position_error_median", "Position error, median", float(np.median(error))),
            length("position_error_90", "Position error, 90 % quantile", _high(error)),
            length("peb_median", "Position error bound (PEB), median", float(np.median(bound))),
            *_relative(error, bound),
            angle("heading_error_median", "Heading error, median", float(np.median(turned))),
            angle(
                "reb_median",
                "Heading error bound (REB), median",
                float(np.median(reb)),
            ),
        ]
    antennas = run.active_antennas.values
    least, most = int(antennas.min()), int(antennas.max())
    spread = f"{least}" if least == most else f"{least} to {most}"
    return [
        *found_rows,
        rate("eadr_mean", "Effective rate (EADR), mean", float(run.eadr.mean())),
        Row("active_antennas_mean", "1", "Active antennas", spread, float(antennas.mean())),
    ]


def _high(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.9, method="inverted_cdf"))


def _relative(error: np.ndarray, bound: np.ndarray) -> list[Row]:
    """Ratios of the errors to their bounds, ``inf`` unless every error has a bound."""
    bounded = bool(np.isfinite(bound).all())
    ratio = error / bound if bounded else np.full(error.shape, math.inf)
    ratios = {
        "position_error_to_bound_median": ("Error / bound, median", float(np.median(ratio))),
        "position_error_to_bound_90": ("Error / bound, 90 % quantile", _high(ratio)),
        "position_error_to_bound_rms": (
            "Error / bound, RMS",
            float(np.sqrt(np.mean(ratio**2))),
        ),
    }
    text = "{:.3g}" if bounded else "no bound exists"
    rows = [Row(name, "1", label, text.format(v), v) for name, (label, v) in ratios.items()]
    gross = int(np.sum(error > GROSS_ERROR * bound))
    label = f"Gross errors (over {GROSS_ERROR:g} times the bound)"
    counted = f"{gross} of {error.size}" if bounded else "no bound exists"
    return [*rows, Row("gross_errors", "1", label, counted, gross if bounded else math.inf)]


def tables(track: Track) -> list[Table]:
    """The summary as a table."""
    return [listed(track.title, rows(track))]


def notes(track: Track) -> list[str]:
    """Assumptions behind the results, and warnings of the scenario."""
    scenario, found = track.scenario, []
    if reason := pose_bounds(scenario).reason:
        found.append(reason)
    elif scenario.model.gain == "known" and len(scenario.sweep) == 1:
        found.append(
            "Gain: the user is assumed to know the complex path gain including its phase; with one "
            "configuration of the surface the position is identifiable only because of that."
        )
    errors = scenario.errors
    if track.invented_errors and not (errors.position or errors.heading or errors.gain_variance):
        found.append(
            "Errors: those of the scenario are zero, so every estimate equals the true pose."
        )
    if track.walk.file is None and track.mobility == 0:
        found.append("Mobility: zero, the user does not move; give --mobility or --track.")
    if scenario.model.as_printed:
        found.append("Bounds: model.as_printed has no effect here; the corrected bounds are shown.")
    return found + scenario.warnings()


def _keyed(track: Track) -> dict[str, list[Any]]:
    """Columns with one value for each period, by name with unit."""
    columns = {}
    for name, values in track.periods.data_vars.items():
        if values.dims == ("period",):
            key = Row(str(name), str(values.attrs["units"]), "", "", 0.0).key
            columns[key] = values.values.tolist()
    return columns


def document(track: Track) -> dict[str, Any]:
    """Summary, columns and provenance as a JSON document; infinite values become null."""
    weight, balance = track.objective.numbers()
    content = {row.key: row.value for row in rows(track)} | {
        "weight": weight,
        "balance": balance,
        "invented_errors": track.invented_errors,
        "mobility_m": track.mobility if track.walk.file is None else None,
        "track": None if track.walk.file is None else str(track.walk.file),
        "each_period": _keyed(track),
        "warnings": notes(track),
        "provenance": provenance(track.scenario, track.overrides),
    }
    return cast("dict[str, Any]", without_infinities(content))


def write_csv(track: Track, file: Path) -> None:
    """Write one line for each period; the first columns are a track that `read_track` reads.

    Args:
        track: The results.
        file: The file to write.
    """
    columns = _keyed(track)
    walk = {
        "x": columns.pop("x_m"),
        "y": columns.pop("y_m"),
        "heading_deg": to_deg(columns.pop("heading_rad")).tolist(),
    }
    write_rows(walk | columns, file, "period", first=0)


def write(track: Track, folder: Path, *, pdf: bool = False) -> None:
    """Write data and figures.

    Args:
        track: The results.
        folder: An existing folder.
        pdf: Write the figures as PDF too.
    """
    surface = track.scenario.surface.position
    figures = {
        "path": tracking_plots.path_figure(track.periods, (surface[0], surface[1]), track.title),
        "periods": tracking_plots.periods_figure(track.periods, track.title),
    }
    save_figures(figures, folder, pdf=pdf)
    write_csv(track, folder / "track.csv")
    origin = provenance(track.scenario, track.overrides)
    attrs = {"title": track.title} | origin | {"overrides": json.dumps(origin["overrides"])}
    track.periods.assign_attrs(attrs).to_netcdf(folder / "track.nc", engine="h5netcdf")
