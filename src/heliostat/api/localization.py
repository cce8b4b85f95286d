"""The public functions on scenarios: numbers in, frozen results out, units in every docstring."""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from heliostat.bounds.fisher import identify
from heliostat.bounds.pose import PoseInformation, error_bounds, pose_information
from heliostat.bounds.printed import pose_information_as_printed
from heliostat.design.time_allocation import (
    TimeShare,
    balanced_share,
    dominated,
    peak_rate_ratio,
)
from heliostat.protocol.errors import ErrorLevels, draw_errors
from heliostat.protocol.period import as_steered, largest_ratio, next_share
from heliostat.rates.effective import (
    available_ratio,
    codebook_snr,
    eadr,
    eadr_closed_form,
    snr_slope,
    time_ratio,
)
from heliostat.scenario import AnyScenario, LocalizationScenario, of_system
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene.localization import LocalizationScene, with_traced_sizes
from heliostat.surface.passive import Phased, Steered, quantised, steered_phases


class NotIdentifiableError(ValueError):
    """A quantity was asked for that needs a bound where none exists."""


@dataclass(frozen=True)
class PoseBounds:
    """How well position and heading can be estimated from one period's pilots."""

    peb: float
    """Position error bound, the root of the summed variances along x and y. [m]"""
    reb: float
    """Heading (rotation) error bound. [rad]"""
    information: np.ndarray
    """Fisher information about (x, y, heading), nuisances eliminated. [m⁻², m⁻¹rad⁻¹, rad⁻²]"""
    rank: int
    """How many directions of (x, y, heading) the pilots see, 0 to 3."""
    unidentifiable: np.ndarray
    """Unit vectors of (x [m], y [m], heading [rad]) that leave no trace in the pilots, a row
    each."""

    @property
    def identifiable(self) -> bool:
        """Whether position and heading can be told at all."""
        return self.rank == 3

    @property
    def reason(self) -> str:
        """Why a bound is infinite, in one sentence; empty where none is."""
        if self.identifiable:
            return ""
        moves = "; ".join(
            f"({x:+.3g} m, {y:+.3g} m, {heading:+.3g} rad)" for x, y, heading in self.unidentifiable
        )
        return f"Changes of (x, y, heading) along {moves} leave the pilots as they are."

    def _repr_html_(self) -> str:
        return _html_table(
            {
                "PEB": f"{self.peb:.4g} m",
                "REB": f"{self.reb:.4g} rad",
                "identifiable": self.reason or "yes",
            }
        )


@dataclass(frozen=True)
class EffectiveRate:
    """What is left for data in one period."""

    eadr: float
    """With the best beams of the DFT codebooks, paper eq. (39). [bit/s]"""
    eadr_closed_form: float
    """With beams that point exactly, paper eq. (42). [bit/s]"""
    snr: float
    """With the codebook beams, linear. [1]"""
    time_ratio: float
    """Share of the period that the pilots take. [1]"""

    def _repr_html_(self) -> str:
        return _html_table(
            {
                "EADR": f"{self.eadr / 1e6:.4g} Mbit/s",
                "EADR, closed form": f"{self.eadr_closed_form / 1e6:.4g} Mbit/s",
                "SNR": f"{10 * np.log10(max(self.snr, 1e-300)):.4g} dB",
                "pilots' share of the period": f"{self.time_ratio:.4g}",
            }
        )


@dataclass(frozen=True)
class TradeOff:
    """Every allocation that the base station can use: 1, 2, ... active antennas."""

    active_antennas: np.ndarray
    """[choice]"""
    ratio: np.ndarray
    """Share of the period for pilots. [choice] [1]"""
    peb: np.ndarray
    """[choice] [m]"""
    reb: np.ndarray
    """[choice] [rad]"""
    eadr: np.ndarray
    """With codebook beams. [choice] [bit/s]"""
    dominated: np.ndarray
    """Whether another choice has no larger PEB and no smaller rate: not worth taking. [choice]"""


@dataclass(frozen=True)
class TimeAllocation:
    """The best share of a period for pilots."""

    ratio: float
    """Continuous optimum, Algorithm 1, up to what the base station's antennas can use. [1]"""
    active_antennas: int
    """Best choice the base station can make, under the rate with codebook beams."""
    objective: float
    """At ``active_antennas``: PEB + REB - weight x rate [m + rad], or, with a balance,
    b ln(PEB) - (1 - b) ln(rate) with the PEB in metres and the rate in bit/s."""
    multiplier: float
    """Lagrange multiplier of the end of the interval at ``ratio``; zero inside."""
    kkt_residual: float
    """Stationarity left over at ``ratio``, relative to the terms that cancel. [1]"""
    peak_rate_ratio: float
    """Where the rate itself is largest (Lambert W); smaller ratios are never worth taking. [1]"""
    trade_off: TradeOff
    """All choices, with the dominated ones told."""

    def _repr_html_(self) -> str:
        return _html_table(
            {
                "best ratio": f"{self.ratio:.4g}",
                "active antennas": str(self.active_antennas),
                "ratio at the rate's peak": f"{self.peak_rate_ratio:.4g}",
                "KKT residual": f"{self.kkt_residual:.1e}",
            }
        )


