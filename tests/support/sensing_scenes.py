"""Sensing scenes for tests, built without scenario files."""

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.channel.fading import line_of_sight, rician
from heliostat.channel.path_loss import exponent_law, radar_equation
from heliostat.geometry.arrays import LinearArray, PlanarArray
from heliostat.scene.localization import BaseStation
from heliostat.scene.sensing import SensingScene, Target
from heliostat.surface.active import ActiveSurface, random_reflection


def real(x):
    return jnp.asarray(x, dtype=float)


def sensing_scene(
    *,
    antennas=16,
    rows=(4, 4),
    columns=(4, 4),
    spacing=(0.5, 0.5),
    surfaces=((-5.0, 10.0, 0.0), (-5.0, 20.0, 0.0)),
    target=(5.0, 15.0, 0.0),
    amplification=8.0,
    surface_power=0.1,
    power=20.0,
    noise=1e-11,
    surface_noise=1e-11,
    rician_factor=10**0.5,
    symbols=100.0,
    turn=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    seed=0,
):
    """The paper's set-up unless told otherwise; ``turn`` rotates everything."""
    turn = np.asarray(turn)

    def place(x):
        return real(turn @ np.asarray(x, dtype=float))

    bs = BaseStation(
        place([0, 0, 0]), LinearArray(place([0, 1, 0]), real(0.5), antennas), real(power)
    )
    placed, channels, gains = [], [], []
    for i, position in enumerate(surfaces):
        array = PlanarArray(
            place([0, 1, 0]), place([0, 0, 1]), place([1, 0, 0]), real(spacing), columns[i], rows[i]
        )
        surface = ActiveSurface(
            place(position), array, real(amplification), real(surface_power), real(surface_noise)
        )
        placed.append(surface)
        amplitude = exponent_law(jnp.linalg.norm(surface.position), real(1e-3), real(2.2))
        specular = line_of_sight(bs.position, bs.array, surface.position, array)
        key = jax.random.fold_in(jax.random.key(seed), i)
        channels.append(rician(key, specular, real(rician_factor), amplitude))
        distance = jnp.linalg.norm(place(target) - surface.position)
        gains.append(radar_equation(distance, real(1e-3), real(1.0)) * jnp.exp(1j * (0.7 + i)))
    return SensingScene(
        bs,
        tuple(placed),
        Target(place(target)),
        tuple(channels),
        jnp.stack(gains),
        real(noise),
        real(symbols),
    )


def random_reflections(scene, seed=1, patterns=1):
    """Random phases at full gain, [pattern element] for each surface."""
    return tuple(
        jnp.stack(
            [
                random_reflection(
                    jax.random.fold_in(jax.random.key(seed), 10 * i + k),
                    s.array.elements,
                    s.amplification,
                )
                for k in range(patterns)
            ]
        )
        for i, s in enumerate(scene.surfaces)
    )


def random_covariance(rng, antennas, rank, power=1.0):
    factor = rng.normal(size=(antennas, rank)) + 1j * rng.normal(size=(antennas, rank))
    covariance = factor @ factor.conj().T
    return jnp.asarray(power * covariance / np.trace(covariance).real)
