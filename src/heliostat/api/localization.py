"""Public functions for localization scenarios: bounds, rates and time allocation."""

from collections.abc import Iterator
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from heliostat.api.arguments import described, is_finite, is_whole, public
from heliostat.api.localization_results import (
    EffectiveRate,
    NotIdentifiableError,
    PoseBounds,
    TimeAllocation,
    TradeOff,
)
from heliostat.bounds.fisher import identify
from heliostat.bounds.paths import scene_pose_information
from heliostat.bounds.pose import PoseInformation, error_bounds
from heliostat.bounds.printed import pose_information_as_printed
from heliostat.design.time_allocation import (
    TimeShare,
    balanced_share,
    dominated,
    peak_rate_ratio,
)
from heliostat.protocol.period import largest_ratio, next_share
from heliostat.rates.effective import (
    available_ratio,
    codebook_snr,
    eadr,
    eadr_closed_form,
    snr_by_path,
    snr_slope,
    time_ratio,
)
from heliostat.scenario import (
    AnyScenario,
    LocalizationScenario,
    Problem,
    ScenarioError,
    of_system,
)
from heliostat.scene.localization import LocalizationScene, with_traced_sizes
from heliostat.stored_programs import stored_jit


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
        scene = eqx.tree_at(lambda s: s.surface.reflection, scene, jax.device_put(np.float64(1)))
    return scene


def pose_information_by_form(
    as_printed: bool, scene: LocalizationScene, antennas: int | Array
) -> PoseInformation:
    """Return the Fisher information of the pose.

    Args:
        as_printed: Whether to use the form printed in the paper.
        scene: The scene.
        antennas: Number of active antennas.
    """
    of = pose_information_as_printed if as_printed else scene_pose_information
    return of(scene, antennas)


def _for_any_size(scenario: LocalizationScenario, scene: LocalizationScene) -> LocalizationScene:
    """Return the scene with traced sizes, to avoid recompilation, if the form allows it."""
    return scene if scenario.model.as_printed else with_traced_sizes(scene)


@stored_jit
def _bounds(
    as_printed: bool, scene: LocalizationScene, antennas: Float[Array, ""]
) -> tuple[Array, ...]:
    pose = pose_information_by_form(as_printed, scene, antennas)
    seen = identify(pose.information, jnp.diag(pose.reference))
    peb, reb = error_bounds(pose)
    # At the threshold the two criteria may differ; finite bounds take precedence.
    lost = seen.lost & ~(jnp.isfinite(peb) & jnp.isfinite(reb))
    return peb, reb, pose.information, 3 - jnp.sum(lost), lost, seen.directions


@stored_jit
def _rates(scene: LocalizationScene, antennas: Float[Array, ""]) -> tuple[Array, ...]:
    ratio = time_ratio(scene, antennas)
    return (
        eadr(scene, antennas),
        eadr_closed_form(scene, ratio),
        codebook_snr(scene, antennas),
        ratio,
        snr_by_path(scene, antennas),
    )


@stored_jit
def _choices(
    as_printed: bool, scene: LocalizationScene, antennas: Float[Array, "choice"]
) -> tuple[Array, ...]:
    def choice(active: Array) -> tuple[Array, ...]:
        peb, reb = error_bounds(pose_information_by_form(as_printed, scene, active))
        return time_ratio(scene, active), peb, reb, eadr(scene, active)

    return jax.vmap(choice)(antennas)


def require_single_path(scenario: LocalizationScenario, function: str) -> None:
    """Refuse a scenario with several paths or spherical waves.

    Args:
        scenario: A loaded scenario.
        function: Name of the public function, for the message.

    Raises:
        ScenarioError: The scenario has several paths or spherical waves.
    """
    if scenario.single_path:
        return
    if len(scenario.panels) > 1:
        field, found, remedy = "surfaces", f"{len(scenario.panels)} surfaces", "one surface"
    elif scenario.direct != "blocked":
        field, found, remedy = "link.direct", scenario.direct, "blocked"
    else:
        field, found, remedy = "model.wavefront", scenario.model.wavefront, "plane"
    sentence = f"{function} is for one path, through a surface by plane waves; write {remedy}"
    raise ScenarioError([Problem(scenario.name, field, found, sentence)])


