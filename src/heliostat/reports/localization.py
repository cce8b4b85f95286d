"""Report of `heliostat run` on a localization scenario."""

import re
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from heliostat.api.localization_evaluation import LinkEvaluation, LocalizationEvaluation
from heliostat.api.localization_results import TradeOff
from heliostat.plots import localization as localization_plots
from heliostat.plots.scene import draw_scene
from heliostat.reports.export import phase_arrays
from heliostat.reports.report import Report
from heliostat.reports.tables import (
    SUFFIX,
    Line,
    Row,
    Table,
    angle_bound,
    degrees,
    document_of,
    length,
    listed,
    power_ratio,
    rate,
    share,
    small,
    variables_of,
)
from heliostat.units import to_db

USER_HEADS = ("user", "PEB", "REB", "EADR", "SNR", "paths")


def bounds_rows(found: LinkEvaluation) -> list[Row]:
    """Bounds and rate for the chosen number of antennas."""
    bounds, effective = found.bounds, found.rate
    antennas = found.active_antennas
    return [
        Row("active_antennas", "1", "Active antennas", str(antennas), antennas),
        length("peb", "Position error bound (PEB)", bounds.peb),
        angle_bound("reb", "Heading error bound (REB)", bounds.reb),
        Row("rank", "1", "Identifiable pose directions", f"{bounds.rank} of 3", bounds.rank),
        rate("eadr", "Effective achievable data rate (EADR), DFT beams", effective.eadr),
        rate("eadr_closed_form", "EADR, exactly aligned beams", effective.eadr_closed_form),
        power_ratio("snr", "SNR, DFT beams", effective.snr),
        *path_rows(found),
        share("time_ratio", "Pilot share of the period", effective.time_ratio),
    ]


def path_rows(found: LinkEvaluation) -> list[Row]:
    """SNR over each path alone; no rows for a single path."""
    each = found.rate.path_snr
    if len(each) == 1:
        return []
    levels = {name: float(to_db(snr)) for name, snr in each.items()}
    return [
        Row(
            f"snr_{re.sub(r'[^a-z0-9]+', '_', name.lower())}",
            "dB",
            f"SNR over {'the ' * (name == 'direct path')}{name} alone",
            "no path" if level == -np.inf else f"{level:.1f} dB",
            level,
        )
        for name, level in levels.items()
    ]


def user_lines(found: LocalizationEvaluation) -> list[Line]:
    """Bounds and rate of each of several users, and the paths that reach it."""
    lines = []
    for user in found.users:
        paths = [name.removeprefix("the ") for name, snr in user.rate.path_snr.items() if snr > 0]
        cells = [
            length("peb", "Position error bound (PEB)", user.bounds.peb),
            degrees("reb", "Heading error bound (REB)", user.bounds.reb),
            rate("eadr", "Effective achievable data rate (EADR)", user.rate.eadr),
            power_ratio("snr", "SNR, DFT beams", user.rate.snr),
            Row("paths", "1", "Paths that reach it", ", ".join(paths) or "none", len(paths)),
        ]
        lines.append(Line(user.name, cells, f"{user.name.replace(' ', '_')}_"))
    return lines


def allocation_rows(found: LinkEvaluation) -> list[Row]:
    """The best allocation of the period; no rows if no bound exists."""
    best, choices = found.allocation, found.trade_off
    if best is None:
        return []
    at = int(np.argmax(choices.active_antennas == best.active_antennas))
    count, beaten = len(choices.active_antennas), int(choices.dominated.sum())
    antennas = f"{best.active_antennas} of {count}"
    optimum = [
        share("ratio", "Optimal pilot share, continuous", best.ratio),
        small("kkt_residual", "Karush-Kuhn-Tucker (KKT) residual", best.kkt_residual),
    ]
    return [
        Row("active_antennas", "1", "Active antennas", antennas, best.active_antennas),
        length("peb", "Position error bound (PEB)", float(choices.peb[at])),
        angle_bound("reb", "Heading error bound (REB)", float(choices.reb[at])),
        rate("eadr", "Effective achievable data rate (EADR)", float(choices.eadr[at])),
        share("time_ratio", "Pilot share of the period", float(choices.ratio[at])),
        share("peak_rate_ratio", "Pilot share at the largest rate", best.peak_rate_ratio),
        *(optimum if found.continuous else []),
        Row("dominated_choices", "1", "Dominated allocations", f"{beaten} of {count}", beaten),
    ]


def trade_off_columns(choices: TradeOff) -> list[tuple[str, np.ndarray, str]]:
    """Name, values and unit of each column of the trade-off."""
    return [
        ("time_ratio", choices.ratio, "1"),
        ("peb", choices.peb, "m"),
        ("reb", choices.reb, "rad"),
        ("eadr", choices.eadr, "bit/s"),
        ("dominated", choices.dominated, "1"),
    ]


def error_rows(found: LocalizationEvaluation) -> list[Row]:
    """Bounds and rate with the surface steered by estimates; no rows without errors."""
    effect = found.under_errors
    if effect is None:
        return []
    return [
        Row("errors_trials", "1", "Trials", str(effect.trials), effect.trials),
        length("errors_peb_median", "Position error bound (PEB), median", effect.peb_median),
        length("errors_peb_90", "PEB, 90 % quantile", effect.peb_90),
        angle_bound("errors_reb_median", "Heading error bound (REB), median", effect.reb_median),
        rate("errors_eadr_mean", "Effective achievable data rate (EADR), mean", effect.eadr_mean),
        rate("errors_eadr_10", "EADR, 10 % quantile", effect.eadr_10),
    ]


