"""Beyond the paper: worst CRB over reflection patterns in each dwell and K-factor of the channels.

With a channel of rank one, one pattern shows one combination of the two angles only, whatever is
sent; the stronger the line of sight, the nearer one comes to that. A second pattern ends it.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, MARKS, legend_below, median_curve
from heliostat.studies.sensing import setup
from heliostat.studies.sensing.setup import advantage
from heliostat.studies.study import Quantity, Study, Verdict

PATTERNS = [1, 2, 3]
LINE_OF_SIGHT = 160.0
"""K-factor at which nothing else is left in double precision. [dB]"""
FACTORS = np.array([0.0, 5.0, 10.0, 15.0, LINE_OF_SIGHT])
PLACES = np.array([0.0, 5.0, 10.0, 15.0, 20.0])
"""Where the figure shows them."""
BLIND = 1.0
"""A worst CRB above this tells nothing: a direction off by a radian. [rad²]"""


def sample(key: PRNGKeyArray) -> PRNGKeyArray:
    """The trial's own key: the same fading at every K-factor.

    Args:
        key: The trial's own.
    """
    return key


def point(key: PRNGKeyArray, *, patterns: int, rician_db: float) -> Mapping[str, float]:
    """One design for one draw."""
    drawn = setup.draw(key, rician_db=rician_db)
    return {"crb": setup.proposed(drawn.scene, drawn.seed, patterns)}


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What heliostat says about patterns, against the data."""
    crb = dataset.crb
    one, two, three = (crb.sel(patterns=p) for p in PATTERNS)
    faded = FACTORS[:-1]
    second = [advantage(two.sel(rician_db=k), one.sel(rician_db=k)) for k in faded]
    third = [advantage(three.sel(rician_db=k), two.sel(rician_db=k)) for k in faded]
    grows = advantage(
        two.sel(rician_db=faded[-1]) * one.sel(rician_db=faded[0]),
        one.sel(rician_db=faded[-1]) * two.sel(rician_db=faded[0]),
    )
    better = [a.exceeds(0.0) for a in second]
    clear = crb.sel(rician_db=LINE_OF_SIGHT)
    seeing = {p: int((clear.sel(patterns=p) < BLIND).sum()) for p in PATTERNS}
    draws = dataset.sizes["trial"]

    def told(advantages: list[setup.Advantage]) -> str:
        each = zip(faded, advantages, strict=True)
        return ", ".join(f"{a.mean:.1f} ± {a.half:.1f} dB at K = {k:g} dB" for k, a in each)

    return [
        Verdict(
            "Patterns",
            "two patterns in each dwell are better than one",
            None if None in better else all(better),
            told(second),
        ),
        Verdict(
            "Patterns",
            "the stronger the line of sight, the more the second pattern brings",
            grows.exceeds(0.0),
            f"{grows.mean:.1f} ± {grows.half:.1f} dB more at K = {faded[-1]:g} dB than at "
            f"{faded[0]:g} dB; a third brings " + told(third),
        ),
        Verdict(
            "Patterns",
            "in pure line of sight one pattern cannot tell both angles, two can",
            seeing[1] == 0 and seeing[2] == draws,
            ", ".join(f"{p}: {seeing[p]} of {draws} draws" for p in PATTERNS)
            + " have a worst CRB below a square radian (patterns: draws)",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Level over K-factor."""
    with styled():
        figure, axes = plt.subplots(figsize=(7.5, 5.8))
        level = setup.decibel(dataset.crb.where(dataset.crb < BLIND, np.inf))
        for patterns, colour, mark in zip(PATTERNS, COLOURS, MARKS, strict=False):
            at = level.sel(patterns=patterns)
            median_curve(axes, PLACES, at, color=colour, marker=mark)
        lost = [p for p in PATTERNS if np.isinf(level.sel(patterns=p).values[-1]).all()]
        if lost:
            axes.text(
                PLACES[-1],
                0.97,
                ", ".join(f"{p} pattern" for p in lost) + ":\nno bound",
                transform=axes.get_xaxis_transform(),
                color=COLOURS[0],
                ha="center",
                va="top",
            )
        axes.set_xticks(PLACES, [*(f"{k:g}" for k in FACTORS[:-1]), "line of\nsight"])
        axes.set_xlabel("K-factor from base station to surfaces [dB]")
        axes.set_ylabel(setup.LEVEL)
        axes.set_title(setup.band(dataset))
        legend_below(
            figure,
            *(
                (f"{p} pattern{'s' * (p > 1)} in each dwell", {"color": colour, "marker": mark})
                for p, colour, mark in zip(PATTERNS, COLOURS, MARKS, strict=False)
            ),
            columns=3,
        )
    return figure


STUDY = Study(
    name="sensing/patterns",
    title=TITLES["sensing"]["patterns"],
    sample=sample,
    point=point,
    axes={"patterns": PATTERNS, "rician_db": FACTORS.tolist()},
    traced=False,
    outputs={"crb": Quantity("rad2", (), "largest CRB over the surfaces")},
    axis_units={"rician_db": "dB"},
    trials=setup.DRAWS,
    provenance=setup.provenance(
        power=f"{setup.POWER:g} W, {setup.SURFACE_POWER:g} W at each surface",
        line_of_sight=f"{LINE_OF_SIGHT:g} dB stands for it",
    ),
    verdicts=verdicts,
    draw=draw,
)
