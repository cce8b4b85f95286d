"""Public functions for localization scenarios: bounds, rates, time allocation and sweep design."""

from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from heliostat.api.arguments import described, is_whole, public
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

Criterion: TypeAlias = Literal["worst", "mean"]


class NotIdentifiableError(ValueError):
    """Raised if a result needs a bound that does not exist."""


@dataclass(frozen=True)
class PoseBounds:
    """Error bounds of position and heading from the pilots of one period."""

    peb: float
    """Position error bound (PEB), the root of the sum of the variances of x and y. [m]"""
    reb: float
    """Heading (rotation) error bound (REB). [rad]"""
    information: np.ndarray
    """Fisher information of (x, y, heading) without nuisances. [m⁻², m⁻¹rad⁻¹, rad⁻²]"""
    rank: int
    """Number of identifiable directions of (x, y, heading), 0 to 3."""
    unidentifiable: np.ndarray
    """Unit vectors of (x [m], y [m], heading [rad]) along which the pilots do not change, one per
    row."""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only roughly, one sentence each."""

    @property
    def identifiable(self) -> bool:
        """Whether position and heading are identifiable."""
        return self.rank == 3

    @property
    def reason(self) -> str:
        """Reason for an infinite bound, in one sentence; empty if all bounds are finite."""
        if self.identifiable:
            return ""
        moves = "; ".join(
            f"({x:+.3g} m, {y:+.3g} m, {heading:+.3g} rad)" for x, y, heading in self.unidentifiable
        )
        return f"Changes of (x, y, heading) along {moves} do not change the received pilots."

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
    """Effective achievable data rate (EADR) of one period."""

    eadr: float
    """EADR with the best beams of the DFT codebooks, paper eq. (39). [bit/s]"""
    eadr_closed_form: float
    """EADR with exactly aligned beams, paper eq. (42). [bit/s]"""
    snr: float
    """SNR with the codebook beams, linear. [1]"""
    time_ratio: float
    """Share of the period for pilots. [1]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only roughly, one sentence each."""

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
    """All allocations of the base station: 1, 2, ... active antennas."""

    active_antennas: np.ndarray
    """Number of active antennas. [choice]"""
    ratio: np.ndarray
    """Share of the period for pilots. [choice] [1]"""
    peb: np.ndarray
    """Position error bound. [choice] [m]"""
    reb: np.ndarray
    """Heading error bound. [choice] [rad]"""
    eadr: np.ndarray
    """EADR with codebook beams. [choice] [bit/s]"""
    dominated: np.ndarray
    """Whether another choice has a PEB that is no larger and a rate that is no smaller. [choice]"""


@dataclass(frozen=True)
class TimeAllocation:
    """Optimal share of a period for pilots."""

    ratio: float
    """Continuous optimum of Algorithm 1, limited by the number of antennas. [1]"""
    active_antennas: int
    """Optimal number of active antennas for the rate with codebook beams."""
    objective: float
    """Objective at ``active_antennas``: PEB + REB - weight x rate [m + rad], or, with a balance,
    b ln(PEB) - (1 - b) ln(rate) with the PEB in metres and the rate in bit/s."""
    multiplier: float
    """Lagrange multiplier of the limit on ``ratio``; zero in the interior."""
    kkt_residual: float
    """Violation of stationarity at ``ratio``, relative to the terms that cancel. [1]"""
    peak_rate_ratio: float
    """Ratio of maximum rate (Lambert W); smaller ratios are dominated. [1]"""
    trade_off: TradeOff
    """Bounds and rates of all choices."""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only roughly, one sentence each."""

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
    """Bounds and rates under the scenario's ``errors``, over trials."""

    trials: int
    peb_median: float
    """Median PEB with the surface steered by the estimate of the previous period. [m]"""
    peb_90: float
    """90 % quantile of the PEB. [m]"""
    reb_median: float
    """Median REB. [rad]"""
    eadr_mean: float
    """Mean EADR with codebook beams and the surface steered by the current estimate. [bit/s]"""
    eadr_10: float
    """10 % quantile of the EADR. [bit/s]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only roughly, one sentence each."""


@dataclass(frozen=True)
class SweepDesign:
    """Surface configurations of the alignment stage, designed for a region.

    ``scenario.updated({"surface.focus": design.focus.tolist(), "surface.sweep":
    design.sweep.tolist()})`` uses them; the data stage is then steered to the focus as well.
    """

    focus: np.ndarray
    """Position that all configurations are steered relative to, for ``surface.focus``. [xyz] [m]"""
    sweep: np.ndarray
    """Steering off the focus along columns and rows, in 1/columns and 1/rows, for
    ``surface.sweep``. [configuration, 2] [1]"""
    peb: np.ndarray
    """PEB at each position of the region. [position] [m]"""
    value: float
    """Largest PEB of the region, or its root mean square for the criterion "mean". [m]"""
    notes: tuple[str, ...] = ()
    """Model assumptions that hold only roughly, one sentence each."""


