"""Tracking with real estimates, compared with the papers' random errors."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.api.tracking import run_protocol
from heliostat.plots.style import styled
from heliostat.scenario import load
from heliostat.studies import TITLES
from heliostat.studies.estimators.pose import SWEEP
from heliostat.studies.figures import COLOURS, LINES, legend_below
from heliostat.studies.localization.setup import SIDES
from heliostat.studies.statistics import decided, paired_change
from heliostat.studies.study import Quantity, Study, Verdict

PERIODS = 20
MOBILITIES = [0.0, 3.0, 7.0]
"""Radius of the disc in which the user moves in each period. [m]"""
ESTIMATES = ["real", "invented"]
INVENTED = {"errors.position": "7 m", "errors.heading": "30 deg"}
"""The largest errors of the localization paper's Figs. 4 to 9."""


def sample(key: PRNGKeyArray) -> PRNGKeyArray:
    """Key of the trial: the same motion for both kinds of estimate.

    Args:
        key: Key of the trial.
    """
    return key


def point(
    key: PRNGKeyArray, *, side: int, mobility: float, estimates: str
) -> Mapping[str, np.ndarray]:
    """One tracked user."""
    changes = {
        "surface.rows": side,
        "surface.columns": side,
        "model.gain": "unknown",
        "surface.sweep": SWEEP,
        **INVENTED,
    }
    found = run_protocol(
        load("localization-table-1", changes),
        PERIODS,
        mobility=mobility,
        invented_errors=estimates == "invented",
        key=key,
    )
    return {
        "error": found.position_error.values,
        "peb": found.peb.values,
        "rate": found.eadr.values,
        "lost": (~found.detected.values).astype(float),
    }


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """The localization paper's claims of robustness, tested with real estimates."""
    real, invented = (dataset.sel(estimates=e) for e in ESTIMATES)
    sides = dataset.side.values.tolist()
    still, far = MOBILITIES[0], MOBILITIES[-1]

    def change(of: xr.Dataset, base: xr.Dataset, side: int) -> tuple[float, float]:
        """Relative change of the rate, mean over periods, in percent."""
        rate = [d.rate.sel(side=side).mean("period") for d in (of, base)]
        level = float(rate[1].mean())
        found = paired_change(rate[0], rate[1])
        return 100 * found.mean / level, 100 * found.half / level

    moving = [change(real.sel(mobility=far), real.sel(mobility=still), n) for n in sides]
    perturbed = [change(invented.sel(mobility=still), real.sel(mobility=still), n) for n in sides]
    ratio = (real.error / real.peb).where(real.lost == 0)
    typical = float(ratio.median())
    lost = float(real.lost.mean())

    def listed(changes: list[tuple[float, float]]) -> str:
        each = zip(sides, changes, strict=True)
        return ", ".join(f"N = {n * n}: {m:+.1f} ± {h:.1f} %" for n, (m, h) in each)

    return [
        Verdict(
            "Protocol",
            "mobility of 7 m changes the rate by less than 5 %, with real estimates",
            decided(all(abs(m) + h < 5 for m, h in moving), any(abs(m) - h > 5 for m, h in moving)),
            listed(moving),
        ),
        Verdict(
            "Protocol",
            "errors of 7 m and 30 degrees change the rate by less than 5 %",
            decided(
                all(abs(m) + h < 5 for m, h in perturbed), any(abs(m) - h > 5 for m, h in perturbed)
            ),
            f"random errors against real estimates: {listed(perturbed)}",
        ),
        Verdict(
            "Protocol",
            "the median error of real estimates is below 3 times the bound",
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
        for side, colour in zip(dataset.side.values, COLOURS, strict=False):
            for mobility, line in zip(MOBILITIES, LINES, strict=False):
                at = dataset.sel(side=side, mobility=mobility, estimates="real")
                look = {"color": colour, "linestyle": line}
                left.plot(period, at.error.median("trial"), **look)
                right.plot(period, at.rate.mean("trial") / 1e6, **look)
            at = dataset.sel(side=side, mobility=0.0, estimates="invented")
            left.plot(period, at.error.median("trial"), color=colour, marker="x", markersize=4)
            rate = at.rate.mean("trial") / 1e6
            right.plot(period, rate, color=colour, marker="x", markersize=4)
        left.set(yscale="log", xlabel="period", ylabel="position error, median [m]")
        right.set(xlabel="period", ylabel="effective rate, mean [Mbit/s]")
        for axes in (left, right):
            axes.set_xticks(period[::5])
        legend_below(
            figure,
            *(
                (f"N = {side**2}", {"color": colour, "linewidth": 4})
                for side, colour in zip(dataset.side.values, COLOURS, strict=False)
            ),
            *(
                (f"mobility {mobility:g} m", {"color": "black", "linestyle": line})
                for mobility, line in zip(MOBILITIES, LINES, strict=False)
            ),
            ("random errors, 7 m and 30°", {"color": "black", "marker": "x"}),
            columns=4,
        )
    return figure


STUDY = Study(
    name="estimators/protocol",
    title=TITLES["estimators"]["protocol"],
    sample=sample,
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
        "invented": "7 m, 30 deg",
    },
    verdicts=verdicts,
    draw=draw,
)
