"""Localization bounds and effective rate of a user at each point of an area."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from heliostat.bounds.pose import (
    PoseInformation,
    alignment_response,
    error_bounds,
    information_through,
)
from heliostat.bounds.printed import pose_information_as_printed
from heliostat.geometry.frames import Scalar, Vector
from heliostat.maps.area import Area, area_around, grid_points
from heliostat.rates.effective import eadr
from heliostat.scenario import LocalizationScenario
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Phased

Quantity = Literal["peb", "reb", "rate"]
UNITS: dict[Quantity, str] = {"peb": "m", "reb": "rad", "rate": "bit/s"}


CHUNK = 1 << 15
"""Points computed at once: some 100 numbers each fit into a processor's cache, and more points are
not faster."""
POINTS = 40_000
"""Approximate default number of points of a map."""
_STRIP = 1 << 22
"""Most complex numbers that a strip of a map holds at once: 64 MiB."""


def can_be_steered(scenario: LocalizationScenario) -> bool:
    """Whether the surface can be steered at any point: its phases are designed and continuous.

    Args:
        scenario: A loaded scenario.
    """
    return scenario.surface.phases == "designed" and scenario.surface.bits is None


def steers_by_default(scenario: LocalizationScenario) -> bool:
    """Whether a map steers the surface at each point by default: no focus or phases are given.

    Args:
        scenario: A loaded scenario.
    """
    return can_be_steered(scenario) and scenario.surface.focus is None


def default_area(scenario: LocalizationScenario) -> Area:
    """A rectangle that contains base station, surface and user, with a margin.

    Args:
        scenario: A loaded scenario.
    """
    return area_around(
        [scenario.base_station.position, scenario.surface.position, scenario.user.position]
    )


def map_title(
    scenario: LocalizationScenario, quantity: Quantity, active_antennas: int, follow: bool
) -> str:
    """Title of a map: scenario, quantity and conditions; a semicolon ends a line.

    Args:
        scenario: A loaded scenario.
        quantity: Quantity of the map.
        active_antennas: :math:`N_B`.
        follow: Whether the surface is steered at each point.
    """
    configuration = "surface steered at each point" if follow else "fixed surface configuration"
    name = {
        "peb": "position error bound (PEB)",
        "reb": "heading error bound (REB)",
        "rate": "effective rate",
    }[quantity]
    return f"{scenario.name}: {name}; active antennas: {active_antennas}, {configuration}"


@dataclass(frozen=True)
class AreaMap:
    """Values of one quantity on a horizontal grid at the height of the user."""

    x: np.ndarray
    """Coordinates of the columns. [column] [m]"""
    y: np.ndarray
    """Coordinates of the rows. [row] [m]"""
    value: np.ndarray
    """Values in the unit given by `UNITS`; ``inf`` where no bound exists. [row, column]"""
    quantity: Quantity
    served: np.ndarray
    """Whether the point lies in front of the surface; behind it bounds are ``inf`` and rates 0.
    [row, column]"""


def _moved(scene: LocalizationScene, position: Vector, follow: bool) -> LocalizationScene:
    there = scene.with_user(position, scene.user.heading)
    return there.focused(alignment=position, data=position) if follow else there


# Three compiled stages: in a single one XLA would recompute every sine for each of its uses.
@partial(jax.jit, static_argnums=0)
def _responses(
    follow: bool, scene: LocalizationScene, positions: Float[Array, "point xyz"]
) -> tuple[Array, Array]:
    return jax.vmap(lambda p: alignment_response(_moved(scene, p, follow)))(positions)


@jax.jit
def _information(
    scene: LocalizationScene,
    active_antennas: Scalar,
    positions: Float[Array, "point xyz"],
    responses: tuple[Array, Array],
) -> PoseInformation:
    def at(position: Vector, response: Array, slope: Array) -> PoseInformation:
        return information_through(_moved(scene, position, False), active_antennas, response, slope)

    return jax.vmap(at)(positions, *responses)


_bounds = jax.jit(jax.vmap(error_bounds))


@partial(jax.jit, static_argnums=0)
def _printed_bounds(
    follow: bool,
    scene: LocalizationScene,
    active_antennas: Scalar,
    positions: Float[Array, "point xyz"],
) -> tuple[Array, Array]:
    return jax.vmap(
        lambda p: error_bounds(
            pose_information_as_printed(_moved(scene, p, follow), active_antennas)
        )
    )(positions)


@partial(jax.jit, static_argnums=0)
def _rates(
    follow: bool,
    scene: LocalizationScene,
    active_antennas: Scalar,
    positions: Float[Array, "point xyz"],
) -> Float[Array, "point"]:
    return jax.vmap(lambda p: eadr(_moved(scene, p, follow), active_antennas))(positions)


def map_positions(
    scene: LocalizationScene,
    positions: Float[np.ndarray, "point xyz"],
    quantity: Quantity,
    active_antennas: int,
    *,
    follow: bool,
    as_printed: bool = False,
) -> Float[np.ndarray, "point"]:
    """One quantity at each of many positions, computed in chunks to limit memory.

    Args:
        scene: The scene; its user is moved, with the heading kept.
        positions: Positions of the user. [m]
        quantity: ``peb`` [m], ``reb`` [rad] or ``rate`` [bit/s].
        active_antennas: :math:`N_B`.
        follow: Steer the surface at each position; otherwise its configuration is fixed.
        as_printed: Use the bound as printed in the paper, for comparison.
    """
    count = len(positions)
    size = min(CHUNK, count)
    active = jnp.asarray(float(active_antennas))

    normal, centre = np.asarray(scene.surface.array.normal), np.asarray(scene.surface.position)

    def chunk(start: int) -> np.ndarray:
        part = positions[start : start + size]
        padded = jnp.asarray(np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)]))
        unserved = 0.0 if quantity == "rate" else np.inf
        if quantity == "rate":
            value = _rates(follow, scene, active, padded)
        elif as_printed:
            value = _printed_bounds(follow, scene, active, padded)[quantity == "reb"]
        else:
            responses = _responses(follow, scene, padded)
            value = _bounds(_information(scene, active, padded, responses))[quantity == "reb"]
        return np.where((part - centre) @ normal > 0, np.asarray(value)[: len(part)], unserved)

    # XLA computes a chunk on one core; two threads use two cores and need little memory.
    with ThreadPoolExecutor(max_workers=2) as pool:
        return np.concatenate(list(pool.map(chunk, range(0, count, size))))


def map_area(
    scene: LocalizationScene,
    x: Float[np.ndarray, "column"],
    y: Float[np.ndarray, "row"],
    quantity: Quantity,
    active_antennas: int,
    *,
    follow: bool,
    as_printed: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> AreaMap:
    """One quantity over a rectangle at the height of the scene's user, in strips of rows.

    Args:
        scene: The scene; its user is moved, with the heading kept.
        x: Coordinates of the columns. [m]
        y: Coordinates of the rows. [m]
        quantity: ``peb`` [m], ``reb`` [rad] or ``rate`` [bit/s].
        active_antennas: :math:`N_B`.
        follow: Steer the surface at each point; otherwise its configuration is fixed.
        as_printed: Use the bound as printed in the paper, for comparison.
        on_progress: Called with the number of finished rows and of all rows.
    """
    alignment = scene.surface.alignment
    work = alignment.phase.size if isinstance(alignment, Phased) else 32
    rows, strip = len(y), min(max(_STRIP // (work * len(x)), 1), len(y))
    padded = np.pad(y, (0, -rows % strip), mode="edge")  # one size of strip: compiled once
    height, parts = float(scene.user.position[2]), []
    for start in range(0, rows, strip):
        on_progress(start, rows)
        positions = grid_points(x, padded[start : start + strip], height)
        parts.append(
            map_positions(
                scene, positions, quantity, active_antennas, follow=follow, as_printed=as_printed
            )
        )
    on_progress(rows, rows)
    value = np.concatenate(parts).reshape(-1, len(x))[:rows]
    offset = grid_points(x, y, height) - np.asarray(scene.surface.position)
    front = offset @ np.asarray(scene.surface.array.normal) > 0
    return AreaMap(x, y, value, quantity, front.reshape(value.shape))