@dataclass(frozen=True)
class ErrorEffect:
    """What a scenario's ``errors`` make of bounds and rate, over trials."""

    trials: int
    peb_median: float
    """With the surface steered by the last period's estimate. [m]"""
    peb_90: float
    """90 % quantile. [m]"""
    reb_median: float
    """[rad]"""
    eadr_mean: float
    """With the surface steered by this period's estimate, codebook beams. [bit/s]"""
    eadr_10: float
    """10 % quantile. [bit/s]"""


def _html_table(rows: dict[str, str]) -> str:
    cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>"


def build(scenario: AnyScenario, key: PRNGKeyArray | None = None) -> LocalizationScene:
    """The scene behind a scenario; as printed, reflection is left out of design and SNR.

    Args:
        scenario: A loaded localization scenario.
        key: For random phases and a random gain phase; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
    """
    scenario = of_system(scenario, LocalizationScenario, "build")
    scene = scenario.build(key)
    if scenario.model.as_printed:
        scene = eqx.tree_at(lambda s: s.surface.reflection, scene, jnp.ones(()))
    return scene


def _information(
    as_printed: bool, scene: LocalizationScene, antennas: int | Array
) -> PoseInformation:
    of = pose_information_as_printed if as_printed else pose_information
    return of(scene, antennas)


def _for_any_size(scenario: LocalizationScenario, scene: LocalizationScene) -> LocalizationScene:
    """A scene for which nothing is compiled anew when only its sizes change, where that can be."""
    return scene if scenario.model.as_printed else with_traced_sizes(scene)


@partial(jax.jit, static_argnums=0)
def _bounds(
    as_printed: bool, scene: LocalizationScene, antennas: Float[Array, ""]
) -> tuple[Array, ...]:
    pose = _information(as_printed, scene, antennas)
    seen = identify(pose.information, jnp.diag(pose.reference))
    peb, reb = error_bounds(pose)
    # At the very threshold the two may differ: what has finite bounds is identifiable.
    lost = seen.lost & ~(jnp.isfinite(peb) & jnp.isfinite(reb))
    return peb, reb, pose.information, 3 - jnp.sum(lost), lost, seen.directions


@jax.jit
def _rates(scene: LocalizationScene, antennas: Float[Array, ""]) -> tuple[Array, ...]:
    ratio = time_ratio(scene, antennas)
    return (
        eadr(scene, antennas),
        eadr_closed_form(scene, ratio),
        codebook_snr(scene, antennas),
        ratio,
    )


@partial(jax.jit, static_argnums=0)
def _choices(
    as_printed: bool, scene: LocalizationScene, antennas: Float[Array, "choice"]
) -> tuple[Array, ...]:
    def choice(active: Array) -> tuple[Array, ...]:
        peb, reb = error_bounds(_information(as_printed, scene, active))
        return time_ratio(scene, active), peb, reb, eadr(scene, active)

    return jax.vmap(choice)(antennas)


def most_active_antennas(scenario: AnyScenario) -> int:
    """Most antennas whose pilots fit into the period.

    Args:
        scenario: A loaded localization scenario.

    Raises:
        TypeError: The scenario is not one of localization.
    """
    scenario = of_system(scenario, LocalizationScenario, "most_active_antennas")
    if scenario.frame.period is None:
        return scenario.base_station.antennas
    # What rounding of the period may take away from a whole number of antennas, it gets back.
    frame, antenna = scenario.frame, scenario.user.antennas * scenario.frame.pilot
    fitting = (scenario.period - frame.optimization) / antenna
    rounding = 4 * np.finfo(float).eps * scenario.period / antenna
    return min(scenario.base_station.antennas, int(fitting + rounding + 1e-9))


def chosen_antennas(
    scenario: LocalizationScenario, active_antennas: int | None
) -> Float[Array, ""]:
    """The antennas asked for, or as many as the period holds, checked.

    Args:
        scenario: A loaded localization scenario.
        active_antennas: None for as many as fit.

    Raises:
        ValueError: There are not so many, or the period does not hold their pilots.
    """
    most = most_active_antennas(scenario)
    chosen = most if active_antennas is None else active_antennas
    if isinstance(chosen, bool) or chosen != int(chosen) or not 1 <= chosen <= most:
        raise ValueError(
            f"active_antennas is {active_antennas}; it may be a whole number from 1 to {most}: the "
            f"base station has {scenario.base_station.antennas}, and the period must hold the "
            "pilots of all that are active."
        )
    return jnp.asarray(float(chosen))


