"""What `heliostat run` finds out about a sensing deployment, and how it is told."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import xarray as xr

from heliostat.api.sensing import (
    DirectionBounds,
    Method,
    design_beamforming,
    direction_bounds,
)
from heliostat.design.baselines import matched_beams
from heliostat.design.result import BeamformingDesign
from heliostat.design.transmit import largest_snr
from heliostat.maps.localization import Area, area_around
from heliostat.maps.sensing import (
    SENSING_UNITS,
    STARTS,
    DesignUse,
    SensingMap,
    SensingQuantity,
    beampattern,
    map_design,
    map_each,
)
from heliostat.observation.echoes import target_steering
from heliostat.plots import sensing as sensing_plots
from heliostat.reports.export import patterned, save_design
from heliostat.reports.tables import (
    Line,
    Page,
    Row,
    Table,
    angle,
    crb,
    dbm,
    decibels,
    degrees,
    document_of,
    left_over,
    length,
    listed,
    number,
    provenance,
    share,
    without_infinities,
    write_page,
)
from heliostat.scenario import Problem, ScenarioError, SensingScenario
from heliostat.scene.sensing import ANGLES, SensingScene
from heliostat.surface.active import ReflectedPower, reflected_power
from heliostat.units import from_db, to_db

POINTS: Mapping[DesignUse, int] = {"fixed": 10_000, "each": 60}
"""About how many places a map has where nobody says: a design takes a second or two, a bound half a
millisecond."""
DIRECTIONS = np.linspace(0.0, np.pi, 181)
"""Elevations and azimuths of a beampattern: the half-space before the surface. [rad]"""
TERMS = ("signal", "noise", "echo", "echo_noise")
"""What a surface radiates, the parts of paper eq. (7)."""


# What is found out -------------------------------------------------------------------------------


@dataclass(frozen=True)
class SensingDeployment:
    """A sensing scenario, the design for its target, and what that gives."""

    scenario: SensingScenario
    overrides: Mapping[str, str]
    method: Method
    scene: SensingScene
    design: BeamformingDesign
    bounds: DirectionBounds
    radiated: tuple[tuple[ReflectedPower, ...], ...]
    """Of each surface and pattern, term by term. [W]"""
    patterns: np.ndarray
    """Power towards each of `DIRECTIONS` by each of the first surfaces, [surface, elevation,
    azimuth]. [W]"""

    @property
    def sent(self) -> np.ndarray:
        """What the base station sends to each surface, the mean over its patterns. [W]"""
        covariance, _ = patterned(self.design)
        return np.asarray(np.trace(covariance, axis1=2, axis2=3).real.mean(axis=1))

    @property
    def history(self) -> np.ndarray:
        """Worst CRB after each step of the design. [rad²]"""
        return np.asarray(self.design.history)[: int(self.design.steps)]


def evaluate(
    scenario: SensingScenario,
    *,
    method: Method = "direct",
    overrides: Mapping[str, str] | None = None,
) -> SensingDeployment:
    """Design for the scenario's target, with bounds, powers and beampatterns.

    Args:
        scenario: A loaded scenario.
        method: See `heliostat.design_beamforming`.
        overrides: What the scenario was loaded with, for the record.

    Raises:
        ScenarioError: No design reaches the SNR that the scenario demands.
        ValueError: The method cannot do the scenario's patterns.
    """
    scene = scenario.build()
    design = designed(scenario, method)
    covariance, settings = patterned(design)
    shown = range(min(scene.n_surfaces, sensing_plots.MOST_PATTERNS))
    directions = jnp.asarray(DIRECTIONS)
    return SensingDeployment(
        scenario=scenario,
        overrides=dict(overrides or {}),
        method=method,
        scene=scene,
        design=design,
        bounds=direction_bounds(scenario, covariance, settings),
        radiated=radiated_power(scene, covariance, settings),
        patterns=np.stack(
            [
                beampattern(
                    scene,
                    i,
                    jnp.asarray(covariance[i]),
                    jnp.asarray(settings[i]),
                    directions,
                    directions,
                )
                for i in shown
            ]
        ),
    )


def designed(scenario: SensingScenario, method: Method = "direct") -> BeamformingDesign:
    """`heliostat.design_beamforming`, with what to change where the SNR is out of reach.

    Args:
        scenario: A loaded scenario.
        method: See `heliostat.design_beamforming`.

    Raises:
        ScenarioError: No design reaches the SNR that the scenario demands.
        ValueError: The method cannot do the scenario's patterns.
    """
    try:
        return design_beamforming(scenario, method)
    except ValueError as error:
        demanded = scenario.dwell.least_snr
        if demanded == 0 or (method == "sdr" and scenario.dwell.patterns > 1):
            raise
        scene = scenario.build()
        reach = float(to_db(largest_snr(scene, matched_beams(scene).reflection)))
        text = f"{float(to_db(demanded)):g} dB"
        less = f"at most some {math.floor(10 * reach) / 10:g} dB"
        if from_db(reach) > demanded:
            less = "less, as no design was found that has it at all surfaces"
        sentence = (
            f"{text} is out of reach; write {less}, or none, or give more power, amplification, "
            "elements or dwell.symbols"
        )
        raise ScenarioError([Problem(scenario.name, "dwell.min_snr", text, sentence)]) from error


def radiated_power(
    scene: SensingScene, covariance: np.ndarray, settings: list[np.ndarray]
) -> tuple[tuple[ReflectedPower, ...], ...]:
    """What each surface radiates in each pattern, paper eq. (7). [W]

    Args:
        scene: The scene.
        covariance: [surface pattern tx tx]. [W]
        settings: Coefficients of each surface, [pattern element]. [1]
    """
    angles, found = scene.angles(), []
    for i, surface in enumerate(scene.surfaces):
        steering = target_steering(surface.array, angles[i])
        channel, gain = scene.bs_to_irs[i], scene.target_gain[i]
        patterns = zip(jnp.asarray(settings[i]), jnp.asarray(covariance[i]), strict=True)
        found.append(
            tuple(
                reflected_power(psi, channel, sent, steering, gain, surface.noise)
                for psi, sent in patterns
            )
        )
    return tuple(found)


def default_area(scenario: SensingScenario) -> Area:
    """A rectangle that holds base station, surfaces and target, with a margin."""
    surfaces = [surface.position for surface in scenario.surfaces]
    return area_around([scenario.base_station.position, *surfaces, scenario.target.position])


def map_scenario(
    scenario: SensingScenario,
    design: BeamformingDesign | None,
    *,
    area: Area | None = None,
    points: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SensingMap:
    """Bounds over an area at the target's height, under one design or a design for each place.

    Args:
        scenario: A loaded scenario.
        design: The one; None for one at each place.
        area: Default `default_area`.
        points: About how many places; default `POINTS`.
        on_progress: Called with the places done and the places in all.
    """
    use: DesignUse = "each" if design is None else "fixed"
    x, y = (area or default_area(scenario)).cells(points or POINTS[use])
    scene = scenario.build()
    if design is None:
        dwell = scenario.dwell
        return map_each(
            scene,
            x,
            y,
            patterns=dwell.patterns,
            min_snr=dwell.least_snr,
            on_progress=on_progress,
        )
    covariance, settings = patterned(design)
    sent = tuple(jnp.asarray(own) for own in covariance)
    coefficients = tuple(jnp.asarray(psi) for psi in settings)
    return map_design(scene, sent, coefficients, x, y, on_progress=on_progress)


def map_title(scenario: SensingScenario, quantity: SensingQuantity, use: DesignUse) -> str:
    """What a map shows, for its title and its data.

    Args:
        scenario: A loaded scenario.
        quantity: What is shown.
        use: Whether one design serves all places.
    """
    name = {"position": "position error bound", "direction": "worst surface's direction bound"}
    told = {
        "fixed": "one design, made for the target",
        "each": f"a design for each place, the best of {STARTS} starts",
    }
    return f"{scenario.name}: {name[quantity]}; {told[use]}"


# How it is told ----------------------------------------------------------------------------------


def design_rows(found: SensingDeployment) -> list[Row]:
    """What the design reaches, and how good it can be at best."""
    design, limit = found.design, found.scenario.base_station.power
    sent, left = float(found.sent.mean()), float(design.slack.transmit)
    excess = float(design.excess_db)
    spent = f"{sent:.4g} W of {limit:.4g} W, {left:.3g} W left"
    return [
        crb("worst_crb", "Worst CRB of all surfaces", float(design.worst_crb)),
        angle("worst_direction", "Root of the worst CRB", float(np.sqrt(design.worst_crb))),
        crb("lower_bound", "Lower bound on any design", float(design.lower_bound)),
        Row("excess", "dB", "Within this of the best possible", f"{excess:.2f} dB", excess),
        share("gap", "Gap, 1 - lower bound / CRB", float(design.gap)),
        length("position_bound", "Position error bound", found.bounds.position_bound),
        Row("status", "1", "Status", design.status, int(design.code)),
        number("steps", "Steps of the design", len(found.history)),
        Row("transmitted", "W", "Base station, mean", spent, sent),
    ]


def bound_rows(found: SensingDeployment, index: int) -> list[Row]:
    """Bounds of one surface.

    Args:
        found: What was found out.
        index: Which surface.
    """
    bounds = found.bounds
    elevation, azimuth = bounds.direction_std[index].tolist()
    return [
        degrees("elevation_std", "elevation", elevation),
        degrees("azimuth_std", "azimuth", azimuth),
        angle("crb_root", "root of the CRB", float(np.sqrt(bounds.crb[index]))),
        decibels("snr", "SNR", float(to_db(bounds.snr[index]))),
    ]


def power_rows(found: SensingDeployment, index: int) -> list[Row]:
    """Powers of one surface; of its patterns that in which it radiates most.

    Args:
        found: What was found out.
        index: Which surface.
    """
    parts = max(found.radiated[index], key=lambda own: float(own.total))
    labels = dict(zip(TERMS, ("signal", "noise", "echo", "noise echo"), strict=True))
    return [
        dbm("sent", "sent", float(found.sent[index])),
        dbm("radiated", "radiates", float(parts.total)),
        dbm("own_noise", "own noise", float(parts.own_noise)),
        *(dbm(f"{term}_power", labels[term], float(getattr(parts, term))) for term in TERMS),
    ]


def slack_rows(found: SensingDeployment, index: int) -> list[Row]:
    """What the constraints leave at one surface.

    Args:
        found: What was found out.
        index: Which surface.
    """
    slack, demanded = found.design.slack, found.scenario.dwell.least_snr
    snr, amplitude = float(found.bounds.snr[index]), float(slack.amplitude[index])
    above = float(to_db(snr / demanded)) if demanded > 0 else math.inf
    return [
        left_over("power_slack", "power", float(slack.surface[index])),
        Row("amplitude_slack", "1", "amplitude", f"{amplitude:.3g}", amplitude),
        Row(
            "snr_slack", "dB", "SNR", f"{above:.2f} dB" if demanded > 0 else "none demanded", above
        ),
    ]


def tables(found: SensingDeployment) -> list[Table]:
    """All numbers that people are told."""

    def by_surface(
        title: str, rows: Callable[[SensingDeployment, int], list[Row]], aside: str
    ) -> Table:
        lines = [
            Line(f"{i}", rows(found, i), f"surface_{i}_") for i in range(found.scene.n_surfaces)
        ]
        return Table(title, lines, aside, ("surface", *(row.label for row in lines[0].cells)))

    loudest = ", of the pattern in which it radiates most" * (found.scenario.dwell.patterns > 1)
    return [
        listed("The design", design_rows(found), f"method {found.method}"),
        by_surface("Bounds by surface", bound_rows, "standard deviations"),
        by_surface("Powers by surface", power_rows, f"in dBm{loudest}"),
        by_surface("What the constraints leave", slack_rows, "of power, amplitude and SNR"),
    ]


def notes(found: SensingDeployment) -> list[str]:
    """Why a bound is missing, and what the model's assumptions strain."""
    reason = found.bounds.reason
    return ([reason] if reason else []) + found.scenario.warnings()


