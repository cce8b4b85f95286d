"""Beyond the paper: gap between joint designs and the lower bound on every design.

A design's gap, 1 - lower bound / CRB, is the sum of what the design misses and of what the bound
misses. It is computed over sizes, power limits, patterns and K-factors, with the processor time of
the design (second of two runs, without compilation) and of the bound.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heliostat.design.both_limits_bound import both_limits_bounds
from heliostat.design.cooperative_bound import cooperative_lower_bound
from heliostat.design.feasibility import BOUND_TOLERANCE
from heliostat.design.joint_descent import default_starts
from heliostat.design.transmit_limit_bound import transmit_limit_bound
from heliostat.plots.style import styled
from heliostat.studies.figures import COLORS, MARKS, entries, legend_below, log_axis, median_curve
from heliostat.studies.sensing import setup
from heliostat.studies.study import Quantity, Study, Verdict, trial_key

TRANSMIT, KNEE, SURFACE = "P_t only", "knee", "P_s only"
SURFACE_POWER = {TRANSMIT: np.inf, KNEE: 0.1 / 16, SURFACE: 0.003 / 16}
"""P_s over the number of elements: without limit; near the knee of Fig. 3; and where P_t hardly
counts. [W]"""
LABELS = {
    TRANSMIT: "$P_t$ alone limits",
    KNEE: "knee, $P_s$ = 6 mW per element",
    SURFACE: "$P_s$ = 0.2 mW per element",
}


class Case(NamedTuple):
    """One combination of the settings."""

    side: int  # elements along each side of each surface
    regime: str
    patterns: int = 1
    rician_db: float = 5.0

    @property
    def name(self) -> str:
        """Name of the case in the dataset."""
        return f"{self.side}x{self.side}, {self.regime}, {self.patterns}, {self.rician_db:g} dB"


SIDES = [2, 4, 6, 8, 16]
FACTORS = [0.0, 5.0, 10.0, 15.0]
PATTERNS = [1, 2, 3]
MIDDLE = 4
"""Side of the panels for which patterns and K-factors vary."""


def _all_cases() -> dict[str, Case]:
    cases = []
    for regime in LABELS:
        cases += [Case(side, regime) for side in SIDES]
        cases += [Case(MIDDLE, regime, rician_db=k) for k in FACTORS]
        cases += [Case(MIDDLE, regime, patterns=p) for p in PATTERNS]
        cases.append(Case(6, regime, patterns=2))
    return {case.name: case for case in sorted(set(cases))}


CASES = _all_cases()


def point(key: PRNGKeyArray, *, case: str) -> Mapping[str, float]:
    """CRB of one design for one draw, its lower bound, and the time of both."""
    side, regime, patterns, rician_db = CASES[case]
    drawn = setup.draw(key, side=side, rician_db=rician_db)
    scene = setup.at_levels(drawn.scene, surface_power=SURFACE_POWER[regime] * side**2)
    for _ in range(2):  # the first run may include compilation
        begun = time.process_time()
        crb = setup.proposed(scene, drawn.seed, patterns, default_starts(scene))
        designed = time.process_time()
        if side == SIDES[-1]:
            break  # compilation is a small part there
    # The time must not depend on the cases computed before.
    transmit_limit_bound.cache_clear()
    both_limits_bounds.cache_clear()
    began = time.process_time()
    bound = cooperative_lower_bound(scene, patterns, thorough=True)
    return {
        "crb": crb,
        "bound": bound,
        "gap": 1 - bound / crb,
        "design_time": designed - begun,
        "bound_time": time.process_time() - began,
    }


def _largest(dataset: xr.Dataset, cases: Iterable[Case]) -> dict[Case, float]:
    return {case: float(dataset.gap.sel(case=case.name).max()) for case in cases}


def _aim(dataset: xr.Dataset, claim: str, cases: Iterable[Case], limit: float) -> Verdict:
    """Verdict on the claim that all gaps are below a limit."""
    found = _largest(dataset, cases)
    listed = "; ".join(
        f"N = {c.side**2}, {c.regime}"
        + f", {c.patterns} patterns" * (c.patterns > 1)
        + f": {g:.3f}"
        for c, g in found.items()
    )
    return Verdict(
        "Certificates", claim, max(found.values()) < limit, f"largest gap over the draws, {listed}"
    )


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the aims of this package for its lower bound."""
    slowest = float(dataset.bound_time.max())
    smallest = float(dataset.gap.min())
    return [
        Verdict(
            "Certificates",
            "no lower bound is above the CRB of a design",
            smallest >= -BOUND_TOLERANCE,
            f"smallest gap of {dataset.gap.size} designs: {smallest:.2e}",
        ),
        _aim(
            dataset,
            "the gap is below 0.05 at N = 16 and 36 where the base station's power alone limits",
            [Case(side, TRANSMIT) for side in (4, 6)],
            0.05,
        ),
        _aim(
            dataset,
            "the gap is below 0.05 at N = 16 and 36 where the surfaces' power limits",
            [Case(side, SURFACE) for side in (4, 6)],
            0.05,
        ),
        _aim(
            dataset,
            "the gap is below 0.2 at N = 16 and 36 at the knee",
            [Case(side, KNEE) for side in (4, 6)],
            0.2,
        ),
        _aim(
            dataset,
            "the gap is below 0.3 at N = 64 and 256",
            [Case(side, regime) for side in (8, 16) for regime in LABELS],
            0.3,
        ),
        _aim(
            dataset,
            "the gap with two patterns is below 0.35",
            [case for case in CASES.values() if case.patterns == 2],
            0.35,
        ),
        Verdict(
            "Certificates",
            "every lower bound takes less than two minutes",
            slowest < 120,
            f"longest processor time of a bound: {slowest:.1f} s",
        ),
    ]


