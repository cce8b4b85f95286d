"""Runs of a study: compute what its store lacks, then write data, figure and verdicts."""

import functools
import itertools
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from heliostat.batch.store import Store
from heliostat.batch.study_file import Plan
from heliostat.studies.engine import Engine, Lost
from heliostat.studies.study import BATCH, Block, Outcome, save

CHUNK_SECONDS = 1.0
"""Target time of one block, long against the cost of sending and storing it. [s]"""


def compute_block(plan: Plan, block: Block) -> Outcome:
    """Compute one block, in any process.

    Args:
        plan: Study and seed.
        block: Point and trials.
    """
    return plan.study.compute(block, plan.seed)


# Planning ----------------------------------------------------------------------------------------


class TrialTiming(NamedTuple):
    """Time that trials take, measured at a few points."""

    points: int
    trial: float
    """Mean time of one compiled trial. [s]"""
    compilation: float
    """Additional time of the first trial at all these points together. [s]"""


def time_trials(plan: Plan, points: int = 3) -> TrialTiming:
    """Time a trial twice at each of a few points spread over the grid.

    Args:
        plan: Study to time.
        points: Maximum number of points.
    """
    last = len(plan.study.grid) - 1
    places = sorted(set(np.linspace(0, last, points).round().astype(int).tolist()))
    size = min(plan.trials, BATCH) if plan.study.traced else 1
    first: list[float] = []
    second: list[float] = []
    for place in places:
        for times in (first, second):
            begun = time.perf_counter()
            compute_block(plan, Block(place, 0, size))
            times.append((time.perf_counter() - begun) / size)
    compilation = size * max(float(np.sum(first)) - float(np.sum(second)), 0.0)
    return TrialTiming(len(places), float(np.mean(second)), compilation)


def suggested_chunk(plan: Plan, trial: float, workers: int) -> int:
    """Return the number of trials in a block.

    A block takes about `CHUNK_SECONDS`, but every worker gets at least four blocks.

    Args:
        plan: Study to split.
        trial: Time of one trial. [s]
        workers: Number of blocks computed at the same time.
    """
    long_enough = CHUNK_SECONDS / max(trial, 1e-9)
    fair = plan.total / (4 * workers)
    return int(max(1, min(long_enough, fair, plan.trials)))


# Running -----------------------------------------------------------------------------------------


@dataclass
class Progress:
    """State of a run."""

    points: int
    trials: int
    """Number of trials at all points together."""
    points_done: int
    trials_done: int
    computed: int = 0
    """Trials computed by this run."""
    failures: int = 0
    """Trials that lack a result for a reason that is stored."""
    damaged: int = 0
    """Stored blocks that could not be read back."""
    rate: float = 0.0
    """Trials per second after the first block, so without start and compilation."""
    lost: tuple[str, ...] = ()
    """Reasons why blocks are missing although they were tried."""
    stopped: str = ""
    """Reason of the failure that ended a strict run."""

    @property
    def seconds_left(self) -> float:
        """Remaining time at this rate; inf before the second block. [s]"""
        return self.missing / self.rate if self.rate > 0 else (math.inf if self.missing else 0.0)

    @property
    def missing(self) -> int:
        """Number of trials that are not stored."""
        return self.trials - self.trials_done


