"""Calibration of the estimators: coverage of reported covariances and reliability of the flags.

Every estimate has a covariance and flags (`detected`, `fits`, for a pose also `unique`). An
estimate is called usable if all of its flags are true. Over Monte Carlo trials this study counts
how often the true value lies in the reported 95 % region, how often a usable estimate has a gross
error, and how the root mean square error compares with the Cramér-Rao bound. Three further cases
violate the model or its conditions and show what the flags then detect.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies.estimators.attainment import GROSS, Attainment, attainment, threshold
from heliostat.studies.estimators.calibration_trials import (
    REGION,
    Outputs,
    direction_trial,
    pose_trial,
    position_trial,
)
from heliostat.studies.figures import COLORS, MARKS, legend_below
from heliostat.studies.intervals import proportion, upper_limit
from heliostat.studies.statistics import decided
from heliostat.studies.study import Quantity, Study, Verdict, trial_key

SNRS = [10.0, 15.0, 20.0, 23.0, 30.0, 40.0]
"""Energy of the noiseless samples over the noise density, for sensing at each surface; 20 dB and
23 dB are the default minimum SNRs of sensing designs with one and with several patterns. [dB]"""
SECOND = 0.1
"""Amplitude of the second path or echo relative to the first, in the cases that have one. [1]"""
SYMMETRIC_SWEEP = ((0.9, 0.0), (-0.9, 0.0), (0.0, 0.9), (0.0, -0.9))
"""Sweep with equal steps along a row and along a column, which leaves some positions ambiguous."""
FEWEST = 20
"""Smallest number of usable results for which a row reports errors and coverage."""
COVERAGE = (0.91, 0.98)
"""Range that the coverage of the 95 % regions has to lie in."""
GROSS_LIMIT = 0.02
"""Largest accepted share of gross errors among the usable results."""
GROSS_SNR = 23.0
"""SNR from which the share of gross errors is judged: the default minimum SNR of designs. [dB]"""
WRONG_LIMIT = 0.1
"""Largest accepted share of results that are usable although their 95 % region misses the truth,
where the model is violated."""
VIOLATION_SNR = 30.0
"""SNR at which the violated cases are judged. [dB]"""


class Case(NamedTuple):
    """One estimation problem: the rows of the table with one label."""

    label: str
    meaning: str
    """Sentence that explains the case."""
    trial: Callable[..., Outputs]
    options: Mapping[str, Any]
    violated: bool = False
    """Whether the observations violate the estimator's model or its conditions."""


CASES = [
    Case(
        "pose, gain known",
        "Position and heading of a user; the path gain and the clock are known, and the surface "
        "uses one configuration.",
        pose_trial,
        {"gain": "known"},
    ),
    Case(
        "pose, gain unknown",
        "The path gain is estimated as well, from the four configurations of the default sweep.",
        pose_trial,
        {},
    ),
    Case(
        "pose, gain and clock unknown",
        "The clock offset is estimated as well.",
        pose_trial,
        {"clock": "unknown"},
    ),
    Case(
        "direction, one pattern",
        "Elevation and azimuth of a target at one surface, from one random reflection pattern and "
        "isotropic transmission.",
        direction_trial,
        {"patterns": 1},
    ),
    Case(
        "direction, two patterns",
        "The same with two random reflection patterns in the dwell.",
        direction_trial,
        {"patterns": 2},
    ),
    Case(
        "direction, one pattern, designed",
        "Transmission and reflection designed for the smallest CRB, with this SNR as the minimum "
        "SNR, which is active; 20 dB is the default minimum SNR with one pattern.",
        direction_trial,
        {"patterns": 1, "designed": True},
    ),
    Case(
        "direction, two patterns, designed",
        "The same with two patterns; 23 dB is the default minimum SNR with two patterns.",
        direction_trial,
        {"patterns": 2, "designed": True},
    ),
    Case(
        "position from two directions",
        "Position of a target from its directions at two surfaces, two random patterns each.",
        position_trial,
        {"patterns": 2},
    ),
    Case(
        "pose, gain unknown, second path of 10 %",
        "Model violated: a ground reflection with 10 % of the amplitude of the path through the "
        "surface is added.",
        pose_trial,
        {"second": SECOND},
        violated=True,
    ),
    Case(
        "pose, gain and clock unknown, ambiguous sweep",
        "Condition violated: the surface is swept in a cross with equal steps of 0.9, whose "
        "responses are nearly equal at some pairs of positions.",
        pose_trial,
        {"clock": "unknown", "sweep": SYMMETRIC_SWEEP},
        violated=True,
    ),
    Case(
        "direction, two patterns, second echo of 10 %",
        "Model violated: a second target, 15 degrees away in azimuth, adds an echo with 10 % of "
        "the first one's amplitude.",
        direction_trial,
        {"patterns": 2, "second": SECOND},
        violated=True,
    ),
]
VALID = [i for i, case in enumerate(CASES) if not case.violated]


