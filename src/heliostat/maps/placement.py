"""Terms of candidate surfaces, from which sets of surfaces are evaluated at many positions.

Sign codes make the paths orthogonal over the configurations, so that the Fisher information about
pose and clock is a sum over the paths, see `bounds.paths.separate_information`. The terms of all
candidates at all positions are computed once; after that a set costs a sum and the elimination of
the clock and the heading. The rate follows in the same way from the sum of the amplitudes of all
beam pairs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from heliostat.bounds.paths import SEPARATE, separate_information
from heliostat.geometry.frames import Scalar
from heliostat.maps.area import in_chunks
from heliostat.maps.localization import CHUNK, MOST_NUMBERS
from heliostat.rates.effective import beam_factors
from heliostat.scenario.goals import Goal
from heliostat.scene.localization import LocalizationScene

FEWEST_PAIRS = 1024
"""Smallest number of pairs of a candidate and a position that are computed together."""


class Mounts(NamedTuple):
    """Positions and orientations of panels."""

    position: Float[np.ndarray, "mount xyz"]  # [m]
    axes: Float[np.ndarray, "mount 3 xyz"]  # along a row, along a column, normal [1]


class Setting(NamedTuple):
    """Everything that candidates are evaluated with, at positions of users with the same array."""

    scene: LocalizationScene
    """Scene whose first surface has the size, elements and configurations of the candidates."""
    active_antennas: int
    bits: int | None
    """Phase resolution of all surfaces, which are steered to each position."""
    poses: Float[np.ndarray, "position 4"]
    """x, y, z [m] and heading [rad] of the user at each position."""
    goals: tuple[Goal, ...]
    gains: Complex[np.ndarray, "slot"]
    """Gain without path loss of the path through each surface of a set, in order."""
    ratio: Float[np.ndarray, "position"]
    """Share of the period for pilots. [1]"""

    @property
    def needs(self) -> tuple[bool, bool]:
        """Whether bounds and whether rates are needed."""
        quantities = [goal.quantity for goal in self.goals]
        return "peb" in quantities, "rate" in quantities


class Terms(NamedTuple):
    """Terms of several paths at all positions, of unit gain."""

    information: Float[Array, "12 mount position"]  # see `separate_information`
    receive: Complex[Array, "mount position rx"]  # see `BeamFactors`
    transmit: Complex[Array, "mount tx"]


class Base(NamedTuple):
    """Sums over the paths of a set."""

    information: Float[np.ndarray, "12 position"]
    amplitude: Complex[np.ndarray, "position rx tx"]

    def plus(self, terms: Terms, mount: int, gain: complex) -> "Base":
        """Return the sums with one more surface.

        Args:
            terms: Terms of the candidates.
            mount: Index of the candidate.
            gain: Gain of the path without path loss.
        """
        # NumPy shares the memory of JAX's arrays; an index of such an array would be a program.
        information, receive, transmit = (np.asarray(each) for each in terms)
        receive, transmit = receive[mount], transmit[mount]
        return Base(
            self.information + information[:, mount],
            self.amplitude + gain * receive[:, :, None] * transmit[None, None, :],
        )


Part = TypeVar("Part", Terms, Base)
_POSITIONS = {"information": -1, "receive": 1, "amplitude": 0}
"""Axis of the positions in each array of terms and sums; the others are the same for all users."""


def joined(parts: Sequence[Part], index: Sequence[Int[np.ndarray, "_"]]) -> Part:
    """Return the terms or sums at all positions from those of users with different arrays.

    Antennas that a user does not have are zeros.

    Args:
        parts: Terms or sums at some of the positions.
        index: Indices of these positions; together they are all positions.
    """
    if len(parts) == 1:
        return parts[0]
    count = sum(map(len, index))
    whole: dict[str, Any] = {}
    for name, axis in _POSITIONS.items():
        if name in parts[0]._fields:
            arrays = [np.asarray(getattr(part, name)) for part in parts]
            shape = np.max([array.shape for array in arrays], axis=0)
            shape[axis] = count
            whole[name] = np.zeros(shape, dtype=arrays[0].dtype)
            for array, at in zip(arrays, index, strict=True):
                own: list[Any] = [slice(size) for size in array.shape]
                own[axis] = at
                whole[name][tuple(own)] = array
    return parts[0]._replace(**whole)


def _single(
    scene: LocalizationScene, pose: Float[Array, "4"], bits: int | None
) -> LocalizationScene:
    """The scene of one surface, steered to a pose, with a path of unit gain."""
    there = scene.with_user(pose[:3], pose[3]).focused(alignment=pose[:3], data=pose[:3])
    there = there.with_gains(jnp.ones(1, dtype=complex))
    return there.quantized(bits) if bits else there


def _mounted(
    scene: LocalizationScene, position: Float[Array, "xyz"], axes: Float[Array, "3 xyz"]
) -> LocalizationScene:
    """The scene of one surface, moved."""
    surface = scene.surface
    array = eqx.tree_at(lambda a: (a.horizontal, a.vertical, a.normal), surface.array, tuple(axes))
    moved = eqx.tree_at(lambda s: (s.position, s.array), surface, (position, array))
    return eqx.tree_at(lambda s: s.surfaces, scene, (moved,))


@partial(jax.jit, static_argnums=(0, 1))
def _pair_terms(
    needs: tuple[bool, bool],
    bits: int | None,
    scene: LocalizationScene,
    active_antennas: Scalar,
    pairs: Float[Array, "pair 16"],
) -> tuple[Array, Array]:
    """Terms of pairs of a mount (position, axes) and a pose."""

    def at(pair: Array) -> tuple[Array, Array]:
        there = _mounted(scene, pair[:3], pair[3:12].reshape(3, 3))
        there = _single(there, pair[12:], bits)
        information, receive = jnp.zeros(0), jnp.zeros(0, dtype=complex)
        if needs[0]:
            information = separate_information(there, active_antennas)
        if needs[1]:
            receive = beam_factors(there, active_antennas).receive[0]
        return information, receive

    return jax.vmap(at)(pairs)


@jax.jit
def _transmit(
    scene: LocalizationScene, active_antennas: Scalar, mounts: Float[Array, "mount 12"]
) -> Complex[Array, "mount tx"]:
    def at(mount: Array) -> Array:
        moved = _mounted(scene, mount[:3], mount[3:].reshape(3, 3))
        return beam_factors(moved, active_antennas).transmit[0]

    return jax.vmap(at)(mounts)


def terms_of(
    setting: Setting,
    mounts: Mounts,
    visible: Bool[np.ndarray, "mount position"],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Terms:
    """Compute the terms of candidates at all positions that they reach; all others are zero.

    Args:
        setting: Scene, positions and goals.
        mounts: The candidates.
        visible: Whether the path through each candidate reaches each position.
        on_progress: Function called with the number of finished pairs and the total number.
    """
    scene = setting.scene.through(0)
    surface, needs = scene.surface, setting.needs
    count, positions = len(mounts.position), len(setting.poses)
    active = jax.device_put(np.float64(setting.active_antennas))
    rows = np.column_stack([mounts.position, mounts.axes.reshape(count, 9)])
    information = np.zeros((SEPARATE * needs[0], count, positions))
    receive = np.zeros((count, positions, scene.user.antennas * needs[1]), dtype=complex)
    mount, position = np.nonzero(visible)
    if mount.size:
        pairs = np.column_stack([mount, position]).astype(float)

        def chunk(part: np.ndarray) -> tuple[np.ndarray, ...]:
            own, there = part.T.astype(int)
            pair = jax.device_put(np.column_stack([rows[own], setting.poses[there]]))
            found = _pair_terms(needs, setting.bits, scene, active, pair)
            return tuple(np.asarray(each) for each in found)

        work = 32
        if setting.bits:
            work = surface.alignment.count * surface.array.elements
        elif surface.spherical:
            work = 8 * surface.array.elements
        samples = surface.alignment.count * surface.code.size + scene.user.antennas
        work += 10 * (samples + scene.base_station.array.elements)
        # Padded, so that few programs are compiled.
        least = max(FEWEST_PAIRS, 1 << (len(pairs) - 1).bit_length())
        size = min(CHUNK, max(MOST_NUMBERS // work, 1), least)
        padded = np.concatenate([pairs, np.repeat(pairs[:1], max(size - len(pairs), 0), axis=0)])
        found = in_chunks(chunk, padded, size, threads=2, on_progress=on_progress)
        information[:, mount, position] = found[0][: len(pairs)].T
        receive[mount, position] = found[1][: len(pairs)]
    transmit = np.zeros((count, 0), dtype=complex)
    if needs[1]:
        transmit = np.asarray(_transmit(scene, active, rows))
    return Terms(*(jax.device_put(each) for each in (information, receive, transmit)))


@partial(jax.jit, static_argnums=0)
def _direct(
    needs: tuple[bool, bool],
    scene: LocalizationScene,
    active_antennas: Scalar,
    poses: Float[Array, "position 4"],
    visible: Float[Array, "position"],
) -> tuple[Array, Array]:
    def at(pose: Array, seen: Array) -> tuple[Array, Array]:
        there = scene.with_user(pose[:3], pose[3])
        there = there.with_gains(scene.gains() * jnp.stack([seen, 0.0]))
        information, amplitude = jnp.zeros(0), jnp.zeros((0, 0), dtype=complex)
        if needs[0]:
            information = separate_information(there, active_antennas)
        if needs[1]:
            factors = beam_factors(there, active_antennas)
            amplitude = factors.receive[0][:, None] * factors.transmit[0][None, :]
        return information, amplitude

    return jax.vmap(at)(poses, visible)


def direct_sums(setting: Setting, visible: Bool[np.ndarray, "position"]) -> Base:
    """Return the sums over the direct path alone; zero if the scene has none.

    Args:
        setting: Scene, positions and goals.
        visible: Whether the direct path reaches each position.
    """
    scene, needs, count = setting.scene, setting.needs, len(setting.poses)
    if scene.direct is None:
        beams = scene.user.antennas * needs[1], scene.base_station.array.elements * needs[1]
        amplitude = np.zeros((count, *beams), dtype=complex)
        return Base(np.zeros((SEPARATE * needs[0], count)), amplitude)
    alone = eqx.tree_at(lambda s: s.surfaces, scene, scene.surfaces[:1])
    found = _direct(
        needs,
        alone,
        jax.device_put(np.float64(setting.active_antennas)),
        jax.device_put(setting.poses),
        jax.device_put(visible.astype(float)),
    )
    return Base(np.asarray(found[0]).T, np.asarray(found[1]))
