"""Error bounds, certified designs and estimators for intelligent reflecting surfaces.

The names below are the public interface; each is imported when first used, so that
``heliostat --help`` needs neither JAX nor Matplotlib.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from heliostat._version import __version__ as __version__
from heliostat.compilation import keep_compiled_programs

# The entries of information matrices span many decades, so single precision is not sufficient. The
# variable takes effect if JAX is imported later, the call if it was imported before.
os.environ["JAX_ENABLE_X64"] = "1"
if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)
# XLA has as many threads as there are cores. With few threads, batched linear algebra can deadlock:
# all threads run tasks that wait for other tasks, for which no thread is available.
if (os.cpu_count() or 1) < 16:
    os.environ.setdefault("NPROC", "16")

keep_compiled_programs()

if TYPE_CHECKING:
    from heliostat.api.alignment_codebook import design_sweep
    from heliostat.api.coverage import coverage
    from heliostat.api.estimation import estimate_direction, simulate_echoes, triangulate
    from heliostat.api.localization import (
        allocate_time,
        effective_rate,
        pose_bounds,
    )
    from heliostat.api.placement import place
    from heliostat.api.pose_estimation import estimate_pose, simulate_pilots
    from heliostat.api.ray_tracing import trace_channels
    from heliostat.api.sensing import (
        certify,
        design_beamforming,
        design_for_region,
        design_reflection,
        design_transmit,
        direction_bounds,
    )
    from heliostat.api.steering_errors import under_errors
    from heliostat.api.target_search import find_target
    from heliostat.api.tracking import run_protocol
    from heliostat.batch.python import sweep
    from heliostat.model_warning import ModelWarning
    from heliostat.planner.notebook import plan
    from heliostat.plots import public as plot
    from heliostat.reports.export import export
    from heliostat.reports.run import report
    from heliostat.scenario import ScenarioError, load

_HOME = {
    "load": "scenario",
    "ScenarioError": "scenario",
    "ModelWarning": "model_warning",
    "coverage": "api.coverage",
    "pose_bounds": "api.localization",
    "effective_rate": "api.localization",
    "allocate_time": "api.localization",
    "under_errors": "api.steering_errors",
    "design_sweep": "api.alignment_codebook",
    "place": "api.placement",
    "direction_bounds": "api.sensing",
    "design_transmit": "api.sensing",
    "design_reflection": "api.sensing",
    "design_beamforming": "api.sensing",
    "certify": "api.sensing",
    "design_for_region": "api.sensing",
    "simulate_pilots": "api.pose_estimation",
    "estimate_pose": "api.pose_estimation",
    "simulate_echoes": "api.estimation",
    "estimate_direction": "api.estimation",
    "triangulate": "api.estimation",
    "trace_channels": "api.ray_tracing",
    "run_protocol": "api.tracking",
    "find_target": "api.target_search",
    "sweep": "batch.python",
    "plan": "planner.notebook",
    "report": "reports.run",
    "export": "reports.export",
}

__all__ = [
    "ModelWarning",
    "ScenarioError",
    "allocate_time",
    "certify",
    "coverage",
    "design_beamforming",
    "design_for_region",
    "design_reflection",
    "design_sweep",
    "design_transmit",
    "direction_bounds",
    "effective_rate",
    "estimate_direction",
    "estimate_pose",
    "export",
    "find_target",
    "load",
    "place",
    "plan",
    "plot",
    "pose_bounds",
    "report",
    "run_protocol",
    "simulate_echoes",
    "simulate_pilots",
    "sweep",
    "trace_channels",
    "triangulate",
    "under_errors",
]


def __getattr__(name: str) -> Any:
    if name == "plot":
        return import_module("heliostat.plots.public")
    if name in _HOME:
        return getattr(import_module(f"heliostat.{_HOME[name]}"), name)
    raise AttributeError(f"module 'heliostat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