def point(key: PRNGKeyArray, *, case: int, snr_db: Array) -> Outputs:
    """One estimate of one case."""
    chosen = CASES[case]
    return chosen.trial(key, 10 ** (snr_db / 10), **chosen.options)


class Summary(NamedTuple):
    """Calibration at one point, over the usable results."""

    trials: int
    used: int
    """Number of usable results."""
    ratio: Attainment
    """Root mean square error over the bound. [1]"""
    inside: int
    """Number of usable results whose 95 % region contains the true value."""
    gross: int
    """Number of usable results with a gross error."""


def summary(at: xr.Dataset) -> Summary:
    """Counts over the trials at one point.

    Args:
        at: Outputs of the study with the dimension ``trial`` only.
    """
    use = at.usable > 0
    with np.errstate(invalid="ignore"):
        ratio = attainment(at.squared.where(use, np.inf), at.bound)
    return Summary(
        at.sizes["trial"],
        int(use.sum()),
        ratio,
        int((use & (at.covered > 0)).sum()),
        int((use & (at.squared > (GROSS * at.bound) ** 2)).sum()),
    )


def summaries(dataset: xr.Dataset, case: int) -> list[Summary]:
    """Summaries of one case at each SNR.

    Args:
        dataset: Result of the study.
        case: Index of the case in `CASES`.
    """
    return [summary(dataset.sel(case=case, snr_db=snr)) for snr in dataset.snr_db.values]


def _row(label: str, snr: float, at: Summary) -> str:
    cells = [label, f"{snr:g}", f"{at.used / at.trials:.0%}"]
    if at.used < FEWEST:
        cells += ["", "", ""]
    else:
        inside, ratio = proportion(at.inside, at.used), at.ratio
        cells += [
            f"{float(ratio.ratio):.2f} ({float(ratio.low):.2f} to {float(ratio.high):.2f})",
            f"{inside.value:.1%} ({inside.low:.1%} to {inside.high:.1%})",
            f"{at.gross} of {at.used} (below {upper_limit(at.gross, at.used):.1%})",
        ]
    return "| " + " | ".join(cells) + " |"


def table(dataset: xr.Dataset) -> str:
    """Explanation of the cases and the results in Markdown, one table row per case and SNR.

    Args:
        dataset: Result of the study.
    """
    meanings = [f"- **{case.label}**: {case.meaning}" for case in CASES]
    head = [
        "",
        "| case | SNR [dB] | usable | RMSE over bound | in the 95 % region | gross errors |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        _row(case.label, float(snr), at)
        for number, case in enumerate(CASES)
        for snr, at in zip(dataset.snr_db.values, summaries(dataset, number), strict=True)
    ]
    return "\n".join(meanings + head + rows) + "\n"


