"""Report on a localization scenario: tables, JSON, netCDF and HTML page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from heliostat.api.coverage import coverage
from heliostat.api.localization import (
    EffectiveRate,
    ErrorEffect,
    NotIdentifiableError,
    PoseBounds,
    TimeAllocation,
    TradeOff,
    allocate_time,
    build,
    effective_rate,
    most_active_antennas,
    pose_bounds,
    trade_off_of,
    under_errors,
)
from heliostat.plots import coverage as coverage_plots
from heliostat.plots import localization as localization_plots
from heliostat.reports.page import Page, write_page
from heliostat.reports.tables import (
    Row,
    Table,
    angle_bound,
    length,
    listed,
    provenance,
    rate,
    share,
    without_infinities,
)
from heliostat.scenario import LocalizationScenario
from heliostat.scene.localization import LocalizationScene
from heliostat.units import to_db

WEIGHT = 1e-10
"""Default weight of the rate, that of the paper's figures. [(m + rad) s/bit]"""


@dataclass(frozen=True)
class Deployment:
    """A localization scenario with its bounds, rate, best time allocation and PEB map."""

    scenario: LocalizationScenario
    overrides: Mapping[str, str]
    active_antennas: int
    weight: float | None
    """Weight of the rate; None if a balance is given. [(m + rad) s/bit]"""
    balance: float | None
    """Unit-free alternative to the weight. [1]"""
    scene: LocalizationScene
    bounds: PoseBounds
    rate: EffectiveRate
    trade_off: TradeOff
    allocation: TimeAllocation | None
    """None if no bound exists."""
    no_allocation: str
    """Reason for a missing allocation; empty if there is one."""
    under_errors: ErrorEffect | None
    """None if the scenario has no errors."""
    area_map: xr.Dataset
    """Map of the PEB, see `heliostat.coverage`."""


