"""A study carried out into a store: begun, interrupted, gone on with, and put out as files."""

import functools
import hashlib
import itertools
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import scipy.io
import xarray as xr
import yaml

from heliostat.batch.store import Store
from heliostat.batch.study_file import StudyText, study_from
from heliostat.studies import find
from heliostat.studies.engine import Engine, Lost
from heliostat.studies.study import BATCH, Block, Outcome, Study, save

Source: TypeAlias = str | StudyText
"""A study that comes with heliostat, by name, or one of a user's own."""

CHUNK_SECONDS = 1.0
"""How long a block should take: long against what it costs to hand out and store one."""


@dataclass(frozen=True)
class Plan:
    """What is to be computed."""

    source: Source
    trials: int
    seed: int

    @property
    def study(self) -> Study:
        """The study itself."""
        return study_of(self.source)

    @property
    def total(self) -> int:
        """Trials at all points together."""
        return len(self.study.grid) * self.trials

    @property
    def bytes_stored(self) -> int:
        """Size of all numbers, before compression. [byte]"""
        return self.total * (self.study.n_columns + 1) * 8

    def asked(self) -> dict[str, str]:
        """Texts that decide about every number."""
        study = self.study
        if isinstance(self.source, str):
            body = {
                "study": self.source,
                "axes": {name: list(values) for name, values in study.axes.items()},
                "outputs": list(study.outputs),
            }
            told = {"study": yaml.safe_dump(body, sort_keys=False)}
        else:
            told = {
                "study": self.source.body,
                "scenario": self.source.scenario_text,
                "files": _digests(self.source),
            }
        return told | {"trials": str(self.trials), "seed": str(self.seed)}


def study_of(source: Source) -> Study:
    """The study, made once in each process.

    Args:
        source: Name or text.
    """
    return find(source) if isinstance(source, str) else study_from(source)


def computed(source: Source, seed: int, block: Block) -> Outcome:
    """One block, wherever this runs.

    Args:
        source: Of the study.
        seed: Of the trials' key.
        block: Which.
    """
    return study_of(source).compute(block, seed)


