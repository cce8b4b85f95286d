"""What `heliostat run` finds out about a deployment, and how it is told: JSON, netCDF, one page."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

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
from heliostat.maps.localization import UNITS, Area, AreaMap, Quantity, area_around, map_area
from heliostat.plots import localization as localization_plots
from heliostat.reports.tables import (
    Page,
    Row,
    Table,
    angle,
    length,
    listed,
    provenance,
    rate,
    share,
    without_infinities,
    write_page,
)
from heliostat.scenario import LocalizationScenario
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Phased
from heliostat.units import to_db

WEIGHT = 1e-10
"""What a bit/s is worth where nobody says: the weight of the paper's figures. [(m + rad) s/bit]"""


# What is found out -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deployment:
    """A scenario with all that `heliostat run` finds out about it."""

    scenario: LocalizationScenario
    overrides: Mapping[str, str]
    active_antennas: int
    weight: float | None
    """[(m + rad) s/bit]; None where a balance is given"""
    balance: float | None
    """[1]"""
    scene: LocalizationScene
    bounds: PoseBounds
    rate: EffectiveRate
    trade_off: TradeOff
    allocation: TimeAllocation | None
    """None where no bound exists that could be traded."""
    no_allocation: str
    """Why not; empty where there is one."""
    under_errors: ErrorEffect | None
    """None where nothing errs."""
    area_map: AreaMap
    """Of the PEB."""

    @property
    def map_title(self) -> str:
        """What the map shows under which conditions."""
        follow = follows_user(self.scenario)
        return map_title(self.scenario, "peb", self.active_antennas, follow)


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
        active_antennas: For bounds, rate and map; default as many as the period has time for.
        weight: See `heliostat.allocate_time`; default `WEIGHT`. [(m + rad) s/bit]
        balance: Instead of a weight. [1]
        overrides: What the scenario was loaded with, for the record.

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
    return Deployment(
        scenario=scenario,
        overrides=dict(overrides or {}),
        active_antennas=antennas,
        weight=weight,
        balance=balance,
        scene=build(scenario),
        bounds=bounds,
        rate=effective_rate(scenario, antennas),
        trade_off=allocation.trade_off if allocation else trade_off_of(scenario),
        allocation=allocation,
        no_allocation=reason,
        under_errors=under_errors(scenario, antennas),
        area_map=map_scenario(scenario, "peb", active_antennas=antennas),
    )


def is_steered(scenario: LocalizationScenario) -> bool:
    """Whether the surface can be steered at any place, rather than being set by its phases."""
    return scenario.surface.phases == "designed" and scenario.surface.bits is None


def follows_user(scenario: LocalizationScenario) -> bool:
    """Whether a map steers the surface at each place, where nobody says: unless it has a focus."""
    return is_steered(scenario) and scenario.surface.focus is None


def default_area(scenario: LocalizationScenario) -> Area:
    """A rectangle that holds base station, surface and user, with a margin."""
    return area_around(
        [scenario.base_station.position, scenario.surface.position, scenario.user.position]
    )


def map_title(
    scenario: LocalizationScenario, quantity: Quantity, active_antennas: int, follow: bool
) -> str:
    """What a map is of, for its title and its data.

    Args:
        scenario: A loaded scenario.
        quantity: What is shown.
        active_antennas: Of the base station.
        follow: Whether the surface is steered at each place.
    """
    steering = "steered at each place" if follow else "as it is set"
    name = {"peb": "PEB", "reb": "REB", "rate": "effective rate"}[quantity]
    return f"{scenario.name}: {name}; active antennas: {active_antennas}, surface {steering}"


_AT_ONCE = 1 << 22
"""Complex numbers a strip of a map may hold at once: 64 MiB."""


