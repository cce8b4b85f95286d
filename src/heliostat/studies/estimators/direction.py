"""Errors of a target's direction by maximum likelihood and by MUSIC, against the bound."""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.bounds.direction import direction_bound, direction_information
from heliostat.estimation.direction import likeliest_direction, music_direction
from heliostat.observation.echoes import simulate_echo
from heliostat.plots.style import styled
from heliostat.studies.estimators.attainment import (
    attainment,
    methods_against_bound,
    reached,
    threshold,
)
from heliostat.studies.estimators.setup import SNAPSHOTS, SensingSetup, sensing_setup
from heliostat.studies.study import Quantity, Study, Verdict, trial_key

SNRS = np.arange(0.0, 46.0, 5.0)
"""SNR of the matched filter's output. [dB]"""
METHODS = {"likeliest": "maximum likelihood", "music": "MUSIC"}


@eqx.filter_jit
def _estimated(at: SensingSetup, gain: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
    """Squared errors of both methods at the first surface, and the root of the sum of bounds."""
    link, psi, signal, grid = at.scene.link(0), at.reflection[0], at.signal[0], at.grid[0]
    angles = at.scene.angles()[0]
    echo = simulate_echo(link, psi[0], angles, gain, signal[0], key=key)[None]
    likeliest = likeliest_direction(link, psi, signal, echo, grid).angles
    music = music_direction(link, psi, echo, grid)
    information = direction_information(link, psi, at.covariance[0], angles, gain)
    std = direction_bound(information).direction_std
    squares = [jnp.sum((estimate - angles) ** 2) for estimate in (likeliest, music)]
    return squares[0], squares[1], jnp.sqrt(jnp.sum(std**2))


def point(key: PRNGKeyArray, *, snr_db: float) -> Mapping[str, float]:
    """One estimate by each method."""
    at = sensing_setup(1, False)
    outputs = _estimated(at, at.scene.target_gain[0] * 10 ** (snr_db / 20), key)
    return dict(zip(("likeliest", "music", "bound"), map(float, outputs), strict=True))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """Verdicts on attainment of the bound by both methods."""
    level = dataset.snr_db.values
    likeliest = attainment(dataset.likeliest, dataset.bound)
    music = attainment(dataset.music, dataset.bound)
    high = slice(-3, None)
    loss = 20 * np.log10(music.ratio[high].mean())
    return [
        Verdict(
            "Direction",
            "at high SNR maximum likelihood attains the bound",
            bool(reached(likeliest)[high].all()),
            f"error over bound {likeliest.ratio[high].mean():.3f} at the three highest SNRs; "
            f"within 10 % of it from {threshold(level, likeliest):g} dB",
        ),
        Verdict(
            "Direction",
            "MUSIC, which does not use the transmitted signal, does not attain the bound",
            bool((music.low[high] > 1.0).all()),
            f"{loss:.1f} dB above the bound at the three highest SNRs",
        ),
        Verdict(
            "Direction",
            "maximum likelihood does not attain the bound at 10 dB, but at 20 dB: designs need "
            "a minimum SNR",
            bool(likeliest.ratio[level == 10][0] > 1.5 and likeliest.ratio[level == 20][0] < 1.1),
            f"{likeliest.ratio[level == 10][0]:.1f} times the bound at 10 dB, "
            f"{likeliest.ratio[level == 20][0]:.2f} at 20 dB",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Errors against the SNR."""
    level = dataset.snr_db.values
    with styled():
        figure = plt.figure(figsize=(7.5, 5.4))
        axes = methods_against_bound(figure, level, dataset, METHODS, factor=180 / np.pi)
        axes.set_xlabel("SNR of the matched filter's output [dB]")
        axes.set_ylabel("root mean square error of both angles [deg]")
    return figure


STUDY = Study(
    name="estimators/direction",
    sample=trial_key,
    point=point,
    axes={"snr_db": SNRS.tolist()},
    traced=False,
    outputs={
        "likeliest": Quantity("rad2", (), "squared error of both angles, maximum likelihood"),
        "music": Quantity("rad2", (), "squared error of both angles, MUSIC"),
        "bound": Quantity("rad", (), "root of the sum of both angles' bounds"),
    },
    axis_units={"snr_db": "dB"},
    trials=100,
    provenance={
        "scenario": "sensing-two-surfaces, surface 0, isotropic transmission, random phases",
        "snapshots": str(SNAPSHOTS),
    },
    verdicts=verdicts,
    draw=draw,
)
