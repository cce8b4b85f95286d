"""Errors of a user's estimated position and heading against their bounds, over the SNR."""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.estimation.matched_pilots import simulate_matched
from heliostat.estimation.place_search import PlaceGrid
from heliostat.estimation.pose import locate
from heliostat.geometry.frames import wrapped_angle
from heliostat.plots.style import styled
from heliostat.scene.localization import LocalizationScene
from heliostat.studies.estimators.attainment import attainment, error_curve, reached, threshold
from heliostat.studies.estimators.setup import ANTENNAS, BINS, Sweep, pose_setup
from heliostat.studies.figures import COLORS, MARKS, entries, legend_below
from heliostat.studies.study import Quantity, Study, Verdict, trial_key

SWEEP = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.4), (0.0, -1.4))
MODELS: Mapping[str, tuple[str, str, Sweep]] = {
    "gain known": ("known", "synchronized", ((0.0, 0.0),)),
    "gain unknown": ("unknown", "synchronized", SWEEP),
    "clock unknown": ("unknown", "unknown", SWEEP),
}
"""Gain, clock and sweep of the scenario, by model."""
LOOKS = entries(MODELS, color=COLORS, marker=MARKS)
SNRS = np.arange(0.0, 73.0, 6.0)
"""Energy of all pilots over the noise density. [dB]"""


@eqx.filter_jit
def _estimated(
    scene: LocalizationScene, grid: PlaceGrid, frequency: Array, key: PRNGKeyArray
) -> tuple[Array, ...]:
    pilots = simulate_matched(scene, ANTENNAS, frequency, key=key)
    estimate = locate(scene, pilots, frequency, grid, scene.user.heading)
    heading_error = wrapped_angle(estimate.heading - scene.user.heading)
    squared = jnp.sum((estimate.position - scene.user.position) ** 2)
    peb, reb = error_bounds(pose_information(scene, ANTENNAS))
    return squared, heading_error**2, peb, reb, estimate.detected


def point(key: PRNGKeyArray, *, model: str, snr_db: float) -> Mapping[str, float]:
    """One estimate."""
    at = pose_setup(*MODELS[model])
    energy = float(jnp.sum(jnp.abs(at.mean) ** 2))
    noise = jnp.asarray(energy / 10 ** (snr_db / 10))
    scene = eqx.tree_at(lambda s: s.link.noise_density, at.scene, noise)
    names = ("position", "heading", "peb", "reb", "detected")
    outputs = _estimated(scene, at.grid, at.frequency, key)
    return dict(zip(names, map(float, outputs), strict=True))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on attainment of the bounds, threshold SNR, and detection."""
    attained, ratios, thresholds = [], [], []
    for model in MODELS:
        at = dataset.sel(model=model)
        for name, bound in (("position", "peb"), ("heading", "reb")):
            ratio = attainment(at[name], at[bound])
            high = slice(-3, None)
            attained.append(bool(reached(ratio)[high].all()))
            ratios.append(f"{model}, {name} {ratio.ratio[high].mean():.3f}")
            if name == "position":
                thresholds.append(f"{model} {threshold(dataset.snr_db.values, ratio):g} dB")
    low = [float(dataset.detected.sel(model=m).isel(snr_db=0).mean()) for m in MODELS]
    largest = [
        float(attainment(dataset.position.sel(model=m), dataset.peb.sel(model=m)).ratio.max())
        for m in MODELS
    ]
    return [
        Verdict(
            "Pose",
            "at high SNR the errors attain the bound (its ratio to the root mean square error "
            "within the 95 % interval at the three highest SNRs)",
            all(attained),
            "error over bound: " + ", ".join(ratios),
        ),
        Verdict(
            "Pose",
            "below a threshold SNR the errors do not attain the bound",
            bool(min(largest) > 2),
            "position within 10 % of the bound from "
            + ", ".join(thresholds)
            + "; below that up to "
            + ", ".join(f"{v:.0f}" for v in largest)
            + " times the bound. With an unknown clock two positions have nearly the same response",
        ),
        Verdict(
            "Pose",
            "at the lowest SNR the pilots are detected in less than 5 % of the trials",
            bool(max(low) < 0.05),
            f"detected at {dataset.snr_db.values[0]:g} dB: "
            + ", ".join(f"{m} {v:.0%}" for m, v in zip(MODELS, low, strict=True)),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Errors of position and heading against the SNR."""
    snr = dataset.snr_db.values
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(11.0, 5.2))
        for axes, name, bound, factor in (
            (left, "position", "peb", 1.0),
            (right, "heading", "reb", 180 / np.pi),
        ):
            for model, look in LOOKS:
                at = dataset.sel(model=model)
                error_curve(axes, snr, at[name], factor=factor, **look)
                limit = factor * at[bound].values.min(axis=-1)
                axes.plot(snr, limit, color=look["color"], linestyle="--")
            axes.set_xlabel("SNR, energy of all pilots over the noise density [dB]")
        left.set_ylabel("root mean square error of the position [m]")
        right.set_ylabel("root mean square error of the heading [deg]")
        legend_below(figure, *LOOKS, ("bound", {"color": "black", "linestyle": "--"}), columns=4)
    return figure


STUDY = Study(
    name="estimators/pose",
    sample=trial_key,
    point=point,
    axes={"model": list(MODELS), "snr_db": SNRS.tolist()},
    traced=False,
    outputs={
        "position": Quantity("m2", (), "squared error of the position"),
        "heading": Quantity("rad2", (), "squared error of the heading"),
        "peb": Quantity("m", (), "position error bound"),
        "reb": Quantity("rad", (), "heading error bound"),
        "detected": Quantity("1", (), "whether the pilots are detected"),
    },
    axis_units={"snr_db": "dB"},
    trials=60,
    provenance={
        "scenario": "localization-table-1, 8 x 8 elements, 16 user antennas, 4 active antennas",
        "bins": str(BINS),
    },
    verdicts=verdicts,
    draw=draw,
)
