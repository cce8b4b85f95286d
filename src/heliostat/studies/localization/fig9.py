"""Fig. 9: effective rate and log10(PEB + REB) at the best time ratio."""

from collections.abc import Mapping
from itertools import repeat

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, Int
from matplotlib.figure import Figure

from heliostat.design.time_allocation import peak_rate_ratio
from heliostat.plots.style import styled
from heliostat.protocol.errors import Errors
from heliostat.protocol.period import as_estimated, as_steered, error_scale, next_share
from heliostat.rates.effective import available_ratio, eadr_closed_form, snr_slope
from heliostat.studies.figures import COLORS, MARKS, entries, interval_entry, legend_below
from heliostat.studies.localization import setup
from heliostat.studies.statistics import every, log10, mean_and_band, paired_change
from heliostat.studies.study import Quantity, Study, Verdict

SHARES = np.geomspace(1e-3, 1.0, 200)
"""Time ratios of the curves over the largest one."""
CONDITIONS = setup.ALLOCATION_CONDITIONS
LOOKS = entries(
    (f"optimum, {condition.label}" for condition in CONDITIONS),
    marker=MARKS,
    fillstyle=("full", "none", "none", "none"),
    linestyle=repeat("none"),
)


def point(unit: Errors, *, side: int, condition: Int[Array, ""]) -> Mapping[str, Array]:
    """True rate and errors at the ratio chosen from the estimates, and the curve without errors.

    Bounds and rate are (37), (38) and (42) with the actual phases of the surface.
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
    """Relative distance of the rate below its maximum, at the optimum for a weight. [1]"""
    truth = setup.scene(side)
    peak = jnp.asarray(peak_rate_ratio(float(snr_slope(truth)), float(available_ratio(truth))))
    chosen = next_share(truth, jnp.asarray(weight)).ratio
    return 1 - float(eadr_closed_form(truth, chosen) / eadr_closed_form(truth, peak))


def _stays_close(dataset: xr.Dataset, condition: int, cause: str) -> Verdict:
    answers, findings = [], []
    for side in setup.SIDES:
        at, base = (dataset.sel(side=side, condition=c) for c in (condition, 0))
        error = paired_change(log10(at.error), log10(base.error))
        rate = paired_change(at.eadr / base.eadr, base.eadr / base.eadr)
        answers += [error.between(-0.1, 0.1), rate.between(-0.05, 0.05)]
        findings.append(f"N = {side**2}: {error.text(3)}, {rate.scaled(100).text(1, ' %')}")
    return Verdict(
        "Fig. 9",
        f"{cause} leaves the optimum close (log10(PEB + REB) within 0.1, rate within 5 %)",
        every(answers),
        "change of log10(PEB + REB), of the rate: " + "; ".join(findings),
    )


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the paper's claims about Fig. 9."""
    perfect = dataset.sel(condition=0).isel(trial=0)
    short, moved = [], []
    for side in setup.SIDES:
        truth, at = setup.scene(side), perfect.sel(side=side)
        slope, available = float(snr_slope(truth)), float(available_ratio(truth))
        peak = float(peak_rate_ratio(slope, available))
        best = float(eadr_closed_form(truth, jnp.asarray(peak)))
        short.append(1 - float(at.eadr) / best)
        moved.append(float(np.log10(np.sqrt(peak / at.ratio))))  # errors go as ratio^(-1/2)
    return [
        Verdict(
            "Fig. 9",
            "with perfect estimates the joint optimum of the effective achievable data rate (EADR) "
            "and of the position and heading error bounds (PEB, REB) is at the maximum of the rate "
            "(within 0.1 %)",
            max(short) < 1e-3,
            f"with ξ = {setup.WEIGHT:g}, below the maximum, and change of log10(PEB + REB): "
            + "; ".join(
                f"{100 * s:.4f} %, {m:+z.4f} (N = {side**2})"
                for s, m, side in zip(short, moved, setup.SIDES, strict=True)
            )
            + "; with a hundredth of that ξ below the maximum by "
            + ", ".join(
                f"{100 * _shortfall(side, setup.WEIGHT / 100):.1f} %" for side in setup.SIDES
            )
            + ": the claim depends on the choice of ξ",
        ),
        _stays_close(dataset, 1, "mobility up to 7 m"),
        _stays_close(dataset, 3, "estimation error up to 7 m, 30° and the paper's gain error"),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Curves without errors, and the optimum under each condition."""
    with styled():
        figure, axes = plt.subplots(figsize=(8, 6.2))
        for color, side in zip(COLORS, setup.SIDES, strict=False):
            curve = dataset.sel(side=side, condition=0).isel(trial=0)
            axes.plot(log10(curve.curve_error), curve.curve_eadr / 1e6, color=color)
            for condition, (_, look) in enumerate(LOOKS):
                at = dataset.sel(side=side, condition=condition)
                error, error_half = mean_and_band(log10(at.error))
                rate, rate_half = mean_and_band(at.eadr / 1e6)
                axes.errorbar(error, rate, yerr=rate_half, xerr=error_half, color=color, **look)
        axes.set_xlabel(
            r"$\log_{10}$(PEB / m + REB / rad), position and heading error bounds (PEB, REB)"
        )
        axes.set(ylabel=setup.RATE_LABEL, ylim=(0, None))
        bars = {"marker": "+", "markersize": 9, "linestyle": "none"}
        legend_below(
            figure,
            *setup.SIZES,
            ("all time ratios, perfect estimates", {}),
            *LOOKS,
            interval_entry(dataset, "bars", bars),
            columns=3,
        )
    return figure


STUDY = Study(
    name="localization/fig9",
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
