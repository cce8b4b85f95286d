"""Beyond the paper: worst CRB for several reflection patterns in each dwell and K-factors.

With a channel of rank one and a single pattern, the echo depends on the angles only through a
complex factor, which cannot be distinguished from the unknown gain: no angle is identifiable. A
strong line of sight comes close to that case. With a second pattern both angles are identifiable.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies.claims import listed
from heliostat.studies.figures import COLORS, MARKS, entries, legend_below, median_curve
from heliostat.studies.sensing import setup
from heliostat.studies.sensing.setup import advantage, judge_decibels
from heliostat.studies.statistics import Estimate
from heliostat.studies.study import Quantity, Study, Verdict, trial_key

PATTERNS = [1, 2, 3]
LINE_OF_SIGHT = 160.0
"""K-factor at which the channel is pure line of sight in double precision. [dB]"""
FACTORS = np.array([0.0, 5.0, 10.0, 15.0, LINE_OF_SIGHT])
PLACES = np.array([0.0, 5.0, 10.0, 15.0, 20.0])
"""Abscissas of these K-factors in the figure."""
USELESS = 1.0
"""A worst CRB above this value, an error of one radian, counts as no bound. [rad²]"""


def point(key: PRNGKeyArray, *, patterns: int, rician_db: float) -> Mapping[str, float]:
    """Worst CRB of one design for one draw."""
    drawn = setup.draw(key, rician_db=rician_db)
    return {"crb": setup.proposed(drawn.scene, drawn.seed, patterns)}


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the claims of this package about reflection patterns."""
    crb = dataset.crb
    faded = FACTORS[:-1]

    def fall(more: int, fewer: int) -> dict[str, Estimate]:
        """Fall of the CRB with more patterns, at each K-factor."""
        return {
            f"K = {k:g} dB": advantage(
                crb.sel(patterns=more, rician_db=k), crb.sel(patterns=fewer, rician_db=k)
            )
            for k in faded
        }

    one, two = (crb.sel(patterns=p) for p in (1, 2))
    grows = advantage(
        two.sel(rician_db=faded[-1]) * one.sel(rician_db=faded[0]),
        one.sel(rician_db=faded[-1]) * two.sel(rician_db=faded[0]),
    )
    clear = crb.sel(rician_db=LINE_OF_SIGHT)
    bounded = {p: int((clear.sel(patterns=p) < USELESS).sum()) for p in PATTERNS}
    draws = dataset.sizes["trial"]
    return [
        judge_decibels(
            "Patterns",
            "two patterns in each dwell give a lower Cramér-Rao bound (CRB) than one",
            fall(2, 1),
            low=0.0,
            quantity="fall of the CRB",
        ),
        judge_decibels(
            "Patterns",
            "the stronger the line of sight, the larger the gain of the second pattern",
            {f"from K = {faded[0]:g} to {faded[-1]:g} dB": grows},
            low=0.0,
            quantity="increase of the gain",
            note="; gain of a third pattern, " + listed(fall(3, 2), 1, " dB"),
        ),
        Verdict(
            "Patterns",
            "in pure line of sight both angles are identifiable with two patterns, not with one",
            bounded[1] == 0 and bounded[2] == draws,
            f"draws with a worst CRB below {USELESS:g} rad²: "
            + ", ".join(f"{bounded[p]} of {draws} ({_patterns(p)})" for p in PATTERNS),
        ),
    ]


def _patterns(count: int) -> str:
    return f"{count} pattern{'s' * (count > 1)}"


def draw(dataset: xr.Dataset) -> Figure:
    """CRB against the K-factor."""
    curves = entries(
        (f"{_patterns(p)} in each dwell" for p in PATTERNS), color=COLORS, marker=MARKS
    )
    with styled():
        figure, axes = plt.subplots(figsize=(7.5, 5.8))
        level = setup.decibel(dataset.crb.where(dataset.crb < USELESS, np.inf))
        for patterns, (_, look) in zip(PATTERNS, curves, strict=True):
            median_curve(axes, PLACES, level.sel(patterns=patterns), **look)
        lost = [p for p in PATTERNS if np.isinf(level.sel(patterns=p).values[-1]).all()]
        if lost:
            axes.text(
                PLACES[-1],
                0.97,
                ", ".join(map(_patterns, lost)) + ":\nno bound",
                transform=axes.get_xaxis_transform(),
                color=COLORS[0],
                ha="center",
                va="top",
            )
        axes.set_xticks(PLACES, [*(f"{k:g}" for k in FACTORS[:-1]), "line of\nsight"])
        axes.set_xlabel("K-factor of the channels from base station to surfaces [dB]")
        axes.set(ylabel=setup.LEVEL, title=setup.band(dataset))
        legend_below(figure, *curves, columns=3)
    return figure


STUDY = Study(
    name="sensing/patterns",
    sample=trial_key,
    point=point,
    axes={"patterns": PATTERNS, "rician_db": FACTORS.tolist()},
    traced=False,
    outputs={"crb": Quantity("rad2", (), "largest CRB over the surfaces")},
    axis_units={"rician_db": "dB"},
    trials=setup.DRAWS,
    provenance=setup.provenance(
        power=f"{setup.POWER:g} W; {setup.SURFACE_POWER:g} W at each surface",
        line_of_sight=f"K-factor {LINE_OF_SIGHT:g} dB",
    ),
    verdicts=verdicts,
    draw=draw,
)
