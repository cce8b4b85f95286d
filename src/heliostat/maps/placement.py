"""Evaluation of sets of candidate surfaces at many positions, without building each scene.

Sign codes make the paths orthogonal over the configurations, so that the Fisher information about
pose and clock is a sum over the paths, see `bounds.paths.separate_information`. The terms of all
candidates at all positions are computed once; after that a set costs a sum and the elimination of
the clock and the heading. The rate follows in the same way from the sum of the amplitudes of all
beam pairs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from heliostat.bounds.paths import SEPARATE, separate_information, separated_pose_information
from heliostat.bounds.pose import error_bounds
from heliostat.geometry.frames import Scalar
from heliostat.maps.area import in_chunks
from heliostat.maps.localization import CHUNK, MOST_NUMBERS
from heliostat.rates.effective import beam_factors, rate_left, time_ratio
from heliostat.scenario.goals import Goal
from heliostat.scene.localization import LocalizationScene


class Mounts(NamedTuple):
    """Positions and orientations of panels."""

    position: Float[np.ndarray, "mount xyz"]  # [m]
    axes: Float[np.ndarray, "mount 3 xyz"]  # along a row, along a column, normal [1]


class Setting(NamedTuple):
    """Everything that candidates are evaluated with."""

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

    @property
    def needs(self) -> tuple[bool, bool]:
        """Whether bounds and whether rates are needed."""
        quantities = [goal.quantity for goal in self.goals]
        return "peb" in quantities, "rate" in quantities


class Terms(NamedTuple):
    """Terms of several paths at all positions, of unit gain."""

    information: Float[np.ndarray, "12 mount position"]  # see `separate_information`
    receive: Complex[np.ndarray, "mount position rx"]  # see `BeamFactors`
    transmit: Complex[np.ndarray, "mount tx"]


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
        receive, transmit = terms.receive[mount], terms.transmit[mount]
        return Base(
            self.information + terms.information[:, mount],
            self.amplitude + gain * receive[:, :, None] * transmit[None, None, :],
        )


def _single(
    scene: LocalizationScene, pose: Float[Array, "4"], bits: int | None
) -> LocalizationScene:
    """The scene of one surface, steered to a pose, with a path of unit gain."""
    there = scene.with_user(pose[:3], pose[3]).focused(alignment=pose[:3], data=pose[:3])
    there = there.with_gains(jnp.ones(1, dtype=complex))
    return there.quantised(bits) if bits else there


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
        pairs = np.column_stack([rows[mount], setting.poses[position]])

        def chunk(part: np.ndarray) -> tuple[np.ndarray, ...]:
            found = _pair_terms(needs, setting.bits, scene, active, jax.device_put(part))
            return tuple(np.asarray(each) for each in found)

        work = 32
        if setting.bits:
            work = surface.alignment.count * surface.array.elements
        elif surface.spherical:
            work = 8 * surface.array.elements
        samples = surface.alignment.count * surface.code.size + scene.user.antennas
        work += 10 * (samples + scene.base_station.array.elements)
        size = min(CHUNK, max(MOST_NUMBERS // work, 1))
        # Padded, so that one program is compiled for few and for many pairs.
        padded = np.concatenate([pairs, np.repeat(pairs[:1], max(size - len(pairs), 0), axis=0)])
        found = in_chunks(chunk, padded, size, threads=2, on_progress=on_progress)
        information[:, mount, position] = found[0][: len(pairs)].T
        receive[mount, position] = found[1][: len(pairs)]
    transmit = np.zeros((count, 0), dtype=complex)
    if needs[1]:
        transmit = np.asarray(_transmit(scene, active, rows))
    return Terms(information, receive, transmit)


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


@jax.jit
def _pebs(
    scene: LocalizationScene,
    terms: Float[Array, "12 mount position"],
    base: Float[Array, "12 position"],
) -> Float[Array, "mount position"]:
    def at(term: Array, sums: Array) -> Array:
        return error_bounds(separated_pose_information(scene, term + sums))[0]

    along_positions = jax.vmap(at, in_axes=(1, 1))
    return jax.vmap(along_positions, in_axes=(1, None))(terms, base)


@jax.jit
def _rates(
    scene: LocalizationScene,
    active_antennas: Scalar,
    gain: Complex[Array, ""],
    receive: Complex[Array, "mount position rx"],
    transmit: Complex[Array, "mount tx"],
    base: Complex[Array, "position rx tx"],
) -> Float[Array, "mount position"]:
    def of(factors: tuple[Array, Array]) -> Array:
        total = base + gain * factors[0][:, :, None] * factors[1][None, None, :]
        return jnp.max(total.real**2 + total.imag**2, axis=(1, 2))

    snr = jax.lax.map(of, (receive, transmit))
    return rate_left(scene, time_ratio(scene, active_antennas), snr)


def rate_of_snr(
    setting: Setting, snr: Float[np.ndarray, "*any"]
) -> Float[np.ndarray, "*any"]:
    """Return the effective rate for an SNR. [bit/s]

    Args:
        setting: Scene and number of active antennas.
        snr: The SNR. [1]
    """
    scene = setting.scene
    return np.asarray(rate_left(scene, time_ratio(scene, setting.active_antennas), jnp.asarray(snr)))


class Scores(NamedTuple):
    """Merits of several sets, in the order of their weight."""

    share: Float[np.ndarray, "mount"]
    """Share of the positions that meet all goals. [1]"""
    quantile: Float[np.ndarray, "mount"]
    """What 90 % of the positions attain of the first goal's quantity. [m] or [bit/s]"""
    fulfilment: Float[np.ndarray, "mount"]
    """Mean over the positions of `Goal.fulfilment`, that of the worse goal. [1]"""

    def order(self, goal: Goal) -> list[tuple[float, float, float]]:
        """Return the merits as tuples that are larger for better sets.

        Args:
            goal: The first goal.
        """
        sign = -1.0 if goal.quantity == "peb" else 1.0
        # Rounded, so that rounding errors do not decide between equal sets.
        quantile = [float(f"{sign * value:.9g}") for value in self.quantile.tolist()]
        fulfilment = np.round(self.fulfilment, 9).tolist()
        return list(zip(self.share.tolist(), quantile, fulfilment, strict=True))