def evaluate(
    scenario: LocalizationScenario,
    *,
    active_antennas: int | None = None,
    weight: float | None = None,
    balance: float | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Deployment:
    """Bounds, rate, best allocation and PEB map of a scenario.

    Args:
        scenario: A loaded scenario.
        active_antennas: Antennas for bounds, rate and map; default as many as the period has time
            for.
        weight: See `heliostat.allocate_time`; default `WEIGHT`. [(m + rad) s/bit]
        balance: Unit-free alternative to the weight. [1]
        overrides: Overrides with which the scenario was loaded.

    Raises:
        ValueError: ``active_antennas``, ``weight`` or ``balance`` is out of range.
    """
    antennas = most_active_antennas(scenario) if active_antennas is None else active_antennas
    if balance is None and weight is None:
        weight = WEIGHT
    bounds = pose_bounds(scenario, antennas)
    allocation, reason = None, ""
    try:
        allocation = allocate_time(scenario, weight, balance=balance)
    except NotIdentifiableError as error:
        reason = str(error)
    scene = build(scenario)
    return Deployment(
        scenario=scenario,
        overrides=dict(overrides or {}),
        active_antennas=antennas,
        weight=weight,
        balance=balance,
        scene=scene,
        bounds=bounds,
        rate=effective_rate(scenario, antennas),
        trade_off=allocation.trade_off if allocation else trade_off_of(scenario),
        allocation=allocation,
        no_allocation=reason,
        under_errors=under_errors(scenario, antennas),
        area_map=coverage(scenario, "peb", active_antennas=antennas),
    )


def bounds_rows(deployment: Deployment) -> list[Row]:
    """Bounds and rate for the chosen number of antennas."""
    bounds, effective = deployment.bounds, deployment.rate
    antennas, snr_db = deployment.active_antennas, float(to_db(effective.snr))
    return [
        Row("active_antennas", "1", "Active antennas", str(antennas), antennas),
        length("peb", "Position error bound (PEB)", bounds.peb),
        angle_bound("reb", "Heading error bound (REB)", bounds.reb),
        Row("rank", "1", "Identifiable pose directions", f"{bounds.rank} of 3", bounds.rank),
        rate("eadr", "Effective achievable data rate (EADR), DFT beams", effective.eadr),
        rate("eadr_closed_form", "EADR, exact beams", effective.eadr_closed_form),
        Row("snr", "dB", "SNR, DFT beams", f"{snr_db:.1f} dB", snr_db),
        share("time_ratio", "Pilot share of the period", effective.time_ratio),
    ]


def allocation_rows(deployment: Deployment) -> list[Row]:
    """The best allocation of the period; no rows if no bound exists."""
    best, choices = deployment.allocation, deployment.trade_off
    if best is None:
        return []
    at = int(np.argmax(choices.active_antennas == best.active_antennas))
    count, beaten = len(choices.active_antennas), int(choices.dominated.sum())
    antennas = f"{best.active_antennas} of {count}"
    return [
        Row("active_antennas", "1", "Active antennas", antennas, best.active_antennas),
        length("peb", "PEB at this allocation", float(choices.peb[at])),
        angle_bound("reb", "REB at this allocation", float(choices.reb[at])),
        rate("eadr", "EADR at this allocation", float(choices.eadr[at])),
        share("time_ratio", "Pilot share at this allocation", float(choices.ratio[at])),
        share("ratio", "Optimal pilot share, continuous", best.ratio),
        share("peak_rate_ratio", "Pilot share of largest rate", best.peak_rate_ratio),
        Row(
            "kkt_residual",
            "1",
            "Karush-Kuhn-Tucker (KKT) residual",
            f"{best.kkt_residual:.1e}",
            best.kkt_residual,
        ),
        Row("dominated_choices", "1", "Dominated allocations", f"{beaten} of {count}", beaten),
    ]


def error_rows(deployment: Deployment) -> list[Row]:
    """Bounds and rate with the surface steered by estimates; no rows without errors."""
    effect = deployment.under_errors
    if effect is None:
        return []
    return [
        Row("errors_trials", "1", "Trials", str(effect.trials), effect.trials),
        length("errors_peb_median", "PEB, median", effect.peb_median),
        length("errors_peb_90", "PEB, 90 % quantile", effect.peb_90),
        angle_bound("errors_reb_median", "REB, median", effect.reb_median),
        rate("errors_eadr_mean", "EADR, mean", effect.eadr_mean),
        rate("errors_eadr_10", "EADR, 10 % quantile", effect.eadr_10),
    ]


def tables(deployment: Deployment) -> list[Table]:
    """All tables; one without lines if it does not apply."""
    return [
        listed("Bounds and rate", bounds_rows(deployment)),
        listed("Best time allocation", allocation_rows(deployment), weighing(deployment), "best_"),
        listed("Surface steered by estimates", error_rows(deployment), "errors of the scenario"),
    ]


def weighing(deployment: Deployment) -> str:
    """Objective of the allocation: its weight or balance."""
    if deployment.balance is not None:
        return f"balance {deployment.balance:g}"
    return f"weight {deployment.weight:g} (m + rad) s/bit"


def document(deployment: Deployment) -> dict[str, Any]:
    """All results for JSON; null stands for infinity, with the cause in ``reason``."""
    best, choices = deployment.allocation, deployment.trade_off
    allocation = {row.key: row.value for row in allocation_rows(deployment)}
    if best is not None:
        allocation |= {"objective": best.objective, "multiplier": best.multiplier}
    results = {row.key: row.value for row in bounds_rows(deployment)} | {
        "reason": deployment.bounds.reason or None,
        "information": deployment.bounds.information.tolist(),
        "unidentifiable": deployment.bounds.unidentifiable.tolist(),
        "weight": deployment.weight,
        "balance": deployment.balance,
        "under_errors": {row.key: row.value for row in error_rows(deployment)} or None,
        "allocation": allocation or None,
        "allocation_reason": deployment.no_allocation or None,
        "trade_off": {
            "active_antennas": choices.active_antennas.tolist(),
            "time_ratio": choices.ratio.tolist(),
            "peb_m": choices.peb.tolist(),
            "reb_rad": choices.reb.tolist(),
            "eadr_bit_per_s": choices.eadr.tolist(),
            "dominated": choices.dominated.tolist(),
        },
        "warnings": deployment.scenario.warnings(),
        "provenance": provenance(deployment.scenario, deployment.overrides),
    }
    return cast("dict[str, Any]", without_infinities(results))


def notes(deployment: Deployment) -> list[str]:
    """Reasons for a missing bound or allocation, and warnings about strained assumptions."""
    found = [deployment.no_allocation or deployment.bounds.reason]
    scenario = deployment.scenario
    available = 1 - scenario.frame.optimization / scenario.period
    if deployment.rate.time_ratio > available * (1 - 1e-9):
        found.append(
            f"Rate: the pilots of {deployment.active_antennas} active antennas leave no time for "
            "data in the period; activate fewer antennas."
        )
    return [note for note in found if note] + scenario.warnings()


def dataset(deployment: Deployment) -> xr.Dataset:
    """All results: bounds, best allocation (``best_``), trade-off (``choice_``), map (``map_``)."""
    choices, names = deployment.trade_off, ["x", "y", "heading"]
    scalars = {row.name: row for row in bounds_rows(deployment)}
    scalars |= {f"best_{row.name}": row for row in allocation_rows(deployment)}
    scalars |= {row.name: row for row in error_rows(deployment)}
    numbers = {
        name: ((), row.value, {"units": row.unit, "long_name": row.label})
        for name, row in scalars.items()
    }
    columns = {
        "time_ratio": (choices.ratio, "1"),
        "peb": (choices.peb, "m"),
        "reb": (choices.reb, "rad"),
        "eadr": (choices.eadr, "bit/s"),
        "dominated": (choices.dominated, "1"),
    }
    table = {
        f"choice_{name}": ("choice", values, {"units": unit})
        for name, (values, unit) in columns.items()
    }
    information = {"long_name": "Fisher information", "units": "products of 1/m, 1/m, 1/rad"}
    renamed = {name: f"map_{name}" for name in ("peb", "served", "near_field")}
    whole = deployment.area_map.rename(renamed).assign(numbers | table)
    whole.attrs["overrides"] = json.dumps(dict(deployment.overrides))
    return whole.assign(
        information=(("pose", "pose_too"), deployment.bounds.information, information)
    ).assign_coords(
        choice=("choice", choices.active_antennas, {"long_name": "active antennas", "units": "1"}),
        pose=names,
        pose_too=names,
    )


def page(deployment: Deployment) -> Page:
    """Content of the HTML page.

    Args:
        deployment: Results of the scenario.
    """
    return Page(
        lead="Bounds on the user's position and heading, effective data rate, and the best "
        "allocation of the period to pilots and data.",
        tables=tables(deployment),
        notes=notes(deployment),
        files={"results.nc": "all numbers of this page and its figures, with units"},
        origin=provenance(deployment.scenario, deployment.overrides),
    )


def write(deployment: Deployment, folder: Path, *, pdf: bool = False) -> None:
    """Write figures, data and HTML page.

    Args:
        deployment: Results of the scenario.
        folder: An existing folder.
        pdf: Write the figures as PDF too.
    """
    height = deployment.scenario.user.position[2]
    trade_off = localization_plots.trade_off_figure(
        deployment.trade_off, deployment.allocation, deployment.bounds.reason
    )
    mapped = coverage_plots.coverage_figure(deployment.area_map)
    dataset(deployment).to_netcdf(folder / "results.nc", engine="h5netcdf")
    figures = {
        "scene": (
            localization_plots.scene_figure(deployment.scene),
            "The scene from above and in 3-D. Arrays and panel are not drawn to scale.",
        ),
        "trade-off": (
            trade_off,
            "Position error bound (PEB) and effective rate for each number of active antennas.",
        ),
        "peb-map": (
            mapped,
            "Position error bound (PEB) of a user with the scenario's heading at a height of "
            f"{height:g} m.",
        ),
    }
    write_page(page(deployment), figures, folder, pdf=pdf)
