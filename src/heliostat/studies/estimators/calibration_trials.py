"""Trials of the calibration study: one simulated estimate each, with its error and its bound."""

import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from scipy.stats import chi2

from heliostat.bounds.direction import (
    direction_bound,
    direction_information,
    position_bound,
    scene_information,
)
from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.design.baselines import isotropic_covariance
from heliostat.design.cooperative import design_jointly, random_phases
from heliostat.estimation.direction import (
    CosineGrid,
    DirectionEstimate,
    cosine_grid,
    likeliest_direction,
)
from heliostat.estimation.matched_pilots import simulate_matched
from heliostat.estimation.place_search import PlaceGrid, place_grid
from heliostat.estimation.pose import locate
from heliostat.estimation.triangulation import iterated_least_squares
from heliostat.geometry.frames import Scalar, wrapped_angle
from heliostat.observation.echoes import echo_mean, simulate_echo, transmitted_signal
from heliostat.observation.pilots import band_bins
from heliostat.scenario import LocalizationScenario, SensingScenario, load, of_system
from heliostat.scene.localization import LocalizationScene
from heliostat.scene.sensing import SensingScene
from heliostat.studies.estimators.direction import SNAPSHOTS
from heliostat.studies.estimators.pose import ANTENNAS, BINS, USER_ANTENNAS

REGION = 0.95
"""Probability of the reported confidence regions."""
HEIGHT = 1.0
"""Height of the user above a reflecting ground that causes the second path. [m]"""
ASIDE = np.radians([0.0, 15.0])
"""Offset of the second echo from the target in elevation and azimuth. [rad]"""
STARTS = 3
"""Number of random starts of each beamforming design."""

Outputs: TypeAlias = Mapping[str, Array]
Sweep: TypeAlias = tuple[tuple[float, float], ...]


def covered(error: Array, covariance: Array) -> Array:
    """Whether the true value lies in the 95 % confidence region of the reported covariance.

    Args:
        error: Estimate minus true value.
        covariance: Reported covariance; where it is infinite, the region covers everything.
    """
    finite = jnp.all(jnp.isfinite(covariance))
    safe = jnp.where(finite, covariance, jnp.eye(error.size))
    distance = error @ jnp.linalg.solve(safe, error)
    return ~finite | (distance <= chi2.ppf(REGION, error.size))


def _outputs(error: Array, bound: Scalar, covariance: Array, use: Array, size: int) -> Outputs:
    """Outputs of a trial; ``bound`` applies to the first ``size`` components of the error."""
    squared = jnp.sum(error[:size] ** 2)
    return {
        "squared": squared,
        "bound": bound,
        "covered": covered(error, covariance).astype(float),
        "usable": use.astype(float),
    }


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
    with (
        jax.ensure_compile_time_eval()
    ):  # the cached arrays outlive the trace that needs them first
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


def pose_trial(
    key: PRNGKeyArray,
    snr: Scalar,
    *,
    gain: str = "unknown",
    clock: str = "synchronized",
    sweep: Sweep | None = None,
    second: float = 0.0,
) -> Outputs:
    """One estimate of a user's position and heading.

    Args:
        key: Random key of the trial.
        snr: Energy of the noiseless pilots over the noise density. [1]
        gain: Value of ``model.gain`` in the scenario.
        clock: Value of ``model.clock`` in the scenario.
        sweep: Value of ``surface.sweep`` in the scenario; None for the default sweep.
        second: Amplitude of a second path relative to the first; its phase is random. [1]
    """
    at = pose_setup(gain, clock, sweep)
    noise = jnp.sum(jnp.abs(at.mean) ** 2) / snr
    scene = eqx.tree_at(lambda s: s.link.noise_density, at.scene, noise)
    noise_key, phase_key = jax.random.split(key)
    turn = jnp.exp(2j * jnp.pi * jax.random.uniform(phase_key))
    pilots = simulate_matched(scene, ANTENNAS, at.frequency, key=noise_key)
    pilots = eqx.tree_at(lambda p: p.samples, pilots, pilots.samples + second * turn * at.second)
    found = locate(scene, pilots, at.frequency, at.grid, scene.user.heading)
    turned = wrapped_angle(found.heading - scene.user.heading)
    error = jnp.append((found.position - scene.user.position)[:2], turned)
    peb, _ = error_bounds(pose_information(scene, ANTENNAS))
    use = found.detected & found.fits & found.unique
    return _outputs(error, peb, found.covariance, use, 2)


