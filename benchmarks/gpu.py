"""The same numbers on a GPU and on the processor of its machine, and the time that both take.

Each platform computes in a process of its own: JAX chooses the platform once. ``JAX_PLATFORMS=cuda
python -m benchmarks.gpu`` prints the numbers of one platform.
"""

import json
import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np

import heliostat as hs
from benchmarks.pose_map import ACTIVE, COUNT, HONEST, PAPER
from benchmarks.timing import Row, seconds
from heliostat.design.cooperative import random_phases
from heliostat.design.transmit import solve_transmit
from heliostat.maps.localization import Steering, quantity_at

DRAWS = 1_000
AGREEMENT = 1e-6
"""Largest relative difference of two platforms; the design is a long search, see `_design`."""


def _map(changes):
    """PEB at a million positions."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 60, COUNT), rng.uniform(0, 80, COUNT)
    places = np.stack([x, y, np.zeros(COUNT)], axis=1)
    scene = hs.load("localization-table-1", changes).build()
    return lambda: np.asarray(quantity_at(scene, places, "peb", ACTIVE, Steering(False)))


def _transmit():
    """Worst CRB of the optimal covariances for each of many channels."""
    scenario = hs.load("sensing-two-surfaces")
    psi = tuple(p[0] for p in random_phases(scenario.build(), 0))
    keys = jax.random.split(jax.random.key(0), DRAWS)

    @jax.jit
    @jax.vmap
    def batch(key):
        return jnp.max(solve_transmit(scenario.build(key), psi, jnp.zeros(())).crb)

    return lambda: np.asarray(batch(keys))


def _pose():
    """PEB and REB of one pose."""
    scenario = hs.load("factory-hall")

    def call():
        bounds = hs.pose_bounds(scenario)
        return np.array([bounds.peb, bounds.reb])

    return call


def _design():
    """Lower bound and worst CRB of the joint design of one scene.

    The search evaluates its objective in NumPy, the bounds of its results in JAX. Differences in
    the last digits lead it to another of the nearly equal minima.
    """
    scenario = hs.load("sensing-two-surfaces")

    def call():
        design = hs.design_beamforming(scenario)
        return np.array([design.lower_bound, design.worst_crb])

    return call


TASKS = {
    f"PEB at {COUNT:,} positions, gain known": (lambda: _map(PAPER), AGREEMENT),
    f"PEB at {COUNT:,} positions, gain unknown": (lambda: _map(HONEST), AGREEMENT),
    f"(P2) for {DRAWS:,} channels by vmap": (_transmit, AGREEMENT),
    "bounds of one pose": (_pose, AGREEMENT),
    "joint design of one scene": (_design, 0.01),
}


def measure() -> dict[str, list[float]]:
    """Time of the first call, of a later one, and the results of each task, on one platform."""
    found = {}
    for name, (prepare, _) in TASKS.items():
        call = prepare()
        first = seconds(call)
        again = min(seconds(call) for _ in range(3))
        values = call()
        found[name] = [first, again, *values[:: max(1, len(values) // 1000)].tolist()]
    return found


def _measured_on(platform):
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        env={**os.environ, "JAX_PLATFORMS": platform},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])


def run() -> list[Row]:
    """One line for each task; one that says so where JAX sees no GPU."""
    try:
        device = jax.devices("gpu")[0].device_kind
    except RuntimeError:
        return [Row("the same numbers on a GPU", "JAX sees no GPU here", "none needed", True)]
    cpu, gpu = _measured_on("cpu"), _measured_on("cuda,cpu")
    rows = []
    for name, (_, agreement) in TASKS.items():
        slow, fast = np.array(cpu[name]), np.array(gpu[name])
        apart = np.nanmax(np.abs(fast[2:] / slow[2:] - 1))
        same = np.array_equal(np.isfinite(fast), np.isfinite(slow))
        rows.append(
            Row(
                f"{name}, {device}: over {os.cpu_count()} cores",
                f"{slow[1] / fast[1]:.1f}x ({slow[1]:.3g} s / {fast[1]:.3g} s; first "
                f"{slow[0]:.1f} s / {fast[0]:.1f} s); largest difference {apart:.1e}",
                f"difference {agreement:g}",
                bool(same and apart <= agreement),
            )
        )
    return rows


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure()))
