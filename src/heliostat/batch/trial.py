"""One trial at one point of a user's study: which scenario, which options, what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from heliostat.batch.quantities import FUNCTIONS, Case, option_value
from heliostat.scenario import AnyScenario, ScenarioError
from heliostat.studies.study import NoResultError


@dataclass(frozen=True)
class Axis:
    """Values that one key, or several at once, go through."""

    name: str
    """Of the dataset's dimension: the first key, with its unit where that is not SI."""
    keys: tuple[str, ...]
    written: Mapping[Any, Any]
    """From the coordinate to the value as it would be written in a scenario."""
    unit: str


@dataclass(frozen=True)
class Spread:
    """A key whose value is drawn uniformly in each trial."""

    key: str
    low: float
    high: float
    unit: str

    def written(self, value: float) -> str | float:
        """A value as it would be written in a scenario."""
        return f"{value!r} {self.unit}" if self.unit else value


@dataclass(frozen=True)
class Layout:
    """All that a point needs to know."""

    scenario: AnyScenario
    axes: tuple[Axis, ...]
    spreads: tuple[Spread, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    draws_seed: bool
    """Whether trials draw the seed of the scenario's own randomness."""


class Draw(NamedTuple):
    """What is random in one trial."""

    overrides: Mapping[str, Any]
    key: PRNGKeyArray


def draw_trial(layout: Layout, key: PRNGKeyArray) -> Draw:
    """What is random in one trial.

    Args:
        layout: Of the study.
        key: The trial's own.
    """
    noise, seeding, *spreading = jax.random.split(key, 2 + len(layout.spreads))
    overrides: dict[str, Any] = {}
    if layout.draws_seed:
        overrides["link.seed"] = int(jax.random.randint(seeding, (), 0, 2**31 - 1))
    for spread, own in zip(layout.spreads, spreading, strict=True):
        place = float(jax.random.uniform(own))
        value = spread.low + (spread.high - spread.low) * place
        overrides[spread.key] = spread.written(value)
    return Draw(overrides, noise)


def case_at(layout: Layout, draw: Draw, at: Mapping[str, Any]) -> Case:
    """Scenario and options of one trial at one point.

    Args:
        layout: Of the study.
        draw: Of the trial.
        at: Coordinates of the point.

    Raises:
        NoResultError: They make no sound scenario.
    """
    overrides = dict(draw.overrides)
    options = {name: dict(given) for name, given in layout.options.items()}
    for axis in layout.axes:
        for key in axis.keys:
            written, (first, _, rest) = axis.written[at[axis.name]], key.partition(".")
            if first in FUNCTIONS:
                try:
                    options.setdefault(first, {})[rest] = checked_option(first, rest, written)
                except ValueError as error:
                    raise NoResultError(f"{key}: {error}") from None
            else:
                overrides[key] = written
    try:
        return Case(layout.scenario.updated(overrides), draw.key, options)
    except ScenarioError as error:
        told = dict.fromkeys(f"{p.field or p.where}: {p.sentence}" for p in error.problems)
        raise NoResultError("; ".join(told)) from None


def compute_point(layout: Layout, draw: Draw, **at: Any) -> Mapping[str, Any]:
    """All outputs of one trial at one point.

    Args:
        layout: Of the study.
        draw: Of the trial.
        at: Coordinates of the point.

    Raises:
        NoResultError: There are not all, and why.
    """
    case, outputs = case_at(layout, draw, at), dict[str, Any]()
    reasons: list[str] = []
    statuses: list[str] = []
    for name in dict.fromkeys(output.partition(".")[0] for output in layout.outputs):
        try:
            found = FUNCTIONS[name].compute(case)
        except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
            reasons.append(" ".join(str(error).split()) or type(error).__name__)
            continue
        outputs |= {f"{name}.{field}": value for field, value in found.values.items()}
        reasons += [found.reason] * bool(found.reason)
        statuses += [found.status] * bool(found.status)
    if reasons:
        raise NoResultError("; ".join(dict.fromkeys(reasons)), outputs)
    return outputs | {"status": "; ".join(statuses)}


def checked_option(function: str, option: str, value: Any) -> Any:
    """An option's value as the function takes it.

    Args:
        function: One of `FUNCTIONS`.
        option: By name.
        value: As it was written.

    Raises:
        ValueError: There is no such option, or the value is none for it.
    """
    known = FUNCTIONS[function].options
    if option not in known:
        have = f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(f"no such option of {function}; {have}")
    return option_value(function, option, value)
