"""Report of `heliostat track` on a localization scenario."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from heliostat.api.localization import pose_bounds
from heliostat.plots import tracking as tracking_plots
from heliostat.protocol.next_period import TradeOffObjective
from heliostat.reports.report import Report
from heliostat.reports.tables import (
    Row,
    angle,
    columns_of,
    length,
    listed,
    number,
    rate,
)
from heliostat.scenario import LocalizationScenario
from heliostat.units import format_quantity, to_deg

GROSS_ERROR = 5.0
"""Ratio of an error to its bound above which it counts as gross, i.e. not caused by noise alone."""


@dataclass(frozen=True)
class Track:
    """A scenario with the results of tracking its user."""

    scenario: LocalizationScenario
    periods: xr.Dataset
    """See `heliostat.run_protocol`."""
    objective: TradeOffObjective
    """Objective of the time allocation."""
    motion: float | Path
    """Largest random step [m], or file of the recorded track."""
    assumed_errors: bool
    """See `heliostat.run_protocol`."""
    overrides: Mapping[str, str]
    """Overrides with which the scenario was loaded."""

    @property
    def title(self) -> str:
        """Scenario, motion, source of the estimates, and objective."""
        if isinstance(self.motion, Path):
            walk = f"track {self.motion.name}"
        else:
            walk = f"steps of up to {format_quantity(self.motion, 'length')}"
        source = "random errors" if self.assumed_errors else "estimated from pilots"
        weight, balance = self.objective.numbers()
        objective = (
            f"weight {weight:g} (m + rad) s/bit" if balance is None else f"balance {balance:g}"
        )
        count = self.periods.sizes["period"]
        return f"{self.scenario.name}: {count} periods, {walk}; {source}, {objective}"


def rows(track: Track) -> list[Row]:
    """Summary of a track; errors are those of the periods in which the user was found."""
    run = track.periods
    found = run.found.values.astype(bool)
    count, lost = found.size, int(np.sum(~found))
    found_rows = [
        number("periods", "Periods", count),
        Row("lost_periods", "1", "Lost periods", f"{lost} of {count}", lost),
        *_path_rows(run),
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
        rate("eadr_mean", "Effective achievable data rate (EADR), mean", float(run.eadr.mean())),
        Row("active_antennas_mean", "1", "Active antennas", spread, float(antennas.mean())),
    ]


def _path_rows(run: xr.Dataset) -> list[Row]:
    """Number of periods that each path serves, hand-overs, and periods that no path reaches."""
    unreached = int(run.attrs["unreached_periods"])
    reached = [number("unreached_periods", "Periods without any path", unreached)]
    if run.sizes["path"] == 1:
        return reached if unreached else []
    served = [
        number(f"served_{name}", f"Periods served by {name}", int(np.sum(run.serving.values == i)))
        for i, name in enumerate(run.path.values.tolist())
    ]
    return [*reached, *served, number("handovers", "Hand-overs", int(run.attrs["handovers"]))]


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


def _notes(track: Track) -> list[str]:
    """Assumptions behind the results, and warnings of the scenario."""
    scenario, notes = track.scenario, []
    if reason := pose_bounds(scenario).reason:
        notes.append(reason)
    elif scenario.model.gain == "known" and len(scenario.sweep_of(scenario.panel)) == 1:
        notes.append(
            "Gain: the user is assumed to know the complex path gain, including its phase. With "
            "one surface configuration, the position is identifiable only for this reason."
        )
    if not track.periods.found.any():
        notes.append(
            "Lost: the user was found in no period. Its pilots were too weak or did not fit one "
            "position only; increase base_station.power, or add configurations to surface.sweep."
        )
    errors = scenario.errors
    if track.assumed_errors and not (errors.position or errors.heading or errors.gain_variance):
        notes.append(
            "Errors: all errors of the scenario are zero, so every estimate equals the true pose."
        )
    if track.motion == 0:
        notes.append("Mobility: zero, so the user does not move; give --mobility or --track.")
    if scenario.model.as_printed:
        notes.append("Bounds: model.as_printed has no effect here; the corrected bounds are shown.")
    return [*notes, *scenario.notes]


def _places(scenario: LocalizationScenario) -> dict[str, tuple[float, ...]]:
    """Position of each surface from above, by its name. [m]"""
    if len(scenario.panels) == 1:
        return {"surface": scenario.panel.position[:2]}
    panels = zip(scenario.panel_names, scenario.panels, strict=True)
    return {f"surface {name}": panel.position[:2] for name, panel in panels}


def tracking_report(track: Track) -> Report:
    """Report on a tracked user."""
    run, scenario, columns = track.periods, track.scenario, columns_of(track.periods, "period")
    weight, balance = track.objective.numbers()
    # The first columns are a track that `read_track` reads.
    walk = {"period": range(run.sizes["period"]), "x": columns["x_m"], "y": columns["y_m"]}
    walk["heading_deg"] = to_deg(run.heading.values).tolist()
    others = {k: v for k, v in columns.items() if k not in ("x_m", "y_m", "heading_rad")}
    return Report(
        name="track",
        title=track.title,
        scenario=scenario,
        overrides=track.overrides,
        tables=[listed(track.title, rows(track))],
        notes=_notes(track),
        numbers={
            "weight": weight,
            "balance": balance,
            "assumed_errors": track.assumed_errors,
            "mobility_m": None if isinstance(track.motion, Path) else track.motion,
            "track": str(track.motion) if isinstance(track.motion, Path) else None,
            "each_period": columns,
        },
        dataset=run,
        figures={
            "path": (
                "Path of the user from above, with the errors of the estimates.",
                partial(
                    tracking_plots.path_figure,
                    run,
                    scenario.base_station.position[:2],
                    _places(scenario),
                    track.title,
                    [np.array(obstacle.footprint) for obstacle in scenario.obstacles],
                ),
            ),
            "periods": (
                "Errors with their bounds, rate and active antennas over the periods.",
                partial(tracking_plots.periods_figure, run, track.title),
            ),
        },
        columns=walk | others,
    )
