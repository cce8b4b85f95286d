"""Bounds and rates over an area: what a user would get at each place."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.bounds.printed import pose_information_as_printed
from heliostat.rates.effective import eadr
from heliostat.scene import LocalizationScene

Quantity = Literal["peb", "reb", "rate"]
UNITS: dict[Quantity, str] = {"peb": "m", "reb": "rad", "rate": "bit/s"}

CHUNK = 1 << 16
"""Positions computed at once: some 100 numbers each fit into a processor's cache and far below
1 GB, and more at once are no faster."""


@dataclass(frozen=True)
class AreaMap:
    """One quantity over a rectangle at the user's height."""

    x: np.ndarray
    """[column] [m]"""
    y: np.ndarray
    """[row] [m]"""
    value: np.ndarray
    """[row, column]; ``inf`` where no bound exists, NaN nowhere. Unit: `UNITS`."""
    quantity: Quantity
    served: np.ndarray
    """[row, column]: whether the place lies in front of the surface; elsewhere a bound is ``inf``
    and a rate 0."""


@partial(jax.jit, static_argnums=(0, 1, 2))
def _chunk(
    quantity: Quantity,
    follow: bool,
    as_printed: bool,
    scene: LocalizationScene,
    active_antennas: Float[Array, ""],
    positions: Float[Array, "point xyz"],
) -> Float[Array, "point"]:
    def at(position: Float[Array, "xyz"]) -> Float[Array, ""]:
        there = scene.with_user(position, scene.user.heading)
        if follow:
            there = there.focused(alignment=position, data=position)
        front = jnp.dot(position - scene.surface.position, scene.surface.array.normal) > 0
        if quantity == "rate":
            return jnp.where(front, eadr(there, active_antennas), 0.0)
        of = pose_information_as_printed if as_printed else pose_information
        peb, reb = error_bounds(of(there, active_antennas))
        return jnp.where(front, peb if quantity == "peb" else reb, jnp.inf)

    return jax.vmap(at)(positions)


def map_positions(
    scene: LocalizationScene,
    positions: Float[np.ndarray, "point xyz"],
    quantity: Quantity,
    active_antennas: int,
    *,
    follow: bool,
    as_printed: bool = False,
) -> Float[np.ndarray, "point"]:
    """One quantity at each of many positions, in chunks that keep memory small.

    Args:
        scene: The scene; its user is moved, with the heading kept.
        positions: Where. [m]
        quantity: ``peb`` [m], ``reb`` [rad] or ``rate`` [bit/s].
        active_antennas: :math:`N_B`.
        follow: Steer the surface at each position; else it stays as it is set.
        as_printed: The paper's printed bound, for comparison.
    """
    count = len(positions)
    size = min(CHUNK, count)
    active = jnp.asarray(float(active_antennas))
    value = np.empty(count)
    for start in range(0, count, size):
        part = positions[start : start + size]
        padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        computed = _chunk(quantity, follow, as_printed, scene, active, jnp.asarray(padded))
        value[start : start + size] = np.asarray(computed)[: len(part)]
    return value


def map_area(
    scene: LocalizationScene,
    x: Float[np.ndarray, "column"],
    y: Float[np.ndarray, "row"],
    quantity: Quantity,
    active_antennas: int,
    *,
    follow: bool,
    as_printed: bool = False,
) -> AreaMap:
    """One quantity over a rectangle at the height of the scene's user.

    Args:
        scene: The scene; its user is moved, with the heading kept.
        x: Coordinates of the columns. [m]
        y: Coordinates of the rows. [m]
        quantity: ``peb`` [m], ``reb`` [rad] or ``rate`` [bit/s].
        active_antennas: :math:`N_B`.
        follow: Steer the surface at each position; else it stays as it is set.
        as_printed: The paper's printed bound, for comparison.
    """
    height = float(scene.user.position[2])
    across, along = np.meshgrid(x, y)
    positions = np.stack([across, along, np.full_like(across, height)], axis=-1).reshape(-1, 3)
    value = map_positions(
        scene, positions, quantity, active_antennas, follow=follow, as_printed=as_printed
    )
    offset = positions - np.asarray(scene.surface.position)
    front = offset @ np.asarray(scene.surface.array.normal) > 0
    return AreaMap(x, y, value.reshape(across.shape), quantity, front.reshape(across.shape))
