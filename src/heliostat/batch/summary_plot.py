"""One picture of any dataset of a study: every output over the longest axis."""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies.figures import COLOURS, LINES, MARKS
from heliostat.studies.study import mean_and_band

MOST_PANELS, MOST_CURVES = 6, 7


def overview(dataset: xr.Dataset) -> Figure:
    """Means over the trials with their 95 % bands; gaps where there is no result at all.

    Where only some trials of a point have one, its mark is hollow: the mean is of those.

    The longest axis of numbers runs to the right, other axes make curves, the first `MOST_CURVES`
    of them; of outputs with dimensions of their own the largest is drawn.

    Args:
        dataset: Of a study: axes, trials, outputs with units.
    """
    outputs = dataset[[name for name in dataset.data_vars if dataset[name].dtype.kind == "f"]]
    names = [str(name) for name in outputs.data_vars][:MOST_PANELS]
    dims = [str(dim) for dim in dataset[names[0]].dims]
    axes = dims[: dims.index("trial")]
    across = max(axes, key=lambda dim: (_is_numeric(dataset, dim), dataset.sizes[dim]))
    apart = [dim for dim in axes if dim != across and dataset.sizes[dim] > 1]
    combinations = list(itertools.product(*(dataset[dim].values for dim in apart)))
    rows = math.ceil(len(names) / 2)
    width = 1 if len(names) == 1 else 2
    with styled():
        figure = plt.figure(figsize=(5.0 * width + 1.0, 3.6 * rows + 0.8), layout="constrained")
        for number, name in enumerate(names, start=1):
            panel = figure.add_subplot(rows, width, number)
            for i, values in enumerate(combinations[:MOST_CURVES]):
                single = {dim: 0 for dim in axes if dataset.sizes[dim] == 1 and dim != across}
                own = dataset[name].isel(single).sel(dict(zip(apart, values, strict=True)))
                _curve(panel, dataset, across, own, i, _told(dataset, apart, values))
            _scales(panel, dataset, across)
            largest = "largest " if dims.index("trial") + 1 < dataset[name].ndim else ""
            panel.set_ylabel(largest + _label(dataset[name], name))
        handles, labels = panel.get_legend_handles_labels()
        if any(labels):
            across_page = int(13 * (5.0 * width + 1.0) / (max(map(len, labels)) + 6))
            columns = max(1, min(len(labels), across_page, 4))
            figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        left_out = len(combinations) - MOST_CURVES
        aside = f" (first {MOST_CURVES} of {len(combinations)} curves)" if left_out > 0 else ""
        lost = int(dataset["failed"].sum()) if "failed" in dataset else 0
        told = f"\n{lost} of {dataset['failed'].size} trials lack results" if lost else ""
        figure.suptitle(_plain(f"{dataset.attrs.get('title', '')}{aside}{told}"))
    return figure


def _is_numeric(dataset: xr.Dataset, dim: str) -> bool:
    return dataset[dim].dtype.kind in "iuf"


def _told(dataset: xr.Dataset, dims: list[str], values: tuple[object, ...]) -> str:
    words = []
    for dim, value in zip(dims, values, strict=True):
        name, unit = _name(dataset[dim], dim), dataset[dim].attrs.get("units", "1")
        number = f"{value:g}" if isinstance(value, int | float | np.number) else str(value)
        words.append(f"{name}: {number}" if unit == "1" else f"{name}: {number} {unit}")
    return _plain("; ".join(words))


def _curve(
    panel: Axes, dataset: xr.Dataset, across: str, output: xr.DataArray, i: int, told: str
) -> None:
    """One curve with its band."""
    own = [dim for dim in output.dims if dim not in (across, "trial")]
    samples = output.max(own) if own else output
    mean, half = (found.values for found in mean_and_band(samples))
    place = dataset[across].values if _is_numeric(dataset, across) else np.arange(mean.size)
    colour = COLOURS[i % len(COLOURS)]
    panel.plot(
        place,
        mean,
        color=colour,
        linestyle=LINES[i % len(LINES)],
        marker=MARKS[i % len(MARKS)],
        label=told,
    )
    below = mean - half if (samples < 0).any() else np.maximum(mean - half, 0.0)
    panel.fill_between(place, below, mean + half, color=colour, alpha=0.2, linewidth=0)
    some = samples.where(np.isfinite(samples)).isnull().any("trial").values
    mark = MARKS[i % len(MARKS)]
    panel.plot(place[some], mean[some], mark, color=colour, markerfacecolor="white")


def _scales(panel: Axes, dataset: xr.Dataset, across: str) -> None:
    """Logarithmic where values span more than a decade and are all positive."""
    place = dataset[across]
    if not _is_numeric(dataset, across):
        panel.set_xticks(np.arange(place.size), [str(value) for value in place.values])
    elif place.size > 2 and (place.values > 0).all():
        steps = np.diff(np.log(place.values.astype(float)))
        if np.ptp(steps) < 0.01 * abs(steps).max():
            panel.set_xscale("log")
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in panel.lines])
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        panel.text(0.5, 0.5, "no result", transform=panel.transAxes, ha="center", va="center")
        ends = place.values if _is_numeric(dataset, across) else np.arange(place.size)
        panel.set_xlim(float(min(ends)) - 0.5, float(max(ends)) + 0.5)
    if drawn.size and drawn.min() > 0 and drawn.max() > 10 * drawn.min():
        panel.set_yscale("log")
    panel.set_xlabel(_label(place, across))


def _plain(text: str) -> str:
    """Text in which Matplotlib sees no formula."""
    return text.replace("$", r"\$")


def _name(array: xr.DataArray, name: str) -> str:
    return str(array.attrs.get("long_name") or name)


def _label(array: xr.DataArray, name: str) -> str:
    unit = array.attrs.get("units", "1")
    return _name(array, name) if unit == "1" else f"{_name(array, name)} [{unit}]"
