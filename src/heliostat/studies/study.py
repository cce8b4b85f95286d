"""A study: one point function, the axes it runs over, the units of what it returns.

Trials are drawn from ``fold_in(key(seed), trial)``, the same keys at every point of the grid, so
that curves are compared trial by trial and no result depends on how the work is split.

A point that JAX can trace runs over all trials at once. One that cannot, such as a design by a
descent of SciPy's, runs trial by trial, wherever an engine puts it (`engines`).
"""

import functools
import itertools
import json
import math
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
from scipy.special import stdtrit

from heliostat._version import __version__
from heliostat.plots.style import save_figure
from heliostat.provenance import commit
from heliostat.studies.engine import Engine, Lost, serial


@dataclass(frozen=True)
class Verdict:
    """What the data say about one claim of a paper."""

    figure: str
    claim: str
    holds: bool | None
    """None where the confidence interval leaves it undecided."""
    finding: str
    """By how much, in numbers computed from the data."""


@dataclass(frozen=True)
class Quantity:
    """One output of a point function."""

    unit: str
    dims: tuple[str, ...] = ()
    """Dimensions a point returns at once, besides the trials."""
    description: str = ""


class Block(NamedTuple):
    """Some trials at one point: what is computed in one go, and stored as one chunk."""

    point: int
    """Its number in the grid, the last axis fastest."""
    first: int
    """First trial."""
    size: int
    """How many trials."""


class Remark(NamedTuple):
    """What is to be said of one trial."""

    failed: bool
    text: str
    """Why there is no result, or how the solver ended; empty where nothing is to be said."""


FINE = Remark(False, "")

BATCH = 32
"""Trials that JAX computes at once. Batches are filled up to it, so that a trial is computed by the
same program, and comes out the same, however trials are split into blocks."""


class Outcome(NamedTuple):
    """What came of a block."""

    values: np.ndarray
    """Every output side by side, [trial, column]; inf where there is none."""
    remarks: tuple[Remark, ...]
    """One a trial."""


