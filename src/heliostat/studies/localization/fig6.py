"""Fig. 6: effective rate against position and heading error bounds, the trade-off itself."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, Int
from matplotlib.figure import Figure

from heliostat.design.time_allocation import dominated
from heliostat.plots.style import styled
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_steered
from heliostat.studies.figures import COLORS, curve, interval_entry, legend_below
from heliostat.studies.localization import setup
from heliostat.studies.statistics import log10, mean_and_band
from heliostat.studies.study import Study, Verdict


def point(unit: Errors, *, side: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """PEB, REB and rate at all allocations."""
    scene = as_steered(setup.scene(side), setup.at_condition(unit, condition, setup.CONDITIONS))
    return setup.over_allocations(scene)


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the paper's claims about Fig. 6."""
    perfect = dataset.sel(condition=0).isel(trial=0)
    rate = perfect.eadr.values
    end = float(np.max(rate[:, -1] / rate.max(axis=1)))
    peak = np.argmax(rate, axis=1)
    ratio = [float(p[i] / p[-1]) for p, i in zip(perfect.peb.values, peak, strict=True)]
    worse = [dominated(p, r) for p, r in zip(perfect.peb.values, rate, strict=True)]
    before = [int(w[:i].sum()) for w, i in zip(worse, peak, strict=True)]
    efficient = [int(np.sum(~w)) for w in worse]
    return [
        Verdict(
            "Fig. 6",
            "where the position error bound (PEB) is smallest the effective achievable data rate "
            "(EADR) is zero (below 1e-6 of its maximum)",
            end < 1e-6,
            f"rate there over its maximum: {end:.1e}",
        ),
        Verdict(
            "Fig. 6",
            "where the rate is largest the PEB is not smallest",
            min(ratio) > 1,
            "PEB at the largest rate over the smallest PEB: "
            + ", ".join(
                f"{r:.1f} (N = {side**2})" for r, side in zip(ratio, setup.SIDES, strict=True)
            ),
        ),
        Verdict(
            "Fig. 6",
            "rate and errors have a joint optimum at the maximum of the rate",
            all(n == 1 for n in efficient),
            "; ".join(
                f"N = {side**2}: {b} allocations below it are dominated, {n} from it on are not"
                for side, b, n in zip(setup.SIDES, before, efficient, strict=True)
            )
            + " (dominated: another one has a higher rate and a lower PEB); which of the others is "
            "best depends on the weight",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """PEB above, REB below; estimation errors left, mobility right."""
    with styled():
        figure, grid = plt.subplots(2, 2, figsize=(10, 8.5), sharex="row", sharey=True)
        for axes, name, label, conditions in setup.error_panels(grid):
            for color, side in zip(COLORS, setup.SIDES, strict=False):
                for (_, look), condition in zip(setup.PANEL_LOOKS, conditions, strict=True):
                    at = dataset.sel(side=side, condition=condition)
                    error, _ = mean_and_band(log10(at[name]))
                    curve(axes, error, at.eadr / 1e6, color=color, **look)
                perfect = dataset.sel(side=side, condition=0).isel(trial=0)
                worse = dominated(perfect[name].values, perfect.eadr.values)
                axes.plot(log10(perfect[name])[worse], perfect.eadr[worse] / 1e6, "x", color=color)
            axes.set(xlabel=label, ylabel=setup.RATE_LABEL)
        legend_below(
            figure,
            *setup.SIZES,
            *setup.PANEL_LOOKS,
            (
                "dominated: another allocation has a higher rate and a lower error",
                {"marker": "x", "linestyle": "none"},
            ),
            interval_entry(dataset),
            columns=2,
        )
    return figure


STUDY = Study(
    name="localization/fig6",
    sample=setup.unit_errors,
    point=point,
    axes={"side": setup.SIDES, "condition": range(len(setup.CONDITIONS))},
    static=("side",),
    outputs=setup.OUTPUTS,
    trials=50,
    inner={"active_antennas": setup.ANTENNAS},
    provenance=setup.provenance(setup.CONDITIONS),
    verdicts=verdicts,
    draw=draw,
)
