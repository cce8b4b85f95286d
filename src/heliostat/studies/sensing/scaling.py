"""Beyond the paper: convergence and run time of its alternation against the direct joint design.

The paper's way solves semidefinite programs whose size grows with the square of the elements: at
N = 36 a run takes minutes, and it is not run beyond. Times are those of the processor, so that
waiting for it does not count. The direct design runs twice and the second run counts, without
compilation; the alternation runs once, its compilation and its certificate included, some ten
seconds that matter at N = 16 only.
"""

import time
import warnings
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.design.cooperative import design_alternately
from heliostat.design.joint_descent import descend_jointly
from heliostat.plots.style import styled
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, LINES, MARKS, legend_below, log_axis, median_curve
from heliostat.studies.sensing import setup
from heliostat.studies.sensing.setup import advantage
from heliostat.studies.study import Quantity, Study, Verdict

SIDES = [4, 6, 8, 16]
"""Square roots of N = 16, 36, 64, 256."""
LARGEST_SDR = 6
"""Beyond this side the alternation is not run."""
ITERATIONS = np.arange(21)
DIRECT, SDR = "direct", "sdr"
LABELS = {DIRECT: "direct joint design", SDR: "the paper's alternation (SDR)"}


def sample(key: PRNGKeyArray) -> PRNGKeyArray:
    """The trial's own key; channels depend on the size.

    Args:
        key: The trial's own.
    """
    return key


def point(key: PRNGKeyArray, *, algorithm: str, side: int) -> Mapping[str, np.ndarray]:
    """One design of one draw: how its worst CRB fell, and how long it took."""
    drawn = setup.draw(key, side=side)
    if algorithm == SDR:
        if side > LARGEST_SDR:
            raise ValueError(f"the alternation is run up to N = {LARGEST_SDR**2} only")
        begun = time.process_time()
        with warnings.catch_warnings():  # of inexact programs; the CRB that counts is the true one
            warnings.simplefilter("ignore", UserWarning)
            design = design_alternately(drawn.scene, method="sdr", min_snr=0.0, seed=drawn.seed)
        spent = time.process_time() - begun
        history = np.asarray(design.history)[: int(design.steps)]
    else:
        for _ in range(2):  # the first time it may have to compile
            begun = time.process_time()
            course = descend_jointly(
                (drawn.scene,), patterns=1, mean=False, min_snr=0.0, starts=8, seed=drawn.seed
            )
            spent = time.process_time() - begun
        history = np.asarray(course.history)
    rest = (0, len(ITERATIONS) - len(history))
    return {
        "crb": history[-1],
        "time": np.asarray(spent),
        "history": np.pad(history, rest, mode="edge"),
    }


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What heliostat says about its design, against the data."""
    small = [side for side in SIDES if side <= LARGEST_SDR]
    direct, sdr = (dataset.sel(algorithm=m) for m in (DIRECT, SDR))
    better = {s**2: advantage(direct.crb.sel(side=s), sdr.crb.sel(side=s)) for s in small}
    ratio = {s**2: float((sdr.time / direct.time).sel(side=s).median("trial")) for s in small}
    exceeds = [a.exceeds(0.0) for a in better.values()]
    slowest = float(direct.time.sel(side=SIDES[-1]).median("trial"))
    rises = max(float(dataset.history.sel(side=s).diff("iteration").max()) for s in small)
    return [
        Verdict(
            "Scaling",
            "the direct design is better than the paper's alternation",
            None if None in exceeds else all(exceeds),
            "; ".join(f"N = {n}: {a}" for n, a in better.items()),
        ),
        Verdict(
            "Scaling",
            "the direct design is faster than the paper's alternation, the more elements the more",
            ratio[small[-1] ** 2] > ratio[small[0] ** 2] > 1,
            ", ".join(f"{r:.0f} times at N = {n}" for n, r in ratio.items())
            + f" (the alternation's compilation included); {slowest:.1f} s at "
            f"N = {SIDES[-1] ** 2}, where the alternation was not run",
        ),
        Verdict(
            "Section IV",
            "the worst CRB never rises from one iteration to the next",
            rises <= 0.0,
            "as both keep the best design so far; the alternation as printed does not",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Convergence, and time over size."""
    small = [side for side in SIDES if side <= LARGEST_SDR]
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.2))
        for algorithm, line in zip(LABELS, LINES, strict=False):
            for side, colour in zip(small, COLOURS, strict=False):
                fell = setup.decibel(dataset.history.sel(algorithm=algorithm, side=side))
                median_curve(left, ITERATIONS, fell, color=colour, linestyle=line, marker=".")
        sizes = np.array(SIDES) ** 2
        for algorithm, colour, mark in zip(LABELS, COLOURS[2:], MARKS, strict=False):
            spent = dataset.time.sel(algorithm=algorithm)
            median_curve(right, sizes, spent, color=colour, marker=mark)
        right.axvspan(sizes[len(small) - 1] * 1.2, sizes[-1] * 1.3, color="0.92", zorder=0)
        right.text(
            0.97, 0.95, "alternation\nnot run", transform=right.transAxes, ha="right", va="top"
        )
        left.set_xlabel("iteration")
        left.set_xticks(ITERATIONS[::5])
        left.set_ylabel(setup.LEVEL)
        left.set_title("(a) convergence")
        log_axis(right, sizes, "elements of each surface $N$")
        right.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)
        right.set_yscale("log")
        right.set_ylabel("processor time of a design [s]")
        right.set_title("(b) run time")
        figure.suptitle(setup.band(dataset))
        legend_below(
            figure,
            *(
                (f"(a) N = {s**2}", {"color": c, "linewidth": 4})
                for s, c in zip(small, COLOURS, strict=False)
            ),
            *(
                (f"(a) {label}", {"color": "black", "linestyle": line})
                for label, line in zip(LABELS.values(), LINES, strict=False)
            ),
            *(
                (f"(b) {label}", {"color": colour, "marker": mark})
                for label, colour, mark in zip(LABELS.values(), COLOURS[2:], MARKS, strict=False)
            ),
            columns=3,
        )
    return figure


STUDY = Study(
    name="sensing/scaling",
    title=TITLES["sensing"]["scaling"],
    sample=sample,
    point=point,
    axes={"algorithm": list(LABELS), "side": SIDES},
    traced=False,
    outputs={
        "crb": Quantity("rad2", (), "largest CRB over the surfaces"),
        "time": Quantity(
            "s", (), "processor time of one design, the alternation's with compilation"
        ),
        "history": Quantity("rad2", ("iteration",), "largest CRB after each step"),
    },
    inner={"iteration": ITERATIONS},
    trials=2,
    provenance=setup.provenance(
        not_run=f"the alternation beyond N = {LARGEST_SDR**2}: it takes too long",
        alternation="10 alternations at most, from random phases, 1000 random vectors a round",
    ),
    verdicts=verdicts,
    draw=draw,
)
