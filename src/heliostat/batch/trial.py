"""One trial at one point of a user's study: its random draw, its scenario, its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from heliostat.batch.quantities import FUNCTIONS, Trial, compute, read_options
from heliostat.scenario import AnyScenario, ScenarioError
from heliostat.studies.study import NoResultError


@dataclass(frozen=True)
class Axis:
    """Values of one key, or of several keys that change together."""

    name: str
    """Dimension of the dataset: the first key, followed by its unit unless that is SI."""
    keys: tuple[str, ...]
    written: Mapping[Any, Any]
    """Values as in a scenario file, by coordinate of the dataset."""
    unit: str


@dataclass(frozen=True)
class UniformRange:
    """A key whose value is drawn from a uniform distribution in each trial."""

    key: str
    low: float
    high: float
    unit: str

    def at(self, fraction: float) -> str | float:
        """Return a value of the range as in a scenario file.

        Args:
            fraction: Position in the range, 0 at its lower and 1 at its upper end.
        """
        value = min(self.low + (self.high - self.low) * fraction, self.high)
        return f"{value!r} {self.unit}" if self.unit else value


@dataclass(frozen=True)
class TrialSetup:
    """Everything that the trials of a study have in common."""

    scenario: AnyScenario
    axes: tuple[Axis, ...]
    ranges: tuple[UniformRange, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    """Options as in the study file, by function."""
    draws_seed: bool
    """Whether each trial draws the scenario's ``link.seed``."""


class Draw(NamedTuple):
    """Random inputs of one trial."""

    overrides: Mapping[str, Any]
    key: PRNGKeyArray


def draw_trial(setup: TrialSetup, key: PRNGKeyArray) -> Draw:
    """Draw the random inputs of one trial.

    Args:
        setup: Setup of the study.
        key: Key of the trial.
    """
    noise_key, seed_key, *range_keys = jax.random.split(key, 2 + len(setup.ranges))
    overrides: dict[str, Any] = {}
    if setup.draws_seed:
        overrides["link.seed"] = int(jax.random.randint(seed_key, (), 0, 2**31 - 1))
    for uniform, range_key in zip(setup.ranges, range_keys, strict=True):
        overrides[uniform.key] = uniform.at(float(jax.random.uniform(range_key)))
    return Draw(overrides, noise_key)


def trial_at(setup: TrialSetup, draw: Draw, point: Mapping[str, Any]) -> Trial:
    """Return scenario and options of one trial at one point.

    Args:
        setup: Setup of the study.
        draw: Random inputs of the trial.
        point: Coordinates, by axis.

    Raises:
        NoResultError: The scenario or an option is not valid at this point.
    """
    overrides = dict(draw.overrides)
    options = {name: dict(given) for name, given in setup.options.items()}
    for axis in setup.axes:
        for key in axis.keys:
            function, _, option = key.partition(".")
            if function in FUNCTIONS:
                options.setdefault(function, {})[option] = axis.written[point[axis.name]]
            else:
                overrides[key] = axis.written[point[axis.name]]
    try:
        return Trial(setup.scenario.updated(overrides), draw.key, read_options(options))
    except ScenarioError as error:
        problems = dict.fromkeys(f"{p.field or p.where}: {p.sentence}" for p in error.problems)
        raise NoResultError("; ".join(problems)) from None


def compute_point(setup: TrialSetup, draw: Draw, **point: Any) -> Mapping[str, Any]:
    """Return all outputs of one trial at one point.

    Args:
        setup: Setup of the study.
        draw: Random inputs of the trial.
        point: Coordinates, by axis.

    Raises:
        NoResultError: At least one output is missing or infinite; it carries the others.
    """
    trial, outputs = trial_at(setup, draw, point), dict[str, Any]()
    reasons: list[str] = []
    statuses: list[str] = []
    for name in dict.fromkeys(output.partition(".")[0] for output in setup.outputs):
        try:
            result = compute(name, trial)
        except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
            reasons.append(" ".join(str(error).split()) or type(error).__name__)
            continue
        outputs |= {f"{name}.{field}": value for field, value in result.values.items()}
        reasons += [result.reason] * bool(result.reason)
        statuses += [result.status] * bool(result.status)
    if reasons:
        raise NoResultError("; ".join(dict.fromkeys(reasons)), outputs)
    return outputs | {"status": "; ".join(statuses)}
