"""Bounds, designs and proofs for intelligent reflecting surfaces.

The names below are the public interface; each is imported when first used, so that
``heliostat --help`` needs neither JAX nor Matplotlib.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Information matrices span many decades: single precision is never enough. The variable serves a
# JAX that is not imported yet, the call one that is.
os.environ["JAX_ENABLE_X64"] = "1"
if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)

__version__ = "0.1.0"

if TYPE_CHECKING:
    from heliostat.api import (
        allocate_time,
        effective_rate,
        pose_bounds,
        under_errors,
    )
    from heliostat.scenario import ScenarioError, load
    from heliostat.sensing_api import design_transmit, direction_bounds

_HOME = {
    "load": "scenario",
    "ScenarioError": "scenario",
    "pose_bounds": "api",
    "effective_rate": "api",
    "allocate_time": "api",
    "under_errors": "api",
    "direction_bounds": "sensing_api",
    "design_transmit": "sensing_api",
}

__all__ = [
    "ScenarioError",
    "allocate_time",
    "design_transmit",
    "direction_bounds",
    "effective_rate",
    "load",
    "pose_bounds",
    "under_errors",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"heliostat.{_HOME[name]}"), name)
    raise AttributeError(f"module 'heliostat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
