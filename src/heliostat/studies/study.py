"""Studies: a point function evaluated over a grid of axes and over random trials.

Trial i uses the key ``fold_in(key(seed), i)`` at every point of the grid, so that curves can be
compared trial by trial and results do not depend on how the work is split.

A point function that JAX can trace is evaluated for all trials at once. One that it cannot trace,
such as a design by a SciPy optimizer, is evaluated trial by trial by an engine (`studies.engine`).
"""

import functools
import itertools
import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.model_warning import ModelWarning
from heliostat.plots.style import save_figure
from heliostat.provenance import software
from heliostat.studies import TITLES
from heliostat.studies.engine import Engine, Lost, serial


@dataclass(frozen=True)
class Verdict:
    """Result of checking one claim of a paper against the data."""

    figure: str
    claim: str
    holds: bool | None
    """None if the confidence interval contains the threshold of the claim."""
    finding: str
    """Measured values, computed from the data."""

    @property
    def answer(self) -> str:
        """``yes``, ``no`` or ``undecided``."""
        return "undecided" if self.holds is None else "yes" if self.holds else "no"

    def record(self) -> dict[str, str]:
        """The verdict as JSON files contain it: ``holds`` is the `answer`."""
        return {**asdict(self), "holds": self.answer}


@dataclass(frozen=True)
class Quantity:
    """One output of a point function."""

    unit: str
    dims: tuple[str, ...] = ()
    """Dimensions of one result of the point function."""
    description: str = ""


class Block(NamedTuple):
    """Consecutive trials at one point, computed together and stored as one chunk."""

    point: int
    """Index of the point in the grid, the last axis varying fastest."""
    first: int
    """Index of the first trial."""
    size: int
    """Number of trials."""


class Remark(NamedTuple):
    """Status of one trial."""

    failed: bool
    text: str
    """Reason of a failure, or status of the solver; may be empty."""


FINE = Remark(False, "")

BATCH = 32
"""Number of trials that JAX computes at once. Smaller batches are padded to this size, so that the
same compiled program computes every trial and the result does not depend on the blocks."""


class Outcome(NamedTuple):
    """Results of a block."""

    values: np.ndarray
    """All outputs side by side, [trial, column]; inf where there is no result."""
    remarks: tuple[Remark, ...]
    """One for each trial."""


