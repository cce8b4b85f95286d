"""Fig. 4: position and heading error bounds against the time given to the pilots."""

from collections.abc import Mapping

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, Int
from matplotlib.figure import Figure

from heliostat.bounds.pose import error_bounds, pose_information_by_definition
from heliostat.plots.style import styled
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_steered
from heliostat.studies.claims import judge
from heliostat.studies.figures import COLORS, curve, interval_entry, legend_below
from heliostat.studies.localization import setup
from heliostat.studies.localization.setup import ANTENNAS, SHARE
from heliostat.studies.statistics import log10, paired_change, unbounded
from heliostat.studies.study import Quantity, Study, Verdict

MARKED = np.array([1, 4, 16, 32])
"""Allocations at which the sum over all beam pairs is computed from its definition."""


def point(unit: Errors, *, side: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """PEB and REB at all allocations, in closed form and from the definition."""
    scene = as_steered(setup.scene(side), setup.at_condition(unit, condition, setup.CONDITIONS))
    closed = setup.over_allocations(scene)
    marked = [error_bounds(pose_information_by_definition(scene, int(n))) for n in MARKED]
    peb, reb = (jnp.stack(bound) for bound in zip(*marked, strict=True))
    return {
        "peb": closed["peb"],
        "reb": closed["reb"],
        "peb_by_definition": peb,
        "reb_by_definition": reb,
    }


def _slight(dataset: xr.Dataset, condition: int, cause: str) -> Verdict:
    log_peb = log10(dataset.peb)
    changed, base = (log_peb.sel(condition=c) for c in (condition, 0))
    change = {
        f"N = {side**2}": paired_change(changed.sel(side=side), base.sel(side=side))
        for side in setup.SIDES
    }
    largest = (changed - base).max([d for d in changed.dims if d != "side"]).values
    lost = unbounded(dataset.peb.sel(condition=condition))
    return judge(
        "Fig. 4",
        f"{cause} raises log10 PEB slightly (at every N, by at most 0.1)",
        change,
        low=0.0,
        high=0.1,
        quantity="mean change of log10 PEB",
        digits=3,
        note="; largest change in one trial: "
        + ", ".join(f"{value:+.2f}" for value in largest)
        + (f"; {lost} points without a bound" if lost else ""),
    )


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the paper's claims about Fig. 4."""
    perfect = dataset.sel(condition=0).isel(trial=0)
    log_slope = [
        np.diff(np.log(perfect[name]), axis=-1) / np.diff(np.log(ANTENNAS))
        for name in ("peb", "reb")
    ]
    off = max(float(np.max(np.abs(slope + 0.5))) for slope in log_slope)
    by_size = np.diff(np.log10(np.stack([perfect.peb, perfect.reb])), axis=1)
    at = {"active_antennas": xr.DataArray(MARKED, dims="marked")}
    difference = max(
        float(np.max(np.abs(dataset[name].sel(at) / dataset[f"{name}_by_definition"] - 1)))
        for name in ("peb", "reb")
    )
    return [
        Verdict(
            "Fig. 4",
            "the position and heading error bounds (PEB, REB) are proportional to the time ratio "
            "to the power -1/2",
            off < 1e-9,
            f"largest deviation of the log-log slope from -1/2: {off:.1e}",
        ),
        Verdict(
            "Fig. 4",
            "PEB and REB fall as the number of elements N grows",
            bool(np.all(by_size < 0)),
            "; ".join(
                f"log10 {name} changes by {step[0]:+.2f} from N = 16 to 64 and by {step[1]:+.2f} "
                "from 64 to 256"
                for name, step in zip(("PEB", "REB"), by_size.mean(axis=-1), strict=True)
            ),
        ),
        _slight(dataset, 2, "a position error of up to 7 m"),
        _slight(dataset, 4, "mobility up to 7 m"),
        Verdict(
            "Fig. 4",
            "the closed forms, paper eqs. (37), (38), equal the sums, paper eqs. (32), (33), under "
            "perfect estimates",
            difference < 1e-8,
            f"largest relative difference: {difference:.1e}, also for surfaces that are not "
            "steered at the user; the closed forms are exact, not approximate",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """PEB above, REB below; estimation errors left, mobility right."""
    with styled():
        figure, grid = plt.subplots(2, 2, figsize=(10, 8), sharex=True, sharey="row")
        for axes, name, label, conditions in setup.error_panels(grid):
            for color, side in zip(COLORS, setup.SIDES, strict=False):
                at = dataset.sel(side=side)
                for (_, look), condition in zip(setup.PANEL_LOOKS, conditions, strict=True):
                    log_error = log10(at[name].sel(condition=condition))
                    curve(axes, SHARE, log_error, color=color, **look)
                marked = log10(at[f"{name}_by_definition"].sel(condition=0)).isel(trial=0)
                axes.plot(MARKED / ANTENNAS[-1], marked, "o", color=color)
            axes.set_ylabel(label)
        for axes in grid[1]:
            axes.set_xlabel(setup.SHARE_LABEL)
        legend_below(
            figure,
            *setup.SIZES,
            *setup.PANEL_LOOKS,
            ("sum over all beam pairs, perfect estimates", {"marker": "o", "linestyle": "none"}),
            interval_entry(dataset),
            columns=3,
        )
    return figure


STUDY = Study(
    name="localization/fig4",
    sample=setup.unit_errors,
    point=point,
    axes={"side": setup.SIDES, "condition": range(len(setup.CONDITIONS))},
    static=("side",),
    outputs={
        "peb": Quantity("m", ("active_antennas",), "position error bound, closed form"),
        "reb": Quantity("rad", ("active_antennas",), "heading error bound, closed form"),
        "peb_by_definition": Quantity("m", ("marked",), "position error bound, all beam pairs"),
        "reb_by_definition": Quantity("rad", ("marked",), "heading error bound, all beam pairs"),
    },
    trials=50,
    inner={"active_antennas": ANTENNAS, "marked": MARKED},
    provenance=setup.provenance(setup.CONDITIONS),
    verdicts=verdicts,
    draw=draw,
)
