"""Tracking with simulated estimates, compared with the random errors of the paper."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.api.tracking import run_protocol
from heliostat.plots.style import styled
from heliostat.scenario import load
from heliostat.studies.claims import judge
from heliostat.studies.estimators.pose import SWEEP
from heliostat.studies.figures import COLORS, LINES, entries, legend_below
from heliostat.studies.localization.setup import SIDES, SIZES
from heliostat.studies.statistics import Estimate, paired_change
from heliostat.studies.study import Quantity, Study, Verdict, trial_key

PERIODS = 20
MOBILITIES = [0.0, 3.0, 7.0]
"""Radius of the disc in which the user moves in each period. [m]"""
ESTIMATES = ["real", "assumed"]
ASSUMED_ERRORS = {"errors.position": "7 m", "errors.heading": "30 deg"}
"""The largest errors of the localization paper's Figs. 4 to 9."""


def point(
    key: PRNGKeyArray, *, side: int, mobility: float, estimates: str
) -> Mapping[str, np.ndarray]:
    """One tracked user."""
    changes = {
        "surface.rows": side,
        "surface.columns": side,
        "model.gain": "unknown",
        "surface.sweep": [list(offset) for offset in SWEEP],
        **ASSUMED_ERRORS,
    }
    track = run_protocol(
        load("localization-table-1", changes),
        PERIODS,
        mobility=mobility,
        assumed_errors=estimates == "assumed",
        key=key,
    )
    return {
        "error": track.position_error.values,
        "peb": track.peb.values,
        "rate": track.eadr.values,
        "lost": (~track.found.values).astype(float),
    }


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the localization paper's claims of robustness, with simulated estimates."""
    real, assumed = (dataset.sel(estimates=e) for e in ESTIMATES)
    sides = dataset.side.values.tolist()
    still, far = MOBILITIES[0], MOBILITIES[-1]

    def change(of: xr.Dataset, base: xr.Dataset) -> dict[str, Estimate]:
        """Relative change of the rate, mean over periods, in percent, at each size."""
        rates = {n: [d.rate.sel(side=n).mean("period") for d in (of, base)] for n in sides}
        return {
            f"N = {n**2}": paired_change(*rate).scaled(100 / float(rate[1].mean()))
            for n, rate in rates.items()
        }

    ratio = (real.error / real.peb).where(real.lost == 0)
    typical = float(ratio.median())
    lost = float(real.lost.mean())
    return [
        judge(
            "Protocol",
            "with simulated estimates, mobility of 7 m changes the rate by less than 5 %",
            change(real.sel(mobility=far), real.sel(mobility=still)),
            within=5.0,
            quantity="relative change of the mean rate",
            unit=" %",
        ),
        judge(
            "Protocol",
            "errors of 7 m and 30 degrees change the rate by less than 5 %",
            change(assumed.sel(mobility=still), real.sel(mobility=still)),
            within=5.0,
            quantity="relative change of the mean rate, random errors against estimates",
            unit=" %",
        ),
        Verdict(
            "Protocol",
            "the median error of the estimates is below 3 times the bound",
            typical < 3,
            f"median {typical:.2f} times the bound, {1e3 * float(real.error.median()):.2g} mm; the "
            f"user is lost in {lost:.1%} of the periods",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Position error and effective rate over the periods."""
    period = dataset.period.values
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(11.0, 5.2))
        for side, color in zip(dataset.side.values, COLORS, strict=False):
            for mobility, line in zip(MOBILITIES, LINES, strict=False):
                at = dataset.sel(side=side, mobility=mobility, estimates="real")
                look = {"color": color, "linestyle": line}
                left.plot(period, at.error.median("trial"), **look)
                right.plot(period, at.rate.mean("trial") / 1e6, **look)
            at = dataset.sel(side=side, mobility=0.0, estimates="assumed")
            left.plot(period, at.error.median("trial"), color=color, marker="x", markersize=4)
            rate = at.rate.mean("trial") / 1e6
            right.plot(period, rate, color=color, marker="x", markersize=4)
        left.set(yscale="log", xlabel="period", ylabel="position error, median [m]")
        right.set(xlabel="period", ylabel="effective rate, mean [Mbit/s]")
        for axes in (left, right):
            axes.set_xticks(period[::5])
        legend_below(
            figure,
            *SIZES,
            *entries((f"mobility {mobility:g} m" for mobility in MOBILITIES), linestyle=LINES),
            ("random errors, 7 m and 30°", {"marker": "x"}),
            columns=4,
        )
    return figure


STUDY = Study(
    name="estimators/protocol",
    sample=trial_key,
    point=point,
    axes={"side": SIDES, "mobility": MOBILITIES, "estimates": ESTIMATES},
    traced=False,
    outputs={
        "error": Quantity("m", ("period",), "position error"),
        "peb": Quantity("m", ("period",), "position error bound"),
        "rate": Quantity("bit/s", ("period",), "effective rate"),
        "lost": Quantity("1", ("period",), "whether the user was lost"),
    },
    inner={"period": np.arange(PERIODS)},
    axis_units={"mobility": "m"},
    trials=8,
    provenance={
        "scenario": "localization-table-1, gain unknown, four configurations",
        "assumed": "7 m, 30 deg",
    },
    verdicts=verdicts,
    draw=draw,
)
