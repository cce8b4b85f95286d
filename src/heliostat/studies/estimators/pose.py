"""Position and heading of a user, estimated from noisy pilots, against the bound over the SNR."""

import functools
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.estimation.matched_pilots import simulate_matched
from heliostat.estimation.place_search import PlaceGrid, place_grid
from heliostat.estimation.pose import locate
from heliostat.geometry.frames import wrapped_angle
from heliostat.observation.pilots import band_bins
from heliostat.plots.style import styled
from heliostat.scenario import LocalizationScenario, load, of_system
from heliostat.scene.localization import LocalizationScene
from heliostat.studies import TITLES
from heliostat.studies.estimators.attainment import (
    attainment,
    error_curve,
    reached,
    threshold,
)
from heliostat.studies.figures import COLOURS, LINES, MARKS, legend_below
from heliostat.studies.study import Quantity, Study, Verdict

BINS, ANTENNAS, USER_ANTENNAS = 16, 4, 16
SWEEP = [[1.0, 0], [-1.0, 0], [0, 1.4], [0, -1.4]]
MODELS = {
    "gain known": {"model.gain": "known", "surface.sweep": [[0, 0]]},
    "gain unknown": {"model.gain": "unknown", "surface.sweep": SWEEP},
    "clock unknown": {
        "model.gain": "unknown", "model.clock": "unknown", "surface.sweep": SWEEP,
    },
}  # fmt: skip
SNRS = np.arange(0.0, 73.0, 6.0)
"""Energy of all pilots over the noise density. [dB]"""


@functools.cache
def _setup(model: str) -> tuple[LocalizationScene, PlaceGrid, Array, float]:
    """Scene, grid, bins, and the SNR at the scene's own noise."""
    changes = {"surface.rows": 8, "surface.columns": 8, "user.antennas": USER_ANTENNAS}
    loaded = load("localization-table-1", {**changes, **MODELS[model]})
    scene = of_system(loaded, LocalizationScenario, "this study").build()
    frequency = band_bins(scene.link.bandwidth, BINS)
    silent = eqx.tree_at(lambda s: s.link.noise_density, scene, jnp.asarray(1e-300))
    mean = simulate_matched(silent, ANTENNAS, frequency, key=jax.random.key(0)).samples
    energy = float(jnp.sum(jnp.abs(mean) ** 2))
    return scene, place_grid(scene, BINS), frequency, energy


@eqx.filter_jit
def _estimated(
    scene: LocalizationScene, grid: PlaceGrid, frequency: Array, key: PRNGKeyArray
) -> tuple[Array, ...]:
    pilots = simulate_matched(scene, ANTENNAS, frequency, key=key)
    found = locate(scene, pilots, frequency, grid, scene.user.heading)
    turned = wrapped_angle(found.heading - scene.user.heading)
    squared = jnp.sum((found.position - scene.user.position) ** 2)
    peb, reb = error_bounds(pose_information(scene, ANTENNAS))
    return squared, turned**2, peb, reb, found.detected


def sample(key: PRNGKeyArray) -> PRNGKeyArray:
    """The trial's own key: the same noise but for its level at every SNR.

    Args:
        key: The trial's own.
    """
    return key


def point(key: PRNGKeyArray, *, model: str, snr_db: float) -> Mapping[str, float]:
    """One estimate."""
    scene, grid, frequency, energy = _setup(model)
    noise = jnp.asarray(energy / 10 ** (snr_db / 10))
    noisy = eqx.tree_at(lambda s: s.link.noise_density, scene, noise)
    names = ("position", "heading", "peb", "reb", "detected")
    return dict(zip(names, map(float, _estimated(noisy, grid, frequency, key)), strict=True))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What heliostat says about its estimator, against the data."""
    found, told, knees = [], [], []
    for model in MODELS:
        at = dataset.sel(model=model)
        for name, bound in (("position", "peb"), ("heading", "reb")):
            ratio = attainment(at[name], at[bound])
            high = slice(-3, None)
            found.append(bool(reached(ratio)[high].all()))
            told.append(f"{model}, {name} {ratio.ratio[high].mean():.3f}")
            if name == "position":
                knees.append(f"{model} {threshold(dataset.snr_db.values, ratio):g} dB")
    low = [float(dataset.detected.sel(model=m).isel(snr_db=0).mean()) for m in MODELS]
    loose = [
        float(attainment(dataset.position.sel(model=m), dataset.peb.sel(model=m)).ratio.max())
        for m in MODELS
    ]
    return [
        Verdict(
            "Pose",
            "at high SNR the errors reach the bound (its ratio to the root mean square error "
            "within the 95 % interval at the three highest SNRs)",
            all(found),
            "error over bound: " + ", ".join(told),
        ),
        Verdict(
            "Pose",
            "there is a threshold below which they do not",
            bool(min(loose) > 2),
            "position within a tenth of the bound from "
            + ", ".join(knees)
            + "; below that up to "
            + ", ".join(f"{v:.0f}" for v in loose)
            + " times the bound. With an unknown clock a second place looks nearly like the first",
        ),
        Verdict(
            "Pose",
            "pilots that tell nothing are not taken for a user",
            bool(max(low) < 0.05),
            f"detected at {dataset.snr_db.values[0]:g} dB: "
            + ", ".join(f"{m} {v:.0%}" for m, v in zip(MODELS, low, strict=True)),
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Errors of position and heading over the SNR."""
    snr = dataset.snr_db.values
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(11.0, 5.2))
        for axes, name, bound, factor in (
            (left, "position", "peb", 1.0),
            (right, "heading", "reb", 180 / np.pi),
        ):
            for model, colour, mark in zip(MODELS, COLOURS, MARKS, strict=False):
                at = dataset.sel(model=model)
                look = {"color": colour, "marker": mark, "linestyle": LINES[0]}
                error_curve(axes, snr, at[name], factor=factor, **look)  # type: ignore[arg-type]
                axes.plot(snr, factor * at[bound].values.min(axis=-1), color=colour, linestyle="--")
            axes.set_xlabel("SNR, energy of all pilots over the noise density [dB]")
        left.set_ylabel("root mean square error of the position [m]")
        right.set_ylabel("root mean square error of the heading [deg]")
        entries = [
            (model, {"color": colour, "marker": mark})
            for model, colour, mark in zip(MODELS, COLOURS, MARKS, strict=False)
        ]
        legend_below(figure, *entries, ("bound", {"color": "black", "linestyle": "--"}), columns=4)
    return figure


STUDY = Study(
    name="estimators/pose",
    title=TITLES["estimators"]["pose"],
    sample=sample,
    point=point,
    axes={"model": list(MODELS), "snr_db": SNRS.tolist()},
    traced=False,
    outputs={
        "position": Quantity("m2", (), "squared error of the position"),
        "heading": Quantity("rad2", (), "squared error of the heading"),
        "peb": Quantity("m", (), "position error bound"),
        "reb": Quantity("rad", (), "heading error bound"),
        "detected": Quantity("1", (), "the pilots stand out of the noise"),
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
