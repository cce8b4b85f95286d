"""Bounds, designs and proofs for intelligent reflecting surfaces.

The names below are the public interface; each is imported when first used, so that
``heliostat --help`` needs neither JAX nor Matplotlib.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from heliostat.compilation import keep_compiled_programs

# Information matrices span many decades: single precision is never enough. The variable serves a
# JAX that is not imported yet, the call one that is.
os.environ["JAX_ENABLE_X64"] = "1"
if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)
# XLA has as many threads as there are cores. With few of them, batched linear algebra can fill
# them all with tasks that wait for tasks that find no thread, for ever.
if (os.cpu_count() or 1) < 16:
    os.environ.setdefault("NPROC", "16")

keep_compiled_programs()

__version__ = "0.1.0"

if TYPE_CHECKING:
    from heliostat.api import (
        allocate_time,
        effective_rate,
        pose_bounds,
        under_errors,
    )
    from heliostat.dwell_api import find_target
    from heliostat.estimation_api import (
        estimate_direction,
        estimate_pose,
        simulate_echoes,
        simulate_pilots,
        triangulate,
    )
    from heliostat.protocol_api import run_protocol
    from heliostat.scenario import ScenarioError, load
    from heliostat.sensing_api import (
        design_beamforming,
        design_for_region,
        design_reflection,
        design_transmit,
        direction_bounds,
    )

_HOME = {
    "load": "scenario",
    "ScenarioError": "scenario",
    "pose_bounds": "api",
    "effective_rate": "api",
    "allocate_time": "api",
    "under_errors": "api",
    "direction_bounds": "sensing_api",
    "design_transmit": "sensing_api",
    "design_reflection": "sensing_api",
    "design_beamforming": "sensing_api",
    "design_for_region": "sensing_api",
    "simulate_pilots": "estimation_api",
    "estimate_pose": "estimation_api",
    "simulate_echoes": "estimation_api",
    "estimate_direction": "estimation_api",
    "triangulate": "estimation_api",
    "run_protocol": "protocol_api",
    "find_target": "dwell_api",
}

__all__ = [
    "ScenarioError",
    "allocate_time",
    "design_beamforming",
    "design_for_region",
    "design_reflection",
    "design_transmit",
    "direction_bounds",
    "effective_rate",
    "estimate_direction",
    "estimate_pose",
    "find_target",
    "load",
    "pose_bounds",
    "run_protocol",
    "simulate_echoes",
    "simulate_pilots",
    "triangulate",
    "under_errors",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"heliostat.{_HOME[name]}"), name)
    raise AttributeError(f"module 'heliostat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