def document(found: SensingDeployment) -> dict[str, Any]:
    """What a program is told, ready for JSON; null stands for inf, and ``reason`` tells why."""
    design, covariance = found.design, patterned(found.design)[0]
    surfaces = []
    for i, parts in enumerate(found.radiated):
        rows = bound_rows(found, i) + power_rows(found, i) + slack_rows(found, i)
        patterns = {
            "sent_w": np.trace(covariance[i], axis1=1, axis2=2).real.tolist(),
            **{f"{term}_power_w": [float(getattr(own, term)) for own in parts] for term in TERMS},
        }
        told = document_of(rows) | {"crb_rad2": float(found.bounds.crb[i])}
        surfaces.append(told | {"lost": list(found.bounds.lost[i]), "by_pattern": patterns})
    whole = document_of(design_rows(found)) | {
        "status": design.status,
        "method": found.method,
        "transmit_slack_w": float(design.slack.transmit),
        "reason": found.bounds.reason or None,
        "unidentifiable": found.bounds.unidentifiable.tolist(),
        "surfaces": surfaces,
        "history_rad2": found.history.tolist(),
        "warnings": found.scenario.warnings(),
        "provenance": provenance(found.scenario, found.overrides),
    }
    return cast("dict[str, Any]", without_infinities(whole))