class Table(NamedTuple):
    """Candidates with their terms, ready to be combined to sets."""

    setting: Setting
    terms: Terms
    start: Base
    """Sums over the paths that are in every set."""
    visible: Bool[np.ndarray, "mount position"]
    """Whether the path through each candidate reaches each position."""
    apart: Bool[np.ndarray, "mount mount"]
    """Whether two candidates do not overlap, so that a set may contain both."""

    @property
    def count(self) -> int:
        """Number of candidates."""
        return len(self.terms.transmit)

    def sums(self, chosen: Sequence[int], skipped: int | None = None) -> Base:
        """Return the sums over the paths of a set.

        Args:
            chosen: Indices of its candidates, in order.
            skipped: Place in ``chosen`` that is left out.
        """
        total = self.start
        for slot, mount in enumerate(chosen):
            if slot != skipped:
                total = total.plus(self.terms, mount, complex(self.setting.gains[slot]))
        return total

    def values(self, base: Base, slot: int) -> list[Float[np.ndarray, "mount position"]]:
        """Return the quantity of each goal for a set together with each candidate.

        Args:
            base: Sums over the paths of the set.
            slot: Place of the candidate in the set.
        """
        return _values(self.setting, self.terms, base, complex(self.setting.gains[slot]))


def _values(setting: Setting, terms: Terms, base: Base, gain: complex) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for goal in setting.goals:
        if goal.quantity == "peb":
            alone = setting.scene.through(0)
            found.append(np.asarray(_pebs(alone, terms.information, base.information)))
        else:
            rates = _rates(
                setting.scene.through(0),
                jax.device_put(np.float64(setting.active_antennas)),
                jax.device_put(np.complex128(gain)),
                terms.receive,
                terms.transmit,
                base.amplitude,
            )
            found.append(np.asarray(rates))
    return found


def values_of(setting: Setting, base: Base) -> list[Float[np.ndarray, "position"]]:
    """Return the quantity of each goal at all positions for one set.

    Args:
        setting: Scene, positions and goals.
        base: Sums over the paths of the set.
    """
    nothing = Terms(
        np.zeros_like(base.information[:, None]),
        np.zeros((1, *base.amplitude.shape[:2]), dtype=complex),
        np.zeros((1, base.amplitude.shape[2]), dtype=complex),
    )
    return [each[0] for each in _values(setting, nothing, base, 0.0)]


def met(
    goals: Sequence[Goal], values: Sequence[Float[np.ndarray, "*any"]]
) -> Bool[np.ndarray, "*any"]:
    """Return whether all goals are met.

    Args:
        goals: The goals.
        values: The quantity of each goal.
    """
    return np.logical_and.reduce([g.met(v) for g, v in zip(goals, values, strict=True)])


def scores(
    goals: Sequence[Goal], values: Sequence[Float[np.ndarray, "mount position"]]
) -> Scores:
    """Return the merits of sets.

    Args:
        goals: The goals.
        values: The quantity of each goal for each set and position.
    """
    fulfilled = [g.fulfilment(v) for g, v in zip(goals, values, strict=True)]
    return Scores(
        met(goals, values).mean(axis=1),
        goals[0].quantile_90(values[0]),
        np.minimum.reduce(fulfilled).mean(axis=1),
    )
