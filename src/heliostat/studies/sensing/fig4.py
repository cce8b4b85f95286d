"""Fig. 4: worst CRB against the number of antennas of the base station.

Channels are drawn for the largest array; a smaller one is its first antennas, the others seeing
nothing. A channel of zeros carries no echo and a beam on it is wasted power, so bounds and best
designs are those of the smaller array, and all sizes share one compilation.
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
from heliostat.studies import TITLES
from heliostat.studies.figures import legend_below, log_axis, median_curve
from heliostat.studies.sensing import setup
from heliostat.studies.sensing.setup import PASSIVE, PROPOSED, REFLECT, TRANSMIT, advantage
from heliostat.studies.study import Quantity, Study, Verdict, decided

ANTENNAS = np.array([4, 8, 12, 16, 24, 32])


def draw_channels(key: PRNGKeyArray) -> setup.Draw:
    """One trial's channels, of the largest array."""
    return setup.draw(key, antennas=int(ANTENNAS[-1]))


def with_antennas(scene: SensingScene, antennas: int) -> SensingScene:
    """The same scene, all antennas after the first ones blind.

    Args:
        scene: The scene.
        antennas: How many see.
    """
    seeing = jnp.arange(scene.base_station.array.elements) < antennas
    channels = tuple(jnp.where(seeing[None, :], g, 0.0) for g in scene.bs_to_irs)
    return eqx.tree_at(lambda s: s.bs_to_irs, scene, channels)


def reflective_only(scene: SensingScene, antennas: int, seed: int) -> float:
    """Worst CRB of the best coefficients, isotropic transmission from the antennas that see. [rad²]

    Args:
        scene: The scene, other antennas being blind.
        antennas: How many see.
        seed: Of the starts.
    """
    total = scene.base_station.array.elements
    share = jnp.where(jnp.arange(total) < antennas, scene.base_station.power / antennas, 0.0)
    covariance = jnp.broadcast_to(jnp.diag(share).astype(complex), (scene.n_surfaces, total, total))
    return float(design_reflection(scene, covariance, min_snr=0.0, seed=seed).worst_crb)


def point(sample: setup.Draw, *, curve: str) -> Mapping[str, np.ndarray]:
    """One curve for one draw."""
    scenes = [with_antennas(sample.scene, int(count)) for count in ANTENNAS]
    if curve == REFLECT:
        each = zip(scenes, ANTENNAS, strict=True)
        return {"crb": np.array([reflective_only(s, int(m), sample.seed) for s, m in each])}
    crbs = [setup.DESIGNS[curve](scene, sample.seed) for scene in scenes]
    return {"crb": setup.best_so_far(crbs)}


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What the paper says about Fig. 4, against the data."""
    crb = dataset.crb
    at = crb.sel(curve=PROPOSED)
    first, middle, last = (int(m) for m in (ANTENNAS[0], 16, ANTENNAS[-1]))
    falls = advantage(at.sel(antennas=last), at.sel(antennas=first))
    median = at.median("trial")
    share = 1 - float(
        (median.sel(antennas=middle) - median.sel(antennas=last))
        / (median.sel(antennas=first) - median.sel(antennas=last))
    )
    early = advantage(at.sel(antennas=2 * first), at.sel(antennas=first))
    late = advantage(at.sel(antennas=last), at.sel(antennas=last // 2))
    rivals = {
        curve: advantage(at.sel(antennas=middle), crb.sel(curve=curve, antennas=middle))
        for curve in (TRANSMIT, REFLECT, PASSIVE)
    }
    critical = advantage(crb.sel(curve=TRANSMIT), crb.sel(curve=REFLECT))
    by_size = [
        advantage(crb.sel(curve=TRANSMIT, antennas=m), crb.sel(curve=REFLECT, antennas=m))
        for m in (first, middle, last)
    ]
    best = [a.exceeds(0.0) for a in rivals.values()]
    return [
        Verdict(
            "Fig. 4",
            "the CRB decreases as M increases",
            falls.exceeds(0.0),
            f"from M = {first} to {last}: {falls}",
        ),
        Verdict(
            "Fig. 4",
            "the CRB saturates as M increases, on a linear axis",
            share > 0.5 if np.isfinite(share) else None,
            f"{share:.0%} of the fall of the median from M = {first} to {last} is done at {middle}",
        ),
        Verdict(
            "Fig. 4",
            "the CRB saturates as M increases, in dB (the last doubling brings less than 1 dB)",
            decided(late.mean + late.half < 1.0, late.mean - late.half > 1.0),
            f"doubling M brings {early.mean:.1f} ± {early.half:.1f} dB at {first} and "
            f"{late.mean:.1f} ± {late.half:.1f} dB at {last // 2}: the array gain goes on",
        ),
        Verdict(
            "Fig. 4",
            "the proposed design outperforms every benchmark",
            None if None in best else all(best),
            f"at M = {middle}: " + "; ".join(f"{name}: {a}" for name, a in rivals.items()),
        ),
        Verdict(
            "Conclusion",
            "transmit beamforming is more critical than reflective beamforming",
            critical.exceeds(0.0),
            f"transmit only over reflective only {critical}, mean over M; "
            + ", ".join(
                f"{a.mean:+.1f} ± {a.half:.1f} dB at M = {m}"
                for m, a in zip((first, middle, last), by_size, strict=True)
            ),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Level over antennas; the proposed design once more on a linear axis."""
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
        right.set_xticks([0, *ANTENNAS])
        right.set_xlim(left=0)
        right.set_ylim(bottom=0)
        left.set_ylabel(setup.LEVEL)
        left.set_title("(a) every design")
        right.set_ylabel("worst CRB [10⁻⁶ rad²]")
        right.set_title("(b) proposed, on linear axes")
        figure.suptitle(setup.band(dataset))
        looks = setup.LOOKS.items()
        legend_below(figure, *((setup.LABELS[c], look) for c, look in looks), columns=2)
    return figure


STUDY = Study(
    name="sensing/fig4",
    title=TITLES["sensing"]["fig4"],
    sample=draw_channels,
    point=point,
    axes={"curve": list(setup.DESIGNS)},
    traced=False,
    outputs={"crb": Quantity("rad2", ("antennas",), "largest CRB over the surfaces")},
    inner={"antennas": ANTENNAS},
    trials=setup.DRAWS,
    provenance=setup.provenance(antennas="the first of one array of the largest size"),
    verdicts=verdicts,
    draw=draw,
)
