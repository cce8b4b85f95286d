"""Report on a sensing scenario: tables, JSON, netCDF, design files and HTML page."""

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
from heliostat.maps.sensing import beampattern
from heliostat.observation.echoes import target_steering
from heliostat.plots import sensing as sensing_plots
from heliostat.reports.export import patterned, save_design
from heliostat.reports.page import Page, write_page
from heliostat.reports.tables import (
    Line,
    Row,
    Table,
    angle_bound,
    attributes,
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
)
from heliostat.scenario import Problem, ScenarioError, SensingScenario
from heliostat.scene.sensing import ANGLES, SensingScene
from heliostat.surface.active import ReflectedPower, reflected_power
from heliostat.units import from_db, to_db

DIRECTIONS = np.linspace(0.0, np.pi, 181)
"""Elevations and azimuths of a beampattern: the half-space in front of the surface. [rad]"""
TERMS = ("signal", "noise", "echo", "echo_noise")
"""Terms of the power radiated by a surface, paper eq. (7)."""


@dataclass(frozen=True)
class SensingDeployment:
    """A sensing scenario with the design for its target, bounds, powers and beampatterns."""

    scenario: SensingScenario
    overrides: Mapping[str, str]
    method: Method
    scene: SensingScene
    design: BeamformingDesign
    bounds: DirectionBounds
    radiated: tuple[tuple[ReflectedPower, ...], ...]
    """Radiated power of each surface and pattern, by term. [W]"""
    patterns: np.ndarray
    """Beampatterns of the first surfaces over `DIRECTIONS`. [surface, elevation, azimuth] [W]"""

    @property
    def sent(self) -> np.ndarray:
        """Power transmitted to each surface, the mean over its patterns. [surface] [W]"""
        covariance, _ = patterned(self.design)
        return np.asarray(np.trace(covariance, axis1=2, axis2=3).real.mean(axis=1))

    @property
    def history(self) -> np.ndarray:
        """Worst CRB after each step of the design. [step] [rad²]"""
        return np.asarray(self.design.history)[: int(self.design.steps)]


def evaluate(
    scenario: SensingScenario,
    *,
    method: Method = "direct",
    overrides: Mapping[str, str] | None = None,
) -> SensingDeployment:
    """The design for the scenario's target, with bounds, powers and beampatterns.

    Args:
        scenario: A loaded scenario.
        method: See `heliostat.design_beamforming`.
        overrides: Overrides with which the scenario was loaded.

    Raises:
        ScenarioError: No design reaches the SNR that the scenario requires.
        ValueError: The method does not support the scenario's number of patterns.
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
    """`heliostat.design_beamforming`, with a remedy in the error if the SNR is out of reach.

    Args:
        scenario: A loaded scenario.
        method: See `heliostat.design_beamforming`.

    Raises:
        ScenarioError: No design reaches the SNR that the scenario requires.
        ValueError: The method does not support the scenario's number of patterns.
    """
    try:
        return design_beamforming(scenario, method)
    except ValueError as error:
        required = scenario.dwell.least_snr
        if required == 0 or (method == "sdr" and scenario.dwell.patterns > 1):
            raise
        scene = scenario.build()
        reach = float(to_db(largest_snr(scene, matched_beams(scene).reflection)))
        text = f"{float(to_db(required)):g} dB"
        less = f"at most about {math.floor(10 * reach) / 10:g} dB"
        if from_db(reach) > required:
            less = "less, because no design was found that reaches it at all surfaces"
        sentence = (
            f"{text} is out of reach; write {less}, or none, or give more power, amplification, "
            "elements or dwell.symbols"
        )
        raise ScenarioError([Problem(scenario.name, "dwell.min_snr", text, sentence)]) from error


def radiated_power(
    scene: SensingScene, covariance: np.ndarray, settings: list[np.ndarray]
) -> tuple[tuple[ReflectedPower, ...], ...]:
    """Power radiated by each surface in each pattern, paper eq. (7). [W]

    Args:
        scene: The scene.
        covariance: Transmit covariances, [surface pattern tx tx]. [W]
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


def design_rows(found: SensingDeployment) -> list[Row]:
    """Bounds under the design, its optimality gap, and its transmit power."""
    design, limit = found.design, found.scenario.base_station.power
    sent, left = float(found.sent.mean()), float(design.slack.transmit)
    excess = float(design.excess_db)
    spent = f"{sent:.4g} W of {limit:.4g} W, slack {left:.3g} W"
    return [
        crb("worst_crb", "Worst Cramér-Rao bound (CRB) of all surfaces", float(design.worst_crb)),
        angle_bound("worst_direction", "Worst root CRB", float(np.sqrt(design.worst_crb))),
        crb("lower_bound", "Lower bound on any design", float(design.lower_bound)),
        Row("excess", "dB", "Excess over the lower bound", f"{excess:.2f} dB", excess),
        share("gap", "Gap, 1 - lower bound / worst CRB", float(design.gap)),
        length("position_bound", "Position error bound", found.bounds.position_bound),
        Row("status", "1", "Status", design.status, int(design.code)),
        number("steps", "Design steps", len(found.history)),
        Row("transmitted", "W", "Mean transmit power", spent, sent),
    ]


def bound_rows(found: SensingDeployment, index: int) -> list[Row]:
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
        decibels("snr", "SNR", float(to_db(bounds.snr[index]))),
    ]


