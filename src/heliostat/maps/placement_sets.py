"""Values of the goals and merits of sets of candidate surfaces, from the terms of each path."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from heliostat.bounds.paths import separated_pose_information
from heliostat.bounds.pose import error_bounds
from heliostat.maps.placement import Base, Setting, Terms
from heliostat.rates.effective import rate_left
from heliostat.scenario.goals import Goal


@partial(jax.jit, static_argnums=0)
def _pebs(
    clock_known: bool,
    terms: Float[Array, "12 mount position"],
    base: Float[Array, "12 position"],
) -> Float[Array, "mount position"]:
    def at(term: Array, sums: Array) -> Array:
        return error_bounds(separated_pose_information(term + sums, clock_known=clock_known))[0]

    along_positions = jax.vmap(at, in_axes=(1, 1))
    return jax.vmap(along_positions, in_axes=(1, None))(terms, base)


@jax.jit
def _snrs(
    gain: Complex[Array, ""],
    receive: Complex[Array, "mount position rx"],
    transmit: Complex[Array, "mount tx"],
    base: Complex[Array, "position rx tx"],
) -> Float[Array, "mount position"]:
    def of(factors: tuple[Array, Array]) -> Array:
        total = base + gain * factors[0][:, :, None] * factors[1][None, None, :]
        return jnp.max(total.real**2 + total.imag**2, axis=(1, 2))

    return jax.lax.map(of, (receive, transmit))


def rate_of_snr(
    setting: Setting, snr: Float[np.ndarray, "*mount position"]
) -> Float[np.ndarray, "*mount position"]:
    """Return the effective rate for an SNR at each position. [bit/s]

    Args:
        setting: Scene and share of the pilots.
        snr: The SNR. [1]
    """
    ratio = setting.ratio.reshape((1,) * (snr.ndim - 1) + (-1,))
    return np.asarray(rate_left(setting.scene, jnp.asarray(ratio), jnp.asarray(snr)))


class Scores(NamedTuple):
    """Merits of several sets, in the order of their weight."""

    share: Float[np.ndarray, "mount"]
    """Share of the positions that meet all goals. [1]"""
    quantile: Float[np.ndarray, "mount"]
    """What 90 % of the positions attain of the first goal's quantity. [m] or [bit/s]"""
    fulfillment: Float[np.ndarray, "mount"]
    """Mean over the positions of `Goal.fulfillment`, that of the worse goal. [1]"""

    def order(self, goal: Goal) -> list[tuple[float, float, float]]:
        """Return the merits as tuples that are larger for better sets."""
        sign = -1.0 if goal.quantity == "peb" else 1.0
        # Rounded, so that rounding errors do not decide between equal sets.
        quantile = [float(f"{sign * value:.9g}") for value in self.quantile.tolist()]
        fulfillment = np.round(self.fulfillment, 9).tolist()
        return list(zip(self.share.tolist(), quantile, fulfillment, strict=True))


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
    def mounts(self) -> int:
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
            known = setting.scene.link.clock_known
            found.append(np.asarray(_pebs(known, terms.information, base.information)))
        else:
            factors = terms.receive, terms.transmit, base.amplitude
            snr = _snrs(jax.device_put(np.complex128(gain)), *factors)
            found.append(rate_of_snr(setting, np.asarray(snr)))
    return found


def values_of(setting: Setting, base: Base) -> list[Float[np.ndarray, "position"]]:
    """Return the quantity of each goal at all positions for one set.

    Args:
        setting: Scene, positions and goals.
        base: Sums over the paths of the set.
    """
    zeros = (
        np.zeros_like(base.information[:, None]),
        np.zeros((1, *base.amplitude.shape[:2]), dtype=complex),
        np.zeros((1, base.amplitude.shape[2]), dtype=complex),
    )
    nothing = Terms(*(jax.device_put(each) for each in zeros))
    return [each[0] for each in _values(setting, nothing, base, 0.0)]


def met(
    goals: Sequence[Goal], values: Sequence[Float[np.ndarray, "*any"]]
) -> Bool[np.ndarray, "*any"]:
    """Return whether all goals are met."""
    return np.logical_and.reduce([g.met(v) for g, v in zip(goals, values, strict=True)])


def scores(goals: Sequence[Goal], values: Sequence[Float[np.ndarray, "mount position"]]) -> Scores:
    """Return the merits of sets.

    Args:
        goals: The goals.
        values: The quantity of each goal for each set and position.
    """
    fulfilled = [g.fulfillment(v) for g, v in zip(goals, values, strict=True)]
    return Scores(
        met(goals, values).mean(axis=1),
        goals[0].quantile_90(values[0]),
        np.minimum.reduce(fulfilled).mean(axis=1),
    )
