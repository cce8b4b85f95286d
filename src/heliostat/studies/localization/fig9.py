"""Fig. 9: rate and log10(PEB + REB) at the best time ratio."""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, Int
from matplotlib.figure import Figure

from heliostat.design.time_allocation import peak_rate_ratio
from heliostat.plots.localization import styled
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_estimated, as_steered, error_scale, next_share
from heliostat.rates.effective import available_ratio, eadr_closed_form, snr_slope
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, MARKS, legend_below, sizes_and
from heliostat.studies.localization import setup
from heliostat.studies.study import (
    Quantity,
    Study,
    Verdict,
    decided,
    log10,
    mean_and_band,
    paired_change,
)

SHARES = np.geomspace(1e-3, 1.0, 200)
"""Time ratios over the largest one, for the curves."""
CONDITIONS = setup.ALLOCATION_CONDITIONS


def point(unit: Errors, *, side: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """What the ratio chosen on beliefs brings in truth, and the curve it should lie on.

    Bound and rate are (37), (38) and (42) with the surface as it is really steered.
    """
    truth = setup.scene(side)
    errors = setup.at_condition(unit, condition, CONDITIONS)
    steered = as_steered(truth, errors)
    ratio = next_share(as_estimated(steered, errors), jnp.asarray(setup.WEIGHT)).ratio
    ratios = jnp.asarray(SHARES) * available_ratio(truth)
    return {
        "ratio": ratio,
        "error": error_scale(steered) / jnp.sqrt(ratio),
        "eadr": eadr_closed_form(steered, ratio),
        "curve_error": error_scale(truth) / jnp.sqrt(ratios),
        "curve_eadr": eqx.filter_vmap(lambda r: eadr_closed_form(truth, r))(ratios),
    }


def _shortfall(side: int, weight: float) -> float:
    """How far the rate at another weight's optimum is below the rate's peak. [1]"""
    truth = setup.scene(side)
    peak = jnp.asarray(peak_rate_ratio(float(snr_slope(truth)), float(available_ratio(truth))))
    chosen = next_share(truth, jnp.asarray(weight)).ratio
    return 1 - float(eadr_closed_form(truth, chosen) / eadr_closed_form(truth, peak))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What the paper says about Fig. 9, against the data."""
    perfect = dataset.sel(condition=0).isel(trial=0)
    short, moved = [], []
    for side in setup.SIDES:
        truth, at = setup.scene(side), perfect.sel(side=side)
        slope, available = float(snr_slope(truth)), float(available_ratio(truth))
        peak = float(peak_rate_ratio(slope, available))
        best = float(eadr_closed_form(truth, jnp.asarray(peak)))
        short.append(1 - float(at.eadr) / best)
        moved.append(float(np.log10(np.sqrt(peak / at.ratio))))  # errors go as ratio^(-1/2)

    def robust(condition: int, claim: str) -> Verdict:
        told, within, beyond = [], True, False
        for side in setup.SIDES:
            at, base = (dataset.sel(side=side, condition=c) for c in (condition, 0))
            error, error_half = paired_change(log10(at.error), log10(base.error))
            rate, rate_half = paired_change(at.eadr / base.eadr, base.eadr / base.eadr)
            within &= abs(error) + error_half <= 0.1 and abs(rate) + rate_half <= 0.05
            beyond |= abs(error) - error_half > 0.1 or abs(rate) - rate_half > 0.05
            told.append(
                f"N={side**2}: {error:+.3f} ± {error_half:.3f} in log10, rate {rate:+.1%} ± "
                f"{rate_half:.1%}"
            )
        return Verdict("Fig. 9", claim, decided(within, beyond), "; ".join(told))

    return [
        Verdict(
            "Fig. 9",
            "with perfect estimates the joint optimum is on the peak of the rate",
            max(short) < 1e-3,
            f"with ξ = {setup.WEIGHT:g} its rate is "
            + ", ".join(
                f"{s:.4%} below the peak, log10 error {m:+.4f} (N={side**2})"
                for s, m, side in zip(short, moved, setup.SIDES, strict=True)
            )
            + "; a hundredth of that ξ puts it "
            + ", ".join(f"{_shortfall(side, setup.WEIGHT / 100):.1%}" for side in setup.SIDES)
            + " below: the claim rests on the choice of ξ",
        ),
        robust(1, "mobility up to 7 m leaves the optimum close (0.1 in log10, 5 % of rate)"),
        robust(3, "estimation errors leave the optimum close (0.1 in log10, 5 % of rate)"),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Curves without errors, optima under each condition."""
    with styled():
        figure, axes = plt.subplots(figsize=(8, 5.8))
        for colour, side in zip(COLOURS, setup.SIDES, strict=False):
            curve = dataset.sel(side=side, condition=0).isel(trial=0)
            axes.plot(log10(curve.curve_error), curve.curve_eadr / 1e6, color=colour)
            for condition, mark in zip(range(len(CONDITIONS)), MARKS, strict=False):
                at = dataset.sel(side=side, condition=condition)
                error, error_half = mean_and_band(log10(at.error))
                rate, rate_half = mean_and_band(at.eadr / 1e6)
                axes.errorbar(
                    error,
                    rate,
                    xerr=error_half,
                    yerr=rate_half,
                    fmt=mark,
                    color=colour,
                    fillstyle="full" if condition == 0 else "none",
                )
        axes.set_xlabel(r"$\log_{10}$(PEB + REB) (PEB in m, REB in rad)")
        axes.set_ylabel("effective rate [Mbit/s]")
        axes.set_ylim(bottom=0)
        legend_below(
            figure,
            *sizes_and(setup.SIDES, ["all time ratios, perfect estimates"]),
            *(
                (
                    f"optimum, {condition.label}",
                    {
                        "color": "black",
                        "marker": mark,
                        "linestyle": "none",
                        "fillstyle": "full" if condition is CONDITIONS[0] else "none",
                    },
                )
                for condition, mark in zip(CONDITIONS, MARKS, strict=False)
            ),
            columns=3,
        )
    return figure


STUDY = Study(
    name="localization/fig9",
    title=TITLES["localization"]["fig9"],
    sample=setup.unit_errors,
    point=point,
    axes={"side": setup.SIDES, "condition": range(len(CONDITIONS))},
    static=("side",),
    outputs={
        "ratio": Quantity("1", (), "best time ratio"),
        "error": Quantity("m + rad", (), "PEB + REB at the best ratio"),
        "eadr": Quantity("bit/s", (), "effective rate at the best ratio"),
        "curve_error": Quantity("m + rad", ("share",), "PEB + REB"),
        "curve_eadr": Quantity("bit/s", ("share",), "effective rate"),
    },
    trials=20,
    inner={"share": SHARES},
    provenance={**setup.provenance(CONDITIONS), "weight": f"{setup.WEIGHT} (m + rad) s/bit"},
    verdicts=verdicts,
    draw=draw,
)