def run_blocks(
    store: Store,
    plan: Plan,
    engine: Engine,
    *,
    strict: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Compute the blocks that a store lacks, and store them.

    Args:
        store: An open store of the study.
        plan: Study to compute.
        engine: Engine that computes the blocks.
        strict: Stop at the first trial that fails.
        on_progress: Called at the start and after every block.

    Raises:
        StoreError: A block cannot be written.
        EngineError: The engine can compute nothing more.
    """
    status = store.status(plan.study.blocks(plan.trials, store.chunk))
    todo = sorted(status.missing + status.damaged)
    open_blocks = Counter(block.point for block in todo)
    progress = Progress(
        points=len(plan.study.grid),
        trials=plan.total,
        points_done=len(plan.study.grid) - len(open_blocks),
        trials_done=plan.total - sum(block.size for block in todo),
        failures=sum(n for remark, n in status.remarks.items() if remark.failed),
        damaged=len(status.damaged),
    )
    on_progress(progress)
    if strict and progress.failures:
        progress.stopped = next(remark.text for remark in status.remarks if remark.failed)
        return progress
    begun, before = math.inf, 0
    for number, outcome in engine(functools.partial(compute_block, plan), todo):
        block = todo[number]
        if isinstance(outcome, Lost):
            place = f"point {block.point}, from trial {block.first}"
            progress.lost += (f"{place}: {outcome.reason}",)
            continue
        store.write(block, outcome)
        failed = [remark.text for remark in outcome.remarks if remark.failed]
        open_blocks[block.point] -= 1
        progress.points_done += open_blocks[block.point] == 0
        progress.trials_done += block.size
        progress.computed += block.size
        progress.failures += len(failed)
        if progress.computed == block.size:
            begun, before = time.monotonic(), progress.computed
        elif (seconds := time.monotonic() - begun) > 0:
            progress.rate = (progress.computed - before) / seconds
        on_progress(progress)
        if strict and failed:
            progress.stopped = failed[0]
            break
    return progress


# Results -----------------------------------------------------------------------------------------


def stored_dataset(store: Store, plan: Plan) -> xr.Dataset:
    """Return all stored results with names, units and coordinates; NaN where trials are missing.

    Args:
        store: An open store of the study.
        plan: Study that it stores.
    """
    dataset = plan.study.dataset(store.values(), plan.seed)
    attributes, remarks = store.attributes, store.remarks()
    counts = Counter(remark for row in remarks for remark in row)
    dataset.attrs |= {
        "heliostat_runs": json.dumps(attributes["runs"]),
        "hash": attributes["hash"],
        "failures": sum(n for remark, n in counts.items() if remark and remark.failed),
        "trials_missing": counts[None],
        "remarks": json.dumps({r.text: n for r, n in counts.items() if r and r.text}),
    }
    dims = (*plan.study.axes, "trial")
    texts = [["" if remark is None else remark.text for remark in row] for row in remarks]
    failed = [[remark is not None and remark.failed for remark in row] for row in remarks]
    shape = tuple(dataset.sizes[dim] for dim in dims)
    meaning = {"long_name": "reason of a missing result, or status of the solver"}
    return dataset.assign(
        failed=(dims, np.reshape(failed, shape).astype(np.int8), {"units": "1"}),
        remark=(dims, np.reshape(np.asarray(texts, dtype=object), shape), meaning),
    )


def results_are_current(store: Store, plan: Plan, folder: Path) -> bool:
    """Whether a folder holds a complete data file of this store, and the figure.

    Args:
        store: An open store of the study.
        plan: Study that it stores.
        folder: Folder of the files.
    """
    name = plan.study.file_name
    try:
        with xr.open_dataset(folder / f"{name}.nc", engine="h5netcdf") as dataset:
            same = dataset.attrs.get("hash") == store.attributes["hash"]
            complete = dataset.attrs.get("trials_missing") == 0
    except (OSError, ValueError):
        return False
    return bool(same and complete) and (folder / f"{name}.png").exists()


def write_results(
    dataset: xr.Dataset, plan: Plan, folder: Path, *, csv: bool = False, mat: bool = False
) -> None:
    """Write data, figure and verdicts; of an incomplete study only the data.

    Args:
        dataset: Results, see `stored_dataset`.
        plan: Study of the results.
        folder: An existing folder.
        csv: Also write a table.
        mat: Also write arrays for MATLAB.
    """
    study, name = plan.study, plan.study.file_name
    if dataset.attrs.get("trials_missing"):
        dataset.to_netcdf(folder / f"{name}.nc", engine="h5netcdf")
    else:
        save(study, dataset, folder)
    if csv:
        trial_table(dataset).to_csv(folder / f"{name}.csv")
    if mat:
        import scipy.io  # noqa: PLC0415 - takes long to import

        scipy.io.savemat(folder / f"{name}.mat", matlab_arrays(dataset), long_field_names=True)


def trial_table(dataset: xr.Dataset) -> pd.DataFrame:
    """Return a table with one row per trial and point, and one column per output and unit.

    Args:
        dataset: Results, see `stored_dataset`.
    """
    axes = list(dataset["failed"].dims)
    columns: dict[str, xr.DataArray] = {}
    for name, output in dataset.data_vars.items():
        inner = [dim for dim in output.dims if dim not in axes]
        unit = f" [{output.attrs['units']}]" if "units" in output.attrs else ""
        for values in itertools.product(*(dataset[dim].values for dim in inner)):
            place = f"({', '.join(map(str, values))})" if values else ""
            column = output.sel(dict(zip(inner, values, strict=True)))
            columns[f"{name}{place}{unit}"] = column.drop_vars(inner)
    return xr.Dataset(columns).to_dataframe(dim_order=axes)


def matlab_arrays(dataset: xr.Dataset) -> dict[str, Any]:
    """Return all arrays under valid MATLAB names; ``names`` describes them.

    Args:
        dataset: Results, see `stored_dataset`.
    """
    arrays = {**dataset.coords, **dataset.data_vars}
    names = {name: re.sub(r"\W", "_", str(name)) for name in arrays}
    meaning = [
        f"{names[name]}: {name} {[str(dim) for dim in array.dims]} "
        f"[{array.attrs.get('units', '1')}] {array.attrs.get('long_name', '')}".rstrip()
        for name, array in arrays.items()
    ]
    named: dict[str, Any] = {names[name]: array.values for name, array in arrays.items()}
    return named | {"names": np.asarray(meaning, dtype=object)}