def _html_table(rows: dict[str, str]) -> str:
    cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>"


def build(scenario: AnyScenario, key: PRNGKeyArray | None = None) -> LocalizationScene:
    """Build the scene of a scenario; with ``as_printed`` the reflection amplitude is 1.

    Args:
        scenario: A localization scenario.
        key: Random key of surface phases and gain phase; default ``link.seed``.

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
    """Return the scene with traced sizes, to avoid recompilation, if the form allows it."""
    return scene if scenario.model.as_printed else with_traced_sizes(scene)


@partial(jax.jit, static_argnums=0)
def _bounds(
    as_printed: bool, scene: LocalizationScene, antennas: Float[Array, ""]
) -> tuple[Array, ...]:
    pose = _information(as_printed, scene, antennas)
    seen = identify(pose.information, jnp.diag(pose.reference))
    peb, reb = error_bounds(pose)
    # At the threshold the two criteria may differ; finite bounds take precedence.
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
    """Return the largest number of antennas whose pilots fit into the period.

    Args:
        scenario: A localization scenario.

    Raises:
        TypeError: The scenario is not one of localization.
    """
    scenario = of_system(scenario, LocalizationScenario, "most_active_antennas")
    if scenario.frame.period is None:
        return scenario.base_station.antennas
    # Compensates rounding of the period just below a whole number of antennas.
    frame, antenna = scenario.frame, scenario.user.antennas * scenario.frame.pilot
    fitting = (scenario.period - frame.optimization) / antenna
    rounding = 4 * np.finfo(float).eps * scenario.period / antenna
    return min(scenario.base_station.antennas, int(fitting + rounding + 1e-9))


def chosen_antennas(
    scenario: LocalizationScenario, active_antennas: int | None
) -> Float[Array, ""]:
    """Return the validated number of active antennas.

    Args:
        scenario: A localization scenario.
        active_antennas: Number of antennas; None for as many as fit into the period.

    Raises:
        ValueError: The number exceeds the antennas, or their pilots do not fit into the period.
    """
    most = most_active_antennas(scenario)
    chosen = most if active_antennas is None else active_antennas
    if not is_whole(chosen) or not 1 <= chosen <= most:
        raise ValueError(
            f"active_antennas is {described(active_antennas)}; it may be a whole number from 1 to "
            f"{most}: the base station has {scenario.base_station.antennas}, and the period must "
            "hold the pilots of all that are active."
        )
    return jnp.asarray(float(chosen))


@public(LocalizationScenario)
def pose_bounds(
    scenario: LocalizationScenario,
    active_antennas: int | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> PoseBounds:
    r"""Compute the error bounds of position and heading.

    These are :math:`\sqrt{\mathrm{tr}[J^{-1}]_{1:2,1:2}}` and :math:`\sqrt{[J^{-1}]_{3,3}}`,
    eqs. (32), (33) of the localization paper.

    Args:
        scenario: A localization scenario.
        active_antennas: :math:`N_B`; default as many as fit into the period.
        key: Random key of phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` is out of range.
    """
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


@public(LocalizationScenario)
def effective_rate(
    scenario: LocalizationScenario,
    active_antennas: int | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> EffectiveRate:
    """Compute the effective achievable data rate with codebook beams (39) and in closed form (42).

    Args:
        scenario: A localization scenario.
        active_antennas: :math:`N_B`; default as many as fit into the period.
        key: Random key of phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` is out of range.
    """
    antennas = chosen_antennas(scenario, active_antennas)
    scene = _for_any_size(scenario, build(scenario, key))
    rate, closed_form, snr, ratio = (float(x) for x in _rates(scene, antennas))
    return EffectiveRate(rate, closed_form, snr, ratio)


@public(LocalizationScenario)
def allocate_time(
    scenario: LocalizationScenario,
    weight: float | None = None,
    *,
    balance: float | None = None,
    key: PRNGKeyArray | None = None,
) -> TimeAllocation:
    r"""Optimise the share of the period for pilots, with the paper's weight or a unit-free balance.

    Args:
        scenario: A localization scenario.
        weight: :math:`\xi` of eq. (47), default 1e-10. [(m + rad) s/bit]
        balance: Alternative to the weight, :math:`b` in
            :math:`b\ln\mathrm{PEB} - (1-b)\ln R`, 0 <= b < 1.
        key: Random key of phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: Both weight and balance are given, or one is out of range.
        NotIdentifiableError: The bounds are infinite.
    """
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
    """Optimal share, and the ratio of maximum rate within the limit of the antennas."""
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


@public(LocalizationScenario)
def under_errors(
    scenario: LocalizationScenario,
    active_antennas: int | None = None,
    *,
    trials: int = 200,
    key: PRNGKeyArray | None = None,
) -> ErrorEffect | None:
    """Simulate bounds and rate with a surface steered by outdated estimates with errors.

    Position errors and mobility are drawn as in eqs. (1) and (21) of the localization paper.
    Heading and gain errors, (22) and (23), affect only the allocation of the next period, not the
    steering.

    Args:
        scenario: A localization scenario with ``errors``.
        active_antennas: :math:`N_B`; default as many as fit into the period.
        trials: Number of trials.
        key: Random key of the trials; default ``link.seed``.

    Returns:
        The statistics; None without errors, or if the phases are not designed.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` is out of range.
    """
    antennas = chosen_antennas(scenario, active_antennas)
    if scenario.surface.phases != "designed" or not (
        scenario.errors.position or scenario.errors.mobility
    ):
        return None
    # Phases are steered in each trial and quantised afterwards.
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
            steered = steered.quantised(bits)
        bounds = error_bounds(_information(as_printed, steered, antennas))
        return *bounds, eadr(steered, antennas)

    return jax.lax.map(trial, keys, batch_size=50)


def trade_off_of(scenario: AnyScenario, *, key: PRNGKeyArray | None = None) -> TradeOff:
    """Compute bounds and rates of all allocations, and which of them are dominated.

    Args:
        scenario: A localization scenario.
        key: Random key of phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
    """
    scenario = of_system(scenario, LocalizationScenario, "trade_off_of")
    count = most_active_antennas(scenario)
    # Padded to a power of two, so that few sizes are compiled.
    antennas = np.arange(1, (1 << (count - 1).bit_length()) + 1)
    scene = _for_any_size(scenario, build(scenario, key))
    ratio, peb, reb, rate = (
        np.asarray(x)[:count]
        for x in _choices(scenario.model.as_printed, scene, jnp.asarray(antennas, dtype=float))
    )
    return TradeOff(antennas[:count], ratio, peb, reb, rate, dominated(peb, rate))


@public(LocalizationScenario)
def design_sweep(
    scenario: LocalizationScenario,
    positions: ArrayLike,
    configurations: int = 4,
    criterion: Criterion = "worst",
    *,
    active_antennas: int | None = None,
    starts: int = 8,
    seed: int = 0,
    key: PRNGKeyArray | None = None,
) -> SweepDesign:
    r"""Surface configurations with the smallest PEB over a region of possible user positions.

    Minimises :math:`\max_q \mathrm{PEB}_q` or :math:`\frac1Q\sum_q\mathrm{PEB}_q^2` over the
    steering of all configurations by descents from random starts; the minimum is a local one.

    Args:
        scenario: A localization scenario with designed phases of continuous resolution. The
            heading of its user is used at every position.
        positions: Possible user positions in front of the surface, [position, 3]. [m]
        configurations: Number of configurations.
        criterion: "worst" for the largest PEB, "mean" for the root mean square PEB.
        active_antennas: :math:`N_B`; default as many as fit into the period.
        starts: Number of random starts.
        seed: Seed of the starts.
        key: Key of a random gain phase; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: An argument is out of range, the scenario's phases are not designed or have
            limited resolution, or the PEB is infinite at some position for every design found.
    """
    # Only this function needs SciPy's optimizers.
    from heliostat.design import alignment_codebook  # noqa: PLC0415

    if criterion not in get_args(Criterion):
        raise ValueError(f"criterion is {criterion!r}; it may be 'worst' or 'mean'.")
    for name, count in (("configurations", configurations), ("starts", starts)):
        if not is_whole(count) or count < 1:
            raise ValueError(f"{name} is {described(count)}; it must be a whole number, 1 or more.")
    surface = scenario.surface
    if surface.phases != "designed" or surface.bits is not None or scenario.model.as_printed:
        raise ValueError(
            f"{scenario.name} needs surface.phases: designed, no surface.bits and "
            "model.as_printed: false; design_sweep designs continuous phases for the exact bound."
        )
    places = np.asarray(positions, dtype=float)
    if places.ndim != 2 or places.shape[1] != 3 or not len(places):
        raise ValueError(
            f"positions has the shape {places.shape}; it needs (position, 3), x, y, z in metres."
        )
    ahead = (places - np.asarray(surface.position)) @ np.asarray(surface.facing)
    if not np.isfinite(places).all() or np.any(ahead <= 0):
        raise ValueError("positions must be finite and in front of the surface.")
    scene = build(scenario, key)
    design = alignment_codebook.design_sweep(
        scene,
        jnp.asarray(places),
        configurations,
        active_antennas=int(chosen_antennas(scenario, active_antennas)),
        criterion=criterion,
        starts=starts,
        seed=seed,
    )
    array, (across, up) = scene.surface.array, np.asarray(design.sweep.focus)
    direction = (
        across * np.asarray(array.horizontal)
        + up * np.asarray(array.vertical)
        + np.sqrt(1 - across**2 - up**2) * np.asarray(array.normal)
    )
    distance = np.linalg.norm(places.mean(axis=0) - np.asarray(surface.position))
    return SweepDesign(
        focus=np.asarray(surface.position) + distance * direction,
        sweep=np.asarray(design.sweep.offset) * [surface.columns, surface.rows],
        peb=np.asarray(design.peb),
        value=float(design.value),
    )