def _digests(source: StudyText) -> str:
    """Files that the scenario or an axis names, with hashes of what is in them."""
    lines = []
    texts = (source.scenario_text, source.body)
    for name in sorted({name for text in texts for name in _files(yaml.safe_load(text))}):
        for path in (Path(source.folder) / name, Path(name)):
            if path.is_file():
                lines.append(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
                break
    return "\n".join(lines)


def _files(data: Any) -> Iterator[str]:
    """Names of files of numbers in plain data."""
    if isinstance(data, str) and data.endswith((".npy", ".npz", ".mat")):
        yield data
    elif isinstance(data, dict | list):
        for entry in data.values() if isinstance(data, dict) else data:
            yield from _files(entry)


# Planning ----------------------------------------------------------------------------------------


class Timing(NamedTuple):
    """How long trials take, by a few that were timed."""

    points: int
    trial: float
    """Mean of one trial, compiled. [s]"""
    first: float
    """What the first trials at these points took longer, compilation above all. [s]"""


def timing(plan: Plan, points: int = 3) -> Timing:
    """Time a few trials at points spread over the grid, each twice.

    Args:
        plan: Of what.
        points: At most so many.
    """
    grid = len(plan.study.grid)
    places = sorted(set(np.linspace(0, grid - 1, points).round().astype(int).tolist()))
    size = min(plan.trials, BATCH) if plan.study.traced else 1
    first: list[float] = []
    again: list[float] = []
    for place in places:
        for times in (first, again):
            begun = time.perf_counter()
            computed(plan.source, plan.seed, Block(place, 0, size))
            times.append((time.perf_counter() - begun) / size)
    trial = float(np.mean(again))
    compiling = size * max(float(np.sum(first)) - float(np.sum(again)), 0.0)
    return Timing(len(places), trial, compiling)


def good_chunk(plan: Plan, trial: float, workers: int) -> int:
    """Trials in a block: about a second's worth, but so that every worker gets some blocks.

    Args:
        plan: Of what.
        trial: What one takes. [s]
        workers: How many compute at once.
    """
    long_enough = CHUNK_SECONDS / max(trial, 1e-9)
    fair = plan.total / (4 * workers)
    return int(max(1, min(long_enough, fair, plan.trials)))


# Carrying out ------------------------------------------------------------------------------------


@dataclass
class Tally:
    """How far a study is."""

    points: int
    trials: int
    """Of all points together."""
    points_done: int
    trials_done: int
    computed: int = 0
    """Trials of this run."""
    failures: int = 0
    """Trials without a result, for a reason that is stored."""
    damaged: int = 0
    """Blocks that were there but could not be read back."""
    rate: float = 0.0
    """Trials per second, since the first block was there: starting and compiling apart."""
    lost: tuple[str, ...] = ()
    """Why blocks are missing that should have been computed."""
    stopped: str = ""
    """Reason of the failure that ended a strict run."""

    @property
    def seconds_left(self) -> float:
        """At this rate; inf before the first trial."""
        left = self.trials - self.trials_done
        return left / self.rate if self.rate > 0 else (math.inf if left else 0.0)

    @property
    def missing(self) -> int:
        """Trials that are not stored."""
        return self.trials - self.trials_done


def carry_out(
    store: Store,
    plan: Plan,
    engine: Engine,
    *,
    strict: bool = False,
    on_progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Compute what the store lacks.

    Args:
        store: Open.
        plan: Of what.
        engine: Where.
        strict: Stop at the first trial that fails.
        on_progress: Told how far it is, at the start and after every block.

    Raises:
        StoreError: A block cannot be written.
        EngineError: Nothing more can be computed.
    """
    blocks = plan.study.blocks(plan.trials, store.chunk)
    stock = store.take_stock(blocks)
    todo, remarks = sorted(stock.missing + stock.damaged), stock.remarks
    open_blocks = Counter(block.point for block in todo)
    tally = Tally(
        points=len(plan.study.grid),
        trials=plan.total,
        points_done=len(plan.study.grid) - len(open_blocks),
        trials_done=plan.total - sum(block.size for block in todo),
        failures=sum(n for remark, n in remarks.items() if remark.failed),
        damaged=len(stock.damaged),
    )
    on_progress(tally)
    if strict and tally.failures:
        tally.stopped = next(remark.text for remark in remarks if remark.failed)
        return tally
    lost: list[str] = []
    begun, before = math.inf, 0
    for number, outcome in engine(functools.partial(computed, plan.source, plan.seed), todo):
        block = todo[number]
        if isinstance(outcome, Lost):
            lost.append(f"point {block.point}, trials from {block.first} on: {outcome.reason}")
            continue
        store.write(block, outcome)
        remarks.update(outcome.remarks)
        failed = [remark.text for remark in outcome.remarks if remark.failed]
        open_blocks[block.point] -= 1
        tally.points_done += open_blocks[block.point] == 0
        tally.trials_done += block.size
        tally.computed += block.size
        tally.failures += len(failed)
        if tally.computed == block.size:
            begun, before = time.monotonic(), tally.computed
        elif (seconds := time.monotonic() - begun) > 0:
            tally.rate = (tally.computed - before) / seconds
        on_progress(tally)
        if strict and failed:
            tally.stopped = failed[0]
            break
    tally.lost = tuple(lost)
    if tally.computed:
        store.note(
            {
                "remarks": {remark.text: n for remark, n in remarks.items() if remark.text},
                "failures": tally.failures,
                "trials_missing": tally.missing,
            }
        )
    return tally


# Putting out -------------------------------------------------------------------------------------


def result(store: Store, plan: Plan) -> xr.Dataset:
    """All that is stored, labelled; NaN where nothing was computed yet.

    Args:
        store: To read.
        plan: What it holds.
    """
    dataset = plan.study.dataset(store.values(), plan.seed)
    facts, remarks = store.facts, store.remarks()
    counts = Counter(remark for row in remarks for remark in row)
    # Counted from what is stored: what a run noted at its end is not there if it was killed.
    dataset.attrs |= {
        "heliostat_runs": json.dumps(facts["runs"]),
        "hash": facts["hash"],
        "failures": sum(n for remark, n in counts.items() if remark and remark.failed),
        "trials_missing": counts[None],
        "remarks": json.dumps({r.text: n for r, n in counts.items() if r and r.text}),
    }
    dims = (*plan.study.axes, "trial")
    texts = [["" if remark is None else remark.text for remark in row] for row in remarks]
    failed = [[remark is not None and remark.failed for remark in row] for row in remarks]
    shape = tuple(dataset.sizes[dim] for dim in dims)
    told = {"long_name": "why there is no result, or how the solver ended"}
    return dataset.assign(
        failed=(dims, np.reshape(failed, shape).astype(np.int8), {"units": "1"}),
        remark=(dims, np.reshape(np.asarray(texts, dtype=object), shape), told),
    )


def is_put_out(store: Store, plan: Plan, folder: Path) -> bool:
    """Whether all that is stored is in the data file already, and its picture beside it.

    Args:
        store: What is stored.
        plan: Of the study.
        folder: Where the files would be.
    """
    name = plan.study.file_name
    try:
        with xr.open_dataset(folder / f"{name}.nc", engine="h5netcdf") as dataset:
            same = dataset.attrs.get("hash") == store.facts["hash"]
            whole = dataset.attrs.get("trials_missing") == 0
    except (OSError, ValueError):
        return False
    return bool(same and whole) and (folder / f"{name}.png").exists()


def put_out(
    dataset: xr.Dataset, plan: Plan, folder: Path, *, csv: bool = False, mat: bool = False
) -> None:
    """Write data, picture and verdicts, and data in other formats.

    Of a study that is not complete only the data are written.

    Args:
        dataset: See `result`.
        plan: Of the study.
        folder: An existing folder.
        csv: Write a table too.
        mat: Write arrays for MATLAB too.
    """
    study, name = plan.study, plan.study.file_name
    if dataset.attrs.get("trials_missing"):
        dataset.to_netcdf(folder / f"{name}.nc", engine="h5netcdf")
    else:
        save(study, dataset, folder)
    if csv:
        table(dataset).to_csv(folder / f"{name}.csv")
    if mat:
        scipy.io.savemat(folder / f"{name}.mat", matlab_names(dataset), long_field_names=True)


def table(dataset: xr.Dataset) -> pd.DataFrame:
    """One row a trial at a point, one column an output with its unit.

    Args:
        dataset: See `result`.
    """
    axes = list(dataset["failed"].dims)
    columns: dict[str, xr.DataArray] = {}
    for name, output in dataset.data_vars.items():
        inner = [dim for dim in output.dims if dim not in axes]
        unit = f" [{output.attrs['units']}]" if "units" in output.attrs else ""
        for at in itertools.product(*(dataset[dim].values for dim in inner)):
            place = f"({', '.join(map(str, at))})" if at else ""
            own = output.sel(dict(zip(inner, at, strict=True)))
            columns[f"{name}{place}{unit}"] = own.drop_vars(inner)
    return xr.Dataset(columns).to_dataframe(dim_order=axes)


def matlab_names(dataset: xr.Dataset) -> dict[str, Any]:
    """Arrays under names that MATLAB allows, and what they mean.

    Args:
        dataset: See `result`.
    """
    arrays = {**dataset.coords, **dataset.data_vars}
    names = {name: re.sub(r"\W", "_", str(name)) for name in arrays}
    meaning = [
        f"{names[name]}: {name} {[str(dim) for dim in array.dims]} "
        f"[{array.attrs.get('units', '1')}] {array.attrs.get('long_name', '')}".rstrip()
        for name, array in arrays.items()
    ]
    found: dict[str, Any] = {names[name]: array.values for name, array in arrays.items()}
    return found | {"names": np.asarray(meaning, dtype=object)}