def _notes(found: LocalizationEvaluation) -> list[str]:
    """Reasons for a missing bound or allocation, and warnings about violated assumptions."""
    notes, scenario = [found.no_allocation or found.bounds.reason], found.scenario
    available = 1 - scenario.frame.optimization / scenario.period
    if found.rate.time_ratio > available * (1 - 1e-9):
        notes.append(
            f"Rate: the pilots of {found.active_antennas} active antennas leave no time for "
            "data in the period; activate fewer antennas."
        )
    return [*filter(None, notes), *scenario.notes]


def _numbers(found: LocalizationEvaluation) -> dict[str, Any]:
    """Entries of the JSON document besides those of `bounds_rows`."""
    best = found.allocation
    allocation = document_of(allocation_rows(found))
    if best is not None:
        allocation |= {"objective": best.objective, "multiplier": best.multiplier}
    return {
        "reason": found.bounds.reason or None,
        "information": found.bounds.information.tolist(),
        "unidentifiable": found.bounds.unidentifiable.tolist(),
        "weight": found.weight,
        "balance": found.balance,
        "under_errors": document_of(error_rows(found)) or None,
        "users": [
            {"name": user.name, "position_m": list(user.position)}
            | document_of(line.cells)
            | {"snr_by_path_db": {n: float(to_db(snr)) for n, snr in user.rate.path_snr.items()}}
            for user, line in zip(found.users, user_lines(found), strict=True)
        ]
        or None,
        "allocation": allocation or None,
        "allocation_reason": found.no_allocation or None,
        "trade_off": {
            "active_antennas": found.trade_off.active_antennas.tolist(),
            **{
                f"{name}{SUFFIX[unit]}": values.tolist()
                for name, values, unit in trade_off_columns(found.trade_off)
            },
        },
    }


def _dataset(found: LocalizationEvaluation) -> xr.Dataset:
    """All results: bounds, best allocation (``best_``), trade-off (``choice_``), map (``map_``)."""
    choices, names = found.trade_off, ["x", "y", "heading"]
    table = {
        f"choice_{name}": ("choice", values, {"units": unit})
        for name, values, unit in trade_off_columns(choices)
    }
    information = {"long_name": "Fisher information", "units": "products of 1/m, 1/m, 1/rad"}
    return (
        found.area_map.rename({name: f"map_{name}" for name in ("peb", "served", "near_field")})
        .assign(
            variables_of(bounds_rows(found) + error_rows(found))
            | _user_variables(found)
            | variables_of(allocation_rows(found), "best_")
            | table
            | {"information": (("pose", "pose_too"), found.bounds.information, information)}
        )
        .assign_coords(
            choice=(
                "choice",
                choices.active_antennas,
                {"long_name": "active antennas", "units": "1"},
            ),
            pose=names,
            pose_too=names,
        )
    )


def _user_variables(found: LocalizationEvaluation) -> dict[str, Any]:
    """Results of each of several users, over ``listed_user``."""
    if not found.users:
        return {}
    columns = zip(*(line.cells for line in user_lines(found)), strict=True)
    names = {"listed_user": ("listed_user", [user.name for user in found.users])}
    return names | {
        f"user_{cells[0].name}": (
            "listed_user",
            [cell.value for cell in cells],
            {"units": cells[0].unit, "long_name": cells[0].label},
        )
        for cells in columns
    }


def localization_report(found: LocalizationEvaluation) -> Report:
    """Report on a localization scenario.

    Args:
        found: Results of the scenario.
    """
    scenario = found.scenario
    weighing = (
        f"weight {found.weight:g} (m + rad) s/bit"
        if found.balance is None
        else f"balance {found.balance:g}"
    )
    first = f"of {found.users[0].name}" if found.users else ""
    also = f", {first}" if first else ""
    return Report(
        name="results",
        title=found.area_map.attrs["title"],
        scenario=scenario,
        overrides=found.overrides,
        lead="Bounds on the user's position and heading, effective data rate, and the best "
        "allocation of the period to pilots and data.",
        tables=[
            listed("Bounds and rate", bounds_rows(found), first),
            Table("Users", user_lines(found), "each evaluated on its own", USER_HEADS),
            listed("Best time allocation", allocation_rows(found), weighing + also, "best_"),
            listed("Surface steered by estimates", error_rows(found), "errors of the scenario"),
        ],
        notes=_notes(found),
        numbers=_numbers(found),
        dataset=_dataset(found),
        figures={
            "scene": (
                "The scene from above and in 3-D. Arrays and panels are not drawn to scale.",
                lambda: draw_scene(
                    localization_plots.sketch(
                        found.scene,
                        scenario.footprints,
                        [user.position for user in scenario.all_users[1:]],
                    )
                ),
            ),
            "trade-off": (
                "Position error bound (PEB) and effective rate for each number of active antennas.",
                partial(
                    localization_plots.trade_off_figure,
                    found.trade_off,
                    found.allocation,
                    found.bounds.reason,
                ),
            ),
            "peb-map": (
                "Position error bound (PEB) of a user with the scenario's heading at a height of "
                f"{scenario.user.position[2]:g} m.",
                partial(localization_plots.map_figure, found.area_map),
            ),
        },
        arrays=phase_arrays(scenario),
    )
