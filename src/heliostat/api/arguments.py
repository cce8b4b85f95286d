"""Handling of arguments and results that all public functions share."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from heliostat.model_warning import issue
from heliostat.scenario import (
    AnyScenario,
    LocalizationScenario,
    ScenarioLike,
    SensingScenario,
    any_scenario,
    of_system,
)
from heliostat.scenario.random_keys import purpose_key

System = TypeVar("System", LocalizationScenario, SensingScenario, AnyScenario)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_INSIDE: ContextVar[bool] = ContextVar("inside", default=False)
"""Whether a public function is running; functions that it calls do not repeat the notes."""


def public(
    *systems: type[AnyScenario],
) -> Callable[
    [Callable[Concatenate[System, Parameters], Result]],
    Callable[Concatenate[ScenarioLike, Parameters], Result],
]:
    """Decorate a function of a scenario to make it public.

    The scenario may be a loaded scenario, the name of a packaged one, the path of a file, or a dict
    of its sections. ``key`` may be an integer seed; ``seed`` must be a whole number, 0 or more.
    Every note on the result and on the scenario is issued as a `ModelWarning` and listed in
    ``notes`` of the result. Arrays of the result are NumPy arrays.

    Args:
        systems: Class of the scenarios that the function accepts, or both.
    """

    def decorate(
        function: Callable[Concatenate[System, Parameters], Result],
    ) -> Callable[Concatenate[ScenarioLike, Parameters], Result]:
        name = function.__name__

        @functools.wraps(function)
        def wrapper(scenario: Any, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            loaded: Any = any_scenario(scenario, name)
            if len(systems) == 1:
                loaded = of_system(loaded, systems[0], name)  # type: ignore[type-var]
            if kwargs.get("key") is not None:
                kwargs["key"] = checked_key(kwargs["key"], name)
            if "seed" in kwargs:
                kwargs["seed"] = checked_count("seed", kwargs["seed"], least=0)
            nested = _INSIDE.get()
            token = _INSIDE.set(True)
            try:
                result: Any = function(loaded, *args, **kwargs)
            finally:
                _INSIDE.reset(token)
            notes = (*getattr(result, "notes", ()), *loaded.notes)
            for note in () if nested else notes:
                issue(note, stacklevel=2)
            return _with_notes(result, notes)

        signature = inspect.signature(function)
        first, *others = signature.parameters.values()
        first = first.replace(annotation="scenario, name, path or dict")
        wrapper.__signature__ = signature.replace(parameters=[first, *others])  # type: ignore[attr-defined]
        return wrapper  # type: ignore[return-value]

    return decorate


def checked_key(key: Any, function: str) -> PRNGKeyArray:
    """Return a random key; an integer is a seed.

    Args:
        key: Argument of a public function.
        function: Name of the function, for the message.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    raise TypeError(
        f"{function}: key is {described(key)}; it must be an integer seed or jax.random.key(seed)."
    )


def checked_count(
    name: str,
    value: Any,
    least: int = 1,
    most: int | None = None,
    error: type[ValueError] = ValueError,
) -> int:
    """Return a number of things.

    Args:
        name: Name of the argument, for the message.
        value: The argument.
        least: Smallest number allowed.
        most: Largest number allowed; no limit by default.
        error: Class of the exception.

    Raises:
        ValueError: It is not a whole number within the limits.
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        span = f", {least} or more" if most is None else f" from {least} to {most}"
        raise error(f"{name} is {described(value)}; it must be a whole number{span}.")
    return int(value)


def noise_key(scenario: AnyScenario, key: PRNGKeyArray | None) -> PRNGKeyArray:
    """Return the random key of the noise.

    Args:
        scenario: The scenario, for its ``link.seed``.
        key: Key that the user gives; None for the seed.
    """
    return purpose_key(scenario.link.seed if key is None else key, "noise")


def is_whole(value: Any) -> bool:
    """Return whether an argument is a whole number; booleans are not numbers."""
    number = isinstance(value, int | np.integer | float) and not isinstance(value, bool)
    return number and bool(value % 1 == 0)


def is_finite(value: Any) -> bool:
    """Return whether an argument is a finite number; booleans are not numbers."""
    number = isinstance(value, int | float | np.integer | np.floating)
    return number and not isinstance(value, bool) and bool(np.isfinite(value))


def described(value: Any) -> str:
    """Short description of an argument for messages: its value, or its type and shape."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"an array of shape {tuple(shape)}"
    text = repr(value)
    kind = type(value).__name__
    return f"{text} ({kind})" if len(text) <= 40 else f"a {kind}"


def _with_notes(result: Any, notes: tuple[str, ...]) -> Any:
    """The result with the notes of its scenario, and with NumPy arrays in place of JAX arrays."""
    if dataclasses.is_dataclass(result) and any(
        field.name == "notes" for field in dataclasses.fields(result)
    ):
        result = dataclasses.replace(result, notes=notes)  # type: ignore[type-var]
    if isinstance(result, eqx.Module):
        return jax.tree.map(np.asarray, result)
    if hasattr(result, "attrs"):
        result.attrs["notes"] = "\n".join(notes)
    return result
