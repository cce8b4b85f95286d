"""Plotting functions for user-supplied axes: the namespace ``heliostat.plot``."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from heliostat.api.localization import build
from heliostat.api.localization_results import TimeAllocation, TradeOff
from heliostat.api.sensing_arguments import checked_reflections
from heliostat.api.sensing_evaluation import DIRECTIONS, surface_beampattern
from heliostat.design.result import BeamformingDesign
from heliostat.plots import localization, sensing
from heliostat.plots.coverage import coverage, distribution
from heliostat.plots.scene import draw_above, draw_space
from heliostat.plots.style import new_axes, styled
from heliostat.scenario import ScenarioLike, SensingScenario, any_scenario, of_system
from heliostat.units import to_dbm

__all__ = ["beampattern", "coverage", "distribution", "scene", "trade_off"]


def scene(scenario: ScenarioLike, ax: Axes | None = None) -> Axes:
    """Draw a scenario from above, or in 3-D on axes with ``projection="3d"``.

    Args:
        scenario: A scenario, its name, path or dict.
        ax: Axes to draw in; default those of a new figure.

    Returns:
        The axes.
    """
    scenario = any_scenario(scenario, "plot.scene")
    if isinstance(scenario, SensingScenario):
        drawn = sensing.sketch(scenario.build())
    else:
        others = [user.position for user in scenario.all_users[1:]]
        drawn = localization.sketch(build(scenario), scenario.footprints, others)
    with styled():
        ax = ax or new_axes()
        if ax.name == "3d":
            draw_space(ax, drawn)
        else:
            draw_above(ax, drawn)
            ax.legend()
    return ax


def trade_off(result: TimeAllocation | TradeOff, ax: Axes | None = None) -> Axes:
    """Plot the position error bound (PEB) against the effective rate for all allocations.

    Args:
        result: Result of `heliostat.allocate_time`, whose allocation is marked, or its
            ``trade_off``.
        ax: Axes to draw in; default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: The result is something else.
    """
    if not isinstance(result, TimeAllocation | TradeOff):
        raise TypeError(
            "plot.trade_off takes the result of heliostat.allocate_time, or its trade_off, "
            f"not {type(result).__name__}."
        )
    best = result if isinstance(result, TimeAllocation) else None
    choices = result.trade_off if isinstance(result, TimeAllocation) else result
    with styled():
        ax = ax or new_axes()
        localization.draw_trade_off(ax, choices, best)
        ax.legend()
    return ax


def beampattern(
    scenario: ScenarioLike, design: BeamformingDesign, surface: int = 0, ax: Axes | None = None
) -> Axes:
    """Plot the power that one surface radiates over elevation and azimuth.

    The colors are the equivalent isotropically radiated power (EIRP) in dBm, the mean over the
    patterns of the design; a circle marks the target.

    Args:
        scenario: A sensing scenario, its name, path or dict.
        design: A design for it.
        surface: Index of the surface.
        ax: Axes to draw in; default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: The scenario is not one of sensing.
        ValueError: There is no such surface, or the design is for other surfaces.
    """
    scenario = of_system(scenario, SensingScenario, "plot.beampattern")
    seen = scenario.build()
    if surface not in range(seen.n_surfaces):
        raise ValueError(
            f"surface is {surface}; {scenario.name} has surfaces 0 to {seen.n_surfaces - 1}."
        )
    checked_reflections(scenario, design.reflection)
    pattern = surface_beampattern(seen, design, surface)
    target: Any = np.asarray(seen.angles())[surface]
    with styled():
        ax = ax or new_axes()
        highest = float(to_dbm(pattern.max()))
        image = sensing.draw_beampattern(ax, pattern, DIRECTIONS, DIRECTIONS, target, highest)
        ax.figure.colorbar(image, ax=ax, label=sensing.EIRP, extend="min")
        ax.set(title=f"Surface {surface}", xlabel="azimuth [deg]", ylabel="elevation [deg]")
    return ax