def map_scenario(
    scenario: LocalizationScenario,
    quantity: Quantity,
    *,
    area: Area | None = None,
    points: int = 40_000,
    active_antennas: int | None = None,
    follow: bool | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> AreaMap:
    """One quantity over an area, row by row of cells that fill it.

    Args:
        scenario: A loaded scenario.
        quantity: ``peb`` [m], ``reb`` [rad] or ``rate`` [bit/s].
        area: Default `default_area`.
        points: About how many places.
        active_antennas: Default as many as the period has time for.
        follow: Steer the surface at each place; default `follows_user`.
        on_progress: Called with the rows done and the rows in all.
    """
    area = default_area(scenario) if area is None else area
    x, y = area.cells(points)
    columns, rows = len(x), len(y)

    scene = build(scenario)
    alignment = scene.surface.alignment
    work = alignment.phase.size if isinstance(alignment, Phased) else 32
    strip = min(max(_AT_ONCE // (work * columns), 1), rows)
    padded = np.pad(y, (0, -rows % strip), mode="edge")  # one size of strip: compiled once
    parts = []
    for start in range(0, rows, strip):
        on_progress(start, rows)
        parts.append(
            map_area(
                scene,
                x,
                padded[start : start + strip],
                quantity,
                active_antennas or most_active_antennas(scenario),
                follow=follows_user(scenario) if follow is None else follow,
                as_printed=scenario.model.as_printed,
            )
        )
    on_progress(rows, rows)
    value = np.concatenate([part.value for part in parts])[:rows]
    served = np.concatenate([part.served for part in parts])[:rows]
    return AreaMap(x, y, value, quantity, served)


# How it is told ----------------------------------------------------------------------------------


def bounds_rows(deployment: Deployment) -> list[Row]:
    """Bounds and rate with the antennas asked for."""
    bounds, effective = deployment.bounds, deployment.rate
    antennas, snr_db = deployment.active_antennas, float(to_db(effective.snr))
    return [
        Row("active_antennas", "1", "Active antennas", str(antennas), antennas),
        length("peb", "Position error bound (PEB)", bounds.peb),
        angle("reb", "Heading error bound (REB)", bounds.reb),
        Row("rank", "1", "Directions of the pose seen", f"{bounds.rank} of 3", bounds.rank),
        rate("eadr", "Effective rate, DFT beams", effective.eadr),
        rate("eadr_closed_form", "Effective rate, exact beams", effective.eadr_closed_form),
        Row("snr", "dB", "SNR, DFT beams", f"{snr_db:.1f} dB", snr_db),
        share("time_ratio", "Pilots' share of the period", effective.time_ratio),
    ]


def allocation_rows(deployment: Deployment) -> list[Row]:
    """The best allocation of the period; nothing where no bound exists."""
    best, choices = deployment.allocation, deployment.trade_off
    if best is None:
        return []
    at = int(np.argmax(choices.active_antennas == best.active_antennas))
    count, beaten = len(choices.active_antennas), int(choices.dominated.sum())
    antennas = f"{best.active_antennas} of {count}"
    return [
        Row("active_antennas", "1", "Active antennas", antennas, best.active_antennas),
        length("peb", "PEB with them", float(choices.peb[at])),
        angle("reb", "REB with them", float(choices.reb[at])),
        rate("eadr", "Effective rate with them", float(choices.eadr[at])),
        share("time_ratio", "Pilots' share with them", float(choices.ratio[at])),
        share("ratio", "Best share, continuous", best.ratio),
        share("peak_rate_ratio", "Share at the rate's peak", best.peak_rate_ratio),
        Row("kkt_residual", "1", "KKT residual", f"{best.kkt_residual:.1e}", best.kkt_residual),
        Row("dominated_choices", "1", "Choices that another beats", f"{beaten} of {count}", beaten),
    ]


def error_rows(deployment: Deployment) -> list[Row]:
    """Bounds and rate when estimates steer the surface; nothing where nothing errs."""
    effect = deployment.under_errors
    if effect is None:
        return []
    return [
        Row("errors_trials", "1", "Trials", str(effect.trials), effect.trials),
        length("errors_peb_median", "PEB, median", effect.peb_median),
        length("errors_peb_90", "PEB, 90 % quantile", effect.peb_90),
        angle("errors_reb_median", "REB, median", effect.reb_median),
        rate("errors_eadr_mean", "Effective rate, mean", effect.eadr_mean),
        rate("errors_eadr_10", "Effective rate, 10 % quantile", effect.eadr_10),
    ]


def tables(deployment: Deployment) -> list[Table]:
    """All numbers that people are told; a table without lines where there is nothing to tell."""
    return [
        listed("Bounds and rate", bounds_rows(deployment)),
        listed("Best allocation", allocation_rows(deployment), weighing(deployment), "best_"),
        listed("Steered by estimates", error_rows(deployment), "errors of the scenario", "best_"),
    ]


def weighing(deployment: Deployment) -> str:
    """What the allocation is best for, in words."""
    if deployment.balance is not None:
        return f"balance {deployment.balance:g}"
    return f"weight {deployment.weight:g} (m + rad) s/bit"


def map_rows(area_map: AreaMap) -> list[Row]:
    """Least, median and 90 % quantile over the places in front of the surface, if any are."""
    served = area_map.value[area_map.served]
    if not served.size:
        return []
    row = {"peb": length, "reb": angle, "rate": rate}[area_map.quantity]
    least, median, most = np.quantile(served, [0, 0.5, 0.9], method="inverted_cdf").tolist()
    labels = {"minimum": least, "median": median, "90 % quantile": most}
    return [row(area_map.quantity, label, value) for label, value in labels.items()]


def document(deployment: Deployment) -> dict[str, Any]:
    """What a program is told, ready for JSON; null stands for inf, and ``reason`` tells why."""
    best, choices = deployment.allocation, deployment.trade_off
    allocation = {row.key: row.value for row in allocation_rows(deployment)}
    if best is not None:
        allocation |= {"objective": best.objective, "multiplier": best.multiplier}
    told = {row.key: row.value for row in bounds_rows(deployment)} | {
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
    return cast("dict[str, Any]", without_infinities(told))


def notes(deployment: Deployment) -> list[str]:
    """Why a bound or an allocation is missing, and what the model's assumptions strain."""
    found = [deployment.no_allocation or deployment.bounds.reason]
    scenario = deployment.scenario
    available = 1 - scenario.frame.optimization / scenario.period
    if deployment.rate.time_ratio > available * (1 - 1e-9):
        found.append(
            f"Rate: the pilots of {deployment.active_antennas} active antennas take all the time "
            "there is for data; with fewer antennas some is left."
        )
    return [note for note in found if note] + scenario.warnings()


def map_dataset(
    area_map: AreaMap,
    scenario: LocalizationScenario,
    title: str,
    overrides: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """A map with its units and provenance.

    Args:
        area_map: The map.
        scenario: What it is of.
        title: See `map_title`.
        overrides: What that was loaded with.
    """
    unit, origin = UNITS[area_map.quantity], provenance(scenario, overrides)
    behind = "places in front of the surface; elsewhere a bound is inf and a rate 0"
    return xr.Dataset(
        {
            area_map.quantity: (("y", "x"), area_map.value, {"units": unit}),
            "served": (("y", "x"), area_map.served, {"units": "1", "long_name": behind}),
        },
        {
            "x": ("x", area_map.x, {"units": "m"}),
            "y": ("y", area_map.y, {"units": "m"}),
        },
        {"title": title} | origin | {"overrides": json.dumps(origin["overrides"])},
    )


def dataset(deployment: Deployment) -> xr.Dataset:
    """All results: the map, the trade-off, bounds and best allocation.

    Names of the trade-off's columns begin with ``choice_``, those of the map with ``map_`` and
    those of the best allocation with ``best_``.
    """
    choices, names = deployment.trade_off, ["x", "y", "heading"]
    scalars = {row.name: row for row in bounds_rows(deployment)}
    scalars |= {f"best_{row.name}": row for row in allocation_rows(deployment)}
    scalars |= {row.name: row for row in error_rows(deployment)}
    told = {
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
    mapped = map_dataset(
        deployment.area_map, deployment.scenario, deployment.map_title, deployment.overrides
    )
    whole = mapped.rename({"peb": "map_peb", "served": "map_served"}).assign(told | table)
    return whole.assign(
        information=(("pose", "pose_too"), deployment.bounds.information, information)
    ).assign_coords(
        choice=("choice", choices.active_antennas, {"long_name": "active antennas", "units": "1"}),
        pose=names,
        pose_too=names,
    )


def page(deployment: Deployment) -> Page:
    """What the report tells: tables, warnings, provenance.

    Args:
        deployment: What was found out.
    """
    return Page(
        lead="What the surface gives this deployment: how well the user can learn its position and "
        "heading, and what is left for data.",
        tables=tables(deployment),
        notes=notes(deployment),
        files={"results.nc": "the numbers of this page and its pictures, with their units"},
        origin=provenance(deployment.scenario, deployment.overrides),
    )


def write(deployment: Deployment, folder: Path, *, pdf: bool = False) -> None:
    """Write pictures, data and report.

    Args:
        deployment: What was found out.
        folder: An existing folder.
        pdf: Write the pictures as PDF too.
    """
    height = deployment.scenario.user.position[2]
    trade_off = localization_plots.trade_off_figure(
        deployment.trade_off, deployment.allocation, deployment.bounds.reason
    )
    mapped = localization_plots.map_figure(
        deployment.area_map, deployment.scene, deployment.map_title
    )
    dataset(deployment).to_netcdf(folder / "results.nc", engine="h5netcdf")
    figures = {
        "scene": (
            localization_plots.scene_figure(deployment.scene),
            "The scene from above and in space. Arrays and panel are drawn larger than they are.",
        ),
        "trade-off": (trade_off, "Error against rate for every number of active antennas."),
        "peb-map": (
            mapped,
            f"Position error bound of a user at a height of {height:g} m with the same heading.",
        ),
    }
    write_page(page(deployment), figures, folder, pdf=pdf)