def power_rows(found: SensingDeployment, index: int) -> list[Row]:
    """Powers of one surface, in the pattern with the largest radiated power.

    Args:
        found: Results of the scenario.
        index: Index of the surface.
    """
    parts = max(found.radiated[index], key=lambda own: float(own.total))
    labels = dict(zip(TERMS, ("signal", "noise", "echo", "echoed noise"), strict=True))
    return [
        dbm("sent", "transmit", float(found.sent[index])),
        dbm("radiated", "radiated", float(parts.total)),
        dbm("own_noise", "own noise", float(parts.own_noise)),
        *(dbm(f"{term}_power", labels[term], float(getattr(parts, term))) for term in TERMS),
    ]


def slack_rows(found: SensingDeployment, index: int) -> list[Row]:
    """Constraint slack at one surface.

    Args:
        found: Results of the scenario.
        index: Index of the surface.
    """
    slack, required = found.design.slack, found.scenario.dwell.least_snr
    snr, amplitude = float(found.bounds.snr[index]), float(slack.amplitude[index])
    above = float(to_db(snr / required)) if required > 0 else math.inf
    return [
        left_over("power_slack", "power", float(slack.surface[index])),
        Row("amplitude_slack", "1", "amplitude", f"{amplitude:.3g}", amplitude),
        Row("snr_slack", "dB", "SNR", f"{above:.2f} dB" if required > 0 else "no limit", above),
    ]


def tables(found: SensingDeployment) -> list[Table]:
    """All tables."""

    def by_surface(
        title: str, rows: Callable[[SensingDeployment, int], list[Row]], aside: str
    ) -> Table:
        lines = [
            Line(f"{i}", rows(found, i), f"surface_{i}_") for i in range(found.scene.n_surfaces)
        ]
        return Table(title, lines, aside, ("surface", *(row.label for row in lines[0].cells)))

    several = found.scenario.dwell.patterns > 1
    strongest = ", pattern of largest radiated power" if several else ""
    return [
        listed("Design", design_rows(found), f"method {found.method}"),
        by_surface("Bounds by surface", bound_rows, "standard deviations and SNR"),
        by_surface("Powers by surface", power_rows, f"in dBm{strongest}"),
        by_surface("Constraint slack by surface", slack_rows, ""),
    ]


def notes(found: SensingDeployment) -> list[str]:
    """Reasons for missing bounds, and warnings about strained assumptions."""
    reason = found.bounds.reason
    return ([reason] if reason else []) + found.scenario.warnings()


def document(found: SensingDeployment) -> dict[str, Any]:
    """All results for JSON; null stands for infinity, with the cause in ``reason``."""
    design, covariance = found.design, patterned(found.design)[0]
    surfaces = []
    for i, parts in enumerate(found.radiated):
        rows = bound_rows(found, i) + power_rows(found, i) + slack_rows(found, i)
        patterns = {
            "sent_w": np.trace(covariance[i], axis1=1, axis2=2).real.tolist(),
            **{f"{term}_power_w": [float(getattr(own, term)) for own in parts] for term in TERMS},
        }
        numbers = document_of(rows) | {"crb_rad2": float(found.bounds.crb[i])}
        surfaces.append(numbers | {"lost": list(found.bounds.lost[i]), "by_pattern": patterns})
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


def dataset(found: SensingDeployment) -> xr.Dataset:
    """All results except the design, which is stored in ``design.npz``."""
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
        attributes(found.scenario, title, found.overrides),
    )


def page(found: SensingDeployment) -> Page:
    """Content of the HTML page.

    Args:
        found: Results of the scenario.
    """
    return Page(
        lead="Bounds on the target's direction at each surface and on its position, with transmit "
        "covariances and surface coefficients designed for this target.",
        tables=tables(found),
        notes=notes(found),
        files={
            "design.npz": "covariances, beams, coefficients and phases in degrees; the entry "
            "names explains each",
            "design.mat": "the same for MATLAB",
            "results.nc": "all numbers of this page and its figures, with units",
        },
        origin=provenance(found.scenario, found.overrides),
    )


def write(found: SensingDeployment, folder: Path, *, pdf: bool = False) -> None:
    """Write design, figures, data and HTML page.

    Args:
        found: Results of the scenario.
        folder: An existing folder.
        pdf: Write the figures as PDF too.
    """
    save_design(found.scenario, found.design, folder)
    dataset(found).to_netcdf(folder / "results.nc", engine="h5netcdf")
    lower, scene = float(found.design.lower_bound), found.scene
    figures = {
        "scene": (
            sensing_plots.scene_figure(scene),
            "The scene from above and in 3-D. Arrays and panels are not drawn to scale.",
        ),
        "beampattern": (
            sensing_plots.beampattern_figure(
                found.patterns,
                DIRECTIONS,
                DIRECTIONS,
                np.asarray(scene.angles())[: len(found.patterns)],
                scene.n_surfaces,
            ),
            "Beampattern of each surface in the half-space in front of it: equivalent "
            "isotropically radiated power (EIRP), the mean over the patterns. The surface normal "
            "is at 90 degrees in both angles.",
        ),
        "crb": (
            sensing_plots.bounds_figure(found.bounds, lower),
            "Bounds on the target's direction at each surface.",
        ),
        "convergence": (
            sensing_plots.convergence_figure(found.history, lower),
            "Worst Cramér-Rao bound (CRB) of all surfaces after each step of the design.",
        ),
    }
    write_page(page(found), figures, folder, pdf=pdf)
