"""Complete evaluation of a sensing scenario: the design, bounds and beampatterns of a report."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from heliostat.api.sensing import DirectionBounds, certify, designed, direction_bounds
from heliostat.api.sensing_arguments import Method
from heliostat.design.radiated import radiated_power
from heliostat.design.result import BeamformingDesign, patterned
from heliostat.maps.sensing import beampattern
from heliostat.scenario import SensingScenario
from heliostat.scene.sensing import SensingScene
from heliostat.surface.active import ReflectedPower

DIRECTIONS = np.linspace(0.0, np.pi, 181)
"""Elevations and azimuths of a beampattern: the half-space in front of the surface. [rad]"""
MOST_BEAMPATTERNS = 9
"""Largest number of surfaces whose beampatterns are computed."""


@dataclass(frozen=True)
class DesignEvaluation:
    """A sensing scenario with a design and the bounds for its target under this design."""

    scenario: SensingScenario
    design: BeamformingDesign
    bounds: DirectionBounds


@dataclass(frozen=True)
class SensingEvaluation(DesignEvaluation):
    """A sensing scenario with the design for its target, bounds, powers and beampatterns."""

    method: Method
    thorough: bool
    """Whether the lower bound is that of `heliostat.certify`."""
    scene: SensingScene
    radiated: ReflectedPower
    """Power radiated by the surfaces; each term is [surface, pattern]. [W]"""
    beampatterns: np.ndarray
    """Beampatterns of the first surfaces over `DIRECTIONS`. [surface, elevation, azimuth] [W]"""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Overrides with which the scenario was loaded."""


def evaluate_sensing(
    scenario: SensingScenario,
    *,
    method: Method = "direct",
    thorough: bool = False,
    overrides: Mapping[str, str] | None = None,
) -> SensingEvaluation:
    """Compute the design for the scenario's target, with bounds, powers and beampatterns.

    Args:
        scenario: A loaded scenario.
        method: See `heliostat.design_beamforming`.
        thorough: Whether to add the lower bound of `heliostat.certify`.
        overrides: Overrides with which the scenario was loaded.

    Raises:
        ScenarioError: No design reaches the SNR that the scenario requires.
        ValueError: The method does not support the scenario's number of patterns.
    """
    scene = scenario.build()
    with warnings.catch_warnings():  # of CVXPY; every design is checked anyway
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        design = designed(scenario, method)
    if thorough:
        design = certify(scenario, design)
    covariance, reflection = patterned(design)
    coefficients = tuple(map(jnp.asarray, reflection))
    return SensingEvaluation(
        scenario=scenario,
        method=method,
        thorough=thorough,
        scene=scene,
        design=design,
        bounds=direction_bounds(scenario, covariance, reflection),
        radiated=radiated_power(scene, jnp.asarray(covariance), coefficients),
        beampatterns=np.stack(
            [
                surface_beampattern(scene, design, i)
                for i in range(min(scene.n_surfaces, MOST_BEAMPATTERNS))
            ]
        ),
        overrides=dict(overrides or {}),
    )


def surface_beampattern(scene: SensingScene, design: BeamformingDesign, index: int) -> np.ndarray:
    """Beampattern of one surface over `DIRECTIONS`, [elevation, azimuth]. [W]

    Args:
        scene: The scene.
        design: A design for it.
        index: Index of the surface.
    """
    covariance, reflection = patterned(design)
    sent, psi = jnp.asarray(covariance[index]), jnp.asarray(reflection[index])
    directions = jnp.asarray(DIRECTIONS)
    return np.asarray(beampattern(scene, index, sent, psi, directions, directions))