def _reached_from(dataset: xr.Dataset, case: int) -> float:
    """Least SNR from which usable results stay within 10 % of the bound, ``inf`` if none. [dB]"""
    by_snr = summaries(dataset, case)
    ratios = [s.ratio.ratio if s.used >= FEWEST else np.inf for s in by_snr]
    nothing = np.zeros(len(ratios))
    return threshold(dataset.snr_db.values, Attainment(np.asarray(ratios), nothing, nothing))


class _Point(NamedTuple):
    case: int
    snr: float  # [dB]
    summary: Summary

    def __str__(self) -> str:
        return f"{CASES[self.case].label}, {self.snr:g} dB"


def _attainment_verdict(dataset: xr.Dataset, knees: Mapping[int, float]) -> Verdict:
    """Return the verdict on whether errors attain the bound where the model holds."""
    reached = bool(np.isfinite(list(knees.values())).all())
    finding = [
        f"{CASES[case].label} " + (f"from {knee:g} dB" if np.isfinite(knee) else "at no SNR")
        for case, knee in knees.items()
    ]
    return Verdict(
        "Calibration",
        "where the model holds, the errors of usable results come within 10 % of the bound",
        decided(reached, not reached and dataset.sizes["trial"] >= FEWEST),
        "; ".join(finding),
    )


def _coverage_verdict(points: list[_Point]) -> Verdict:
    """Return the verdict on the coverage of the regions where errors attain the bound."""
    least, most = COVERAGE
    claim = (
        "where the errors are within 10 % of the bound, the reported 95 % regions contain the true "
        f"value in {least:.0%} to {most:.0%} of the usable results"
    )
    if not points:
        return Verdict("Calibration", claim, None, "no case comes within 10 % of its bound")
    # Bonferroni: all intervals hold simultaneously with 95 %.
    confidence = 1 - 0.05 / len(points)
    shares = [proportion(at.summary.inside, at.summary.used, confidence) for at in points]
    order = np.argsort([p.value for p in shares])
    lowest, highest = (
        f"{p.value:.1%} ({p.low:.1%} to {p.high:.1%}; {points[i]})"
        for i, p in ((i, shares[i]) for i in (order[0], order[-1]))
    )
    return Verdict(
        "Calibration",
        claim,
        decided(
            all(p.low > least and p.high < most for p in shares),
            any(p.high < least or p.low > most for p in shares),
        ),
        f"between {lowest} and {highest} at {len(points)} points",
    )


def _gross_verdict(points: list[_Point]) -> Verdict:
    """Return the verdict on the share of gross errors at the default minimum SNRs of designs."""
    claim = (
        f"where the model holds, from {GROSS_SNR:g} dB on less than {GROSS_LIMIT:.0%} of the "
        f"usable results are gross errors, more than {GROSS:g} times the bound"
    )
    if not points:
        return Verdict("Calibration", claim, None, f"fewer than {FEWEST} usable results each")
    limits = [upper_limit(at.summary.gross, at.summary.used) for at in points]
    worst = int(np.argmax(limits))
    lows = [proportion(at.summary.gross, at.summary.used).low for at in points]
    return Verdict(
        "Calibration",
        claim,
        decided(limits[worst] < GROSS_LIMIT, max(lows) > GROSS_LIMIT),
        f"95 % upper limit at most {limits[worst]:.2%} ({points[worst]})",
    )


