"""Choice of the number of active antennas of the next period."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from heliostat.bounds.paths import paths_information
from heliostat.bounds.pose import error_bounds
from heliostat.design.time_allocation import DEFAULT_WEIGHT, balanced_share
from heliostat.estimation.pose import PoseEstimate
from heliostat.geometry.frames import Scalar
from heliostat.protocol.period import largest_ratio, next_share
from heliostat.rates.effective import available_ratio, eadr, snr_slope, time_ratio
from heliostat.scene.localization import LocalizationScene


class TradeOffObjective(eqx.Module):
    r"""Objective of the time allocation: the paper's weight, or a unit-free balance.

    Args:
        weight: Weight of the rate against PEB + REB, :math:`\xi`. [(m + rad) s/bit]
        balance: Unit-free alternative to the weight, in [0, 1). [1]

    If neither is given the weight is `DEFAULT_WEIGHT`.

    Raises:
        ValueError: Both are given.
    """

    weight: Scalar | None
    balance: Scalar | None

    def __init__(
        self, weight: float | Scalar | None = None, balance: float | Scalar | None = None
    ) -> None:
        if weight is not None and balance is not None:
            raise ValueError("weight and balance are both given; leave one out.")
        if balance is None:
            weight = DEFAULT_WEIGHT if weight is None else weight
        self.weight = None if weight is None else jnp.asarray(weight, dtype=float)
        self.balance = None if balance is None else jnp.asarray(balance, dtype=float)

    def numbers(self) -> tuple[float | None, float | None]:
        """Weight and balance, one of them None, as arguments of the public functions."""
        weight, balance = (None if at is None else float(at) for at in (self.weight, self.balance))
        return weight, balance


def estimated_scene(scene: LocalizationScene, estimate: PoseEstimate) -> LocalizationScene:
    """The scene with the estimated pose and gains, focused on the estimate for data.

    Args:
        scene: The scene; its user and gains are replaced.
        estimate: Estimate of this period.
    """
    at = scene.with_user(estimate.position, estimate.heading).focused(data=estimate.position)
    return at.with_gains(estimate.gains)


def next_antennas(
    scene: LocalizationScene, estimate: PoseEstimate, objective: TradeOffObjective
) -> Int[Array, ""]:
    """Number of active antennas of the next period, optimal for the estimated scene.

    Args:
        scene: The scene with this period's sweep; its user and gain are replaced.
        estimate: Estimate of this period.
        objective: Objective of the time allocation.
    """
    at = estimated_scene(scene, estimate).focused(alignment=estimate.position)
    if not at.single_path:
        return _best_of_all(at, objective)
    if objective.weight is not None:
        share = next_share(at, objective.weight)
    else:
        assert objective.balance is not None
        most = largest_ratio(at)
        share = balanced_share(snr_slope(at), available_ratio(at), objective.balance, most)
    count = jnp.round(share.ratio / time_ratio(at, 1))
    return jnp.clip(count, 1, most_antennas(at)).astype(int)


def _best_of_all(scene: LocalizationScene, objective: TradeOffObjective) -> Int[Array, ""]:
    """Number of active antennas with the best objective, by trying all.

    With several paths the bounds have no closed form in the number of antennas.
    """
    antennas = jnp.arange(1.0, scene.base_station.array.elements + 1)

    def value(active: Scalar) -> Scalar:
        peb, reb = error_bounds(paths_information(scene, active))
        rate = eadr(scene, active)
        if objective.weight is not None:
            return peb + reb - objective.weight * rate
        assert objective.balance is not None
        return objective.balance * jnp.log(peb) - (1 - objective.balance) * jnp.log(rate)

    values = jnp.where(antennas <= most_antennas(scene), jax.vmap(value)(antennas), jnp.inf)
    best = jnp.argmin(values) + 1
    return jnp.where(jnp.isfinite(jnp.min(values)), best, most_antennas(scene)).astype(int)


def most_antennas(scene: LocalizationScene) -> Scalar:
    """Largest number of antennas, limited by the array and by the duration of the period."""
    most = jnp.floor(available_ratio(scene) / time_ratio(scene, 1) * (1 + 1e-12))
    return jnp.minimum(most, float(scene.base_station.array.elements))


def search_antennas(scene: LocalizationScene) -> Int[Array, ""]:
    """Number of active antennas while the user is lost.

    As many as there are, less the time for the data that confirm an estimate.

    Args:
        scene: The scene; its user is not used.
    """
    left = available_ratio(scene) / time_ratio(scene, 1) - 1
    return jnp.clip(jnp.floor(left), 1, most_antennas(scene)).astype(int)
