"""A target's direction from its echoes: maximum likelihood and MUSIC against the bound."""

import functools
from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

from heliostat.bounds.direction import direction_bound, direction_information
from heliostat.design.baselines import isotropic_covariance
from heliostat.design.cooperative import random_phases
from heliostat.estimation.direction import (
    CosineGrid,
    cosine_grid,
    likeliest_direction,
    music_direction,
)
from heliostat.observation.echoes import simulate_echo, transmitted_signal
from heliostat.plots.style import styled
from heliostat.scenario import SensingScenario, load, of_system
from heliostat.scene.sensing import EchoLink
from heliostat.studies import TITLES
from heliostat.studies.estimators.attainment import (
    attainment,
    methods_against_bound,
    reached,
    threshold,
)
from heliostat.studies.study import Quantity, Study, Verdict

SNRS = np.arange(0.0, 46.0, 5.0)
"""Of the matched filter's output. [dB]"""
SNAPSHOTS = 50
METHODS = {"likeliest": "maximum likelihood", "music": "MUSIC"}


class _Setup(eqx.Module):
    link: EchoLink
    grid: CosineGrid
    reflection: Array
    covariance: Array
    signal: Array
    angles: Array
    gain: Array  # at an SNR of one


@functools.cache
def _setup() -> _Setup:
    """The paper's first surface, random phases, isotropic transmission."""
    loaded = load("sensing-two-surfaces")
    scene = of_system(loaded, SensingScenario, "this study").build()
    link, angles = scene.link(0), scene.angles()[0]
    psi = random_phases(scene, 0)[0]
    covariance = isotropic_covariance(scene)[0]
    told = direction_information(link, psi, covariance[None], angles, scene.target_gain[0])
    gain = scene.target_gain[0] / jnp.sqrt(told.snr)
    signal = transmitted_signal(covariance, SNAPSHOTS)[None]
    return _Setup(link, cosine_grid(link.array), psi, covariance, signal, angles, gain)


@eqx.filter_jit
def _estimated(at: _Setup, gain: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
    echo = simulate_echo(at.link, at.reflection[0], at.angles, gain, at.signal[0], key=key)[None]
    likeliest = likeliest_direction(at.link, at.reflection, at.signal, echo, at.grid).angles
    music = music_direction(at.link, at.reflection, echo, at.grid)
    told = direction_information(at.link, at.reflection, at.covariance[None], at.angles, gain)
    std = direction_bound(told).direction_std
    squares = [jnp.sum((found - at.angles) ** 2) for found in (likeliest, music)]
    return squares[0], squares[1], jnp.sqrt(jnp.sum(std**2))


def sample(key: PRNGKeyArray) -> PRNGKeyArray:
    """The trial's own key: the same noise at every SNR.

    Args:
        key: The trial's own.
    """
    return key


def point(key: PRNGKeyArray, *, snr_db: float) -> Mapping[str, float]:
    """One estimate by each method."""
    at = _setup()
    found = _estimated(at, at.gain * 10 ** (snr_db / 20), key)
    return dict(zip(("likeliest", "music", "bound"), map(float, found), strict=True))


def verdicts(dataset: xr.Dataset) -> list[Verdict]:
    """What heliostat says about its estimators, against the data."""
    level = dataset.snr_db.values
    likeliest = attainment(dataset.likeliest, dataset.bound)
    music = attainment(dataset.music, dataset.bound)
    high = slice(-3, None)
    loss = 20 * np.log10(music.ratio[high].mean())
    return [
        Verdict(
            "Direction",
            "at high SNR maximum likelihood reaches the bound",
            bool(reached(likeliest)[high].all()),
            f"error over bound {likeliest.ratio[high].mean():.3f} at the three highest SNRs; "
            f"within a tenth of it from {threshold(level, likeliest):g} dB",
        ),
        Verdict(
            "Direction",
            "MUSIC, which does not know what was sent, does not",
            bool((music.low[high] > 1.0).all()),
            f"{loss:.1f} dB above the bound at high SNR, however high",
        ),
        Verdict(
            "Direction",
            "at 10 dB it misses the bound, at 20 dB it does not: designs need a least SNR",
            bool(likeliest.ratio[level == 10][0] > 1.5 and likeliest.ratio[level == 20][0] < 1.1),
            f"{likeliest.ratio[level == 10][0]:.1f} times the bound at 10 dB, "
            f"{likeliest.ratio[level == 20][0]:.2f} at 20 dB",
        ),
    ]


def draw(dataset: xr.Dataset) -> Figure:
    """Errors over the SNR."""
    level = dataset.snr_db.values
    with styled():
        figure = plt.figure(figsize=(7.5, 5.4))
        axes = methods_against_bound(figure, level, dataset, METHODS, factor=180 / np.pi)
        axes.set_xlabel("SNR of the matched filter's output [dB]")
        axes.set_ylabel("root mean square error of both angles [deg]")
    return figure


STUDY = Study(
    name="estimators/direction",
    title=TITLES["estimators"]["direction"],
    sample=sample,
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
