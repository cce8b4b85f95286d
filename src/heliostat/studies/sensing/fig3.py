"""Fig. 3: worst CRB against the power of the surfaces, for several powers of the base station.

The caption gives 16 antennas, 4 by 4 elements and a_max = 8; the values of P_t are not printed.
"""

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, MARKS, legend_below, log_axis, median_curve
from heliostat.studies.sensing import setup
from heliostat.studies.sensing.setup import advantage
from heliostat.studies.study import Quantity, Study, Verdict, decided

POWERS = [5.0, 20.0, 80.0]
SURFACE_POWERS = np.array([1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 3.0, 10.0])
ALIKE = 1.0
"""Curves no further apart are nearly the same, a curve that falls no further is constant. [dB]"""
KNEE = 3.0
"""Above its floor, where the power of the surfaces ceases to limit. [dB]"""


def point(sample: setup.Draw, *, power: float) -> Mapping[str, np.ndarray]:
    """One curve for one draw."""
    crbs = [
        setup.proposed(setup.at_levels(sample.scene, power=power, surface_power=limit), sample.seed)
        for limit in SURFACE_POWERS
    ]
    return {"crb": setup.best_so_far(crbs)}


def knee(level: np.ndarray) -> float:
    """Power of the surfaces from which on a curve is within 3 dB of its floor. [W]

    Args:
        level: At each of the powers, falling. [dB]
    """
    wanted = level[-1] + KNEE
    if level[0] <= wanted:
        return float(SURFACE_POWERS[0])
    return float(np.exp(np.interp(-wanted, -level, np.log(SURFACE_POWERS))))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What the paper says about Fig. 3, against the data."""
    crb = dataset.crb
    least, low, high = SURFACE_POWERS[[0, 1, -1]]
    floor = crb.sel(surface_power=high)
    apart = {
        limit: advantage(
            crb.sel(power=POWERS[-1], surface_power=limit),
            crb.sel(power=POWERS[0], surface_power=limit),
        )
        for limit in SURFACE_POWERS
    }
    falls = [
        advantage(crb.sel(power=p, surface_power=low), crb.sel(power=p, surface_power=least))
        for p in POWERS
    ]
    ends = [
        advantage(
            crb.sel(power=p, surface_power=high),
            crb.sel(power=p, surface_power=SURFACE_POWERS[-2]),
        )
        for p in POWERS
    ]
    knees = [knee(setup.decibel(crb.sel(power=p)).median("trial").values) for p in POWERS]
    by_power = 10 * math.log10(POWERS[-1] / POWERS[0])
    limited = crb.sel(surface_power=setup.SURFACE_POWER)
    costs = [advantage(floor.sel(power=p), limited.sel(power=p)) for p in POWERS]
    more = advantage(
        floor.sel(power=POWERS[-1]) * limited.sel(power=POWERS[0]),
        limited.sel(power=POWERS[-1]) * floor.sel(power=POWERS[0]),
    )
    falling = [fall.exceeds(0.0) for fall in falls]
    return [
        Verdict(
            "Fig. 3",
            f"at low P_s the CRBs under different P_t are almost the same (within {ALIKE:g} dB)",
            decided(
                abs(apart[least].mean) + apart[least].half < ALIKE,
                abs(apart[least].mean) - apart[least].half > ALIKE,
            ),
            f"from {POWERS[0]:g} to {POWERS[-1]:g} W of P_t the CRB falls by "
            + ", ".join(
                f"{a.mean:.1f} ± {a.half:.1f} dB at P_s = {limit:g} W" for limit, a in apart.items()
            ),
        ),
        Verdict(
            "Fig. 3",
            "at low P_s the CRBs decrease as P_s increases",
            None if None in falling else all(falling),
            f"from {least:g} to {low:g} W by "
            + ", ".join(
                f"{f.mean:.1f} dB (P_t = {p:g} W)" for p, f in zip(POWERS, falls, strict=True)
            ),
        ),
        Verdict(
            "Fig. 3",
            f"at high P_s the CRBs are constant (within {ALIKE:g} dB)",
            decided(
                all(abs(e.mean) + e.half < ALIKE for e in ends),
                any(abs(e.mean) - e.half > ALIKE for e in ends),
            ),
            f"from {SURFACE_POWERS[-2]:g} to {high:g} W they fall by "
            + ", ".join(
                f"{e.mean:.1f} dB (P_t = {p:g} W)" for p, e in zip(POWERS, ends, strict=True)
            )
            + f"; the median is within {KNEE:g} dB of its floor from P_s = "
            + ", ".join(f"{k:.2g} W (P_t = {p:g} W)" for p, k in zip(POWERS, knees, strict=True))
            + " on",
        ),
        Verdict(
            "Fig. 3",
            f"at high P_s the power of the base station limits (CRB as 1/P_t within {ALIKE:g} dB)",
            decided(
                abs(apart[high].mean - by_power) + apart[high].half < ALIKE,
                abs(apart[high].mean - by_power) - apart[high].half > ALIKE,
            ),
            f"{POWERS[-1] / POWERS[0]:g} times the P_t brings {apart[high].mean:.1f} ± "
            f"{apart[high].half:.1f} dB of {by_power:.1f} dB at P_s = {high:g} W",
        ),
        Verdict(
            "Conclusion",
            "the power of the surfaces limits the performance, especially where P_t is large",
            decided(
                costs[-1].exceeds(0.0) is True and more.exceeds(0.0) is True,
                costs[-1].exceeds(0.0) is False or more.exceeds(0.0) is False,
            ),
            f"P_s = {setup.SURFACE_POWER:g} W costs, against no limit, "
            + ", ".join(
                f"{c.mean:.1f} ± {c.half:.1f} dB at P_t = {p:g} W"
                for p, c in zip(POWERS, costs, strict=True)
            ),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Level over power, with the knees."""
    with styled():
        figure, axes = plt.subplots(figsize=(7.5, 5.8))
        for power, colour, mark in zip(POWERS, COLOURS, MARKS, strict=False):
            level = setup.decibel(dataset.crb.sel(power=power))
            median_curve(axes, SURFACE_POWERS, level, color=colour, marker=mark)
            middle = level.median("trial").values
            bend = knee(middle)
            height = np.interp(np.log(bend), np.log(SURFACE_POWERS), middle)
            axes.plot(bend, height, "*", color=colour, markersize=15, markeredgecolor="black")
        log_axis(axes, SURFACE_POWERS, "power of each surface $P_s$ [W]")
        axes.set_ylabel(setup.LEVEL)
        axes.set_title(setup.band(dataset))
        legend_below(
            figure,
            *(
                (f"proposed, $P_t$ = {p:g} W", {"color": colour, "marker": mark})
                for p, colour, mark in zip(POWERS, COLOURS, MARKS, strict=False)
            ),
            (
                f"{KNEE:g} dB above its floor",
                {"color": "white", "marker": "*", "markersize": 13, "markeredgecolor": "black"},
            ),
            columns=2,
        )
    return figure


STUDY = Study(
    name="sensing/fig3",
    title=TITLES["sensing"]["fig3"],
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
