"""Localization bounds and effective rate of a user at each of many positions."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from heliostat.bounds.paths import paths_information
from heliostat.bounds.pose import (
    PoseInformation,
    alignment_response,
    error_bounds,
    information_through,
)
from heliostat.bounds.printed import pose_information_as_printed
from heliostat.geometry.frames import Scalar
from heliostat.maps.area import facing, in_chunks
from heliostat.rates.effective import codebook_snr, eadr
from heliostat.scene.localization import LocalizationScene, PassiveSurface
from heliostat.stored_programs import stored_jit
from heliostat.surface.passive import SORTED, Phased, Steered, rounded_responses

Quantity: TypeAlias = Literal["peb", "reb", "rate", "snr"]

CHUNK = 1 << 15
"""Number of points computed at once. About 100 numbers for each of them fit into the cache of a
processor; more points are not faster."""
MOST_NUMBERS = 1 << 22
"""Maximum number of complex numbers that a chunk holds at once: 64 MiB."""


class Steering(NamedTuple):
    """Configuration of the surface for each position of the user."""

    each_point: bool
    """Whether the surface is steered to each position; otherwise its configuration is fixed."""
    bits: tuple[int | None, ...] = ()
    """Bits of phase resolution of each surface that is steered to each position, None for
    continuous phases; empty if the phases of all surfaces are continuous."""


def _at(
    steering: Steering,
    scene: LocalizationScene,
    pose: Float[Array, "4"],
    visible: Float[Array, "path"] | None = None,
) -> LocalizationScene:
    """The scene with its user at x, y, z and heading, and only the visible paths to it."""
    position, heading = pose[:3], pose[3]
    there = scene.with_user(position, heading)
    if visible is not None:
        there = there.with_gains(scene.gains() * visible)
    if not steering.each_point:
        return there
    surfaces = []
    for i in range(len(scene.surfaces)):
        steered = there.through(i).focused(alignment=position, data=position)
        bits = steering.bits[i] if steering.bits else None
        surfaces.append((steered.quantized(bits) if bits else steered).surface)
    return eqx.tree_at(lambda s: s.surfaces, there, tuple(surfaces))


def _rounds(steering: Steering, scene: LocalizationScene) -> bool:
    """Whether the nearest phases are the best quantized ones, so that `rounded_responses` applies.

    See `best_quantized`; for scenes with a single path only.
    """
    surface = scene.surface
    return (
        steering.each_point
        and any(steering.bits)
        and surface.array.elements > SORTED
        and not surface.spherical
    )


# Three compiled stages: in a single one XLA would recompute every sine for each of its uses.
@partial(stored_jit, large=True)
def _responses(
    steering: Steering, scene: LocalizationScene, poses: Float[Array, "point 4"]
) -> tuple[Array, Array]:
    return jax.vmap(lambda pose: alignment_response(_at(steering, scene, pose)))(poses)


@partial(stored_jit, large=True)
def _steered(
    scene: LocalizationScene, poses: Float[Array, "point 4"]
) -> tuple[Steered, Array, Array]:
    """Steered configurations for each pose, and the direction cosines of arrival and departure."""

    def at(pose: Array) -> tuple[Steered, Array, Array]:
        there = _at(Steering(each_point=True), scene, pose)
        assert isinstance(there.surface.alignment, Steered)
        return there.surface.alignment, there.arrival(), there.departure(there.user.position)

    return jax.vmap(at)(poses)


def _rounded(
    steering: Steering, scene: LocalizationScene, poses: Float[Array, "point 4"]
) -> tuple[np.ndarray, np.ndarray]:
    """`_responses` where `_rounds` is true."""
    surface, bits = scene.surface, steering.bits[0]
    assert bits is not None
    steered, arrival, departure = _steered(scene, poses)
    return rounded_responses(
        surface.array,
        float(surface.reflection),
        steered,
        bits,
        np.asarray(arrival),
        np.asarray(departure),
    )


@partial(stored_jit, large=True)
def _information(
    scene: LocalizationScene,
    active_antennas: Scalar,
    poses: Float[Array, "point 4"],
    responses: tuple[Array, Array],
) -> PoseInformation:
    def at(pose: Array, response: Array, slope: Array) -> PoseInformation:
        there = scene.with_user(pose[:3], pose[3])
        return information_through(there, active_antennas, response, slope)

    return jax.vmap(at)(poses, *responses)


@partial(stored_jit, large=True)
def _bounds(information: PoseInformation) -> tuple[Array, Array]:
    return jax.vmap(error_bounds)(information)


@partial(stored_jit, large=True)
def _bounds_over_paths(
    steering: Steering,
    scene: LocalizationScene,
    active_antennas: Scalar,
    poses: Float[Array, "point 4"],
    visible: Float[Array, "point path"],
) -> tuple[Array, Array]:
    def at(pose: Array, seen: Array) -> tuple[Array, Array]:
        return error_bounds(paths_information(_at(steering, scene, pose, seen), active_antennas))

    return jax.vmap(at)(poses, visible)


@partial(jax.jit, static_argnums=0)
def _printed_bounds(
    steering: Steering,
    scene: LocalizationScene,
    active_antennas: Scalar,
    poses: Float[Array, "point 4"],
) -> tuple[Array, Array]:
    def at(pose: Array) -> tuple[Array, Array]:
        there = _at(steering, scene, pose)
        return error_bounds(pose_information_as_printed(there, active_antennas))

    return jax.vmap(at)(poses)


@partial(stored_jit, large=True)
def _rates(
    quantity: Quantity,
    steering: Steering,
    scene: LocalizationScene,
    active_antennas: Scalar,
    poses: Float[Array, "point 4"],
    visible: Float[Array, "point path"],
) -> Float[Array, "point"]:
    of = eadr if quantity == "rate" else codebook_snr

    def at(pose: Array, seen: Array) -> Array:
        return of(_at(steering, scene, pose, seen), active_antennas)

    return jax.vmap(at)(poses, visible)


def _facing(
    scene: LocalizationScene, positions: Float[np.ndarray, "point xyz"]
) -> Bool[np.ndarray, "point path"]:
    """Whether the surface of each path faces each position; true for the direct path."""
    ahead = facing(scene.surfaces, positions)
    if scene.direct is None:
        return ahead
    return np.column_stack([np.ones(len(positions), dtype=bool), ahead])


def quantity_at(
    scene: LocalizationScene,
    positions: Float[np.ndarray, "point xyz"],
    quantity: Quantity,
    active_antennas: int,
    steering: Steering,
    *,
    visible: Bool[np.ndarray, "point path"] | None = None,
    headings: Float[np.ndarray, "point"] | None = None,
    as_printed: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float[np.ndarray, "point"]:
    """Compute a quantity at many positions; without a path, bounds are inf, rate and SNR are 0.

    Args:
        scene: The scene; its user is moved.
        positions: Positions of the user. [m]
        quantity: ``peb`` [m], ``reb`` [rad], ``rate`` [bit/s] or ``snr`` of the data [1].
        active_antennas: :math:`N_B`.
        steering: Configuration of the surfaces for each position.
        visible: Whether each path reaches each position, the direct path first if there is one;
            default true for the direct path and for surfaces that face the position.
        headings: Headings of the user; default that of the scene's user. [rad]
        as_printed: Use the bound as printed in the paper, for comparison.
        on_progress: Function called with the number of finished positions and the total number.
    """
    if visible is None:
        visible = _facing(scene, positions)
    active = jax.device_put(np.float64(active_antennas))
    rounds = scene.single_path and not as_printed and _rounds(steering, scene)

    def chunk(part: np.ndarray) -> tuple[np.ndarray, ...]:
        poses, seen = jax.device_put(part[:, :4]), jax.device_put(part[:, 4:])
        if quantity in ("rate", "snr"):
            return (np.asarray(_rates(quantity, steering, scene, active, poses, seen)),)
        if not scene.single_path:
            bounds = _bounds_over_paths(steering, scene, active, poses, seen)
        elif as_printed:
            bounds = _printed_bounds(steering, scene, active, poses)
        else:
            responses = (_rounded if rounds else _responses)(steering, scene, poses)
            bounds = _bounds(_information(scene, active, poses, responses))
        return (np.asarray(bounds[quantity == "reb"]),)

    bits = steering.bits or (None,) * len(scene.surfaces)
    work = sum(map(_numbers, scene.surfaces, bits))
    if rounds and quantity in ("peb", "reb"):
        array = scene.surface.array
        work = 16 * scene.surface.alignment.count * (array.columns + array.rows)
    if not scene.single_path:
        antennas = scene.base_station.array.elements, scene.user.antennas
        samples = scene.surface.alignment.count * scene.surface.code.size + sum(antennas)
        pairs = antennas[0] * antennas[1] if quantity in ("rate", "snr") else 0
        work += 10 * len(scene.gains()) * samples + pairs
    turned = np.full(len(positions), float(scene.user.heading)) if headings is None else headings
    size = min(CHUNK, max(MOST_NUMBERS // work, 1))
    # XLA computes a chunk on one core; two threads use two cores and need little memory.
    poses = np.column_stack([positions, turned, visible.astype(float)])
    (value,) = in_chunks(chunk, poses, size, threads=2, on_progress=on_progress)
    unserved = 0.0 if quantity in ("rate", "snr") else np.inf
    return np.where(visible.any(axis=1), value, unserved)


def _numbers(surface: PassiveSurface, bits: int | None) -> int:
    """Complex numbers that the response of a surface needs for each point."""
    alignment, elements = surface.alignment, surface.array.elements
    if isinstance(alignment, Phased) or bits is not None:
        return alignment.count * elements
    return 8 * elements if surface.spherical else 32