class NoResultError(ValueError):
    """Some outputs of a point do not exist; ``outputs`` contains the others.

    Args:
        reason: The message.
        outputs: Outputs that exist, by name.
    """

    def __init__(self, reason: str, outputs: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.outputs = dict(outputs or {})


def trial_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """Return the key of the trial itself: ``sample`` of studies that draw in their point function.

    Args:
        key: Key of the trial.
    """
    return key


@functools.lru_cache(maxsize=256)
def _drawn(sample: Callable[[PRNGKeyArray], Any], seed: int, trial: int) -> Any:
    return sample(jax.random.fold_in(jax.random.key(seed), trial))


@dataclass(frozen=True)
class Study:
    """A named computation over a grid whose result is a labeled dataset."""

    name: str
    sample: Callable[[PRNGKeyArray], Any]
    """``sample(key)`` draws the random quantities of one trial, the same at every point."""
    point: Callable[..., Mapping[str, Any]]
    """``point(sample, **axes)`` returns the outputs of one trial at one point of the grid."""
    axes: Mapping[str, Sequence[float] | Sequence[int] | Sequence[str]]
    outputs: Mapping[str, Quantity]
    trials: int
    verdicts: Callable[[xr.Dataset], list[Verdict]]
    draw: Callable[[xr.Dataset], Figure]
    static: tuple[str, ...] = ()
    """Axes that determine shapes or branches; the point is compiled for each of their values."""
    traced: bool = True
    """Whether JAX can trace the point function. If not, it is a function of plain numbers that can
    be pickled, like ``sample``; its outputs are inf if it raises a ``ValueError``, and the message
    is recorded. It may also return a ``status``, the status of a solver in words."""
    inner: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Coordinates of the dimensions of the outputs."""
    axis_units: Mapping[str, str] = field(default_factory=dict)
    axis_labels: Mapping[str, str] = field(default_factory=dict)
    """Names of the axes in figures, where they differ from the keys of ``axes``."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    """Default the title of this name in `studies.TITLES`."""
    table: Callable[[xr.Dataset], str] | None = None
    """The dataset as a table in Markdown, for the documentation."""

    def __post_init__(self) -> None:
        system, _, name = self.name.partition("/")
        if not self.title:
            object.__setattr__(self, "title", TITLES[system][name])

    def run(
        self,
        *,
        trials: int | None = None,
        seed: int = 0,
        on_progress: Callable[[str, int, int], None] | None = None,
        engine: Engine = serial,
    ) -> xr.Dataset:
        """Compute all points of the grid.

        Args:
            trials: Number of trials at each point; default the study's own.
            seed: Seed of the random key.
            on_progress: Called with the name, the number of finished blocks and of all blocks.
            engine: Computes the points that JAX cannot trace; default one after the other.

        Raises:
            ValueError: ``trials`` is less than 1.
        """
        count = self.trials if trials is None else trials
        if count < 1:
            raise ValueError(f"trials is {count}; at least 1 is needed.")
        blocks = self.blocks(count, count if self.traced else 1)
        values = np.full((len(self.grid), count, self.n_columns), np.inf)
        failures: Counter[str] = Counter()
        report = functools.partial(on_progress or (lambda *_: None), self.name)
        report(0, len(blocks))
        compute = functools.partial(self.compute, seed=seed)
        results = (serial if self.traced else engine)(compute, blocks)
        for done, (i, outcome) in enumerate(results, start=1):
            at = blocks[i]
            if isinstance(outcome, Lost):
                failures[outcome.reason] += at.size
            else:
                values[at.point, at.first : at.first + at.size] = outcome.values
                failures.update(remark.text for remark in outcome.remarks if remark.failed)
            report(done, len(blocks))
        dataset = self.dataset(values, seed)
        if not self.traced:
            dataset.attrs["failures"] = failures.total()
            dataset.attrs["failure_reasons"] = json.dumps(dict(sorted(failures.items())))
        return dataset

    @property
    def file_name(self) -> str:
        """Name of the study's files, without suffix."""
        return self.name.rpartition("/")[2]

    @functools.cached_property
    def grid(self) -> list[dict[str, Any]]:
        """All points, the last axis varying fastest."""
        points = itertools.product(*self.axes.values())
        return [dict(zip(self.axes, values, strict=True)) for values in points]

    def output_shape(self, name: str) -> tuple[int, ...]:
        """Shape of one output of the point function."""
        return tuple(len(self.inner[dim]) for dim in self.outputs[name].dims)

    @property
    def n_columns(self) -> int:
        """Number of values that a trial returns, all outputs together."""
        return sum(math.prod(self.output_shape(name)) for name in self.outputs)

    def blocks(self, trials: int, size: int) -> list[Block]:
        """Blocks that together contain all trials of all points.

        Args:
            trials: Number of trials at each point.
            size: Number of trials in a block; the last block of a point may be smaller.
        """
        return [
            Block(point, first, min(size, trials - first))
            for point in range(len(self.grid))
            for first in range(0, trials, size)
        ]

    def compute(self, block: Block, seed: int) -> Outcome:
        """Outputs of the trials of a block, with the reason where there are none.

        Args:
            block: The block.
            seed: Seed of the random key.
        """
        trials = range(block.first, block.first + block.size)
        with warnings.catch_warnings():
            # The scenario's notes would be repeated for every trial.
            warnings.simplefilter("ignore", ModelWarning)
            if self.traced:
                return self._all_at_once(block, seed)
            each = [self._one(self.grid[block.point], seed, trial) for trial in trials]
        return Outcome(np.stack([row for row, _ in each]), tuple(remark for _, remark in each))

    def _one(self, at: Mapping[str, Any], seed: int, trial: int) -> tuple[np.ndarray, Remark]:
        try:
            outputs = dict(self.point(_drawn(self.sample, seed, trial), **at))
            remark = Remark(False, str(outputs.get("status", "")))
        except NoResultError as missing:
            outputs, remark = missing.outputs, Remark(True, str(missing))
        except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            outputs, remark = {}, Remark(True, reason)
        row = np.concatenate(
            [
                np.broadcast_to(
                    np.asarray(outputs.get(name, np.inf), dtype=float), self.output_shape(name)
                ).ravel()
                for name in self.outputs
            ]
        )
        if np.isnan(row).any():
            return np.full_like(row, np.inf), Remark(True, "a result is not a number")
        return row, remark

    def _all_at_once(self, block: Block, seed: int) -> Outcome:
        at, keys = self.grid[block.point], jax.random.key(seed)
        static = tuple((name, int(at[name])) for name in self.static)
        traced = {name: jnp.asarray(v) for name, v in at.items() if name not in self.static}
        draw, compute = self._programs[0], self._programs[1](static)
        last, rows = block.first + block.size - 1, []
        for first in range(block.first, last + 1, BATCH):
            batch = np.minimum(np.arange(first, first + BATCH), last)
            outputs = compute(draw(keys, jnp.asarray(batch)), traced)
            columns = [np.asarray(outputs[name]).reshape(BATCH, -1) for name in self.outputs]
            rows.append(np.concatenate(columns, axis=1).astype(float))
        values = np.concatenate(rows)[: block.size]
        lost = np.isnan(values).any(axis=1)
        values[lost] = np.inf
        failed = Remark(True, "a result is not a number")
        return Outcome(values, tuple(failed if is_lost else FINE for is_lost in lost))

    @functools.cached_property
    def _programs(self) -> tuple[Callable[..., Any], Callable[..., Callable[..., Any]]]:
        """Compiled sampling, and a function that compiles the point for given static axes."""

        def sampled(root: PRNGKeyArray, trials: Array) -> Any:
            return jax.vmap(lambda i: self.sample(jax.random.fold_in(root, i)))(trials)

        def compiled(static: tuple[tuple[str, int], ...]) -> Callable[..., Any]:
            def outputs(samples: Any, traced: dict[str, Array]) -> Mapping[str, Array]:
                at = functools.partial(self.point, **dict(static), **traced)
                return jax.vmap(at)(samples)

            return jax.jit(outputs)

        return jax.jit(sampled), functools.cache(compiled)

    def dataset(self, values: np.ndarray, seed: int) -> xr.Dataset:
        """All outputs as a dataset with names, units and coordinates.

        Args:
            values: Results of `compute`, [point, trial, column].
            seed: Seed of the random key.
        """
        axes = tuple(len(v) for v in self.axes.values())
        trials, variables, column = values.shape[1], {}, 0
        for name, quantity in self.outputs.items():
            inner = self.output_shape(name)
            own = values[..., column : column + math.prod(inner)]
            column += math.prod(inner)
            variables[name] = xr.DataArray(
                own.reshape(*axes, trials, *inner),
                dims=(*self.axes, "trial", *quantity.dims),
                attrs={"units": quantity.unit, "long_name": quantity.description},
            )
        coordinates: dict[str, Any] = {
            name: xr.DataArray(
                np.asarray(values),
                dims=name,
                attrs={"units": self.axis_units.get(name, "1")}
                | ({"long_name": self.axis_labels[name]} if name in self.axis_labels else {}),
            )
            for name, values in {**self.axes, **self.inner, "trial": range(trials)}.items()
        }
        attributes = {
            "study": self.name,
            "title": self.title,
            "seed": seed,
            **software(),
            **self.provenance,
        }
        return xr.Dataset(variables, coordinates, attributes)


def save(study: Study, dataset: xr.Dataset, out: Path) -> list[Verdict]:
    """Write the dataset, figure (PNG and PDF) and verdicts of a study to a folder.

    Args:
        study: The study.
        dataset: Result of ``study.run``.
        out: Existing folder.
    """
    figure_name = study.file_name
    verdicts = study.verdicts(dataset)
    dataset.to_netcdf(out / f"{figure_name}.nc", engine="h5netcdf")
    picture = study.draw(dataset)
    for suffix in ("png", "pdf"):
        save_figure(picture, out / f"{figure_name}.{suffix}")
    text = json.dumps([verdict.record() for verdict in verdicts], indent=2)
    (out / f"{figure_name}.verdicts.json").write_text(text + "\n", encoding="utf-8")
    if study.table:
        (out / f"{figure_name}.md").write_text(study.table(dataset), encoding="utf-8")
    return verdicts
