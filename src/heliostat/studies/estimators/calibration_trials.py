"""Trials of the calibration study: one simulated estimate each, with its error and its bound."""

from collections.abc import Mapping
from typing import TypeAlias

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
from heliostat.estimation.direction import DirectionEstimate, likeliest_direction
from heliostat.estimation.matched_pilots import simulate_matched
from heliostat.estimation.pose import locate
from heliostat.estimation.triangulation import iterated_least_squares
from heliostat.geometry.frames import Scalar, wrapped_angle
from heliostat.observation.echoes import echo_mean, simulate_echo
from heliostat.studies.estimators.setup import (
    ANTENNAS,
    SensingSetup,
    Sweep,
    pose_setup,
    sensing_setup,
)

REGION = 0.95
"""Probability of the reported confidence regions."""
ASIDE = np.radians([0.0, 15.0])
"""Offset of the second echo from the target in elevation and azimuth. [rad]"""

Outputs: TypeAlias = Mapping[str, Array]


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
    rotation = jnp.exp(2j * jnp.pi * jax.random.uniform(phase_key))
    pilots = simulate_matched(scene, ANTENNAS, at.frequency, key=noise_key)
    pilots = eqx.tree_at(
        lambda p: p.samples, pilots, pilots.samples + second * rotation * at.second
    )
    estimate = locate(scene, pilots, at.frequency, at.grid, scene.user.heading)
    heading_error = wrapped_angle(estimate.heading - scene.user.heading)
    error = jnp.append((estimate.position - scene.user.position)[:2], heading_error)
    peb, _ = error_bounds(pose_information(scene, ANTENNAS))
    use = estimate.detected & estimate.fits & estimate.unique
    return _outputs(error, peb, estimate.covariance, use, 2)


def _direction(
    at: SensingSetup, surface: int, snr: Scalar, second: float, key: PRNGKeyArray
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
    at = sensing_setup(patterns, designed)
    surface = at.surface
    estimate = _direction(at, surface, snr, second, key)
    gain = jnp.sqrt(snr) * at.scene.target_gain[surface]
    angles = at.scene.angles()[surface]
    information = direction_information(
        at.scene.link(surface), at.reflection[surface], at.covariance[surface], angles, gain
    )
    bound = jnp.linalg.norm(direction_bound(information).direction_std)
    error = wrapped_angle(estimate.angles - angles)
    return _outputs(error, bound, estimate.covariance, estimate.detected & estimate.fits, 2)


def position_trial(key: PRNGKeyArray, snr: Scalar, *, patterns: int) -> Outputs:
    """One estimate of a target's position from its directions at both surfaces.

    Args:
        key: Random key of the trial.
        snr: SNR of the matched filter's output at each surface. [1]
        patterns: Number of reflection patterns.
    """
    at = sensing_setup(patterns, False)
    gain = jnp.sqrt(snr) * at.scene.target_gain
    scene = at.scene.with_target(at.scene.target.position, gain)
    keys = jax.random.split(key)
    first, second = (_direction(at, i, snr, 0.0, keys[i]) for i in range(2))
    covariance = jnp.stack([first.covariance, second.covariance])
    finite = jnp.all(jnp.isfinite(covariance))
    covariance = jnp.where(finite, covariance, jnp.eye(2))
    fix = iterated_least_squares(scene, jnp.stack([first.angles, second.angles]), covariance)
    directions_fit = first.detected & first.fits & second.detected & second.fits
    use = directions_fit & finite & fix.converged & ~jnp.any(fix.behind)
    bound, _ = position_bound(scene, scene_information(scene, at.covariance, at.reflection))
    error = jnp.where(use, fix.position - scene.target.position, 0.0)
    return _outputs(error, bound, fix.covariance, use, 3)