def _attributes(
    scenario: SensingScenario, title: str, overrides: Mapping[str, str] | None
) -> dict[str, Any]:
    origin = provenance(scenario, overrides)
    return {"title": title} | origin | {"overrides": json.dumps(origin["overrides"])}


def map_dataset(
    found: SensingMap,
    scenario: SensingScenario,
    title: str,
    overrides: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """A map of both bounds, with units and provenance.

    Args:
        found: The map.
        scenario: What it is of.
        title: See `map_title`.
        overrides: What that was loaded with.
    """
    where = "whether the place lies in front of the surface; elsewhere its bounds are inf"
    return xr.Dataset(
        {
            "position_bound": (("y", "x"), found.position_bound, {"units": "m"}),
            "direction_bound": (
                ("y", "x"),
                found.value("direction"),
                {"units": "rad", "long_name": "root of both angles' variances, worst surface"},
            ),
            "direction_std": (
                ("y", "x", "surface", "angle"),
                found.direction_std,
                {"units": "rad"},
            ),
            "facing": (("y", "x", "surface"), found.facing, {"units": "1", "long_name": where}),
        },
        {
            "x": ("x", found.x, {"units": "m"}),
            "y": ("y", found.y, {"units": "m"}),
            "angle": list(ANGLES),
        },
        _attributes(scenario, title, overrides),
    )


def map_rows(found: SensingMap, quantity: SensingQuantity) -> list[Row]:
    """Least, median and 90 % quantile over the places that can have a bound, if any can.

    Args:
        found: The map.
        quantity: Of which bound.
    """
    served = found.value(quantity)[found.served(quantity)]
    if not served.size:
        return []
    row = length if SENSING_UNITS[quantity] == "m" else angle
    quantiles = np.quantile(served, [0, 0.5, 0.9], method="inverted_cdf").tolist()
    labels = ("minimum", "median", "90 % quantile")
    return [row(quantity, label, value) for label, value in zip(labels, quantiles, strict=True)]


def dataset(found: SensingDeployment) -> xr.Dataset:
    """All numbers of a run; the design itself is in ``design.npz``."""
    design, slack = found.design, found.design.slack
    columns = {
        "crb": (found.bounds.crb, "rad²"),
        "snr": (found.bounds.snr, "1"),
        "sent": (found.sent, "W"),
        "power_slack": (np.asarray(slack.surface), "W"),
        "amplitude_slack": (np.asarray(slack.amplitude), "1"),
        "snr_slack": (np.asarray(slack.snr), "1"),
    }
    rows = [row for row in design_rows(found) if row.name != "status"]
    numbers = {
        row.name: ((), row.value, {"units": row.unit, "long_name": row.label}) for row in rows
    }
    by_surface = {name: ("surface", v, {"units": unit}) for name, (v, unit) in columns.items()}
    radiated = {
        f"{term}_power": (
            ("surface", "pattern"),
            np.array([[float(getattr(own, term)) for own in parts] for parts in found.radiated]),
            {"units": "W"},
        )
        for term in TERMS
    }
    unit = {"units": "rad"}
    others = {
        "direction_std": (("surface", "angle"), found.bounds.direction_std, unit),
        "history": ("step", found.history, {"units": "rad²", "long_name": "worst CRB so far"}),
        "beampattern": (("shown", "elevation", "azimuth"), found.patterns, {"units": "W"}),
        "transmit_slack": ((), float(slack.transmit), {"units": "W"}),
    }
    directions = {"elevation": ("elevation", DIRECTIONS, unit)}
    directions |= {"azimuth": ("azimuth", DIRECTIONS, unit)}
    title = f"{found.scenario.name}: design by method {found.method}, {design.status}"
    return xr.Dataset(
        numbers | by_surface | radiated | others,
        directions | {"angle": list(ANGLES)},
        _attributes(found.scenario, title, found.overrides),
    )


def page(found: SensingDeployment) -> Page:
    """What the report tells: tables, warnings, provenance.

    Args:
        found: What was found out.
    """
    return Page(
        lead="What the surfaces give this deployment: how well the target's direction at each of "
        "them, and its position, can be told, with the base station and the surfaces set for it.",
        tables=tables(found),
        notes=notes(found),
        files={
            "design.npz": "and design.mat: covariances, beams, coefficients, phases in degrees; "
            "their entry names tells what each is",
            "results.nc": "the numbers of this page and its pictures, with their units",
        },
        origin=provenance(found.scenario, found.overrides),
    )


def write(found: SensingDeployment, folder: Path, *, pdf: bool = False) -> None:
    """Write the design, pictures, data and report.

    Args:
        found: What was found out.
        folder: An existing folder.
        pdf: Write the pictures as PDF too.
    """
    save_design(found.scenario, found.design, folder)
    dataset(found).to_netcdf(folder / "results.nc", engine="h5netcdf")
    lower, scene = float(found.design.lower_bound), found.scene
    figures = {
        "scene": (
            sensing_plots.scene_figure(scene),
            "The scene from above and in space. Arrays and panels are drawn larger than they are.",
        ),
        "beampattern": (
            sensing_plots.beampattern_figure(
                found.patterns,
                DIRECTIONS,
                DIRECTIONS,
                np.asarray(scene.angles())[: len(found.patterns)],
                scene.n_surfaces,
            ),
            "Where each surface sends the signal, in the half-space before it, as the power that "
            "an isotropic radiator would need; the mean over its patterns. Straight ahead is 90 "
            "degrees in both angles.",
        ),
        "crb": (
            sensing_plots.bounds_figure(found.bounds, lower),
            "How well each surface can tell the direction of the target.",
        ),
        "convergence": (
            sensing_plots.convergence_figure(found.history, lower),
            "The worst CRB of all surfaces, step by step of the design.",
        ),
    }
    write_page(page(found), figures, folder, pdf=pdf)
