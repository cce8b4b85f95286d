"""Fig. 3: worst CRB against the power of the surfaces, for several powers of the base station.

The caption gives 16 antennas, 4 by 4 elements and a_max = 8; the values of P_t are not printed.
"""

import math
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies.claims import listed
from heliostat.studies.figures import COLORS, MARKS, entries, legend_below, log_axis, median_curve
from heliostat.studies.sensing import setup
from heliostat.studies.sensing.setup import advantage, judge_decibels
from heliostat.studies.statistics import Estimate, every
from heliostat.studies.study import Quantity, Study, Verdict

POWERS = [5.0, 20.0, 80.0]
SURFACE_POWERS = np.array([1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0])
ALIKE = 1.0
"""Largest difference between CRBs that count as the same. [dB]"""
KNEE = 3.0
"""Distance above the floor at which the power of the surfaces ceases to limit. [dB]"""


def point(sample: setup.Draw, *, power: float) -> Mapping[str, np.ndarray]:
    """Worst CRB of one draw at all powers of the surfaces."""
    crbs = [
        setup.proposed(setup.at_levels(sample.scene, power=power, surface_power=limit), sample.seed)
        for limit in SURFACE_POWERS
    ]
    return {"crb": setup.best_so_far(crbs)}


def knee(level: np.ndarray) -> float:
    """Smallest power of the surfaces at which a curve is within 3 dB of its floor. [W]"""
    wanted = level[-1] + KNEE
    if level[0] <= wanted:
        return float(SURFACE_POWERS[0])
    return float(np.exp(np.interp(-wanted, -level, np.log(SURFACE_POWERS))))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the paper's claims about Fig. 3."""
    crb = dataset.crb
    least, low, high = SURFACE_POWERS[[0, 1, -1]]
    first, last = POWERS[0], POWERS[-1]

    def fall(start: float, end: float) -> dict[str, Estimate]:
        """Fall of the CRB between two powers of the surfaces, for each power P_t."""
        return {
            f"P_t = {p:g} W": advantage(
                crb.sel(power=p, surface_power=end), crb.sel(power=p, surface_power=start)
            )
            for p in POWERS
        }

    apart: dict[str, Estimate] = {
        f"P_s = {limit:g} W": advantage(
            crb.sel(power=last, surface_power=limit), crb.sel(power=first, surface_power=limit)
        )
        for limit in SURFACE_POWERS
    }
    at_least, at_most = f"P_s = {least:g} W", f"P_s = {high:g} W"
    others = {case: a for case, a in apart.items() if case != at_least}
    expected = 10 * math.log10(last / first)
    deviation = Estimate(apart[at_most].mean - expected, apart[at_most].half)
    knees = [knee(setup.decibel(crb.sel(power=p)).median("trial").values) for p in POWERS]
    floor, limited = (crb.sel(surface_power=p) for p in (high, setup.SURFACE_POWER))
    costs = fall(setup.SURFACE_POWER, high)
    more = advantage(
        floor.sel(power=last) * limited.sel(power=first),
        limited.sel(power=last) * floor.sel(power=first),
    )
    return [
        judge_decibels(
            "Fig. 3",
            "at low P_s the Cramér-Rao bounds (CRB) under different P_t are almost the same "
            f"(within {ALIKE:g} dB)",
            {at_least: apart[at_least]},
            within=ALIKE,
            quantity=f"fall of the CRB from P_t = {first:g} to {last:g} W",
            note="; " + listed(others, 1, " dB"),
        ),
        judge_decibels(
            "Fig. 3",
            "at low P_s the CRBs decrease as P_s increases",
            fall(least, low),
            low=0.0,
            quantity=f"fall from P_s = {least:g} to {low:g} W",
        ),
        judge_decibels(
            "Fig. 3",
            f"at high P_s the CRBs are constant (within {ALIKE:g} dB)",
            fall(SURFACE_POWERS[-2], high),
            within=ALIKE,
            quantity=f"fall from P_s = {SURFACE_POWERS[-2]:g} to {high:g} W",
            note=f"; the median is within {KNEE:g} dB of its floor from P_s = "
            + ", ".join(f"{k:.2g} W (P_t = {p:g} W)" for p, k in zip(POWERS, knees, strict=True))
            + " upwards",
        ),
        judge_decibels(
            "Fig. 3",
            "at high P_s the power of the base station limits (CRB proportional to 1/P_t, within "
            f"{ALIKE:g} dB)",
            {at_most: deviation},
            within=ALIKE,
            quantity=f"difference to the {expected:.1f} dB of proportionality from P_t = "
            f"{first:g} to {last:g} W",
        ),
        Verdict(
            "Conclusion",
            "the power of the surfaces limits the performance, especially where P_t is large",
            every([costs[f"P_t = {last:g} W"].between(low=0.0), more.exceeds(0.0)]),
            f"excess of the CRB at P_s = {setup.SURFACE_POWER:g} W over P_s = {high:g} W, "
            + listed(costs, 1, " dB"),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """CRB against the power of the surfaces, with the knees."""
    curves = entries((f"proposed, $P_t$ = {p:g} W" for p in POWERS), color=COLORS, marker=MARKS)
    star: dict[str, Any] = {
        "marker": "*",
        "markersize": 15,
        "markeredgecolor": "black",
        "linestyle": "none",
    }
    with styled():
        figure, axes = plt.subplots(figsize=(7.5, 5.8))
        for power, (_, look) in zip(POWERS, curves, strict=True):
            level = setup.decibel(dataset.crb.sel(power=power))
            median_curve(axes, SURFACE_POWERS, level, **look)
            middle = level.median("trial").values
            bend = knee(middle)
            height = np.interp(np.log(bend), np.log(SURFACE_POWERS), middle)
            axes.plot(bend, height, **star | {"color": look["color"]})
        log_axis(axes, SURFACE_POWERS, "power of each surface $P_s$ [W]")
        axes.set_ylabel(setup.LEVEL)
        axes.set_title(setup.band(dataset))
        knee_entry = (
            f"{KNEE:g} dB above the floor of the curve: $P_s$ limits to the left",
            star | {"color": "white", "markersize": 12},
        )
        legend_below(figure, *curves, knee_entry, columns=2)
    return figure


STUDY = Study(
    name="sensing/fig3",
    sample=setup.draw,
    point=point,
    axes={"power": POWERS},
    traced=False,
    outputs={"crb": Quantity("rad2", ("surface_power",), "largest CRB over the surfaces")},
    inner={"surface_power": SURFACE_POWERS},
    axis_units={"power": "W", "surface_power": "W"},
    trials=setup.DRAWS,
    provenance=setup.provenance(amplification=f"{setup.AMPLIFICATION:g}"),
    verdicts=verdicts,
    draw=draw,
)
