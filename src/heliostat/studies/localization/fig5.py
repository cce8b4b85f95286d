"""Fig. 5: effective rate against the time given to the pilots."""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, Int
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_steered
from heliostat.rates.effective import eadr, eadr_closed_form, time_ratio
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, MARKS, curve, legend_below, sizes_and
from heliostat.studies.localization import setup
from heliostat.studies.study import Quantity, Study, Verdict, decided, paired_change

ANTENNAS = np.arange(1, 33)
CONDITIONS = setup.CONDITIONS[:3]
FILL = ("full", "none", "none")


def point(unit: Errors, *, side: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """Rate over all allocations with codebook beams, and the closed form without errors."""
    truth = setup.scene(side)
    steered = as_steered(truth, setup.at_condition(unit, condition, CONDITIONS))
    active = jnp.asarray(ANTENNAS, dtype=float)
    return {
        "eadr": eqx.filter_vmap(lambda n: eadr(steered, n))(active),
        "eadr_closed_form": eqx.filter_vmap(
            lambda n: eadr_closed_form(truth, time_ratio(truth, n))
        )(active),
    }


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What the paper says about Fig. 5, against the data."""
    perfect = dataset.sel(condition=0).isel(trial=0)
    rate = perfect.eadr.values
    peak = ANTENNAS[np.argmax(rate, axis=1)]
    smooth_peak = ANTENNAS[np.argmax(perfect.eadr_closed_form.values, axis=1)]
    end = float(np.max(rate[:, -1] / rate.max(axis=1)))
    change = {
        side**2: paired_change(
            dataset.eadr.sel(side=side, condition=2), dataset.eadr.sel(side=side, condition=0)
        )
        for side in setup.SIDES
    }
    relative = {
        side**2: change[side**2][0] / float(perfect.eadr.sel(side=side).mean())
        for side in setup.SIDES
    }
    below = perfect.eadr.values < perfect.eadr_closed_form.values * (1 - 1e-9)
    shortfall = 1 - perfect.eadr.values[:, :-1] / perfect.eadr_closed_form.values[:, :-1]
    positive = perfect.eadr_closed_form.values > 1.0
    return [
        Verdict(
            "Fig. 5",
            "the rate grows with N",
            bool(np.all(np.diff(rate[:, :-1], axis=0) > 0)),
            "peaks of "
            + ", ".join(
                f"{r.max() / 1e6:.0f} Mbit/s (N={side**2})"
                for side, r in zip(setup.SIDES, rate, strict=True)
            ),
        ),
        Verdict(
            "Fig. 5",
            "the rate rises to a maximum and then falls to zero",
            bool(np.all(peak > 1)) and end < 1e-6,
            f"a very early peak: at {', '.join(map(str, peak))} of 32 active antennas for N = "
            f"{', '.join(str(s**2) for s in setup.SIDES)} with codebook beams, at "
            f"{', '.join(map(str, smooth_peak))} in closed form; {end:.0e} of it is left at 32",
        ),
        Verdict(
            "Fig. 5",
            "location error up to 7 m lowers the rate",
            decided(
                all(mean + half < 0 for mean, half in change.values()),
                any(mean - half > 0 for mean, half in change.values()),
            ),
            "mean change "
            + "; ".join(
                f"N={n}: {mean / 1e6:+.0f} ± {half / 1e6:.0f} Mbit/s ({relative[n]:+.0%})"
                for n, (mean, half) in change.items()
            ),
        ),
        Verdict(
            "Fig. 5",
            "the exact rate (39) is below the closed form (42) at several points",
            bool(np.any(below & positive)),
            f"below at {int(np.sum(below & positive))} of {int(np.sum(positive))} points with a "
            f"rate, by {shortfall.min():.1%} to {shortfall.max():.1%}: scalloping of the codebooks",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Rate against the normalised time ratio."""
    with styled():
        figure, axes = plt.subplots(figsize=(8, 5.6))
        share = ANTENNAS / ANTENNAS[-1]
        for colour, side in zip(COLOURS, setup.SIDES, strict=False):
            at = dataset.sel(side=side)
            closed = at.eadr_closed_form.isel(condition=0, trial=0) / 1e6
            axes.plot(share, closed, color=colour, linewidth=1)
            for condition, mark in zip(range(len(CONDITIONS)), MARKS, strict=False):
                rate = at.eadr.sel(condition=condition) / 1e6
                curve(axes, share, rate, colour=colour, line=":")
                axes.plot(share, rate.mean("trial"), mark, color=colour, fillstyle=FILL[condition])
        axes.set_xlabel(r"normalised time ratio $\varpi\, T_c/(T_c-T_o)$")
        axes.set_ylabel("effective rate [Mbit/s]")
        axes.set_ylim(bottom=0)
        legend_below(
            figure,
            *sizes_and(setup.SIDES, ["closed form (42)"]),
            *(
                (
                    f"(39), {condition.label}",
                    {"color": "black", "marker": mark, "fillstyle": fill, "linestyle": ":"},
                )
                for condition, mark, fill in zip(CONDITIONS, MARKS, FILL, strict=False)
            ),
            columns=4,
        )
    return figure


STUDY = Study(
    name="localization/fig5",
    title=TITLES["localization"]["fig5"],
    sample=setup.unit_errors,
    point=point,
    axes={"side": setup.SIDES, "condition": range(len(CONDITIONS))},
    static=("side",),
    outputs={
        "eadr": Quantity("bit/s", ("active_antennas",), "effective rate with codebook beams"),
        "eadr_closed_form": Quantity("bit/s", ("active_antennas",), "effective rate, closed form"),
    },
    trials=50,
    inner={"active_antennas": ANTENNAS},
    provenance=setup.provenance(CONDITIONS),
    verdicts=verdicts,
    draw=draw,
)