class NoResultError(ValueError):
    """A point has not all of its outputs; the message says why, ``outputs`` are those it has."""

    def __init__(self, reason: str, outputs: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.outputs = dict(outputs or {})


@functools.lru_cache(maxsize=256)
def _drawn(sample: Callable[[PRNGKeyArray], Any], seed: int, trial: int) -> Any:
    return sample(jax.random.fold_in(jax.random.key(seed), trial))


@dataclass(frozen=True)
class Study:
    """A named computation whose result is a labelled dataset."""

    name: str
    title: str
    sample: Callable[[PRNGKeyArray], Any]
    """What is random in one trial, from its key; drawn once and the same at every point."""
    point: Callable[..., Mapping[str, Any]]
    """``point(sample, **axes)`` for one trial at one point of the grid."""
    axes: Mapping[str, Sequence[float] | Sequence[int] | Sequence[str]]
    outputs: Mapping[str, Quantity]
    trials: int
    verdicts: Callable[[xr.Dataset], list[Verdict]]
    draw: Callable[[xr.Dataset], Figure]
    static: tuple[str, ...] = ()
    """Axes whose values set shapes or choose a branch: compiled anew for each value."""
    traced: bool = True
    """Whether JAX can trace the point. If not, it is a plain function of plain numbers, importable
    by name like ``sample``, and a ``ValueError`` of it is a result: inf, and the reason is kept.
    Besides its outputs it may return a ``status``, how a solver ended in words."""
    inner: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Coordinates of the dimensions a point returns at once."""
    axis_units: Mapping[str, str] = field(default_factory=dict)
    axis_labels: Mapping[str, str] = field(default_factory=dict)
    """What axes are called in pictures, if not by their names."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    table: Callable[[xr.Dataset], str] | None = None
    """The dataset as a table in Markdown, for the documentation."""

    def run(
        self,
        *,
        trials: int | None = None,
        seed: int = 0,
        on_progress: Callable[[str, int, int], None] | None = None,
        engine: Engine = serial,
    ) -> xr.Dataset:
        """Compute every point.

        Args:
            trials: Trials at each point; default the paper's.
            seed: Of the trials' key.
            on_progress: Called with the name, the points done and the points in all.
            engine: Where points run that JAX cannot trace; default here, one after the other.

        Raises:
            ValueError: ``trials`` is less than 1.
        """
        count = self.trials if trials is None else trials
        if count < 1:
            raise ValueError(f"trials is {count}; at least 1 is needed.")
        blocks = self.blocks(count, count if self.traced else 1)
        values = np.full((len(self.grid), count, self.n_columns), np.inf)
        failures: Counter[str] = Counter()
        tell = functools.partial(on_progress or (lambda *_: None), self.name)
        tell(0, len(blocks))
        compute = functools.partial(self.compute, seed=seed)
        found = (serial if self.traced else engine)(compute, blocks)
        for done, (i, outcome) in enumerate(found, start=1):
            at = blocks[i]
            if isinstance(outcome, Lost):
                failures[outcome.reason] += at.size
            else:
                values[at.point, at.first : at.first + at.size] = outcome.values
                failures.update(remark.text for remark in outcome.remarks if remark.failed)
            tell(done, len(blocks))
        dataset = self.dataset(values, seed)
        if not self.traced:
            dataset.attrs["failures"] = failures.total()
            dataset.attrs["failure_reasons"] = json.dumps(dict(sorted(failures.items())))
        return dataset

    @property
    def file_name(self) -> str:
        """What its files are called, but for their suffixes."""
        return self.name.rpartition("/")[2]

    @functools.cached_property
    def grid(self) -> list[dict[str, Any]]:
        """Every point, the last axis fastest."""
        points = itertools.product(*self.axes.values())
        return [dict(zip(self.axes, values, strict=True)) for values in points]

    def output_shape(self, name: str) -> tuple[int, ...]:
        """What a point returns at once under a name.

        Args:
            name: Of the output.
        """
        return tuple(len(self.inner[dim]) for dim in self.outputs[name].dims)

    @property
    def n_columns(self) -> int:
        """How many numbers a trial has, all outputs together."""
        return sum(math.prod(self.output_shape(name)) for name in self.outputs)

    def blocks(self, trials: int, size: int) -> list[Block]:
        """All that is to be computed, point by point.

        Args:
            trials: At each point.
            size: Trials in a block, the last of a point may have less.
        """
        return [
            Block(point, first, min(size, trials - first))
            for point in range(len(self.grid))
            for first in range(0, trials, size)
        ]

    def compute(self, block: Block, seed: int) -> Outcome:
        """The outputs of some trials at one point, or why there are none.

        Args:
            block: Which.
            seed: Of the trials' key.
        """
        if self.traced:
            return self._all_at_once(block, seed)
        trials = range(block.first, block.first + block.size)
        each = [self._one(self.grid[block.point], seed, trial) for trial in trials]
        return Outcome(np.stack([row for row, _ in each]), tuple(remark for _, remark in each))

    def _one(self, at: Mapping[str, Any], seed: int, trial: int) -> tuple[np.ndarray, Remark]:
        try:
            found = dict(self.point(_drawn(self.sample, seed, trial), **at))
            remark = Remark(False, str(found.get("status", "")))
        except NoResultError as missing:
            found, remark = missing.outputs, Remark(True, str(missing))
        except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            found, remark = {}, Remark(True, reason)
        row = np.concatenate(
            [
                np.broadcast_to(
                    np.asarray(found.get(name, np.inf), dtype=float), self.output_shape(name)
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
            found = compute(draw(keys, jnp.asarray(batch)), traced)
            columns = [np.asarray(found[name]).reshape(BATCH, -1) for name in self.outputs]
            rows.append(np.concatenate(columns, axis=1).astype(float))
        values = np.concatenate(rows)[: block.size]
        lost = np.isnan(values).any(axis=1)
        values[lost] = np.inf
        failed = Remark(True, "a result is not a number")
        return Outcome(values, tuple(failed if is_lost else FINE for is_lost in lost))

    @functools.cached_property
    def _programs(self) -> tuple[Callable[..., Any], Callable[..., Callable[..., Any]]]:
        """What draws trials, and for each choice of the static axes what computes them."""

        def sampled(root: PRNGKeyArray, trials: Array) -> Any:
            return jax.vmap(lambda i: self.sample(jax.random.fold_in(root, i)))(trials)

        def compiled(static: tuple[tuple[str, int], ...]) -> Callable[..., Any]:
            def outputs(samples: Any, traced: dict[str, Array]) -> Mapping[str, Array]:
                at = functools.partial(self.point, **dict(static), **traced)
                return jax.vmap(at)(samples)

            return jax.jit(outputs)

        return jax.jit(sampled), functools.cache(compiled)

    def dataset(self, values: np.ndarray, seed: int) -> xr.Dataset:
        """All outputs with their names, units and coordinates.

        Args:
            values: [point, trial, column], as `compute` gives them.
            seed: Of the trials' key.
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
            "heliostat_version": __version__,
            "commit": commit(),
            **self.provenance,
        }
        return xr.Dataset(variables, coordinates, attributes)


def log10(samples: xr.DataArray) -> xr.DataArray:
    """Decadic logarithm that stays labelled."""
    result: xr.DataArray = xr.apply_ufunc(np.log10, samples)
    return result


def decided(holds: bool, fails: bool) -> bool | None:
    """True or False where the whole interval says so, None in between.

    Args:
        holds: The claim is true all over the confidence interval.
        fails: It is false all over it.
    """
    return True if holds else False if fails else None


def mean_and_band(samples: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over the trials and the half-width of its 95 % confidence interval.

    Trials without a bound (``inf``) are left out of both; `unbounded` counts them.

    Args:
        samples: With the dimension ``trial``.
    """
    finite = samples.where(np.isfinite(samples))
    count = finite.count("trial")
    spread = finite.std("trial", ddof=1) if samples.sizes["trial"] > 1 else 0 * finite.mean("trial")
    quantile = xr.apply_ufunc(lambda n: stdtrit(np.maximum(n - 1, 1), 0.975), count)
    return finite.mean("trial"), quantile * spread / np.sqrt(count)


def unbounded(samples: xr.DataArray) -> int:
    """How many values are infinite: points where no bound exists."""
    return int(np.sum(~np.isfinite(samples)))


def paired_change(changed: xr.DataArray, base: xr.DataArray) -> tuple[float, float]:
    """Mean change over trials and the half-width of its 95 % interval, trial against trial.

    Args:
        changed: With the dimension ``trial`` and perhaps others, which are averaged first.
        base: The same without the change.
    """
    difference = (changed - base).where(np.isfinite(changed) & np.isfinite(base))
    per_trial = difference.mean([d for d in difference.dims if d != "trial"]).values
    per_trial = per_trial[np.isfinite(per_trial)]
    count = len(per_trial)
    if count < 2:  # one trial says nothing of the spread, none says nothing at all
        return float(np.sum(per_trial)), math.inf
    half = stdtrit(count - 1, 0.975) * np.std(per_trial, ddof=1) / math.sqrt(count)
    return float(np.mean(per_trial)), float(half)


def save(study: Study, dataset: xr.Dataset, out: Path) -> list[Verdict]:
    """Write a study's dataset, picture (PNG and PDF), verdicts and table into a folder.

    Args:
        study: The study.
        dataset: What its ``run`` returned.
        out: An existing folder.
    """
    figure_name = study.file_name
    verdicts = study.verdicts(dataset)
    dataset.to_netcdf(out / f"{figure_name}.nc", engine="h5netcdf")
    picture = study.draw(dataset)
    for suffix in ("png", "pdf"):
        save_figure(picture, out / f"{figure_name}.{suffix}")
    text = json.dumps([asdict(v) for v in verdicts], indent=2)
    (out / f"{figure_name}.verdicts.json").write_text(text + "\n", encoding="utf-8")
    if study.table:
        (out / f"{figure_name}.md").write_text(study.table(dataset), encoding="utf-8")
    return verdicts