def table(dataset: xr.Dataset) -> str:
    """Median gap and times of each case, in Markdown."""
    lines = [
        "| elements | limit | patterns | K-factor | gap: median (largest) | design | bound |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in CASES.values():
        at = dataset.sel(case=case.name)
        median = at.median("trial")
        lines.append(
            f"| {case.side**2} | {case.regime} | {case.patterns} | {case.rician_db:g} dB "
            f"| {float(median.gap):.3f} ({float(at.gap.max()):.3f}) "
            f"| {float(median.design_time):.1f} s | {float(median.bound_time):.1f} s |"
        )
    return "\n".join(lines) + "\n"


def _curves(
    axes: Axes, dataset: xr.Dataset, abscissas: np.ndarray, cases: Mapping[str, list[Case]]
) -> None:
    for (regime, own), color, mark in zip(cases.items(), COLORS, MARKS, strict=False):
        gap = dataset.gap.sel(case=[case.name for case in own])
        median_curve(axes, abscissas, gap, color=color, marker=mark, label=LABELS[regime])


def draw(dataset: xr.Dataset) -> Figure:
    """Gap against elements, K-factor and patterns."""
    looks = entries(LABELS.values(), color=COLORS, marker=MARKS)
    with styled():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4.8), sharey=True)
        sizes = np.array(SIDES) ** 2
        _curves(left, dataset, sizes, {r: [Case(s, r) for s in SIDES] for r in LABELS})
        log_axis(left, sizes, "elements of each surface $N$")
        left.set(ylabel="gap, 1 - lower bound / CRB", ylim=(0, 1), title="(a) size")
        by_factor = {r: [Case(MIDDLE, r, rician_db=k) for k in FACTORS] for r in LABELS}
        _curves(middle, dataset, np.array(FACTORS), by_factor)
        middle.set(xlabel="K-factor [dB]", xticks=FACTORS, title=f"(b) N = {MIDDLE**2}")
        by_count = {r: [Case(MIDDLE, r, patterns=p) for p in PATTERNS] for r in LABELS}
        _curves(right, dataset, np.array(PATTERNS, dtype=float), by_count)
        right.set(xlabel="patterns in each dwell", xticks=PATTERNS, title=f"(c) N = {MIDDLE**2}")
        draws = dataset.sizes["trial"]
        figure.suptitle(
            f"{draws} draws of the channels: median, quartiles shaded"
            if draws > 1
            else "one draw of the channels"
        )
        legend_below(figure, *looks, columns=3)
    return figure


STUDY = Study(
    name="sensing/certificates",
    sample=trial_key,
    point=point,
    axes={"case": list(CASES)},
    traced=False,
    outputs={
        "crb": Quantity("rad2", (), "largest CRB over the surfaces"),
        "bound": Quantity("rad2", (), "lower bound on it for every design"),
        "gap": Quantity("1", (), "1 - lower bound / CRB, as computed"),
        "design_time": Quantity("s", (), "processor time of the design"),
        "bound_time": Quantity("s", (), "processor time of the bound"),
    },
    trials=1,
    provenance=setup.provenance(
        power=f"{setup.POWER:g} W; P_s per element: "
        + ", ".join(f"{value:g} W ({name})" for name, value in SURFACE_POWER.items())
    ),
    verdicts=verdicts,
    draw=draw,
    table=table,
)
