"""Studies: trials per second in one and two processes, and the overhead of a task."""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.timing import Row
from heliostat.batch.dask import local_cluster
from heliostat.batch.run import CHUNK_SECONDS, run_blocks
from heliostat.batch.store import open_store
from heliostat.batch.study_file import Plan, parse_study
from heliostat.batch.workers import local_workers, usable_cores
from heliostat.studies.engine import Engine, serial
from heliostat.studies.study import FINE, Block, Outcome

STUDY = """
scenario: localization-table-1
set: {model.gain: unknown, surface.sweep: null}
axes: {base_station.power: 10..40 dBm in 20}
random: {user.heading: 0..90 deg}
outputs: [pose_bounds.peb, effective_rate.eadr]
options: {pose_bounds: {active_antennas: 8}, effective_rate: {active_antennas: 8}}
trials: 200
"""
TASKS, CORES = 400, 1000


def plan_of(trials: int) -> Plan:
    return replace(parse_study(STUDY, "benchmark.yaml"), trials=trials)


def trials_per_second(engine: Engine, folder: Path, warm: Path) -> float:
    """Trials per second by wall clock, including the store, after every process has compiled."""
    for out, trials in ((warm, 4), (folder, 200)):
        plan = plan_of(trials)
        with open_store(out, plan.study, plan.identity(), trials=trials, chunk=lambda: 50) as store:
            begun = time.perf_counter()
            run_blocks(store, plan, engine)
            elapsed = time.perf_counter() - begun
    return plan.total / elapsed


def idle(duration: float) -> Outcome:
    """Work for a known time; returns results of the size of fifty trials."""
    end = time.perf_counter() + duration
    while time.perf_counter() < end:
        pass
    return Outcome(np.ones((50, 2)), (FINE,) * 50)


def task_overhead(engine: Engine, folder: Path, work: float, tasks: int) -> float:
    """Time per task minus its work, from the first to the last result, including the store. [s]"""
    plan = plan_of(50 * tasks // 20)
    with open_store(
        folder, plan.study, plan.identity(), trials=plan.trials, chunk=lambda: 50
    ) as store:
        blocks: list[Block] = plan.study.blocks(plan.trials, 50)[:tasks]
        results = engine(idle, [work] * len(blocks))
        store.write(blocks[0], next(results)[1])
        begun = time.perf_counter()
        for number, outcome in results:
            store.write(blocks[number], outcome)
        return (time.perf_counter() - begun) / (len(blocks) - 1) - work


def run() -> list[Row]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one = stack.enter_context(local_workers(1))
        two = stack.enter_context(local_workers(2))
        rates = [
            trials_per_second(engine, folder / name, folder / f"{name}-warm")
            for name, engine in (("serial", serial), ("one", one), ("two", two))
        ]
        dask = stack.enter_context(local_cluster(1))
        overheads = [
            task_overhead(engine, folder / name, 0.0, TASKS)
            for name, engine in (("tasks-one", one), ("tasks-dask", dask))
        ]
        shares = [
            task_overhead(engine, folder / name, CHUNK_SECONDS, 6) / CHUNK_SECONDS
            for name, engine in (("long-one", one), ("long-dask", dask))
        ]
    cores = usable_cores()
    # The main process handles every task: shorter blocks would exceed its capacity.
    shortest, per_hour = CORES * overheads[1], CORES * rates[1] * 3600
    return [
        Row(
            "study: trials/s in this process, in 1, in 2 processes",
            f"{rates[0]:.0f}, {rates[1]:.0f}, {rates[2]:.0f}; {rates[2] / rates[1]:.2f}x",
            "1.7x on 2 cores",
            cores < 2 or rates[2] >= 1.7 * rates[1],
        ),
        Row(
            "study: overhead of a task with its store: processes, Dask",
            f"{overheads[0] * 1e3:.2f} ms, {overheads[1] * 1e3:.2f} ms; under 5 % from "
            f"{19 * overheads[0] * 1e3:.0f} ms, {19 * overheads[1] * 1e3:.0f} ms of work",
            "no limit",
            True,
        ),
        Row(
            f"study: overhead of blocks of {CHUNK_SECONDS:g} s: processes, Dask",
            f"{shares[0]:.2%}, {shares[1]:.2%}",
            "5 %",
            max(shares) < 0.05,
        ),
        Row(
            f"study: {CORES} cores for an hour, calculated",
            f"{per_hour:.2g} trials of this study in blocks of {shortest:.2g} s or more",
            "no limit",
            True,
        ),
    ]
