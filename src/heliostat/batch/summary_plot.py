"""Summary figure of any study: every output over the longest axis."""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies.figures import COLORS, LINES, MARKS
from heliostat.studies.statistics import mean_and_band

MAX_PANELS, MAX_CURVES = 6, 7


def summary_figure(dataset: xr.Dataset) -> Figure:
    """Plot means over the trials with 95 % confidence bands.

    The longest numeric axis is the abscissa. Other axes make one curve per combination of values,
    at most `MAX_CURVES`. Of an output with dimensions of its own the largest entry is drawn. A
    point without results is a gap; a hollow marker shows a mean over some of the trials only.

    Args:
        dataset: Results of a study: axes, trials, outputs with units.
    """
    outputs = dataset[[name for name in dataset.data_vars if dataset[name].dtype.kind == "f"]]
    names = [str(name) for name in outputs.data_vars][:MAX_PANELS]
    dims = [str(dim) for dim in dataset[names[0]].dims]
    axes = dims[: dims.index("trial")]
    abscissa = max(axes, key=lambda dim: (_is_numeric(dataset, dim), dataset.sizes[dim]))
    curve_dims = [dim for dim in axes if dim != abscissa and dataset.sizes[dim] > 1]
    combinations = list(itertools.product(*(dataset[dim].values for dim in curve_dims)))
    rows = math.ceil(len(names) / 2)
    width = 1 if len(names) == 1 else 2
    with styled():
        figure = plt.figure(figsize=(5.0 * width + 1.0, 3.6 * rows + 0.8), layout="constrained")
        for number, name in enumerate(names, start=1):
            panel = figure.add_subplot(rows, width, number)
            for i, values in enumerate(combinations[:MAX_CURVES]):
                single = {dim: 0 for dim in axes if dataset.sizes[dim] == 1 and dim != abscissa}
                own = dataset[name].isel(single).sel(dict(zip(curve_dims, values, strict=True)))
                _curve(panel, dataset, abscissa, own, i, _curve_label(dataset, curve_dims, values))
            _scales(panel, dataset, abscissa)
            largest = "largest " if dims.index("trial") + 1 < dataset[name].ndim else ""
            panel.set_ylabel(largest + _label(dataset[name], name))
        handles, labels = panel.get_legend_handles_labels()
        if any(labels):
            columns_that_fit = int(13 * (5.0 * width + 1.0) / (max(map(len, labels)) + 6))
            columns = max(1, min(len(labels), columns_that_fit, 4))
            figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        title = str(dataset.attrs.get("title", ""))
        if len(combinations) > MAX_CURVES:
            title += f" (first {MAX_CURVES} of {len(combinations)} curves)"
        if failed := int(dataset["failed"].sum()) if "failed" in dataset else 0:
            title += f"\n{failed} of {dataset['failed'].size} trials lack results"
        figure.suptitle(_escape(title))
    return figure


def _is_numeric(dataset: xr.Dataset, dim: str) -> bool:
    return dataset[dim].dtype.kind in "iuf"


def _curve_label(dataset: xr.Dataset, dims: list[str], values: tuple[object, ...]) -> str:
    words = []
    for dim, value in zip(dims, values, strict=True):
        name, unit = _name(dataset[dim], dim), dataset[dim].attrs.get("units", "1")
        number = f"{value:g}" if isinstance(value, int | float | np.number) else str(value)
        words.append(f"{name}: {number}" if unit == "1" else f"{name}: {number} {unit}")
    return _escape("; ".join(words))


def _curve(
    panel: Axes, dataset: xr.Dataset, abscissa: str, output: xr.DataArray, i: int, label: str
) -> None:
    """Draw one curve with its confidence band."""
    own = [dim for dim in output.dims if dim not in (abscissa, "trial")]
    samples = output.max(own) if own else output
    mean, half = (part.values for part in mean_and_band(samples))
    place = dataset[abscissa].values if _is_numeric(dataset, abscissa) else np.arange(mean.size)
    color = COLORS[i % len(COLORS)]
    panel.plot(
        place,
        mean,
        color=color,
        linestyle=LINES[i % len(LINES)],
        marker=MARKS[i % len(MARKS)],
        label=label,
    )
    below = mean - half if (samples < 0).any() else np.maximum(mean - half, 0.0)
    panel.fill_between(place, below, mean + half, color=color, alpha=0.2, linewidth=0)
    some = samples.where(np.isfinite(samples)).isnull().any("trial").values
    mark = MARKS[i % len(MARKS)]
    panel.plot(place[some], mean[some], mark, color=color, markerfacecolor="white")


def _scales(panel: Axes, dataset: xr.Dataset, abscissa: str) -> None:
    """Set logarithmic scales where positive values span more than a decade or have equal ratios."""
    place = dataset[abscissa]
    if not _is_numeric(dataset, abscissa):
        panel.set_xticks(np.arange(place.size), [str(value) for value in place.values])
    elif place.size > 2 and (place.values > 0).all():
        steps = np.diff(np.log(place.values.astype(float)))
        if np.ptp(steps) < 0.01 * abs(steps).max():
            panel.set_xscale("log")
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in panel.lines])
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        panel.text(0.5, 0.5, "no result", transform=panel.transAxes, ha="center", va="center")
        ends = place.values if _is_numeric(dataset, abscissa) else np.arange(place.size)
        panel.set_xlim(float(min(ends)) - 0.5, float(max(ends)) + 0.5)
    if drawn.size and drawn.min() > 0 and drawn.max() > 10 * drawn.min():
        panel.set_yscale("log")
    panel.set_xlabel(_label(place, abscissa))


def _escape(text: str) -> str:
    """Escape the dollar signs that begin a formula in Matplotlib."""
    return text.replace("$", r"\$")


def _name(array: xr.DataArray, name: str) -> str:
    return str(array.attrs.get("long_name") or name)


def _label(array: xr.DataArray, name: str) -> str:
    unit = array.attrs.get("units", "1")
    return _name(array, name) if unit == "1" else f"{_name(array, name)} [{unit}]"
