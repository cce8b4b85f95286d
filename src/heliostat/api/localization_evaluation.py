"""Complete evaluation of a localization scenario: every bound and map that a report shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from heliostat.api.coverage import coverage
from heliostat.api.localization import (
    allocate_time,
    build,
    effective_rate,
    most_active_antennas,
    pose_bounds,
    trade_off_of,
)
from heliostat.api.localization_results import (
    EffectiveRate,
    ErrorEffect,
    NotIdentifiableError,
    PoseBounds,
    TimeAllocation,
    TradeOff,
)
from heliostat.api.steering_errors import no_error_effect, under_errors
from heliostat.design.time_allocation import DEFAULT_WEIGHT
from heliostat.scenario import LocalizationScenario
from heliostat.scene.localization import LocalizationScene


@dataclass(frozen=True)
class UserEvaluation:
    """One of several users, evaluated on its own."""

    name: str
    position: tuple[float, float, float]
    """Position. [m]"""
    bounds: PoseBounds
    rate: EffectiveRate


@dataclass(frozen=True)
class LinkEvaluation:
    """Bounds, rate and best time allocation of the first user of a localization scenario."""

    active_antennas: int
    weight: float | None
    """Weight of the rate; None if a balance is given. [(m + rad) s/bit]"""
    balance: float | None
    """Unit-free alternative to the weight. [1]"""
    bounds: PoseBounds
    rate: EffectiveRate
    trade_off: TradeOff
    allocation: TimeAllocation | None
    """None if no bound exists."""
    no_allocation: str
    """Reason for a missing allocation; empty if there is one."""
    continuous: bool
    """Whether the optimal share is one of all shares; with several paths or spherical waves it is
    the best of those of whole numbers of antennas."""


@dataclass(frozen=True)
class LocalizationEvaluation(LinkEvaluation):
    """A localization scenario with its bounds, rate, best time allocation and PEB map.

    Apart from `users` and the map the results are those of the first user.
    """

    scenario: LocalizationScenario
    scene: LocalizationScene
    under_errors: ErrorEffect | None
    """None if the scenario has no errors."""
    area_map: xr.Dataset
    """Map of the PEB or another quantity, see `heliostat.coverage`."""
    users: tuple[UserEvaluation, ...] = ()
    """Each of several users; empty if there is only one."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Overrides with which the scenario was loaded."""


def evaluate_link(
    scenario: LocalizationScenario,
    *,
    active_antennas: int | None = None,
    weight: float | None = None,
    balance: float | None = None,
) -> LinkEvaluation:
    """Compute bounds, rate and best time allocation of a scenario.

    Args:
        scenario: A loaded scenario.
        active_antennas: Antennas for bounds and rate; default as many as fit into the period.
        weight: See `heliostat.allocate_time`. [(m + rad) s/bit]
        balance: Unit-free alternative to the weight. [1]

    Raises:
        ValueError: ``active_antennas``, ``weight`` or ``balance`` is out of range.
    """
    antennas = most_active_antennas(scenario) if active_antennas is None else active_antennas
    if balance is None and weight is None:
        weight = DEFAULT_WEIGHT
    bounds = pose_bounds(scenario, antennas)
    allocation, reason = None, ""
    try:
        allocation = allocate_time(scenario, weight, balance=balance)
    except NotIdentifiableError as error:
        reason = str(error)
    return LinkEvaluation(
        active_antennas=antennas,
        weight=weight,
        balance=balance,
        bounds=bounds,
        rate=effective_rate(scenario, antennas),
        trade_off=allocation.trade_off if allocation else trade_off_of(scenario),
        allocation=allocation,
        no_allocation=reason,
        continuous=scenario.single_path,
    )


def evaluate_localization(
    scenario: LocalizationScenario,
    *,
    active_antennas: int | None = None,
    weight: float | None = None,
    balance: float | None = None,
    overrides: Mapping[str, str] | None = None,
    **map_options: Any,
) -> LocalizationEvaluation:
    """Compute bounds, rate, best time allocation and PEB map of a scenario.

    Args:
        scenario: A loaded scenario.
        active_antennas: Antennas for bounds, rate and map; default as many as fit into the period.
        weight: See `heliostat.allocate_time`. [(m + rad) s/bit]
        balance: Unit-free alternative to the weight. [1]
        overrides: Overrides with which the scenario was loaded.
        map_options: Arguments of `heliostat.coverage`; default a map of the PEB.

    Raises:
        ValueError: ``active_antennas``, ``weight`` or ``balance`` is out of range.
    """
    link = evaluate_link(scenario, active_antennas=active_antennas, weight=weight, balance=balance)
    antennas = link.active_antennas
    return LocalizationEvaluation(
        **vars(link),
        scenario=scenario,
        scene=build(scenario),
        under_errors=None if no_error_effect(scenario) else under_errors(scenario, antennas),
        area_map=coverage(scenario, active_antennas=antennas, **map_options),
        users=_users(scenario, antennas),
        overrides=dict(overrides or {}),
    )


def _users(scenario: LocalizationScenario, antennas: int) -> tuple[UserEvaluation, ...]:
    """Evaluate each of several users, with at most as many antennas as fit into the period."""
    found = []
    for i in range(len(scenario.users or ())):
        alone = scenario.for_user(i)
        active = min(antennas, most_active_antennas(alone))
        found.append(
            UserEvaluation(
                scenario.user_names[i],
                alone.user.position,
                pose_bounds(alone, active),
                effective_rate(alone, active),
            )
        )
    return tuple(found)
