"""Truths: the signal chain (5)-(8) matrix by matrix, Monte Carlo over its noise, plane geometry."""

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.observation.echoes import (
    echo_mean,
    noise_covariance,
    round_trip,
    target_steering,
)
from tests.support.direction_definition import reradiated_noise
from tests.support.sensing_scenes import random_reflections, sensing_scene


def chain(scene, psi, i=0):
    """G^T Psi E Psi and G^T Psi, paper eq. (8)."""
    g, big_psi = np.asarray(scene.bs_to_irs[i]), np.diag(psi)
    a = np.asarray(target_steering(scene.surfaces[i].array, scene.angles()[i]))
    e = complex(scene.target_gain[i]) * np.outer(a, a)
    return g.T @ big_psi @ e @ big_psi, g.T @ big_psi


def test_mean_equals_the_chain_of_matrices():
    scene = sensing_scene(target=(5.0, 15.0, 3.0), rows=(2, 3), columns=(4, 5), spacing=(0.4, 0.7))
    s = jax.random.normal(jax.random.key(0), (16, 7), dtype=complex)
    for i, reflection in enumerate(random_reflections(scene)):
        psi = reflection[0]
        twice, _ = chain(scene, psi, i)
        expected = twice @ scene.bs_to_irs[i] @ s
        mean = echo_mean(scene.link(i), psi, scene.angles()[i], scene.target_gain[i], s)
        np.testing.assert_allclose(mean, expected, rtol=1e-10)


def test_steering_is_the_plane_wave_from_the_target():
    scene = sensing_scene(
        surfaces=((-5.0, 10.0, 2.0),), target=(5e4, 3e4, 4e4), rows=(3,), columns=(4,),
        spacing=(0.4, 0.7),
    )  # fmt: skip
    surface = scene.surfaces[0]
    row, column = np.divmod(np.arange(12), 4)
    element = (
        np.asarray(surface.position)
        + 0.4 * column[:, None] * np.asarray(surface.array.horizontal)
        + 0.7 * row[:, None] * np.asarray(surface.array.vertical)
    )
    length = np.linalg.norm(np.asarray(scene.target.position) - element, axis=1)
    expected = np.exp(-2j * np.pi * (length - length[0]))
    steering = target_steering(surface.array, scene.angles()[0])
    np.testing.assert_allclose(steering, expected, atol=1e-3)


def test_noise_has_the_covariance_of_simulated_noise():
    scene = sensing_scene(antennas=4, rows=(2, 2), columns=(2, 2), surface_noise=1e-7)
    scene = scene.with_target(scene.target.position, 5e-2 * jnp.ones(2, dtype=complex))
    psi, link, trials = random_reflections(scene)[0][0], scene.link(0), 40_000
    twice, once = chain(scene, psi)
    keys = jax.random.split(jax.random.key(5), 3)
    z1, z2 = (np.sqrt(1e-7) * jax.random.normal(k, (4, trials), dtype=complex) for k in keys[:2])
    z = np.sqrt(1e-11) * jax.random.normal(keys[2], (4, trials), dtype=complex)
    neglected = reradiated_noise(link, psi, scene.angles()[0], scene.target_gain[0])
    kept = noise_covariance(link, psi)
    for noise, expected in ((once @ z2 + z, kept), (twice @ z1 + once @ z2 + z, kept + neglected)):
        power = np.sqrt(np.real(np.diag(expected)))
        error = (noise @ noise.conj().T / trials - expected) / np.outer(power, power)
        assert np.max(np.abs(error)) < 5 / np.sqrt(trials)  # 16 entries, each of std 1/sqrt(trials)
    # The neglected part must be visible here, or the second case would prove nothing.
    assert np.linalg.norm(neglected) > 0.1 * np.linalg.norm(kept)


def test_what_the_paper_neglects_is_small_in_its_set_up():
    scene = sensing_scene()
    psi = random_reflections(scene)[0][0]
    link, angles = scene.link(0), scene.angles()[0]
    neglected = reradiated_noise(link, psi, angles, scene.target_gain[0])
    share = np.linalg.norm(neglected) / np.linalg.norm(noise_covariance(link, psi))
    assert share < 1e-6


def test_focused_surface_adds_all_elements():
    """One antenna, one flat channel: v = sqrt(rho) N a_max when the phases match."""
    scene = sensing_scene(antennas=1)
    angles = scene.angles()[0]
    link = scene.link(0)
    a = target_steering(link.array, angles)
    psi = 8.0 * jnp.conj(a) * jnp.exp(-1j * jnp.angle(link.bs_to_irs[:, 0]))
    expected = 8.0 * np.sum(np.abs(link.bs_to_irs))
    np.testing.assert_allclose(round_trip(link, psi, angles), [expected], rtol=1e-13)