def most_active_antennas(scenario: AnyScenario) -> int:
    """Return the largest number of antennas whose pilots fit into the period.

    Raises:
        TypeError: The scenario is not one of localization.
    """
    scenario = of_system(scenario, LocalizationScenario, "most_active_antennas")
    if scenario.frame.period is None:
        return scenario.base_station.antennas
    # A period that is slightly too short for a whole number of antennas because of rounding.
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
            f"active_antennas is {described(active_antennas)}; it must be a whole number from 1 to "
            f"{most}: the base station has {scenario.base_station.antennas}, and the pilots of all "
            "active antennas must fit into the period."
        )
    return jax.device_put(np.float64(chosen))


@public(LocalizationScenario)
def pose_bounds(
    scenario: LocalizationScenario,
    active_antennas: int | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> PoseBounds:
    r"""Compute the error bounds of position and heading.

    The position error bound (PEB) is :math:`\sqrt{\mathrm{tr}[J^{-1}]_{1:2,1:2}}` and the heading
    error bound (REB) is :math:`\sqrt{[J^{-1}]_{3,3}}`, eqs. (32), (33) of the localization paper.

    Args:
        scenario: A localization scenario.
        active_antennas: :math:`N_B`; default as many as fit into the period.
        key: Random key of phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: ``active_antennas`` is out of range.
    """
    antennas = chosen_antennas(scenario, active_antennas)
    peb, reb, information, rank, lost, directions = _bounds_of(scenario, antennas, key)
    remedies: tuple[str, ...] = ()
    if rank < 3 and not scenario.model.as_printed:
        remedies = tuple(
            words
            for words, changed in _possible_remedies(scenario)
            if _bounds_of(changed, antennas, key)[3] == 3
        )
    return PoseBounds(
        peb=float(peb),
        reb=float(reb),
        information=np.asarray(information),
        rank=int(rank),
        unidentifiable=np.asarray(directions)[np.asarray(lost)],
        remedies=remedies,
    )


def _bounds_of(
    scenario: LocalizationScenario, antennas: Array, key: PRNGKeyArray | None
) -> tuple[Array, ...]:
    scene = _for_any_size(scenario, build(scenario, key))
    return _bounds(scenario.model.as_printed, scene, antennas)


def _possible_remedies(
    scenario: LocalizationScenario,
) -> Iterator[tuple[str, LocalizationScenario]]:
    """Changes that may make the pose identifiable, in words, and the changed scenarios."""
    if scenario.model.clock == "unknown":
        yield "a synchronized clock", scenario.updated({"model.clock": "synchronized"})
    swept = [
        f"{key}.sweep"
        for key, panel in zip(scenario.panel_keys, scenario.panels, strict=True)
        if panel.phases == "designed" and panel.sweep is not None and len(panel.sweep) < 4
    ]
    if swept and scenario.model.gain == "unknown":
        words = f"more configurations of the surface (remove {' and '.join(swept)})"
        yield words, scenario.updated(dict.fromkeys(swept))
    if scenario.direct != "clear":
        yield "a clear direct path", scenario.updated({"link.direct": "clear"})


@public(LocalizationScenario)
def effective_rate(
    scenario: LocalizationScenario,
    active_antennas: int | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> EffectiveRate:
    """Compute the effective achievable data rate (EADR), eqs. (39), (42) of the localization paper.

    Eq. (39) is for the beams of the codebooks, the closed form (42) for exactly aligned beams.

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
    *values, by_path = _rates(scene, antennas)
    rate, closed_form, snr, ratio = (float(x) for x in values)
    path_snr = dict(zip(scenario.path_names, np.asarray(by_path).tolist(), strict=True))
    return EffectiveRate(rate, closed_form, snr, ratio, path_snr)


@public(LocalizationScenario)
def allocate_time(
    scenario: LocalizationScenario,
    weight: float | None = None,
    *,
    balance: float | None = None,
    key: PRNGKeyArray | None = None,
) -> TimeAllocation:
    r"""Optimize the share of the period that is used for pilots.

    Minimizes :math:`\mathrm{PEB} + \mathrm{REB} - \xi R`, eq. (47) of the localization paper, or a
    unit-free objective; PEB and REB are the position and heading error bounds, R is the rate.

    Args:
        scenario: A localization scenario.
        weight: :math:`\xi` of eq. (47), default 1e-10. [(m + rad) s/bit]
        balance: Alternative to the weight: minimize :math:`b\ln\mathrm{PEB} - (1-b)\ln R`,
            0 <= b < 1. [1]
        key: Random key of phases; default ``link.seed``.

    Raises:
        TypeError: The scenario is not one of localization.
        ValueError: Both weight and balance are given, or one is out of range.
        NotIdentifiableError: The bounds are infinite.
    """
    if weight is not None and balance is not None:
        raise ValueError("Give a weight or a balance, not both.")
    if balance is not None and not (is_finite(balance) and 0 <= balance < 1):
        raise ValueError(
            f"balance is {described(balance)}; it must be 0 (rate alone) or more, and below 1."
        )
    if weight is None:
        weight = 1e-10
    if not (is_finite(weight) and weight >= 0):
        raise ValueError(f"weight is {described(weight)}; it must be a finite number, 0 or more.")
    scene = _for_any_size(scenario, build(scenario, key))
    trade_off = trade_off_of(scenario, key=key)
    bound, name = (
        (trade_off.peb + trade_off.reb, "PEB + REB") if balance is None else (trade_off.peb, "PEB")
    )
    finite = np.isfinite(bound)
    if not finite.any():
        reason = pose_bounds(scenario, key=key).reason
        raise NotIdentifiableError(f"{name} is infinite, so no allocation is optimal. {reason}")
    # The whole period for pilots leaves a rate of zero; over several paths, few antennas may leave
    # a pose that is not identifiable.
    with np.errstate(divide="ignore", invalid="ignore"):
        if balance is None:
            objective = trade_off.peb + trade_off.reb - weight * trade_off.eadr
        else:
            objective = balance * np.log(trade_off.peb) - (1 - balance) * np.log(trade_off.eadr)
    best = int(np.argmin(np.where(finite, objective, np.inf)))
    if not scenario.single_path:
        # The bound over several paths has no closed form in the number of antennas.
        ratio, multiplier, residual = float(trade_off.ratio[best]), 0.0, 0.0
        peak = float(trade_off.ratio[np.argmax(trade_off.eadr)])
    else:
        share, peak = _share(
            scenario.model.as_printed,
            scene,
            jax.device_put(np.float64(weight)),
            None if balance is None else jax.device_put(np.float64(balance)),
        )
        ratio, multiplier = float(share.ratio), float(share.multiplier)
        residual = float(share.residual)
    return TimeAllocation(
        ratio=ratio,
        active_antennas=int(trade_off.active_antennas[best]),
        objective=float(objective[best]),
        multiplier=multiplier,
        kkt_residual=residual,
        peak_rate_ratio=peak,
        trade_off=trade_off,
    )


def _share(
    as_printed: bool, scene: LocalizationScene, weight: Array, balance: Array | None
) -> tuple[TimeShare, float]:
    """Optimal share, and the share of largest rate, both limited by the number of antennas."""
    share, slope, available, largest = _compiled_share(as_printed, scene, weight, balance)
    peak = peak_rate_ratio(np.asarray(slope), np.asarray(available))
    return share, float(np.minimum(peak, np.asarray(largest)))


@stored_jit
def _compiled_share(
    as_printed: bool, scene: LocalizationScene, weight: Array, balance: Array | None
) -> tuple[TimeShare, Array, Array, Array]:
    slope, available, largest = snr_slope(scene), available_ratio(scene), largest_ratio(scene)
    if balance is None:
        share = next_share(scene, weight, partial(pose_information_by_form, as_printed))
    else:
        share = balanced_share(slope, available, balance, largest)
    return share, slope, available, largest


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
        for x in _choices(scenario.model.as_printed, scene, antennas.astype(float))
    )
    return TradeOff(antennas[:count], ratio, peb, reb, rate, dominated(peb, rate))