def pose_bounds(
    scenario: AnyScenario,
    active_antennas: int | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> PoseBounds:
    r"""Bounds on position and heading, :math:`\sqrt{\mathrm{tr}[J^{-1}]_{1:2,1:2}}` and
    :math:`\sqrt{[J^{-1}]_{3,3}}` (localization paper, eqs. (32), (33)).

    Args:
        scenario: A loaded localization scenario.
        active_antennas: :math:`N_B`; default as many as the period has time for.
        key: For random phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` is out of range.
    """
    scenario = of_system(scenario, LocalizationScenario, "pose_bounds")
    antennas = chosen_antennas(scenario, active_antennas)
    peb, reb, information, rank, lost, directions = _bounds(
        scenario.model.as_printed, _for_any_size(scenario, build(scenario, key)), antennas
    )
    return PoseBounds(
        peb=float(peb),
        reb=float(reb),
        information=np.asarray(information),
        rank=int(rank),
        unidentifiable=np.asarray(directions)[np.asarray(lost)],
    )


def effective_rate(
    scenario: AnyScenario,
    active_antennas: int | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> EffectiveRate:
    """Effective achievable data rate with codebook beams (39) and in closed form (42).

    Args:
        scenario: A loaded localization scenario.
        active_antennas: :math:`N_B`; default as many as the period has time for.
        key: For random phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` is out of range.
    """
    scenario = of_system(scenario, LocalizationScenario, "effective_rate")
    antennas = chosen_antennas(scenario, active_antennas)
    scene = _for_any_size(scenario, build(scenario, key))
    return EffectiveRate(*(float(x) for x in _rates(scene, antennas)))


def allocate_time(
    scenario: AnyScenario,
    weight: float | None = None,
    *,
    balance: float | None = None,
    key: PRNGKeyArray | None = None,
) -> TimeAllocation:
    r"""Best share of the period for pilots, by the paper's weight or by a unit-free balance.

    Args:
        scenario: A loaded localization scenario.
        weight: :math:`\xi` of eq. (47), default 1e-10. [(m + rad) s/bit]
        balance: Instead of a weight: :math:`b` in
            :math:`b\ln\mathrm{PEB} - (1-b)\ln R`, 0 <= b < 1.
        key: For random phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: Both weight and balance are given, or one is out of range.
        NotIdentifiableError: The pose has no bound, so that there is nothing to trade.
    """
    scenario = of_system(scenario, LocalizationScenario, "allocate_time")
    if weight is not None and balance is not None:
        raise ValueError("Give a weight or a balance, not both.")
    if balance is not None and not 0 <= balance < 1:
        raise ValueError(f"balance is {balance}; it may be 0 (rate alone) up to, not including, 1.")
    if weight is None:
        weight = 1e-10
    if not (np.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight is {weight}; it must be a finite number, 0 or more.")
    scene = _for_any_size(scenario, build(scenario, key))
    trade_off = trade_off_of(scenario, key=key)
    bound, name = (
        (trade_off.peb + trade_off.reb, "PEB + REB") if balance is None else (trade_off.peb, "PEB")
    )
    if not np.all(np.isfinite(bound)):
        reason = pose_bounds(scenario, key=key).reason
        raise NotIdentifiableError(f"There is no {name} to trade against the rate. {reason}")
    share, peak = _share(
        scenario.model.as_printed,
        scene,
        jnp.asarray(float(weight)),
        None if balance is None else jnp.asarray(float(balance)),
    )
    with np.errstate(divide="ignore"):  # the whole period for pilots leaves a rate of zero
        if balance is None:
            objective = trade_off.peb + trade_off.reb - weight * trade_off.eadr
        else:
            objective = balance * np.log(trade_off.peb) - (1 - balance) * np.log(trade_off.eadr)
    best = int(np.argmin(objective))
    return TimeAllocation(
        ratio=float(share.ratio),
        active_antennas=int(trade_off.active_antennas[best]),
        objective=float(objective[best]),
        multiplier=float(share.multiplier),
        kkt_residual=float(share.residual),
        peak_rate_ratio=peak,
        trade_off=trade_off,
    )


def _share(
    as_printed: bool, scene: LocalizationScene, weight: Array, balance: Array | None
) -> tuple[TimeShare, float]:
    """The best share, and where the rate alone is largest within what the antennas can use."""
    share, slope, available, largest = _compiled_share(as_printed, scene, weight, balance)
    peak = peak_rate_ratio(np.asarray(slope), np.asarray(available))
    return share, float(np.minimum(peak, np.asarray(largest)))


@partial(jax.jit, static_argnums=0)
def _compiled_share(
    as_printed: bool, scene: LocalizationScene, weight: Array, balance: Array | None
) -> tuple[TimeShare, Array, Array, Array]:
    slope, available, largest = snr_slope(scene), available_ratio(scene), largest_ratio(scene)
    if balance is None:
        share = next_share(scene, weight, partial(_information, as_printed))
    else:
        share = balanced_share(slope, available, balance, largest)
    return share, slope, available, largest


def under_errors(
    scenario: AnyScenario,
    active_antennas: int | None = None,
    *,
    trials: int = 200,
    key: PRNGKeyArray | None = None,
) -> ErrorEffect | None:
    """Bounds and rate when the surface is steered by estimates that err and lag behind the user.

    Position errors and mobility are drawn as in the localization paper's (1) and (21). Heading and
    gain errors, (22) and (23), do not steer the surface: they act on the next period's allocation
    only.

    Args:
        scenario: A loaded localization scenario, with its ``errors``.
        active_antennas: :math:`N_B`; default as many as the period has time for.
        trials: How many draws.
        key: For the draws; default ``link.seed``.

    Returns:
        None where nothing errs, or the surface is not steered by estimates.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` is out of range.
    """
    scenario = of_system(scenario, LocalizationScenario, "under_errors")
    antennas = chosen_antennas(scenario, active_antennas)
    if scenario.surface.phases != "designed" or not (
        scenario.errors.position or scenario.errors.mobility
    ):
        return None
    # Quantised phases are steered first and rounded after, trial by trial.
    scene = build(scenario.updated({"surface.bits": None}), key)
    draws = purpose_key(scenario.link.seed if key is None else key, "errors")
    keys = jax.vmap(lambda i: jax.random.fold_in(draws, i))(jnp.arange(trials))
    errors = scenario.errors
    levels = ErrorLevels(
        *(jnp.asarray(level, dtype=float) for level in (errors.position, errors.heading)),
        *(jnp.asarray(level, dtype=float) for level in (errors.mobility, errors.gain_variance)),
    )
    peb, reb, rate = (
        np.asarray(x)
        for x in _trials(
            scenario.model.as_printed, scenario.surface.bits, scene, antennas, levels, keys
        )
    )
    return ErrorEffect(
        trials=trials,
        peb_median=float(np.median(peb)),
        peb_90=float(np.quantile(peb, 0.9, method="higher")),
        reb_median=float(np.median(reb)),
        eadr_mean=float(np.mean(rate)),
        eadr_10=float(np.quantile(rate, 0.1)),
    )


@partial(jax.jit, static_argnums=(0, 1))
def _trials(
    as_printed: bool,
    bits: int | None,
    scene: LocalizationScene,
    antennas: Array,
    levels: ErrorLevels,
    keys: Array,
) -> tuple[Array, Array, Array]:
    def trial(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        steered = as_steered(scene, draw_errors(levels, key))
        if bits is not None:
            steered = eqx.tree_at(
                lambda s: (s.surface.alignment, s.surface.data),
                steered,
                tuple(
                    Phased(quantised(steered_phases(scene.surface.array, scene.arrival(), c), bits))
                    for c in (steered.surface.alignment, steered.surface.data)
                    if isinstance(c, Steered)
                ),
            )
        bounds = error_bounds(_information(as_printed, steered, antennas))
        return *bounds, eadr(steered, antennas)

    return jax.lax.map(trial, keys, batch_size=50)


def trade_off_of(scenario: AnyScenario, *, key: PRNGKeyArray | None = None) -> TradeOff:
    """Bounds and rate of every allocation the base station can use, dominated ones told.

    Args:
        scenario: A loaded localization scenario.
        key: For random phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
    """
    scenario = of_system(scenario, LocalizationScenario, "trade_off_of")
    count = most_active_antennas(scenario)
    # Filled up to a power of two: compiled for few sizes.
    antennas = np.arange(1, (1 << (count - 1).bit_length()) + 1)
    scene = _for_any_size(scenario, build(scenario, key))
    ratio, peb, reb, rate = (
        np.asarray(x)[:count]
        for x in _choices(scenario.model.as_printed, scene, jnp.asarray(antennas, dtype=float))
    )
    return TradeOff(antennas[:count], ratio, peb, reb, rate, dominated(peb, rate))
