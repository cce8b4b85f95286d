"""Truths: distances between single elements, moments of the Rician law."""

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.channel.fading import line_of_sight, rician
from heliostat.channel.path_loss import exponent_law, radar_equation
from tests.support.sensing_scenes import real, sensing_scene


def test_line_of_sight_is_the_phase_of_each_path_length():
    far = 1e5  # so far that the wave is plane over both arrays
    scene = sensing_scene(surfaces=((0.6 * far, 0.7 * far, 0.39 * far),), rows=(3,), columns=(2,))
    bs, surface = scene.base_station, scene.surfaces[0]
    channel = line_of_sight(bs.position, bs.array, surface.position, surface.array)
    row, column = np.divmod(np.arange(6), 2)
    element = (
        np.asarray(surface.position)
        + 0.5 * column[:, None] * np.asarray(surface.array.horizontal)
        + 0.5 * row[:, None] * np.asarray(surface.array.vertical)
    )
    antenna = 0.5 * np.arange(16)[:, None] * np.asarray(bs.array.axis)
    length = np.linalg.norm(element[:, None] - antenna[None], axis=2)  # in wavelengths
    expected = np.exp(-2j * np.pi * (length - length[0, 0]))
    np.testing.assert_allclose(channel, expected, atol=5e-3)  # 2 pi 8² / (2 · 1e5)


def test_rician_moments():
    trials, k = 40_000, 3.0
    specular = jnp.exp(1j * real([[0.3, 1.0]]))
    keys = jax.random.split(jax.random.key(0), trials)
    drawn = jax.vmap(lambda key: rician(key, specular, real(k), real(0.1)))(keys)
    mean = 0.1 * np.sqrt(k / (k + 1)) * np.asarray(specular)
    power = 0.1**2
    assert np.all(np.abs(drawn.mean(0) - mean) < 4 * np.sqrt(power / (k + 1) / trials))
    # The power's own standard deviation is below the power itself for any K.
    assert np.all(np.abs((np.abs(drawn) ** 2).mean(0) - power) < 4 * power / np.sqrt(trials))


def test_infinite_factor_leaves_the_specular_part():
    specular = jnp.exp(1j * real([[0.3, 1.0]]))
    channel = rician(jax.random.key(0), specular, real(jnp.inf), real(2.0))
    np.testing.assert_allclose(channel, 2 * specular, rtol=1e-15)


def test_laws_on_paper():
    np.testing.assert_allclose(exponent_law(real(10.0), real(1e-3), real(2.2)), 10**-2.6)
    expected = np.sqrt(1e-3 * 2.0 / (4 * np.pi * 10**4))
    np.testing.assert_allclose(radar_equation(real(10.0), real(1e-3), real(2.0)), expected)
    friis = 0.1**2 * 2.0 / ((4 * np.pi) ** 3 * 10**4)
    # The textbook's radar equation of isotropic antennas: free-space loss at one meter.
    textbook = radar_equation(real(10.0), real((0.1 / (4 * np.pi)) ** 2), real(2.0))
    np.testing.assert_allclose(textbook**2, friis)
