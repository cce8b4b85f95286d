"""Fig. 6: effective rate against log10 PEB and log10 REB, the trade-off itself."""

from collections.abc import Mapping

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, Int
from matplotlib.figure import Figure

from heliostat.design.time_allocation import dominated
from heliostat.plots.style import styled
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_steered
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, LINES, curve, legend_below, sizes_and
from heliostat.studies.localization import setup
from heliostat.studies.localization.fig4 import MIDDLE_AND_LARGEST
from heliostat.studies.study import Quantity, Study, Verdict, log10, mean_and_band

ANTENNAS = np.arange(1, 33)


def point(unit: Errors, *, side: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """PEB, REB and rate over all allocations."""
    scene = as_steered(setup.scene(side), setup.at_condition(unit, condition, setup.CONDITIONS))
    return setup.over_allocations(scene, jnp.asarray(ANTENNAS, dtype=float))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What the paper says about Fig. 6, against the data."""
    perfect = dataset.sel(condition=0).isel(trial=0)
    rate = perfect.eadr.values
    end = float(np.max(rate[:, -1] / rate.max(axis=1)))
    peak = np.argmax(rate, axis=1)
    ratio = [float(p[i] / p[-1]) for p, i in zip(perfect.peb.values, peak, strict=True)]
    beaten = [dominated(p, r) for p, r in zip(perfect.peb.values, rate, strict=True)]
    before = [int(b[:i].sum()) for b, i in zip(beaten, peak, strict=True)]
    open_choices = [int(np.sum(~b)) for b in beaten]
    return [
        Verdict(
            "Fig. 6",
            "where the errors are least the rate is zero",
            end < 1e-6,
            f"rate there over its peak: {end:.1e}",
        ),
        Verdict(
            "Fig. 6",
            "where the rate is largest the errors are not least",
            min(ratio) > 1,
            "PEB at the peak of the rate over the least PEB: "
            + ", ".join(
                f"{r:.1f} (N={side**2})" for r, side in zip(ratio, setup.SIDES, strict=True)
            ),
        ),
        Verdict(
            "Fig. 6",
            "rate and errors share a joint optimum at the peak of the curve",
            all(n == 1 for n in open_choices),
            "; ".join(
                f"N={side**2}: the {b} choices before it are dominated, {n} from it on are not"
                for side, b, n in zip(setup.SIDES, before, open_choices, strict=True)
            )
            + ": which of these is best depends on the weight",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Errors left, mobility right; PEB above, REB below."""
    with styled():
        figure, grid = plt.subplots(2, 2, figsize=(10, 8.5), sharex="row", sharey=True)
        for row, (name, unit) in enumerate((("peb", "m"), ("reb", "rad"))):
            for column, conditions in enumerate(((0, 1, 2), (0, 3, 4))):
                axes = grid[row, column]
                for colour, side in zip(COLOURS, setup.SIDES, strict=False):
                    for line, condition in zip(LINES, conditions, strict=False):
                        at = dataset.sel(side=side, condition=condition)
                        error, _ = mean_and_band(log10(at[name]))
                        curve(axes, error, at.eadr / 1e6, colour=colour, line=line)
                    perfect = dataset.sel(side=side, condition=0).isel(trial=0)
                    beaten = dominated(perfect[name].values, perfect.eadr.values)
                    axes.plot(
                        log10(perfect[name])[beaten],
                        perfect.eadr[beaten] / 1e6,
                        "x",
                        color=colour,
                    )
                axes.set_xlabel(rf"$\log_{{10}}$ {name.upper()} ({name.upper()} in {unit})")
                axes.set_ylabel("effective rate [Mbit/s]")
        grid[0, 0].set_title("(a) estimation errors")
        grid[0, 1].set_title("(b) mobility")
        legend_below(
            figure,
            *sizes_and(setup.SIDES, ["perfect estimates", *MIDDLE_AND_LARGEST]),
            ("dominated, perfect estimates", {"color": "black", "marker": "x", "linestyle": ""}),
            columns=4,
        )
    return figure


STUDY = Study(
    name="localization/fig6",
    title=TITLES["localization"]["fig6"],
    sample=setup.unit_errors,
    point=point,
    axes={"side": setup.SIDES, "condition": range(len(setup.CONDITIONS))},
    static=("side",),
    outputs={
        "peb": Quantity("m", ("active_antennas",), "position error bound"),
        "reb": Quantity("rad", ("active_antennas",), "heading error bound"),
        "eadr": Quantity("bit/s", ("active_antennas",), "effective rate with codebook beams"),
    },
    trials=50,
    inner={"active_antennas": ANTENNAS},
    provenance=setup.provenance(setup.CONDITIONS),
    verdicts=verdicts,
    draw=draw,
)
