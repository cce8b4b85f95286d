"""Fig. 7: designed against random surface phases, N = 64."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.plots.style import styled
from heliostat.studies import TITLES
from heliostat.studies.figures import COLOURS, LINES, curve, legend_below
from heliostat.studies.localization import setup
from heliostat.studies.study import Quantity, Study, Verdict, log10, mean_and_band
from heliostat.surface.passive import Phased, random_phases

ANTENNAS = np.arange(1, 33)
SIDE = 8
DESIGNED, RANDOM = 0, 1
LABELS = ("designed phases", "random phases")


def point(key: PRNGKeyArray, *, phases: int) -> Mapping[str, Array]:
    """PEB, REB and rate over all allocations with one kind of phases."""
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
    return setup.over_allocations(scene, jnp.asarray(ANTENNAS, dtype=float))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What the paper says about Fig. 7, against the data."""

    def decades(name: str) -> xr.DataArray:
        log_error = log10(dataset[name])
        return (log_error.sel(phases=RANDOM) - log_error.sel(phases=DESIGNED)).isel(
            active_antennas=0
        )

    peb, peb_half = mean_and_band(decades("peb"))
    reb, reb_half = mean_and_band(decades("reb"))
    better = float(((decades("peb") > 0) & (decades("reb") > 0)).mean())
    peak = dataset.eadr.mean("trial").max("active_antennas")
    gain = float(peak.sel(phases=DESIGNED) / peak.sel(phases=RANDOM))
    every = bool(
        np.all(
            dataset.eadr.sel(phases=DESIGNED).values[:, :-1]
            > dataset.eadr.sel(phases=RANDOM).values[:, :-1]
        )
    )
    return [
        Verdict(
            "Fig. 7",
            "designed phases give lower PEB and REB than random ones",
            float(peb - peb_half) > 0 and float(reb - reb_half) > 0,
            f"by {float(peb):.2f} ± {float(peb_half):.2f} decades in PEB and {float(reb):.2f} ± "
            f"{float(reb_half):.2f} in REB; both lower in {better:.1%} of the trials",
        ),
        Verdict(
            "Fig. 7",
            "designed phases give a higher rate than random ones",
            gain > 1,
            f"peak of the mean rate {gain:.2f} times as high"
            + ("; higher in every trial at every allocation" if every else ""),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Errors, rate, and one against the other."""
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(13, 4.6))
        share = ANTENNAS / ANTENNAS[-1]
        for phases, colour in zip((DESIGNED, RANDOM), COLOURS, strict=False):
            at = dataset.sel(phases=phases)
            for name, line in zip(("peb", "reb"), LINES, strict=False):
                log_error = log10(at[name])
                curve(panels[0], share, log_error, colour=colour, line=line)
                error, _ = mean_and_band(log_error)
                curve(panels[2], error, at.eadr / 1e6, colour=colour, line=line)
            curve(panels[1], share, at.eadr / 1e6, colour=colour)
        bound = r"$\log_{10}$ of PEB in m, of REB in rad"
        panels[0].set_ylabel(bound)
        panels[2].set_xlabel(bound)
        for axes, title in zip(panels, ("(a) bounds", "(b) rate", "(c) trade-off"), strict=True):
            axes.set_title(title)
        for axes in panels[:2]:
            axes.set_xlabel(r"normalised time ratio $\varpi\, T_c/(T_c-T_o)$")
        for axes in panels[1:]:
            axes.set_ylabel("effective rate [Mbit/s]")
            axes.set_ylim(bottom=0)
        legend_below(
            figure,
            *(
                (label, {"color": c, "linewidth": 4})
                for label, c in zip(LABELS, COLOURS, strict=False)
            ),
            ("PEB, rate", {"color": "black", "linestyle": LINES[0]}),
            ("REB", {"color": "black", "linestyle": LINES[1]}),
            columns=4,
        )
    return figure


STUDY = Study(
    name="localization/fig7",
    title=TITLES["localization"]["fig7"],
    sample=lambda key: key,
    point=point,
    axes={"phases": [DESIGNED, RANDOM]},
    static=("phases",),
    outputs={
        "peb": Quantity("m", ("active_antennas",), "position error bound"),
        "reb": Quantity("rad", ("active_antennas",), "heading error bound"),
        "eadr": Quantity("bit/s", ("active_antennas",), "effective rate with codebook beams"),
    },
    trials=1000,
    inner={"active_antennas": ANTENNAS},
    provenance={**setup.provenance([setup.PERFECT]), "phases": "0: designed; 1: random"},
    verdicts=verdicts,
    draw=draw,
)
