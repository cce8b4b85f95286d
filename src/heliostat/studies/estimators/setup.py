"""Scenes and signals shared by the studies of estimators."""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from heliostat.bounds.direction import scene_information
from heliostat.design.baselines import isotropic_covariance
from heliostat.design.cooperative import design_jointly, random_phases
from heliostat.estimation.direction import CosineGrid, cosine_grid
from heliostat.estimation.matched_pilots import simulate_matched
from heliostat.estimation.place_search import PlaceGrid, place_grid
from heliostat.observation.echoes import transmitted_signal
from heliostat.observation.pilots import band_bins
from heliostat.scenario import LocalizationScenario, SensingScenario, load, of_system
from heliostat.scene.localization import LocalizationScene
from heliostat.scene.sensing import SensingScene

BINS, ANTENNAS, USER_ANTENNAS = 16, 4, 16
SNAPSHOTS = 50
"""Snapshots of a surface's dwell."""
HEIGHT = 1.0
"""Height of the user above a reflecting ground that causes the second path. [m]"""
STARTS = 3
"""Number of random starts of each beamforming design."""

Sweep: TypeAlias = tuple[tuple[float, float], ...]


class PoseSetup(NamedTuple):
    """Scene and noiseless pilots of the pose trials."""

    scene: LocalizationScene
    grid: PlaceGrid
    frequency: Array
    mean: Array  # noiseless matched pilots [√J]
    second: Array  # matched pilots of the second path, scaled to the same energy [√J]


@functools.cache
def pose_setup(gain: str, clock: str, sweep: Sweep | None) -> PoseSetup:
    """Scene of the pose trials.

    Args:
        gain: Value of ``model.gain`` in the scenario.
        clock: Value of ``model.clock`` in the scenario.
        sweep: Value of ``surface.sweep`` in the scenario; None for the default sweep.
    """
    changes = {
        "surface.rows": 8,
        "surface.columns": 8,
        "user.antennas": USER_ANTENNAS,
        "model.gain": gain,
        "model.clock": clock,
        "surface.sweep": None if sweep is None else [list(step) for step in sweep],
    }
    loaded = load("localization-table-1", changes)
    # The cached arrays outlive the trace that needs them first.
    with jax.ensure_compile_time_eval():
        scene = of_system(loaded, LocalizationScenario, "this study").build()
        frequency = band_bins(scene.link.bandwidth, BINS)
        silent = eqx.tree_at(lambda s: s.link.noise_density, scene, jnp.asarray(1e-300))

        def mean(at: LocalizationScene) -> Array:
            return simulate_matched(at, ANTENNAS, frequency, key=jax.random.key(0)).samples

        # The path reflected by the ground leads to the mirror image of the user.
        image = scene.user.position - jnp.array([0.0, 0.0, 2 * HEIGHT])
        direct, second = mean(silent), mean(silent.with_user(image, scene.user.heading))
        second *= jnp.linalg.norm(direct) / jnp.linalg.norm(second)
        return PoseSetup(scene, place_grid(scene, BINS), frequency, direct, second)


class SensingSetup(NamedTuple):
    """Scene and signals of the sensing trials."""

    scene: SensingScene  # target gains scaled to an SNR of one at each surface
    surface: int  # index of the surface in the direction trials
    reflection: tuple[Array, ...]
    covariance: tuple[Array, ...]
    signal: tuple[Array, ...]
    grid: tuple[CosineGrid, ...]


@functools.cache
def sensing_setup(patterns: int, designed: bool) -> SensingSetup:
    """Scene and signals of the sensing trials, with target gains for an SNR of one.

    The transmission is isotropic and the phases are random, or both are designed without a minimum
    SNR. A design remains optimal if all target gains and the minimum SNR are scaled together, so
    after scaling the SNR of its weaker surface to the minimum SNR it is the design where that
    constraint begins to bind.

    Args:
        patterns: Number of reflection patterns.
        designed: Whether to use a design.
    """
    with jax.ensure_compile_time_eval():
        scene = of_system(load("sensing-two-surfaces"), SensingScenario, "this study").build()
        if designed:
            # Within the trace of a study each step of the descent would be traced again; traces
            # belong to a thread.
            with ThreadPoolExecutor(max_workers=1) as pool:
                design = pool.submit(
                    design_jointly, scene, patterns=patterns, min_snr=0.0, starts=STARTS
                ).result()
            reflection = tuple(jnp.reshape(psi, (patterns, -1)) for psi in design.reflection)
            covariance = tuple(
                jnp.reshape(covar, (patterns, *covar.shape[-2:])) for covar in design.covariance
            )
        else:
            each = [random_phases(scene, number) for number in range(patterns)]
            reflection = tuple(jnp.concatenate(psi) for psi in zip(*each, strict=True))
            covariance = tuple(
                jnp.broadcast_to(covar, (patterns, *covar.shape))
                for covar in isotropic_covariance(scene)
            )
        snr = jnp.stack([i.snr for i in scene_information(scene, covariance, reflection)])
        surface = int(jnp.argmin(snr)) if designed else 0
        scene = eqx.tree_at(lambda s: s.target_gain, scene, scene.target_gain / jnp.sqrt(snr))
        signal = tuple(
            jax.vmap(lambda covar: transmitted_signal(covar, SNAPSHOTS // patterns))(covar)
            for covar in covariance
        )
        grid = tuple(cosine_grid(surface.array) for surface in scene.surfaces)
        return SensingSetup(scene, surface, reflection, covariance, signal, grid)
