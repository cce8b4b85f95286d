"""Tests run in double precision, without rank promotion, and with shapes and types checked.

The long Monte Carlo tests (`make test-slow`) run without these checks, SHAPE_CHECKS=off.
"""

import os
import sys
from importlib.metadata import version

from tests.support import typechecker

# Where XLA does not optimize, its older emitters of fusions are good enough; they take half of the
# time to compile. JAX 0.11 no longer has them, and ends the process for an unknown option.
if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") and version("jaxlib").startswith(
    ("0.8.", "0.9.", "0.10.")
):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

if os.environ.get("SHAPE_CHECKS") != "off":
    typechecker.install()

from collections.abc import Iterator

import jax
import psutil
import pytest
from hypothesis import HealthCheck, settings

import heliostat  # noqa: F401  (sets double precision before JAX starts)
from heliostat import stored_programs

jax.config.update("jax_numpy_rank_promotion", "raise")
stored_programs.enabled = False  # shapes are checked while a function is traced

settings.register_profile(
    "heliostat",
    deadline=None,  # the first example pays for compilation
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("heliostat")


MOST_MEMORY = 3 * 2**30
"""Resident memory of a test process above which compiled programs are dropped. [B]"""


@pytest.fixture(scope="module", autouse=True)
def first_calls_checked() -> None:
    """Check the first calls of each function again in each module."""
    typechecker.calls.clear()


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    """Drop compiled programs after a module when the process has become too large."""
    yield
    if psutil.Process().memory_info().rss > MOST_MEMORY:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Close the figures that a test has opened through pyplot."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