class _SensingSetup(NamedTuple):
    scene: SensingScene  # target gains scaled to an SNR of one at each surface
    surface: int  # index of the surface in the direction trials
    reflection: tuple[Array, ...]
    covariance: tuple[Array, ...]
    signal: tuple[Array, ...]
    grid: tuple[CosineGrid, ...]


@functools.cache
def _sensing_setup(patterns: int, designed: bool) -> _SensingSetup:
    """Scene and signals of the sensing trials, with target gains for an SNR of one.

    Designs are made without a minimum SNR. A design remains optimal if all target gains and the
    minimum SNR are scaled together, so after scaling the SNR of its weaker surface to the minimum
    SNR it is the design where that constraint begins to bind.
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
        return _SensingSetup(scene, surface, reflection, covariance, signal, grid)


def _direction(
    at: _SensingSetup, surface: int, snr: Scalar, second: float, key: PRNGKeyArray
) -> DirectionEstimate:
    """Estimate at one surface, with a second echo of the given relative amplitude."""
    link, psi, signal = at.scene.link(surface), at.reflection[surface], at.signal[surface]
    gain, angles = jnp.sqrt(snr) * at.scene.target_gain[surface], at.scene.angles()[surface]
    noise_key, phase_key = jax.random.split(key)

    def received(psi: Array, signal: Array, own: PRNGKeyArray) -> Array:
        return simulate_echo(link, psi, angles, gain, signal, key=own)

    def mean(psi: Array, signal: Array, angles: Array) -> Array:
        return echo_mean(link, psi, angles, gain, signal)

    echoes = jax.vmap(received)(psi, signal, jax.random.split(noise_key, len(psi)))
    if second:
        first, other = (
            jax.vmap(mean, (0, 0, None))(psi, signal, where)
            for where in (angles, angles + jnp.asarray(ASIDE))
        )
        level = second * jnp.linalg.norm(first) / jnp.linalg.norm(other)
        echoes += level * jnp.exp(2j * jnp.pi * jax.random.uniform(phase_key)) * other
    return likeliest_direction(link, psi, signal, echoes, at.grid[surface])


def direction_trial(
    key: PRNGKeyArray,
    snr: Scalar,
    *,
    patterns: int,
    designed: bool = False,
    second: float = 0.0,
) -> Outputs:
    """One estimate of a target's elevation and azimuth at one surface.

    Args:
        key: Random key of the trial.
        snr: SNR of the matched filter's output. [1]
        patterns: Number of reflection patterns.
        designed: Use the design with this minimum SNR, at its weaker surface, instead of isotropic
            transmission and random phases at the first surface.
        second: Amplitude of a second echo relative to the first; its phase is random. [1]
    """
    at = _sensing_setup(patterns, designed)
    surface = at.surface
    found = _direction(at, surface, snr, second, key)
    gain = jnp.sqrt(snr) * at.scene.target_gain[surface]
    angles = at.scene.angles()[surface]
    information = direction_information(
        at.scene.link(surface), at.reflection[surface], at.covariance[surface], angles, gain
    )
    bound = jnp.linalg.norm(direction_bound(information).direction_std)
    error = wrapped_angle(found.angles - angles)
    return _outputs(error, bound, found.covariance, found.detected & found.fits, 2)


def position_trial(key: PRNGKeyArray, snr: Scalar, *, patterns: int) -> Outputs:
    """One estimate of a target's position from its directions at both surfaces.

    Args:
        key: Random key of the trial.
        snr: SNR of the matched filter's output at each surface. [1]
        patterns: Number of reflection patterns.
    """
    at = _sensing_setup(patterns, False)
    gain = jnp.sqrt(snr) * at.scene.target_gain
    scene = at.scene.with_target(at.scene.target.position, gain)
    keys = jax.random.split(key)
    first, second = (_direction(at, i, snr, 0.0, keys[i]) for i in range(2))
    covariance = jnp.stack([first.covariance, second.covariance])
    finite = jnp.all(jnp.isfinite(covariance))
    covariance = jnp.where(finite, covariance, jnp.eye(2))
    found = iterated_least_squares(scene, jnp.stack([first.angles, second.angles]), covariance)
    directions_fit = first.detected & first.fits & second.detected & second.fits
    use = directions_fit & finite & found.converged & ~jnp.any(found.behind)
    bound, _ = position_bound(scene, scene_information(scene, at.covariance, at.reflection))
    error = jnp.where(use, found.position - scene.target.position, 0.0)
    return _outputs(error, bound, found.covariance, use, 3)
