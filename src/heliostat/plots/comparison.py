"""Figures that compare several scenarios: distributions, trade-offs and difference maps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from heliostat.api.localization import TradeOff
from heliostat.plots.coverage import display_of
from heliostat.plots.style import BLUE, GREEN, ORANGE, RED, length_unit, plain_ticks, styled

COLORS = (BLUE, ORANGE, GREEN, RED, "#56B4E9", "#CC79A7", "black")
"""Colours of the scenarios, Okabe and Ito's palette for colour-blind readers."""
DASHES = ("-", "--", "-.", ":")
LARGEST_RATIO = 1e3
"""Ratio of two values at which the scale of a difference map ends."""


def distributions_figure(maps: Mapping[str, xr.Dataset]) -> Figure:
    """Share of the served area below each value, one curve for each scenario.

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
            values = common.values[i][data["served"].values]
            drawable = np.sort(values[np.isfinite(values)])
            if common.logarithmic:
                drawable = drawable[drawable > 0]
            smaller = int((values < drawable[0]).sum()) if drawable.size else 0
            share = (smaller + np.arange(1, drawable.size + 1)) / max(values.size, 1)
            look: dict[str, Any] = {
                "color": COLORS[i % len(COLORS)],
                "linestyle": DASHES[i % len(DASHES)],
            }
            axes.step(drawable, share, where="post", label=name, **look)
        axes.set(xlabel=common.label, ylabel="share of the served area below", ylim=(0, 1))
        if common.logarithmic and common.finite.size:
            axes.set_xscale("log")
            limits = axes.get_xlim()
            plain_ticks(axes.xaxis, LogNorm(*limits))
            axes.set_xlim(limits)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def trade_offs_figure(choices: Mapping[str, TradeOff]) -> Figure:
    """PEB against rate over the allocations of a period, one curve for each scenario.

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
            look: dict[str, Any] = {
                "color": COLORS[i % len(COLORS)],
                "linestyle": DASHES[i % len(DASHES)],
            }
            rate, peb = each.eadr[kept] / 1e6, factor * each.peb[kept]
            axes.plot(rate, peb, marker="o", markersize=4, label=name, **look)
        if finite.size:
            axes.set_yscale("log")
            limits = axes.get_ylim()
            plain_ticks(axes.yaxis, LogNorm(*limits))
            axes.set_ylim(limits)
        axes.set(xlabel="effective rate [Mbit/s]", ylabel=f"position error bound (PEB) [{unit}]")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def difference_figure(maps: Mapping[str, xr.Dataset]) -> Figure:
    """Maps of the ratio of each scenario to the first one.

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
