"""Fig. 4: log10 PEB and log10 REB against the time given to the pilots."""

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
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, LINES, curve, legend_below, sizes_and
from heliostat.studies.localization import setup
from heliostat.studies.study import (
    Quantity,
    Study,
    Verdict,
    decided,
    log10,
    paired_change,
    unbounded,
)

ANTENNAS = np.arange(1, 33)
MARKED = np.array([1, 4, 16, 32])
"""Allocations at which the sum over all beam pairs is computed from the definition."""
MIDDLE_AND_LARGEST = ("(a) 3 m and 15°, (b) 3 m", "(a) 7 m and 30°, (b) 7 m")
PAIRS = {"color": "black", "marker": "o", "fillstyle": "none", "linestyle": "none"}


def point(unit: Errors, *, side: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """PEB and REB over all allocations, in closed form and from the definition."""
    scene = as_steered(setup.scene(side), setup.at_condition(unit, condition, setup.CONDITIONS))
    closed = setup.over_allocations(scene, jnp.asarray(ANTENNAS, dtype=float))
    marked = [error_bounds(pose_information_by_definition(scene, int(n))) for n in MARKED]
    peb, reb = (jnp.stack(bound) for bound in zip(*marked, strict=True))
    return {
        "peb": closed["peb"],
        "reb": closed["reb"],
        "peb_by_definition": peb,
        "reb_by_definition": reb,
    }


def _log_change(dataset: xr.Dataset, side: int, condition: int) -> tuple[float, float]:
    log_peb = log10(dataset.peb.sel(side=side))
    return paired_change(log_peb.sel(condition=condition), log_peb.sel(condition=0))


def _slight(dataset: xr.Dataset, condition: int, claim: str) -> Verdict:
    """Slight: an increase at every N, of no more than 0.1 (a quarter more error)."""
    changes = {side**2: _log_change(dataset, side, condition) for side in setup.SIDES}
    worst = {
        side**2: float(
            (
                log10(dataset.peb.sel(side=side, condition=condition))
                - log10(dataset.peb.sel(side=side, condition=0))
            ).max()
        )
        for side in setup.SIDES
    }
    told = "; ".join(
        f"N={n}: {mean:+.3f} ± {half:.3f} (worst trial {worst[n]:+.2f})"
        for n, (mean, half) in changes.items()
    )
    lost = unbounded(dataset.peb.sel(condition=condition))
    return Verdict(
        "Fig. 4",
        claim,
        decided(
            all(mean - half > 0 and mean + half <= 0.1 for mean, half in changes.values()),
            any(mean + half < 0 or mean - half > 0.1 for mean, half in changes.values()),
        ),
        f"mean change of log10 PEB, 95 % interval: {told}"
        + (f"; {lost} points without a bound" if lost else ""),
    )


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What the paper says about Fig. 4, against the data."""
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
            "PEB and REB fall as the time ratio grows, as its power -1/2",
            off < 1e-9,
            f"largest deviation of the log-log slope from -1/2: {off:.1e}",
        ),
        Verdict(
            "Fig. 4",
            "PEB and REB fall as N grows",
            bool(np.all(by_size < 0)),
            "; ".join(
                f"log10 {name} changes by {step[0]:+.2f} from N=16 to 64, {step[1]:+.2f} to 256"
                for name, step in zip(("PEB", "REB"), by_size.mean(axis=-1), strict=True)
            ),
        ),
        _slight(dataset, 2, "location error up to 7 m raises log10 PEB slightly"),
        _slight(dataset, 4, "mobility up to 7 m raises log10 PEB slightly"),
        Verdict(
            "Fig. 4",
            "closed forms (37), (38) coincide with (32), (33) under perfect estimates",
            difference < 1e-8,
            f"largest relative difference {difference:.1e}, and so for steered surfaces off their "
            "focus: the forms are exact, not approximate",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """PEB above, REB below; errors left, mobility right."""
    with styled():
        figure, grid = plt.subplots(2, 2, figsize=(10, 8), sharex=True, sharey="row")
        share = ANTENNAS / ANTENNAS[-1]
        for row, (name, unit) in enumerate((("peb", "m"), ("reb", "rad"))):
            for column, conditions in enumerate(((0, 1, 2), (0, 3, 4))):
                axes = grid[row, column]
                for colour, side in zip(COLOURS, setup.SIDES, strict=False):
                    at = dataset.sel(side=side)
                    for line, condition in zip(LINES, conditions, strict=False):
                        log_error = log10(at[name].sel(condition=condition))
                        curve(axes, share, log_error, colour=colour, line=line)
                    marked = log10(at[f"{name}_by_definition"].sel(condition=0)).isel(trial=0)
                    axes.plot(MARKED / ANTENNAS[-1], marked, "o", color=colour, fillstyle="none")
                axes.set_ylabel(rf"$\log_{{10}}$ {name.upper()} ({name.upper()} in {unit})")
        grid[0, 0].set_title("(a) estimation errors")
        grid[0, 1].set_title("(b) mobility")
        for axes in grid[1]:
            axes.set_xlabel(r"normalised time ratio $\varpi\, T_c/(T_c-T_o)$")
        legend_below(
            figure,
            *sizes_and(setup.SIDES, ["perfect estimates", *MIDDLE_AND_LARGEST]),
            ("sum over all beam pairs, perfect estimates", PAIRS),
            columns=4,
        )
    return figure


STUDY = Study(
    name="localization/fig4",
    title=TITLES["localization"]["fig4"],
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
