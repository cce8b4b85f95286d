"""Figures that compare several scenarios: distributions, trade-offs and difference maps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from heliostat.api.localization_results import TradeOff
from heliostat.plots.coverage import display_of, draw_distribution
from heliostat.plots.style import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    length_unit,
    logarithmic,
    plain_ticks,
    styled,
)

COLORS = (BLUE, ORANGE, GREEN, RED, "#56B4E9", "#CC79A7", "black")
"""Colors of the scenarios, Okabe and Ito's palette for color-blind readers."""
DASHES = ("-", "--", "-.", ":")
LARGEST_RATIO = 1e3
"""Ratio of two values at which the scale of a difference map ends."""


def _look(index: int) -> dict[str, Any]:
    """Color and dashes of one scenario's line."""
    return {"color": COLORS[index % len(COLORS)], "linestyle": DASHES[index % len(DASHES)]}


def distributions_figure(maps: Mapping[str, xr.Dataset]) -> Figure:
    """Draw the share of the served area below each value, one curve for each scenario.

    Args:
        maps: Results of `heliostat.coverage` of the same quantity, by name.
    """
    together = xr.concat(
        [data[[data.attrs["quantity"], "served"]] for data in maps.values()],
        "variant",
        combine_attrs="override",
    )
    common = display_of(together)  # one unit for all
    with styled():
        figure = Figure(figsize=(6.4, 4.2))
        axes = figure.add_subplot()
        for i, (name, data) in enumerate(maps.items()):
            own = common._replace(values=common.values[i], served=data["served"].values)
            if own.finite.size:
                draw_distribution(axes, own, label=name, **_look(i))
        axes.set(xlabel=common.label, ylabel="share of the served area below", ylim=(0, 1))
        if common.logarithmic and common.finite.size:
            logarithmic(axes, "x")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def trade_offs_figure(choices: Mapping[str, TradeOff]) -> Figure:
    """Plot the position error bound (PEB) against the rate, one curve for each scenario.

    Args:
        choices: Allocations by name of the scenario.
    """
    every = np.concatenate([each.peb for each in choices.values()])
    finite = every[np.isfinite(every)]
    unit, factor = length_unit(finite) if finite.size else ("m", 1.0)
    with styled():
        figure = Figure(figsize=(6.4, 4.2))
        axes = figure.add_subplot()
        for i, (name, each) in enumerate(choices.items()):
            kept = ~each.dominated & np.isfinite(each.peb)
            rate, peb = each.eadr[kept] / 1e6, factor * each.peb[kept]
            axes.plot(rate, peb, marker="o", markersize=4, label=name, **_look(i))
        if finite.size:
            logarithmic(axes, "y")
        axes.set(xlabel="effective rate [Mbit/s]", ylabel=f"position error bound (PEB) [{unit}]")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def difference_figure(maps: Mapping[str, xr.Dataset]) -> Figure:
    """Draw maps of the ratio of each scenario to the first one.

    Args:
        maps: Results of `heliostat.coverage` of the same quantity on the same grid, by name; two or
            more.
    """
    (first, base), *others = maps.items()
    quantity = base.attrs["quantity"]
    ratios = {}
    for name, data in others:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = data[quantity].values / base[quantity].values
        known = data["served"].values & base["served"].values & np.isfinite(ratio) & (ratio > 0)
        ratios[name] = np.where(known, ratio, np.nan)
    finite = np.concatenate([ratio[np.isfinite(ratio)] for ratio in ratios.values()])
    most = float(np.quantile(np.maximum(finite, 1 / finite), 0.98)) if finite.size else 1.0
    most = min(max(1.2 * most, 1.1), LARGEST_RATIO)
    norm = LogNorm(1 / most, most)
    with styled():
        figure = Figure(figsize=(6.4, 4.6 * len(ratios)))
        grid = figure.subplots(len(ratios), 1, squeeze=False)[:, 0]
        for axes, (name, ratio) in zip(grid, ratios.items(), strict=True):
            axes.grid(visible=False)
            axes.patch.set_facecolor("#E4E4E4")
            image = axes.pcolormesh(base["x"], base["y"], ratio, norm=norm, cmap="PuOr")
            bar = figure.colorbar(image, ax=axes, extend="both", label="ratio [1]")
            plain_ticks(bar.ax.yaxis, norm)
            title = f"{base[quantity].attrs['long_name']}:\n{name} over {first}"
            axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
            axes.set_title(title, fontsize=10, loc="left")
    return figure
