"""Bounds and rates over an area: what a user would get at each place."""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

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
from heliostat.rates.effective import eadr
from heliostat.scene.localization import LocalizationScene

Quantity = Literal["peb", "reb", "rate"]
UNITS: dict[Quantity, str] = {"peb": "m", "reb": "rad", "rate": "bit/s"}


class Area(NamedTuple):
    """A rectangle at one height. [m]"""

    x0: float
    x1: float
    y0: float
    y1: float

    def cells(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Centres of about so many nearly square cells that fill it: columns' x, rows' y. [m]

        Args:
            points: How many, about.
        """
        width, height = self.x1 - self.x0, self.y1 - self.y0
        columns = min(max(round(math.sqrt(points * width / height)), 1), points)
        rows = max(round(points / columns), 1)
        x = self.x0 + width * (np.arange(columns) + 0.5) / columns
        y = self.y0 + height * (np.arange(rows) + 0.5) / rows
        return x, y


def area_around(places: Iterable[Sequence[float]]) -> Area:
    """A rectangle that holds all places, with a margin.

    Args:
        places: x, y and perhaps z of each. [m]
    """
    every = np.array([place[:2] for place in places])
    low, high = every.min(axis=0), every.max(axis=0)
    longest = max(float(np.max(high - low)), 1.0)
    half = np.maximum((high - low) / 2 + 0.15 * longest, 0.4 * longest)
    (x0, y0), (x1, y1) = (low + high) / 2 - half, (low + high) / 2 + half
    return Area(float(x0), float(x1), float(y0), float(y1))


CHUNK = 1 << 15
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


def _moved(scene: LocalizationScene, position: Vector, follow: bool) -> LocalizationScene:
    there = scene.with_user(position, scene.user.heading)
    return there.focused(alignment=position, data=position) if follow else there


# The bound in three compiled stages: in one, XLA computes every sine anew for each of its uses.
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

    # XLA computes one chunk on one core; two threads keep two busy and little memory taken.
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
