"""Report of `heliostat run` on a sensing scenario."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from heliostat.api.sensing_evaluation import DIRECTIONS, DesignEvaluation, SensingEvaluation
from heliostat.design.feasibility import TOLERANCE
from heliostat.design.result import patterned
from heliostat.plots import sensing as sensing_plots
from heliostat.plots.scene import draw_scene
from heliostat.reports.export import design_arrays
from heliostat.reports.report import Report
from heliostat.reports.tables import (
    Line,
    Row,
    Table,
    angle_bound,
    crb,
    dbm,
    degrees,
    document_of,
    length,
    listed,
    number,
    power_ratio,
    share,
    variables_of,
)
from heliostat.scene.sensing import ANGLES, SensingScene
from heliostat.units import to_db

TERMS = {
    "signal": "signal",
    "noise": "own noise",
    "echo": "echo of signal",
    "echo_noise": "echo of noise",
}
"""Terms of the power radiated by a surface, paper eq. (7), and their labels. A surface reflects the
signal and the echo of what it has radiated, and adds noise of its own both times."""

BETTER_BOUND = (
    "Lower bound: computed by the quick methods only; --thorough (in Python, heliostat.certify) "
    "takes up to two minutes and may show that the design is nearer to the best possible one."
)


def design_rows(found: DesignEvaluation) -> list[Row]:
    """Bounds under the design, its optimality gap, and its transmit power."""
    design, limit = found.design, found.scenario.base_station.power
    sent, left = float(_sent(found).mean()), float(design.slack.transmit)
    excess = design.excess_db
    spent = f"{sent:.4g} W of {limit:.4g} W, slack {_slack(left, limit)} W"
    return [
        crb("worst_crb", "Worst Cramér-Rao bound (CRB) of all surfaces", design.worst_crb),
        angle_bound("worst_direction", "Worst root CRB", float(np.sqrt(design.worst_crb))),
        crb("lower_bound", "Lower bound on any design", float(design.lower_bound)),
        Row("excess", "dB", "Excess over the lower bound", f"{excess:.2f} dB", excess),
        share("gap", "Gap, 1 - lower bound / worst CRB", design.gap),
        length("position_bound", "Position error bound", found.bounds.position_bound),
        Row("status", "1", "Status", design.status, int(design.code)),
        number("steps", "Design steps", int(design.steps)),
        Row("transmitted", "W", "Mean transmit power", spent, sent),
    ]


def _slack(value: float, limit: float) -> str:
    """Slack of a limit as a number; 0 where it is only rounding."""
    return f"{0.0 if abs(value) < TOLERANCE * limit else value:.3g}"


def _sent(found: DesignEvaluation) -> np.ndarray:
    """Power transmitted to each surface in each pattern. [surface pattern] [W]"""
    covariance, _ = patterned(found.design)
    return np.asarray(np.trace(covariance, axis1=2, axis2=3).real)


def bound_rows(found: DesignEvaluation, index: int) -> list[Row]:
    """Bounds of one surface.

    Args:
        found: Results of the scenario.
        index: Index of the surface.
    """
    bounds = found.bounds
    elevation, azimuth = bounds.direction_std[index].tolist()
    return [
        degrees("elevation_std", "elevation", elevation),
        degrees("azimuth_std", "azimuth", azimuth),
        degrees("crb_root", "root CRB", float(np.sqrt(bounds.crb[index]))),
        power_ratio("snr", "SNR", bounds.snr[index]),
    ]


def power_rows(found: SensingEvaluation, index: int) -> list[Row]:
    """Powers of one surface, in the pattern with the largest radiated power.

    Args:
        found: Results of the scenario.
        index: Index of the surface.
    """
    patterns = np.stack([np.asarray(getattr(found.radiated, term))[index] for term in TERMS])
    parts = dict(zip(TERMS, patterns[:, np.argmax(patterns.sum(axis=0))].tolist(), strict=True))
    return [
        dbm("sent", "transmit", float(_sent(found)[index].mean())),
        dbm("radiated", "radiated", sum(parts.values())),
        *(dbm(f"{term}_power", label, parts[term]) for term, label in TERMS.items()),
    ]


def slack_rows(found: SensingEvaluation, index: int) -> list[Row]:
    """Constraint slack at one surface.

    Args:
        found: Results of the scenario.
        index: Index of the surface.
    """
    slack, required = found.design.slack, found.scenario.dwell.required_snr
    surface = found.scene.surfaces[index]
    power, largest = float(surface.power), float(surface.amplification)
    left, snr = float(slack.surface[index]), float(found.bounds.snr[index])
    amplitude = float(slack.amplitude[index])
    spare = f"{_slack(left, power)} W" if math.isfinite(left) else "no limit"
    above = float(to_db(snr / required)) if required > 0 else math.inf
    return [
        Row("power_slack", "W", "power", spare, left),
        Row("amplitude_slack", "1", "amplitude", _slack(amplitude, largest), amplitude),
        Row("snr_slack", "dB", "SNR", f"{above:.2f} dB" if required > 0 else "no limit", above),
    ]


def _by_surface(
    found: SensingEvaluation,
    title: str,
    rows: Callable[[SensingEvaluation, int], list[Row]],
    aside: str = "",
) -> Table:
    """A table with one line for each surface."""
    lines = [Line(f"{i}", rows(found, i), f"surface_{i}_") for i in range(found.scene.n_surfaces)]
    return Table(title, lines, aside, ("surface", *(row.label for row in lines[0].cells)))


def _surface_numbers(found: SensingEvaluation, index: int) -> dict[str, Any]:
    """Entries of the JSON document about one surface."""
    rows = bound_rows(found, index) + power_rows(found, index) + slack_rows(found, index)
    return document_of(rows) | {
        "crb_rad2": float(found.bounds.crb[index]),
        "lost": list(found.bounds.lost[index]),
        "by_pattern": {
            "sent_w": _sent(found)[index].tolist(),
            **{
                f"{term}_power_w": np.asarray(getattr(found.radiated, term))[index].tolist()
                for term in TERMS
            },
        },
    }


def _dataset(found: SensingEvaluation, history: np.ndarray) -> xr.Dataset:
    """All results except the design itself."""
    slack, angle = found.design.slack, {"units": "rad"}
    columns = {
        "crb": (found.bounds.crb, "rad²"),
        "snr": (found.bounds.snr, "1"),
        "sent": (_sent(found).mean(axis=1), "W"),
        "power_slack": (np.asarray(slack.surface), "W"),
        "amplitude_slack": (np.asarray(slack.amplitude), "1"),
        "snr_slack": (np.asarray(slack.snr), "1"),
    }
    by_surface = {name: ("surface", v, {"units": unit}) for name, (v, unit) in columns.items()}
    radiated = {
        f"{term}_power": (
            ("surface", "pattern"),
            np.asarray(getattr(found.radiated, term)),
            {"units": "W"},
        )
        for term in TERMS
    }
    others = {
        "direction_std": (("surface", "angle"), found.bounds.direction_std, angle),
        "history": ("step", history, {"units": "rad²", "long_name": "worst CRB so far"}),
        "beampattern": (("shown", "elevation", "azimuth"), found.beampatterns, {"units": "W"}),
        "transmit_slack": ((), float(slack.transmit), {"units": "W"}),
    }
    numbers = variables_of([row for row in design_rows(found) if row.name != "status"])
    return xr.Dataset(
        numbers | by_surface | radiated | others,
        {
            "elevation": ("elevation", DIRECTIONS, angle),
            "azimuth": ("azimuth", DIRECTIONS, angle),
            "angle": list(ANGLES),
        },
    )


def sensing_report(found: SensingEvaluation) -> Report:
    """Report on a sensing scenario.

    Args:
        found: Results of the scenario.
    """
    scenario, design, bounds, scene = found.scenario, found.design, found.bounds, found.scene
    history, lower = np.asarray(design.history)[: int(design.steps)], float(design.lower_bound)
    closer = scenario.dwell.patterns == 1 and not found.thorough and 1 < design.excess_db < math.inf
    strongest = ", pattern of largest radiated power" if scenario.dwell.patterns > 1 else ""
    return Report(
        name="results",
        title=f"{scenario.name}: design by method {found.method}, {design.status}",
        scenario=scenario,
        overrides=found.overrides,
        lead="Bounds on the target's direction at each surface and on its position, with transmit "
        "covariances and surface coefficients designed for this target.",
        tables=[
            listed("Design", design_rows(found), f"method {found.method}"),
            _by_surface(
                found,
                "Bounds by surface",
                bound_rows,
                "standard deviations, root of the Cramér-Rao bound (CRB), SNR",
            ),
            _by_surface(
                found,
                "Powers by surface",
                power_rows,
                f"in dBm{strongest}; radiated is the sum of the four columns after it",
            ),
            _by_surface(found, "Constraint slack by surface", slack_rows),
        ],
        notes=[
            *([bounds.reason] if bounds.reason else []),
            *([BETTER_BOUND] if closer else []),
            *scenario.notes,
        ],
        numbers={
            "status": design.status,
            "method": found.method,
            "transmit_slack_w": float(design.slack.transmit),
            "reason": bounds.reason or None,
            "unidentifiable": bounds.unidentifiable.tolist(),
            "surfaces": [_surface_numbers(found, i) for i in range(scene.n_surfaces)],
            "history_rad2": history.tolist(),
        },
        dataset=_dataset(found, history),
        figures={
            "scene": (
                "The scene from above and in 3-D. Arrays and panels are not drawn to scale.",
                lambda: draw_scene(sensing_plots.sketch(scene)),
            ),
            "beampattern": (
                "Beampattern of each surface in the half-space in front of it: equivalent "
                "isotropically radiated power (EIRP), the mean over the patterns. The surface "
                "normal is at 90 degrees in both angles.",
                partial(
                    sensing_plots.beampattern_figure,
                    found.beampatterns,
                    DIRECTIONS,
                    DIRECTIONS,
                    np.asarray(jax.jit(SensingScene.angles)(scene))[: len(found.beampatterns)],
                    scene.n_surfaces,
                ),
            ),
            "crb": (
                "Bounds on the target's direction at each surface.",
                partial(sensing_plots.bounds_figure, bounds, lower),
            ),
            "convergence": (
                "Worst Cramér-Rao bound (CRB) of all surfaces after each step of the design.",
                partial(sensing_plots.convergence_figure, history, lower),
            ),
        },
        arrays=design_arrays(design, scenario),
    )
