"""Pilots matched to the transmit beams, and their mean as a function of the unknowns."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.frames import Scalar, Vector, travel
from heliostat.observation.pilots import (
    PilotFactors,
    channel_params,
    over_transmit_beams,
    pilot_factors,
    unknowns_at,
)
from heliostat.scene.localization import LocalizationScene


class MatchedPilots(eqx.Module):
    """Samples correlated with the known transmit factor; a sufficient statistic for the pose."""

    samples: Complex[Array, "config rx bin"]  # [√J]
    level: Scalar  # norm of the transmit factor, square root of the active antennas [1]
    unexplained: Scalar  # energy orthogonal to the transmit factor, noise only [J]
    left_out: int = eqx.field(static=True)  # number of samples in that orthogonal part


class PoseUnknowns(eqx.Module):
    """Unknowns of the pose estimator, with the arrival cosine in place of the heading."""

    place: Float[Array, "*candidate 2"]  # x, y [m]
    arrival: Float[Array, "*candidate"]  # direction cosine along the user's array [1]
    clock: Float[Array, "*candidate"]  # offset as a distance [m]


def match_pilots(
    scene: LocalizationScene,
    pilots: Complex[Array, "config tx rx bin"],
) -> MatchedPilots:
    """Correlate samples with the transmit factor, which does not depend on the pose.

    Args:
        scene: Base station and surface.
        pilots: Samples, see `simulate_pilots`. [√J]
    """
    over_tx = over_transmit_beams(scene, pilots.shape[1])
    level = jnp.linalg.norm(over_tx)
    samples = jnp.einsum("b,kbmf->kmf", jnp.conj(over_tx) / level, pilots)
    unexplained = jnp.maximum(energy_of(pilots) - energy_of(samples), 0.0)
    return MatchedPilots(samples, level, unexplained, pilots.size - samples.size)


def simulate_matched(
    scene: LocalizationScene,
    active_antennas: int | Scalar,
    frequency: Float[Array, "bin"],
    *,
    clock: float | Scalar = 0.0,
    key: PRNGKeyArray,
) -> MatchedPilots:
    """Draw `match_pilots` of `simulate_pilots` directly, without a sample per transmit beam.

    Args:
        scene: True scene.
        active_antennas: :math:`N_B`; may be traced.
        frequency: Frequencies of the bins. [Hz]
        clock: Offset of the user's clock, as a distance. [m]
        key: Random key of the noise.
    """
    unknowns = unknowns_at(scene).at[5].set(clock)
    factors = pilot_factors(scene, channel_params(scene, unknowns), 1, frequency)
    level = jnp.sqrt(jnp.asarray(active_antennas, dtype=float))
    mean = outer_product(factors, level)
    noise = jnp.sqrt(scene.link.noise_density)
    drawn = jax.random.normal(key, mean.shape, dtype=mean.dtype)
    return MatchedPilots(mean + noise * drawn, level, jnp.zeros(()), 0)


def energy_of(samples: Array) -> Scalar:
    """Sum of squared magnitudes."""
    return jnp.sum(jnp.abs(samples) ** 2)


def position_at(scene: LocalizationScene, place: Float[Array, "2"]) -> Vector:
    """Position at the user's known height. [m]"""
    return jnp.append(place, scene.user.position[2])


def unit_channel(scene: LocalizationScene, at: PoseUnknowns) -> Float[Array, "param"]:
    """`CHANNEL_PARAMS` for a gain of one and the heading that gives this arrival cosine."""
    direction, distance = travel(scene.surface.position, position_at(scene, at.place))
    _, bs_to_irs = travel(scene.base_station.position, scene.surface.position)
    _, nominal = travel(scene.surface.position, scene.user.position)
    return jnp.stack(
        [
            bs_to_irs + distance + at.clock,
            at.arrival,
            *scene.surface.array.direction_cosines(direction),
            scene.path_amplitude(distance) / scene.path_amplitude(nominal),
            jnp.zeros(()),
        ]
    )


def outer_product(factors: PilotFactors, level: Scalar) -> Complex[Array, "config rx bin"]:
    """Mean of the matched samples. [√J]"""
    return (factors.amplitude * level) * jnp.einsum(
        "k,m,f->kmf", factors.response, factors.over_rx, factors.over_band
    )


def largest_arrival(scene: LocalizationScene, place: Float[Array, "2"]) -> Scalar:
    """Largest arrival cosine at a place over all headings. [1]

    The user's array is horizontal, so this is the horizontal part of the direction of travel.
    """
    direction, _ = travel(scene.surface.position, position_at(scene, place))
    return jnp.hypot(direction[0], direction[1])
