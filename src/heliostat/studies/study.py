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
import subprocess
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
from scipy.stats import t as student

import heliostat
from heliostat.plots import save_figure
from heliostat.studies.engines import Engine


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


class Task(NamedTuple):
    """One trial at one point that JAX cannot trace."""

    sample: Callable[[PRNGKeyArray], Any]
    point: Callable[..., Mapping[str, Any]]
    seed: int
    trial: int
    at: Mapping[str, Any]


@functools.lru_cache(maxsize=256)
def _drawn(sample: Callable[[PRNGKeyArray], Any], seed: int, trial: int) -> Any:
    return sample(jax.random.fold_in(jax.random.key(seed), trial))


def evaluate(task: Task) -> dict[str, np.ndarray] | str:
    """The outputs of one trial at one point, or the reason why there are none.

    Args:
        task: What to compute.
    """
    try:
        found = task.point(_drawn(task.sample, task.seed, task.trial), **task.at)
    except (ValueError, ArithmeticError) as error:
        return str(error)
    outputs = {name: np.asarray(value) for name, value in found.items()}
    if any(np.isnan(value).any() for value in outputs.values()):
        return "a result is not a number"
    return outputs


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
    by name like ``sample``, and a ``ValueError`` of it is a result: inf, and the reason is kept."""
    inner: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Coordinates of the dimensions a point returns at once."""
    axis_units: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        *,
        trials: int | None = None,
        seed: int = 0,
        on_progress: Callable[[str, int, int], None] | None = None,
        engine: Engine = map,
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
        tell = functools.partial(on_progress or (lambda *_: None), self.name)
        if self.traced:
            return self._dataset(self._all_at_once(count, seed, tell), count, seed)
        columns, reasons = self._one_by_one(count, seed, tell, engine)
        failures = {"failures": reasons.total(), "failure_reasons": json.dumps(reasons)}
        return self._dataset(columns, count, seed).assign_attrs(failures)

    def _grid(self) -> list[dict[str, Any]]:
        """Every point, the last axis fastest."""
        points = itertools.product(*self.axes.values())
        return [dict(zip(self.axes, values, strict=True)) for values in points]

    def _all_at_once(
        self, count: int, seed: int, tell: Callable[[int, int], None]
    ) -> dict[str, list[np.ndarray]]:
        """Outputs at every point, over all trials."""
        root = jax.random.key(seed)
        samples = jax.jit(jax.vmap(lambda i: self.sample(jax.random.fold_in(root, i))))(
            jnp.arange(count)
        )
        compiled = functools.cache(self._compiled)
        grid = self._grid()
        columns: dict[str, list[np.ndarray]] = {name: [] for name in self.outputs}
        for done, at in enumerate(grid):
            tell(done, len(grid))
            static = tuple((name, int(at[name])) for name in self.static)
            traced = {name: jnp.asarray(v) for name, v in at.items() if name not in self.static}
            result = compiled(static)(samples, traced)
            for name in self.outputs:
                columns[name].append(np.asarray(result[name]))
        tell(len(grid), len(grid))
        return columns

    def _one_by_one(
        self, count: int, seed: int, tell: Callable[[int, int], None], engine: Engine
    ) -> tuple[dict[str, list[np.ndarray]], Counter[str]]:
        """Outputs at every point, and how often there were none for each reason."""
        tasks = [
            Task(self.sample, self.point, seed, trial, at)
            for at in self._grid()
            for trial in range(count)
        ]
        reasons: Counter[str] = Counter()
        columns: dict[str, list[np.ndarray]] = {name: [] for name in self.outputs}
        tell(0, len(tasks))
        for done, found in enumerate(engine(evaluate, tasks), start=1):
            if isinstance(found, str):
                reasons[found] += 1
            for name, quantity in self.outputs.items():
                shape = tuple(len(self.inner[d]) for d in quantity.dims)
                value = np.full(shape, np.inf) if isinstance(found, str) else found[name]
                columns[name].append(value)
            tell(done, len(tasks))
        each = range(0, len(tasks), count)
        stacked = {n: [np.stack(c[i : i + count]) for i in each] for n, c in columns.items()}
        return stacked, reasons

    def _compiled(
        self, static: tuple[tuple[str, int], ...]
    ) -> Callable[[Any, dict[str, Array]], Mapping[str, Array]]:
        def trials(samples: Any, traced: dict[str, Array]) -> Mapping[str, Array]:
            return jax.vmap(lambda sample: self.point(sample, **dict(static), **traced))(samples)

        return jax.jit(trials)

    def _dataset(self, columns: dict[str, list[np.ndarray]], trials: int, seed: int) -> xr.Dataset:
        shape = tuple(len(v) for v in self.axes.values())
        variables = {}
        for name, quantity in self.outputs.items():
            stacked = np.stack(columns[name])
            variables[name] = xr.DataArray(
                stacked.reshape(shape + stacked.shape[1:]),
                dims=(*self.axes, "trial", *quantity.dims),
                attrs={"units": quantity.unit, "long_name": quantity.description},
            )
        coordinates: dict[str, Any] = {
            name: xr.DataArray(
                np.asarray(values), dims=name, attrs={"units": self.axis_units.get(name, "1")}
            )
            for name, values in {**self.axes, **self.inner, "trial": range(trials)}.items()
        }
        attributes = {
            "study": self.name,
            "title": self.title,
            "seed": seed,
            "heliostat_version": heliostat.__version__,
            "commit": commit(),
            **self.provenance,
        }
        return xr.Dataset(variables, coordinates, attributes)


def commit() -> str:
    """The commit of the checkout heliostat runs from; ``none`` where it is installed otherwise."""

    def git(*words: str) -> str:
        here = Path(__file__)
        done = subprocess.run(
            ["git", *words], cwd=here.parent, capture_output=True, text=True, timeout=5, check=True
        )
        return done.stdout.strip()

    try:
        # A checkout that happens to hold an installed heliostat does not track this file.
        tracked = git("ls-files", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=12") if tracked else "none"
    except (OSError, subprocess.SubprocessError):
        return "none"


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
    quantile = xr.apply_ufunc(lambda n: student.ppf(0.975, np.maximum(n - 1, 1)), count)
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
    half = student.ppf(0.975, count - 1) * np.std(per_trial, ddof=1) / math.sqrt(count)
    return float(np.mean(per_trial)), float(half)


def save(study: Study, dataset: xr.Dataset, out: Path) -> list[Verdict]:
    """Write a study's dataset, picture (PNG and PDF) and verdicts into a folder.

    Args:
        study: The study.
        dataset: What its ``run`` returned.
        out: An existing folder.
    """
    figure_name = study.name.rpartition("/")[2]
    verdicts = study.verdicts(dataset)
    dataset.to_netcdf(out / f"{figure_name}.nc", engine="h5netcdf")
    picture = study.draw(dataset)
    for suffix in ("png", "pdf"):
        save_figure(picture, out / f"{figure_name}.{suffix}")
    text = json.dumps([asdict(v) for v in verdicts], indent=2)
    (out / f"{figure_name}.verdicts.json").write_text(text + "\n", encoding="utf-8")
    return verdicts
