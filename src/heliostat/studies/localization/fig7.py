"""Fig. 7: designed against random surface phases, N = 64."""

from collections.abc import Mapping
from itertools import repeat

import equinox as eqx
import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies.claims import judge
from heliostat.studies.figures import COLORS, LINES, curve, entries, interval_entry, legend_below
from heliostat.studies.localization import setup
from heliostat.studies.localization.setup import SHARE
from heliostat.studies.statistics import log10, mean_and_band, paired_change
from heliostat.studies.study import Study, Verdict, trial_key
from heliostat.surface.passive import Phased, random_phases

SIDE = 8
DESIGNED, RANDOM = 0, 1


def point(key: PRNGKeyArray, *, phases: int) -> Mapping[str, Array]:
    """PEB, REB and rate at all allocations, with designed or random phases."""
    scene = setup.scene(SIDE)
    if phases == RANDOM:
        align, transmit = jax.random.split(key)
        elements = scene.surface.array.elements
        scene = eqx.tree_at(
            lambda s: (s.surface.alignment, s.surface.data),
            scene,
            (
                Phased(random_phases(align, 1, elements)),
                Phased(random_phases(transmit, 1, elements)),
            ),
        )
    return setup.over_allocations(scene)


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the paper's claims about Fig. 7."""
    designed, random = (dataset.sel(phases=phases) for phases in (DESIGNED, RANDOM))
    log_error = {
        name: [log10(d[name.lower()]).isel(active_antennas=0) for d in (random, designed)]
        for name in ("PEB", "REB")
    }
    lower = [worse > better for worse, better in log_error.values()]
    peaks = [d.eadr.mean("trial").max("active_antennas") for d in (designed, random)]
    gain = float(peaks[0] / peaks[1])
    every = bool(np.all(designed.eadr.values[:, :-1] > random.eadr.values[:, :-1]))
    return [
        judge(
            "Fig. 7",
            "designed phases give lower position and heading error bounds (PEB, REB) than random "
            "ones",
            {name: paired_change(*pair) for name, pair in log_error.items()},
            low=0.0,
            quantity="increase with random phases",
            digits=2,
            unit=" decades",
            note=f"; both lower in {100 * float((lower[0] & lower[1]).mean()):.1f} % of the trials",
        ),
        Verdict(
            "Fig. 7",
            "designed phases give a higher effective achievable data rate (EADR) than random ones",
            gain > 1,
            f"maximum of the mean rate {gain:.2f} times as high"
            + ("; higher in every trial at every allocation" if every else ""),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Error bounds, rate, and one against the other."""
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(13, 4.8))
        for phases, color in zip((DESIGNED, RANDOM), COLORS, strict=False):
            at = dataset.sel(phases=phases)
            for name, line in zip(("peb", "reb"), LINES, strict=False):
                log_error = log10(at[name])
                curve(panels[0], SHARE, log_error, color=color, linestyle=line)
                error, _ = mean_and_band(log_error)
                curve(panels[2], error, at.eadr / 1e6, color=color, linestyle=line)
            curve(panels[1], SHARE, at.eadr / 1e6, color=color)
        bound = r"$\log_{10}$(PEB / m), $\log_{10}$(REB / rad)"
        rate = {"ylabel": setup.RATE_LABEL, "ylim": (0, None)}
        panels[0].set(title="(a) error bounds", xlabel=setup.SHARE_LABEL, ylabel=bound)
        panels[1].set(title="(b) effective rate", xlabel=setup.SHARE_LABEL, **rate)
        panels[2].set(title="(c) trade-off", xlabel=bound, **rate)
        legend_below(
            figure,
            *entries(["designed phases", "random phases"], color=COLORS, linewidth=repeat(4)),
            ("rate, and position error bound (PEB)", {"linestyle": LINES[0]}),
            ("heading error bound (REB)", {"linestyle": LINES[1]}),
            interval_entry(dataset),
            columns=3,
        )
    return figure


STUDY = Study(
    name="localization/fig7",
    sample=trial_key,
    point=point,
    axes={"phases": [DESIGNED, RANDOM]},
    static=("phases",),
    outputs=setup.OUTPUTS,
    trials=1000,
    inner={"active_antennas": setup.ANTENNAS},
    provenance={**setup.provenance([setup.PERFECT]), "phases": "0: designed; 1: random"},
    verdicts=verdicts,
    draw=draw,
)
