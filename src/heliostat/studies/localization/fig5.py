"""Fig. 5: effective rate against the time given to the pilots."""

from collections.abc import Mapping
from itertools import repeat

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
from heliostat.studies.claims import judge
from heliostat.studies.figures import COLORS, MARKS, curve, entries, interval_entry, legend_below
from heliostat.studies.localization import setup
from heliostat.studies.localization.setup import ANTENNAS, SHARE
from heliostat.studies.statistics import paired_change
from heliostat.studies.study import Quantity, Study, Verdict

CONDITIONS = setup.CONDITIONS[:3]
LOOKS = entries(
    (f"codebook beams, paper eq. (39), {condition.label}" for condition in CONDITIONS),
    marker=MARKS,
    fillstyle=("full", "none", "none"),
    linestyle=repeat(":"),
)


def point(unit: Errors, *, side: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """Rate at all allocations with codebook beams, and the closed form without errors."""
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
    """Verdicts on the paper's claims about Fig. 5."""
    perfect = dataset.sel(condition=0).isel(trial=0)
    rate, closed = perfect.eadr.values, perfect.eadr_closed_form.values
    peak, closed_peak = (
        ", ".join(map(str, ANTENNAS[np.argmax(r, axis=1)])) for r in (rate, closed)
    )
    end = float(np.max(rate[:, -1] / rate.max(axis=1)))
    with_errors, without = (dataset.eadr.sel(condition=c) for c in (2, 0))
    change = {
        f"N = {side**2}": paired_change(with_errors.sel(side=side), without.sel(side=side))
        for side in setup.SIDES
    }
    level = perfect.eadr.mean("active_antennas").values
    positive = closed > 1.0
    below = (rate < closed * (1 - 1e-9)) & positive
    shortfall = 1 - rate[:, :-1] / closed[:, :-1]
    return [
        Verdict(
            "Fig. 5",
            "the effective achievable data rate (EADR) grows with the number of elements N",
            bool(np.all(np.diff(rate[:, :-1], axis=0) > 0)),
            "maximum: "
            + ", ".join(
                f"{r.max() / 1e6:.0f} Mbit/s (N = {side**2})"
                for side, r in zip(setup.SIDES, rate, strict=True)
            ),
        ),
        Verdict(
            "Fig. 5",
            "the rate rises to a maximum and then falls to zero (below 1e-6 of the maximum)",
            bool(np.all(rate[:, 0] < rate.max(axis=1))) and end < 1e-6,
            f"maximum at {peak} of 32 active antennas for N = "
            f"{', '.join(str(s**2) for s in setup.SIDES)} with codebook beams, at {closed_peak} in "
            f"closed form; at 32 the rate is {end:.1g} of the maximum",
        ),
        judge(
            "Fig. 5",
            "a position error of up to 7 m lowers the rate",
            {n: estimate.scaled(1e-6) for n, estimate in change.items()},
            high=0.0,
            quantity="mean change",
            digits=0,
            unit=" Mbit/s",
            note="; relative to the mean rate: "
            + ", ".join(
                f"{100 * c.mean / m:+z.1f} %" for c, m in zip(change.values(), level, strict=True)
            ),
        ),
        Verdict(
            "Fig. 5",
            "the exact rate, paper eq. (39), is below the closed form, paper eq. (42), at several "
            "points",
            bool(np.any(below)),
            f"below at {int(np.sum(below))} of {int(np.sum(positive))} points with a positive "
            f"rate, by {100 * shortfall.min():.1f} to {100 * shortfall.max():.1f} %, because the "
            "directions lie between the beams of the codebooks",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Rate against the normalized time ratio."""
    with styled():
        figure, axes = plt.subplots(figsize=(8, 6))
        for color, side in zip(COLORS, setup.SIDES, strict=False):
            at = dataset.sel(side=side)
            closed = at.eadr_closed_form.isel(condition=0, trial=0) / 1e6
            axes.plot(SHARE, closed, color=color, linewidth=1)
            for condition, (_, look) in enumerate(LOOKS):
                curve(axes, SHARE, at.eadr.sel(condition=condition) / 1e6, color=color, **look)
        axes.set(xlabel=setup.SHARE_LABEL, ylabel=setup.RATE_LABEL, ylim=(0, None))
        legend_below(
            figure,
            *setup.SIZES,
            ("closed form, paper eq. (42), perfect estimates", {"linewidth": 1}),
            *LOOKS,
            interval_entry(dataset),
            columns=2,
        )
    return figure


STUDY = Study(
    name="localization/fig5",
    sample=setup.unit_errors,
    point=point,
    axes={"side": setup.SIDES, "condition": range(len(CONDITIONS))},
    static=("side",),
    outputs={
        "eadr": setup.OUTPUTS["eadr"],
        "eadr_closed_form": Quantity("bit/s", ("active_antennas",), "effective rate, closed form"),
    },
    trials=50,
    inner={"active_antennas": ANTENNAS},
    provenance=setup.provenance(CONDITIONS),
    verdicts=verdicts,
    draw=draw,
)
