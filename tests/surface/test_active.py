"""Truths: the matrices of paper eq. (7) as printed, Monte Carlo over the signals of (5) and (6)."""

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.observation.echoes import target_steering
from heliostat.surface.active import passive_surface, power_weight, reflected_power
from tests.support.sensing_scenes import random_covariance, random_reflections, real, sensing_scene


def one_surface(**changes):
    scene = sensing_scene(**changes)
    psi = random_reflections(scene)[0][0]
    a = target_steering(scene.surfaces[0].array, scene.angles()[0])
    covariance = random_covariance(np.random.default_rng(2), scene.base_station.array.elements, 3)
    return scene, psi, a, covariance


def test_terms_equal_the_printed_traces():
    scene, psi, a, r = one_surface(antennas=6, rows=(2, 2), columns=(3, 3))
    g, beta, noise = scene.bs_to_irs[0], 3e-2j * jnp.ones(()), real(2e-9)
    power = reflected_power(psi, g, r, a, beta, noise)
    big_psi, e = np.diag(psi), beta * np.outer(a, a)
    once = big_psi @ g
    back = big_psi @ e
    expected = [
        np.trace(back @ once @ r @ once.conj().T @ back.conj().T),
        noise * np.trace(back @ big_psi @ big_psi.conj().T @ back.conj().T),
        np.trace(once @ r @ once.conj().T),
        2 * noise * np.trace(big_psi @ big_psi.conj().T),
    ]
    actual = [power.echo, power.echo_noise, power.signal, power.noise]
    np.testing.assert_allclose(actual, np.real(expected), rtol=1e-12)
    np.testing.assert_allclose(power.total, np.real(sum(expected)), rtol=1e-12)
    np.testing.assert_allclose(power.own_noise, np.real(expected[1] + expected[3]), rtol=1e-12)
    weight = power_weight(psi, g, a, beta)
    np.testing.assert_allclose(np.trace(weight @ r).real, power.echo + power.signal, rtol=1e-12)


def test_power_is_that_of_simulated_signals():
    scene, psi, a, r = one_surface(antennas=4, rows=(2, 2), columns=(2, 2))
    g, n, trials = scene.bs_to_irs[0], 4, 20_000
    beta, noise = 0.05 * jnp.ones((), dtype=complex), real(1e-6)
    keys = jax.random.split(jax.random.key(3), 3)

    def white(key, size):
        return jax.random.normal(key, (size, trials), dtype=complex)

    values, vectors = np.linalg.eigh(r)
    s = (vectors * np.sqrt(np.maximum(values, 0))) @ white(keys[0], 4)
    first = psi[:, None] * (g @ s + np.sqrt(noise) * white(keys[1], n))
    second = psi[:, None] * (beta * np.outer(a, a) @ first + np.sqrt(noise) * white(keys[2], n))
    drawn = np.sum(np.abs(first) ** 2 + np.abs(second) ** 2, axis=0)
    expected = reflected_power(psi, g, r, a, beta, noise).total
    error = drawn.std() / np.sqrt(trials)
    assert abs(drawn.mean() - expected) < 4 * error
    assert error < 0.02 * expected


def test_passive_surface_adds_no_noise_and_knows_no_limit():
    scene, psi, a, r = one_surface()
    surface = passive_surface(scene.surfaces[0].position, scene.surfaces[0].array)
    unit = psi / jnp.abs(psi)
    power = reflected_power(unit, scene.bs_to_irs[0], r, a, scene.target_gain[0], surface.noise)
    assert surface.passive
    assert power.own_noise == 0
    assert power.total < surface.power == jnp.inf


def test_random_reflection_has_full_amplitude_and_even_phases():
    scene = sensing_scene(rows=(32, 4), columns=(32, 4))
    psi = random_reflections(scene)[0][0]
    np.testing.assert_allclose(np.abs(psi), 8.0, rtol=1e-14)
    assert abs(np.mean(psi)) / 8.0 < 4 / np.sqrt(psi.size)