def _violation_verdict(at: _Point) -> Verdict:
    """Whether the flags reject results that a violated model makes wrong."""
    counts = at.summary
    wrong = proportion(counts.used - counts.inside, counts.trials)
    return Verdict(
        "Calibration",
        f"{at}: at most {WRONG_LIMIT:.0%} of all results are usable although their 95 % region "
        "does not contain the true value",
        decided(wrong.high < WRONG_LIMIT, wrong.low > WRONG_LIMIT),
        f"{wrong.value:.1%} ({wrong.low:.1%} to {wrong.high:.1%}); {counts.used} of "
        f"{counts.trials} results are usable, {counts.gross} of these are gross errors",
    )


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the calibration of flags and covariances.

    Each is true or false only where the 95 % confidence intervals decide it. Thresholds:
    `COVERAGE` for the 95 % regions, at SNRs from which the error stays within 10 % of the bound;
    `GROSS_LIMIT` for gross errors, at SNRs from `GROSS_SNR` on; `WRONG_LIMIT` for each violated
    case, at `VIOLATION_SNR`.
    """
    knees = {case: _reached_from(dataset, case) for case in VALID}
    points = [
        _Point(case, float(snr), at_point)
        for case in VALID
        for snr, at_point in zip(dataset.snr_db.values, summaries(dataset, case), strict=True)
        if at_point.used >= FEWEST
    ]
    violated = [
        _Point(case, VIOLATION_SNR, summary(dataset.sel(case=case, snr_db=VIOLATION_SNR)))
        for case in range(len(CASES))
        if case not in VALID
    ]
    return [
        _attainment_verdict(dataset, knees),
        _coverage_verdict([at for at in points if at.snr >= knees[at.case]]),
        _gross_verdict([at for at in points if at.snr >= GROSS_SNR]),
        *map(_violation_verdict, violated),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Ratio of error to bound, coverage, and share of usable results against the SNR."""
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(13.0, 5.8))
        entries = []
        for number, case in enumerate(CASES):
            look = {
                "color": COLORS[number % len(COLORS)],
                "marker": MARKS[number % len(MARKS)],
                "linestyle": "--" if case.violated else "-",
            }
            entries.append((case.label, look))
            by_snr = summaries(dataset, number)
            panels[2].plot(
                dataset.snr_db.values,
                [100 * s.used / s.trials for s in by_snr],
                markersize=5,
                **look,
            )
            kept = [(x, s) for x, s in zip(dataset.snr_db.values, by_snr, strict=True)
                    if s.used >= FEWEST]  # fmt: skip
            if not kept:
                continue
            snr = [x for x, _ in kept]
            shares = [proportion(s.inside, s.used) for _, s in kept]
            inside, low, high = (100 * np.array(part) for part in zip(*shares, strict=True))
            panels[0].plot(snr, [s.ratio.ratio for _, s in kept], markersize=5, **look)
            panels[1].errorbar(
                snr, inside, (inside - low, high - inside), markersize=5, capsize=2, **look
            )
        panels[0].axhline(1.0, color="black", linestyle=":")
        panels[1].axhline(100 * REGION, color="black", linestyle=":")
        panels[0].set(yscale="log", ylabel="root mean square error over bound")
        panels[1].set_ylabel("coverage of the 95 % region [% of usable results]")
        panels[2].set_ylabel("usable results [%]")
        for axes in panels:
            axes.set_xlabel("SNR [dB]")
        legend_below(figure, *entries, columns=3)
    return figure


STUDY = Study(
    name="estimators/calibration",
    sample=trial_key,
    point=point,
    axes={"case": list(range(len(CASES))), "snr_db": SNRS},
    static=("case",),
    outputs={
        "squared": Quantity("m2 or rad2", (), "squared error of position or direction"),
        "bound": Quantity("m or rad", (), "lower bound on the root mean square error"),
        "covered": Quantity("1", (), "whether the reported 95 % region contains the true value"),
        "usable": Quantity("1", (), "whether all flags of the result are true"),
    },
    axis_units={"snr_db": "dB"},
    trials=256,
    provenance={
        "cases": "; ".join(f"{i}: {case.label}" for i, case in enumerate(CASES)),
        "scenarios": "localization-table-1 with 8 x 8 elements, 16 user antennas, 4 active "
        "antennas; sensing-two-surfaces with isotropic transmission and random phases, or designed",
    },
    verdicts=verdicts,
    draw=draw,
    table=table,
)
