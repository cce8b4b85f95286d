"""Search for feasible designs whose worst CRB is below a lower bound, independent of the designs.

Coefficients and beams of all surfaces are free at once, with hard minima where powers are limited.
Nothing but the model (`surface_bounds`, `constraint_slack`) is shared with the designs of the
package.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from heliostat.design.result import constraint_slack, surface_bounds
from heliostat.observation.echoes import target_steering
from heliostat.surface.active import own_noise, power_weight
from tests.support.sensing_scenes import sensing_scene

SHAPES = (
    {"rows": (2, 2), "columns": (3, 3), "antennas": 4},
    {"rows": (3,), "columns": (3,), "antennas": 6, "surfaces": ((-5.0, 10.0, 0.0),)},
    {"rows": (4, 3), "columns": (4, 2), "antennas": 8},
    {"rows": (4,), "columns": (4,), "antennas": 4, "surfaces": ((-5.0, 10.0, 0.0),)},
)


def random_scene(seed, shape=None):
    """A scene in which either power limit, both, or the noise of the surfaces may count."""
    rng = np.random.default_rng([seed, 17])
    powers = 10 ** rng.uniform(-3.5, 1.5)
    return sensing_scene(
        **(SHAPES[seed % len(SHAPES)] if shape is None else shape),
        seed=seed,
        amplification=float(10 ** rng.uniform(0, 1.8)),
        surface_power=float(np.inf if rng.random() < 0.15 else powers),
        surface_noise=float(10 ** rng.uniform(-13, -9.5)),
        power=float(10 ** rng.uniform(-0.5, 2)),
        rician_factor=float(10 ** rng.uniform(-1, 1.5)),
    )


def sizes(scene, patterns):
    antennas = scene.base_station.array.elements
    return [patterns * (2 * s.array.elements + 4 * antennas) for s in scene.surfaces]


def chosen(scene, flat, patterns):
    """Coefficients and covariances that satisfy every constraint, from free unknowns."""
    antennas = scene.base_station.array.elements
    cuts = np.cumsum(sizes(scene, patterns))[:-1]
    reflections, covariances = [], []
    for i, part in enumerate(jnp.split(flat, cuts)):
        surface = scene.surfaces[i]
        # The gradient of a ratio to an infinite power is NaN.
        power = jnp.minimum(surface.power, 1e6)
        free, mixing = jnp.split(part, [2 * patterns * surface.array.elements])
        real, imaginary = free.reshape(2, patterns, -1)
        size = jnp.sqrt(real**2 + imaginary**2 + 1e-12)
        # Full amplitude from a size of 1 on: an open set of unknowns has all amplitudes full.
        psi = surface.amplification * jnp.minimum(size, 1.0) * (real + 1j * imaginary) / size
        # At most half of the power for the surface's own noise, but for the echo of this noise.
        own = 2 * surface.noise * jnp.sum(jnp.abs(psi) ** 2, axis=1)
        psi = psi * jnp.sqrt(jnp.minimum(1.0, 0.5 * power / own))[:, None]
        beams = mixing.reshape(2, patterns, antennas, 2)
        beams = beams[0] + 1j * beams[1]
        reflections.append(psi)
        covariances.append(beams @ jnp.conj(jnp.swapaxes(beams, 1, 2)))
    covariance = jnp.stack(covariances)
    mean = jnp.real(jnp.trace(covariance, axis1=2, axis2=3)).sum() / patterns
    covariance = covariance * (scene.base_station.power * scene.n_surfaces / mean)
    angles, limited = scene.angles(), []
    for i, (surface, psi) in enumerate(zip(scene.surfaces, reflections, strict=True)):
        gain = scene.target_gain[i]
        steering = target_steering(surface.array, angles[i])
        weight = jax.vmap(
            lambda p, i=i, a=steering, g=gain: power_weight(p, scene.bs_to_irs[i], a, g)
        )(psi)
        signal = jnp.real(jnp.einsum("kab,kba->k", weight, covariance[i]))
        own = jax.vmap(lambda p, s=surface, g=gain: own_noise(p, g, s.noise))(psi)
        room = jnp.minimum(1.0, (jnp.minimum(surface.power, 1e6) - own) / signal)
        limited.append(covariance[i] * room[:, None, None])
    return tuple(reflections), jnp.stack(limited) * (1 - 1e-10)


@partial(jax.jit, static_argnames="patterns")
def value_and_slope(scene, flat, patterns, sharpness):
    def objective(x):
        reflection, covariance = chosen(scene, x, patterns)
        crb = surface_bounds(scene, reflection, covariance).crb
        return jax.nn.logsumexp(sharpness * jnp.log(crb)) / sharpness

    return jax.value_and_grad(objective)(flat)


@partial(jax.jit, static_argnames="patterns")
def measured(scene, flat, patterns):
    reflection, covariance = chosen(scene, flat, patterns)
    bounds = surface_bounds(scene, reflection, covariance)
    slack = constraint_slack(scene, reflection, covariance, bounds.snr, 0.0)
    return jnp.max(bounds.crb), slack


def smallest_crb(scene, patterns, *, starts, seed, steps=80):
    """Smallest worst CRB of the feasible designs that a search from random starts finds. [rad²]"""
    rng = np.random.default_rng(seed)

    def descend(x, sharpness, most):
        def evaluate(at):
            value, slope = (np.asarray(p) for p in value_and_slope(scene, at, patterns, sharpness))
            sound = np.isfinite(value) and np.all(np.isfinite(slope))
            return (float(value), slope) if sound else (1e3, np.zeros_like(at))

        options = {"maxiter": most, "maxcor": 20}
        return minimize(evaluate, x, jac=True, method="L-BFGS-B", options=options).x

    found = []
    for _ in range(starts):
        flat = descend(rng.normal(size=sum(sizes(scene, patterns))), 20.0, steps)
        found.append((float(measured(scene, flat, patterns)[0]), flat))
    crb, flat = min(found, key=lambda each: each[0])
    for sharpness in (100.0, 1000.0):
        flat = descend(flat, sharpness, 2 * steps)
    polished, slack = measured(scene, flat, patterns)
    assert slack.transmit >= -1e-9 * scene.base_station.power
    for i, surface in enumerate(scene.surfaces):
        assert slack.surface[i] >= -1e-9 * surface.power
        assert slack.amplitude[i] >= -1e-9 * surface.amplification
    return min(crb, float(polished))
