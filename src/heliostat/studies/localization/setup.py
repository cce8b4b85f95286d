"""What the localization paper's figures share: its set-up, its sizes, its error levels.

The paper prints the number of elements of Fig. 7 only (64); 16, 64 and 256 are used for the
others. Of the error levels it prints the largest, 7 m and pi/6; the middle ones are ours.
"""

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.protocol.errors import ErrorLevels, Errors, draw_errors
from heliostat.rates.effective import eadr
from heliostat.scenario import LocalizationScenario, load, scenario_text
from heliostat.scene.localization import LocalizationScene

SIDES = [4, 8, 16]
"""Square roots of N = 16, 64, 256."""

WEIGHT = 1e-10
"""xi, not printed; this value fits the paper's Figs. 8 and 9. [(m + rad) s/bit]"""


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
NOISE_VAR = 1e-11
"""sigma_w^2 as a bare number, -80 dBm in watts: Figs. 8 and 9 set sigma_h^2 to it."""
ALLOCATION_CONDITIONS = [
    PERFECT,
    Condition("mobility 7 m", mobility=7.0),
    Condition("error 7 m, 30°", position=7.0, heading=math.pi / 6),
    Condition("error 7 m, 30°, gain", 7.0, math.pi / 6, 0.0, NOISE_VAR),
]


def scenario(side: int, antennas: int = 32) -> LocalizationScenario:
    """Table I with another surface and other arrays.

    Args:
        side: Elements along each side of the surface.
        antennas: Of the base station and of the user.
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
    assert isinstance(loaded, LocalizationScenario)
    return loaded


@functools.cache
def scene(side: int, antennas: int = 32) -> LocalizationScene:
    """The scene of `scenario`."""
    with jax.ensure_compile_time_eval():
        return scenario(side, antennas).build()


def unit_errors(key: PRNGKeyArray) -> Errors:
    """One trial's errors at level one each; `at_condition` scales them.

    Args:
        key: The trial's own key.
    """
    return draw_errors(ErrorLevels(*(jnp.ones(()) for _ in range(4))), key)


def at_condition(unit: Errors, condition: Int[Array, ""], conditions: list[Condition]) -> Errors:
    """A trial's errors at one of the conditions: the same draw at every level.

    Args:
        unit: See `unit_errors`.
        condition: Its place in the list.
        conditions: The list.
    """
    position, heading, mobility, gain_var = jnp.asarray([c[1:] for c in conditions])[condition]
    return Errors(
        movement=mobility * unit.movement,
        previous_position=position * unit.previous_position,
        position=position * unit.position,
        heading=heading * unit.heading,
        gain=jnp.sqrt(gain_var) * unit.gain,
    )


def over_allocations(
    scene: LocalizationScene, active_antennas: Float[Array, "choice"]
) -> Mapping[str, Float[Array, "choice"]]:
    """PEB [m], REB [rad] and rate [bit/s] at each number of active antennas.

    Args:
        scene: As it is.
        active_antennas: The choices.
    """

    def at(active: Float[Array, ""]) -> tuple[Array, Array, Array]:
        return *error_bounds(pose_information(scene, active)), eadr(scene, active)

    peb, reb, rate = eqx.filter_vmap(at)(active_antennas)
    return {"peb": peb, "reb": reb, "eadr": rate}


def provenance(conditions: list[Condition]) -> dict[str, str]:
    """What a dataset must say so that its numbers can be had again.

    Args:
        conditions: The list that the ``condition`` axis counts.
    """
    return {
        "scenario": scenario_text("localization-table-1"),
        "conditions": "; ".join(
            f"{i}: {c.label} (position {c.position} m, heading {c.heading:.4g} rad, "
            f"mobility {c.mobility} m, gain variance {c.gain_var})"
            for i, c in enumerate(conditions)
        ),
        "reference": "doi:10.48550/arXiv.2103.01063",
    }
