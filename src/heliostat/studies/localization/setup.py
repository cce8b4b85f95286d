"""Scenario, surface sizes, error levels and axes shared by the localization paper's figures.

The paper prints the number of elements of Fig. 7 only (64); the other figures use 16, 64 and 256
here. Of the error levels it prints the largest ones, 7 m and pi/6; the middle ones are chosen here.
"""

import functools
import math
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from matplotlib.axes import Axes

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.protocol.errors import ErrorLevels, Errors, draw_errors
from heliostat.rates.effective import eadr
from heliostat.scenario import LocalizationScenario, load, of_system, scenario_text
from heliostat.scene.localization import LocalizationScene
from heliostat.studies.figures import COLORS, LINES, LegendEntry, entries
from heliostat.studies.study import Quantity

SIDES = [4, 8, 16]
"""Elements along each side of the surface; N = 16, 64, 256."""
SIZES = entries((f"N = {side**2}" for side in SIDES), color=COLORS, linewidth=repeat(4))
"""Legend entries of the surface sizes."""
ANTENNAS = np.arange(1, 33)
"""Numbers of active antennas: the possible allocations of time to the pilots."""
SHARE = ANTENNAS / ANTENNAS[-1]
"""Time ratios of these allocations over the largest one."""
SHARE_LABEL = r"normalized time ratio $\varpi\, T_c/(T_c-T_o)$"
RATE_LABEL = "effective achievable data rate (EADR) [Mbit/s]"

WEIGHT = 1e-10
"""xi of the joint objective. Not printed; this value fits the paper's Figs. 8 and 9.
[(m + rad) s/bit]"""
OUTPUTS = {
    "peb": Quantity("m", ("active_antennas",), "position error bound"),
    "reb": Quantity("rad", ("active_antennas",), "heading error bound"),
    "eadr": Quantity("bit/s", ("active_antennas",), "effective rate with codebook beams"),
}
"""Outputs of `over_allocations`."""


class Condition(NamedTuple):
    """One level of estimation errors and mobility."""

    label: str
    position: float = 0.0  # [m]
    heading: float = 0.0  # [rad]
    mobility: float = 0.0  # [m]
    gain_var: float = 0.0  # [1]


PERFECT = Condition("perfect estimates")
CONDITIONS = [
    PERFECT,
    Condition("error 3 m, 15°", position=3.0, heading=math.pi / 12),
    Condition("error 7 m, 30°", position=7.0, heading=math.pi / 6),
    Condition("mobility 3 m", mobility=3.0),
    Condition("mobility 7 m", mobility=7.0),
]
PANEL_CONDITIONS = {"(a) estimation errors": (0, 1, 2), "(b) mobility": (0, 3, 4)}
"""Conditions in the two columns of Figs. 4 and 6."""
WIDE = {"linewidth": 4.5, "alpha": 0.35}
"""Line below thin ones that nearly coincide with it."""
PANEL_LOOKS: list[LegendEntry] = [
    ("perfect estimates", WIDE),
    *entries(
        [
            "(a) errors of 3 m and 15°, (b) mobility 3 m",
            "(a) errors of 7 m and 30°, (b) mobility 7 m",
        ],
        linestyle=(LINES[1], LINES[3]),
        marker="^s",
        markevery=((3, 7), (6, 7)),
        fillstyle=repeat("none"),
    ),
]
"""Lines of these conditions, with markers that do not cover each other."""
NOISE_VAR = 1e-11
"""Numerical value of sigma_w^2 = -80 dBm in watts, to which Figs. 8 and 9 set sigma_h^2."""
ALLOCATION_CONDITIONS = [
    PERFECT,
    Condition("mobility 7 m", mobility=7.0),
    Condition("error 7 m, 30°", position=7.0, heading=math.pi / 6),
    Condition("error 7 m, 30°, gain", 7.0, math.pi / 6, 0.0, NOISE_VAR),
]


def scenario(side: int, antennas: int = 32) -> LocalizationScenario:
    """Scenario of Table I with another number of elements and of antennas.

    Args:
        side: Elements along each side of the surface.
        antennas: Antennas of the base station, and of the user.
    """
    loaded = load(
        "localization-table-1",
        {
            "surface.rows": side,
            "surface.columns": side,
            "base_station.antennas": antennas,
            "user.antennas": antennas,
        },
    )
    return of_system(loaded, LocalizationScenario, "this study")


@functools.cache
def scene(side: int, antennas: int = 32) -> LocalizationScene:
    """The scene of `scenario`."""
    with jax.ensure_compile_time_eval():
        return scenario(side, antennas).build()


def unit_errors(key: PRNGKeyArray) -> Errors:
    """Errors of one trial at unit levels; `at_condition` scales them."""
    return draw_errors(ErrorLevels(*(jnp.ones(()) for _ in range(4))), key)


def at_condition(unit: Errors, condition: Int[Array, ""], conditions: list[Condition]) -> Errors:
    """Errors of one trial at one condition; all conditions scale the same draw."""
    position, heading, mobility, gain_var = jnp.asarray([c[1:] for c in conditions])[condition]
    return Errors(
        movement=mobility * unit.movement,
        previous_position=position * unit.previous_position,
        position=position * unit.position,
        heading=heading * unit.heading,
        gain=jnp.sqrt(gain_var) * unit.gain,
    )


def over_allocations(scene: LocalizationScene) -> Mapping[str, Float[Array, "choice"]]:
    """PEB [m], REB [rad] and rate [bit/s] at each number of active antennas in `ANTENNAS`."""

    def at(active: Float[Array, ""]) -> tuple[Array, Array, Array]:
        return *error_bounds(pose_information(scene, active)), eadr(scene, active)

    peb, reb, rate = eqx.filter_vmap(at)(jnp.asarray(ANTENNAS, dtype=float))
    return {"peb": peb, "reb": reb, "eadr": rate}


def error_panels(grid: np.ndarray) -> Iterator[tuple[Axes, str, str, tuple[int, ...]]]:
    """Axes, name and label of the bound, and conditions of each of the panels of Figs. 4 and 6."""
    for column, (title, conditions) in enumerate(PANEL_CONDITIONS.items()):
        grid[0, column].set_title(title)
        for row, (name, words) in enumerate((("peb", "position"), ("reb", "heading"))):
            unit = OUTPUTS[name].unit
            label = rf"$\log_{{10}}$({words} error bound {name.upper()} / {unit})"
            yield grid[row, column], name, label, conditions


def provenance(conditions: list[Condition]) -> dict[str, str]:
    """Attributes from which a dataset can be computed again."""
    return {
        "scenario": scenario_text("localization-table-1"),
        "conditions": "; ".join(
            f"{i}: {c.label} (position {c.position} m, heading {c.heading:.4g} rad, "
            f"mobility {c.mobility} m, gain variance {c.gain_var})"
            for i, c in enumerate(conditions)
        ),
        "reference": "doi:10.48550/arXiv.2103.01063",
    }
