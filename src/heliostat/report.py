"""What `heliostat run` finds out about a deployment, and how it is told: JSON, netCDF, one page."""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, cast

import jinja2
import numpy as np
import xarray as xr

import heliostat
from heliostat.api import (
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
from heliostat.citation import citation
from heliostat.maps import UNITS, AreaMap, Quantity, map_area
from heliostat.scenario import LocalizationScenario
from heliostat.scene import LocalizationScene
from heliostat.studies.study import commit
from heliostat.surface.passive import Phased
from heliostat.units import format_quantity, to_db

WEIGHT = 1e-10
"""What a bit/s is worth where nobody says: the weight of the paper's figures. [(m + rad) s/bit]"""

_FOLDER = files("heliostat")


# What is found out -------------------------------------------------------------------------------


class Area(NamedTuple):
    """A rectangle at the user's height. [m]"""

    x0: float
    x1: float
    y0: float
    y1: float


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
    places = [
        scenario.base_station.position,
        scenario.surface.position,
        scenario.user.position,
    ]
    low, high = np.min(places, axis=0)[:2], np.max(places, axis=0)[:2]
    longest = max(float(np.max(high - low)), 1.0)
    half = np.maximum((high - low) / 2 + 0.15 * longest, 0.4 * longest)
    (x0, y0), (x1, y1) = (low + high) / 2 - half, (low + high) / 2 + half
    return Area(float(x0), float(x1), float(y0), float(y1))


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
    width, height = area.x1 - area.x0, area.y1 - area.y0
    columns = min(max(round(math.sqrt(points * width / height)), 1), points)
    rows = max(round(points / columns), 1)
    x = area.x0 + width * (np.arange(columns) + 0.5) / columns
    y = area.y0 + height * (np.arange(rows) + 0.5) / rows

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

_SUFFIX = {"1": "", "m": "_m", "rad": "_rad", "bit/s": "_bit_per_s", "dB": "_db"}


class Row(NamedTuple):
    """One number, as people and programs are told it."""

    name: str
    unit: str
    label: str
    text: str
    value: float  # in that unit

    @property
    def key(self) -> str:
        """Its name in JSON, with the unit."""
        return self.name + _SUFFIX[self.unit]


def _length(name: str, label: str, value: float) -> Row:
    text = format_quantity(value, "length") if math.isfinite(value) else "no bound exists"
    return Row(name, "m", label, text, value)


def _angle(name: str, label: str, value: float) -> Row:
    text = f"{format_quantity(value, 'angle')} = {value:.3g} rad"
    return Row(name, "rad", label, text if math.isfinite(value) else "no bound exists", value)


def _rate(name: str, label: str, value: float) -> Row:
    return Row(name, "bit/s", label, f"{value / 1e6:.4g} Mbit/s", value)


def _share(name: str, label: str, value: float) -> Row:
    return Row(name, "1", label, f"{value:.3g}", value)


def bounds_rows(deployment: Deployment) -> list[Row]:
    """Bounds and rate with the antennas asked for."""
    bounds, rate = deployment.bounds, deployment.rate
    antennas, snr_db = deployment.active_antennas, float(to_db(rate.snr))
    return [
        Row("active_antennas", "1", "Active antennas", str(antennas), antennas),
        _length("peb", "Position error bound (PEB)", bounds.peb),
        _angle("reb", "Heading error bound (REB)", bounds.reb),
        Row("rank", "1", "Directions of the pose seen", f"{bounds.rank} of 3", bounds.rank),
        _rate("eadr", "Effective rate, DFT beams", rate.eadr),
        _rate("eadr_closed_form", "Effective rate, exact beams", rate.eadr_closed_form),
        Row("snr", "dB", "SNR, DFT beams", f"{snr_db:.1f} dB", snr_db),
        _share("time_ratio", "Pilots' share of the period", rate.time_ratio),
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
        _length("peb", "PEB with them", float(choices.peb[at])),
        _angle("reb", "REB with them", float(choices.reb[at])),
        _rate("eadr", "Effective rate with them", float(choices.eadr[at])),
        _share("time_ratio", "Pilots' share with them", float(choices.ratio[at])),
        _share("ratio", "Best share, continuous", best.ratio),
        _share("peak_rate_ratio", "Share at the rate's peak", best.peak_rate_ratio),
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
        _length("errors_peb_median", "PEB, median", effect.peb_median),
        _length("errors_peb_90", "PEB, 90 % quantile", effect.peb_90),
        _angle("errors_reb_median", "REB, median", effect.reb_median),
        _rate("errors_eadr_mean", "Effective rate, mean", effect.eadr_mean),
        _rate("errors_eadr_10", "Effective rate, 10 % quantile", effect.eadr_10),
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
    row = {"peb": _length, "reb": _angle, "rate": _rate}[area_map.quantity]
    least, median, most = np.quantile(served, [0, 0.5, 0.9], method="inverted_cdf").tolist()
    labels = {"minimum": least, "median": median, "90 % quantile": most}
    return [row(area_map.quantity, label, value) for label, value in labels.items()]


def provenance(
    scenario: LocalizationScenario, overrides: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Where a result comes from: enough to compute it again.

    Args:
        scenario: What was evaluated.
        overrides: What it was loaded with.
    """
    return {
        "heliostat_version": heliostat.__version__,
        "commit": commit(),
        "scenario": scenario.name,
        "overrides": dict(overrides or {}),
        "seed": scenario.link.seed,
        "scenario_text": scenario.dump(),
    }


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
    return cast("dict[str, Any]", _without_infinities(told))


def _without_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_infinities(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_infinities(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def page(deployment: Deployment, pictures: Mapping[str, Path]) -> str:
    """One page of HTML that needs nothing else: tables, pictures, warnings, provenance.

    Args:
        deployment: What was found out.
        pictures: PNG files by caption.
    """
    template = (_FOLDER / "templates" / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(
        scenario=deployment.scenario,
        tables=[
            ("Bounds and rate", "", bounds_rows(deployment)),
            ("Best allocation", weighing(deployment), allocation_rows(deployment)),
            ("Steered by estimates", "errors of the scenario", error_rows(deployment)),
        ],
        notes=notes(deployment),
        pictures={
            caption: base64.b64encode(path.read_bytes()).decode()
            for caption, path in pictures.items()
        },
        origin=provenance(deployment.scenario, deployment.overrides),
        citation=citation(),
    )
