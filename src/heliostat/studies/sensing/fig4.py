"""Fig. 4: worst CRB against the number of antennas of the base station.

Channels are drawn for the largest array. A smaller array consists of its first antennas; the
channels of the others are zero. An antenna with a zero channel receives no echo and wastes its
power, so that bounds and best designs are those of the smaller array, and one compiled program
serves all sizes.
"""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.design.reflect import design_reflection
from heliostat.plots.style import styled
from heliostat.scene.sensing import SensingScene
from heliostat.studies.claims import listed
from heliostat.studies.figures import legend_below, log_axis, median_curve
from heliostat.studies.sensing import setup
from heliostat.studies.sensing.setup import (
    PASSIVE,
    PROPOSED,
    REFLECT,
    TRANSMIT,
    advantage,
    judge_decibels,
)
from heliostat.studies.study import Quantity, Study, Verdict

ANTENNAS = np.array([4, 8, 12, 16, 24, 32])


def draw_channels(key: PRNGKeyArray) -> setup.Draw:
    """Channels of one trial for the largest array."""
    return setup.draw(key, antennas=int(ANTENNAS[-1]))


def with_antennas(scene: SensingScene, antennas: int) -> SensingScene:
    """The scene with zero channels for all antennas after the first ones."""
    kept = jnp.arange(scene.base_station.array.elements) < antennas
    channels = tuple(jnp.where(kept[None, :], g, 0.0) for g in scene.bs_to_irs)
    return eqx.tree_at(lambda s: s.bs_to_irs, scene, channels)


def reflective_only(scene: SensingScene, antennas: int, seed: int) -> float:
    """Worst CRB of the best coefficients for isotropic transmission. [rad²]"""
    total = scene.base_station.array.elements
    share = jnp.where(jnp.arange(total) < antennas, scene.base_station.power / antennas, 0.0)
    covariance = jnp.broadcast_to(jnp.diag(share).astype(complex), (scene.n_surfaces, total, total))
    return design_reflection(scene, covariance, min_snr=0.0, seed=seed).worst_crb


def point(sample: setup.Draw, *, curve: str) -> Mapping[str, np.ndarray]:
    """Worst CRB of one design for one draw, at all numbers of antennas."""
    scenes = [with_antennas(sample.scene, int(count)) for count in ANTENNAS]
    if curve == REFLECT:
        each = zip(scenes, ANTENNAS, strict=True)
        return {"crb": np.array([reflective_only(s, int(m), sample.seed) for s, m in each])}
    crbs = [setup.DESIGNS[curve](scene, sample.seed) for scene in scenes]
    return {"crb": setup.best_so_far(crbs)}


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on the paper's claims about Fig. 4."""
    crb = dataset.crb
    at = crb.sel(curve=PROPOSED)
    first, middle, last = (int(m) for m in (ANTENNAS[0], 16, ANTENNAS[-1]))
    fall = {
        (m, n): advantage(at.sel(antennas=n), at.sel(antennas=m))
        for m, n in ((first, last), (first, 2 * first), (last // 2, last))
    }
    median = at.median("trial")
    share = 1 - float(
        (median.sel(antennas=middle) - median.sel(antennas=last))
        / (median.sel(antennas=first) - median.sel(antennas=last))
    )
    rivals = {
        curve: advantage(at.sel(antennas=middle), crb.sel(curve=curve, antennas=middle))
        for curve in (TRANSMIT, REFLECT, PASSIVE)
    }
    transmit, reflect = (crb.sel(curve=curve) for curve in (TRANSMIT, REFLECT))
    by_size = {
        f"M = {m}": advantage(transmit.sel(antennas=m), reflect.sel(antennas=m))
        for m in (first, middle, last)
    }
    mean_over_sizes = {"mean over M": advantage(transmit, reflect)}
    return [
        judge_decibels(
            "Fig. 4",
            "the Cramér-Rao bound (CRB) decreases as the number of antennas M increases",
            {f"from M = {first} to {last}": fall[first, last]},
            low=0.0,
            quantity="fall of the CRB",
        ),
        Verdict(
            "Fig. 4",
            "the CRB saturates as M increases, on a linear axis (over 50 % of the fall up to "
            f"M = {last} is reached at {middle})",
            share > 0.5 if np.isfinite(share) else None,
            f"{100 * share:.0f} % of the fall of the median",
        ),
        judge_decibels(
            "Fig. 4",
            "the CRB saturates as M increases, in dB (falls less than 1 dB with the last doubling)",
            {f"from M = {last // 2} to {last}": fall[last // 2, last]},
            high=1.0,
            quantity="fall of the CRB",
            note=f"; from M = {first} to {2 * first}: {fall[first, 2 * first].text(1, ' dB')}",
        ),
        judge_decibels(
            "Fig. 4",
            "the proposed design outperforms every benchmark",
            rivals,
            low=0.0,
            quantity=f"CRB of the benchmark over the proposed at M = {middle}",
            note=setup.with_wins(rivals),
        ),
        judge_decibels(
            "Conclusion",
            "transmit beamforming is more critical than reflective beamforming",
            mean_over_sizes,
            low=0.0,
            quantity="CRB of reflective over transmit beamforming only",
            note=setup.with_wins(mean_over_sizes) + "; " + listed(by_size, 1, " dB"),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """CRB against the number of antennas, in dB (left) and on linear axes (right)."""
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.4), width_ratios=(3, 2))
        for curve, look in setup.LOOKS.items():
            level = setup.decibel(dataset.crb.sel(curve=curve))
            median_curve(left, ANTENNAS, level, **look)
        micro = 1e6 * dataset.crb.sel(curve=PROPOSED)
        median_curve(right, ANTENNAS, micro, **setup.LOOKS[PROPOSED])
        for axes in (left, right):
            log_axis(axes, ANTENNAS, "antennas of the base station $M$")
        right.set_xscale("linear")
        right.set(xticks=[0, *ANTENNAS], xlim=(0, None), ylim=(0, None))
        left.set(ylabel=setup.LEVEL, title="(a) all designs")
        right.set_ylabel("worst CRB over the surfaces [10⁻⁶ rad²]")
        right.set_title("(b) proposed design, linear axes")
        figure.suptitle(setup.band(dataset))
        looks = setup.LOOKS.items()
        legend_below(figure, *((setup.LABELS[c], look) for c, look in looks), columns=2)
    return figure


STUDY = Study(
    name="sensing/fig4",
    sample=draw_channels,
    point=point,
    axes={"curve": list(setup.DESIGNS)},
    traced=False,
    outputs={"crb": Quantity("rad2", ("antennas",), "largest CRB over the surfaces")},
    inner={"antennas": ANTENNAS},
    trials=setup.DRAWS,
    provenance=setup.provenance(antennas="the first antennas of one array of the largest size"),
    verdicts=verdicts,
    draw=draw,
)
