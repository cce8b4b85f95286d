r"""Pilots received over the direct path and over one path through each surface.

For configuration k, transmit beam b, receive beam m and frequency f the mean is

.. math:: u = \sqrt{\frac{P T_s}{K F}}\sum_i g_i\,c_{i,k}\,(t_i^T w_b)\,(w_m^H r_i)\,
              e^{-j 2\pi f (\tau_i + \tau_c)},

where the sum is over the paths i. :math:`c_{i,k}` is the response of surface i in configuration k
times the sign of its code (1 for the direct path), :math:`t_i` and :math:`r_i` are the responses of
the arrays of base station and user, :math:`g_i` is the complex gain, :math:`\tau_i` the delay, and
:math:`\tau_c` the offset of the user's clock. Each term is the mean in `observation.pilots`. Paths
interfere; they are not assumed to be resolved.
"""

from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.codebooks import dft_codebook
from heliostat.geometry.frames import Scalar, Vector, travel, user_axis
from heliostat.observation.pilots import over_frequencies
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import surface_response
from heliostat.surface.spherical import spherical_response

POSE_AND_CLOCK = ("x", "y", "heading", "clock")
"""Unknowns other than the gains: x [m], y [m], heading [rad], clock offset as a distance [m]."""

Stage: TypeAlias = Literal["alignment", "data"]

Slopes: TypeAlias = Float[Array, "4"]
"""Derivatives with respect to `POSE_AND_CLOCK`."""


class Path(eqx.Module):
    """Factors of the mean of the pilots over one path, with their derivatives.

    The first axis of ``config``, ``tx`` and ``rx`` is the value followed by the derivatives with
    respect to `POSE_AND_CLOCK`.
    """

    gain: Complex[Array, ""]  # g_i, with the path's amplitude [1]
    decay: Slopes  # derivative of the logarithm of the amplitude
    config: Complex[Array, "5 config"]  # c_i of all configurations [1]
    tx: Complex[Array, "5 tx"]  # t_i over the antennas of the base station [1]
    rx: Complex[Array, "5 rx"]  # r_i over the antennas of the user [1]
    length: Scalar  # of the path [m]
    length_slope: Slopes  # derivatives of the sum of length and clock offset


def paths(
    scene: LocalizationScene, active_antennas: int | Scalar, stage: Stage = "alignment"
) -> tuple[Path, ...]:
    r"""Return all paths to the scene's user, the direct path first if there is one.

    The gain of a path is zero if it is blocked or if the user is behind its surface.

    Args:
        scene: The scene.
        active_antennas: :math:`N_B`; the response of inactive antennas is zero.
        stage: Stage of the period, which determines the configurations of the surfaces.
    """
    count = scene.surface.data.count
    if stage == "alignment":
        count = scene.surface.alignment.count * scene.surface.code.size
    found = [] if scene.direct is None else [_direct(scene, active_antennas, count)]
    through = [scene.through(i) for i in range(len(scene.surfaces))]
    return tuple(found + [_reflected(one, active_antennas, stage) for one in through])


def _direct(scene: LocalizationScene, active_antennas: int | Scalar, count: int) -> Path:
    assert scene.direct is not None
    base_station, user = scene.base_station, scene.user
    direction, distance = travel(base_station.position, user.position)
    cosine = jnp.dot(direction, base_station.array.axis)
    tx, per_cosine = _transmit(scene, cosine, active_antennas)
    slope = (base_station.array.axis - cosine * direction) / distance
    amplitude = scene.direct.attenuation * scene.link.wavelength / (4 * jnp.pi * distance)
    return Path(
        gain=scene.direct.gain * amplitude,
        decay=_position_slopes(-direction / distance),
        config=jnp.zeros((5, count), dtype=complex).at[0].set(1.0),
        tx=jnp.stack([tx, *(per_cosine * s for s in slope[:2]), 0 * tx, 0 * tx]),
        rx=_receive(scene, direction, distance),
        length=distance,
        length_slope=_position_slopes(direction).at[3].set(1.0),
    )


def _reflected(scene: LocalizationScene, active_antennas: int | Scalar, stage: Stage) -> Path:
    """The path through the only surface of a scene."""
    surface, user = scene.surface, scene.user
    configurations = surface.alignment if stage == "alignment" else surface.data
    code = surface.code if stage == "alignment" else jnp.ones(1)
    center = scene.reflection_point()
    direction, distance = travel(center, user.position)
    arrival, bs_to_irs = travel(scene.base_station.position, center)
    if surface.spherical:
        response, slope = spherical_response(
            surface.array,
            surface.reflection,
            configurations,
            scene.link.wavelength,
            scene.base_station.position,
            center,
            user.position,
        )
    else:
        array = surface.array
        departure = array.direction_cosines(direction)
        response, per_cosine = surface_response(
            array, surface.reflection, configurations, scene.arrival(), departure
        )
        sides = jnp.stack([array.horizontal, array.vertical])
        slope = per_cosine @ ((sides - departure[:, None] * direction[None, :]) / distance)
    zero = jnp.zeros_like(response)
    tx, _ = _transmit(scene, jnp.dot(arrival, scene.base_station.array.axis), active_antennas)
    amplitude, decay = scene.amplitude_and_decay(distance)
    return Path(
        gain=jnp.where(jnp.dot(direction, surface.array.normal) > 0, surface.gain * amplitude, 0.0),
        decay=_position_slopes(decay * direction),
        config=jnp.kron(jnp.stack([response, slope[:, 0], slope[:, 1], zero, zero]), code[None, :]),
        tx=jnp.zeros((5, tx.size), dtype=complex).at[0].set(tx),
        rx=_receive(scene, direction, distance),
        length=bs_to_irs + distance,
        length_slope=_position_slopes(direction).at[3].set(1.0),
    )


def _position_slopes(gradient: Vector) -> Slopes:
    return jnp.stack([gradient[0], gradient[1], jnp.zeros(()), jnp.zeros(())])


def _transmit(
    scene: LocalizationScene, cosine: Scalar, active_antennas: int | Scalar
) -> tuple[Complex[Array, "tx"], Complex[Array, "tx"]]:
    """Response of the active antennas towards a direction, and its derivative."""
    array = scene.base_station.array
    index = jnp.arange(array.elements)
    phase = -2j * jnp.pi * array.spacing * index
    response = jnp.where(index < active_antennas, jnp.exp(phase * cosine), 0.0)
    return response, phase * response


def _receive(
    scene: LocalizationScene, direction: Vector, distance: Scalar
) -> Complex[Array, "5 rx"]:
    """Response of the user's array, and its derivatives."""
    user = scene.user
    axis, turned = user_axis(user.heading), user_axis(user.heading + jnp.pi / 2)
    cosine = jnp.dot(direction, axis)
    phase = 2j * jnp.pi * user.spacing * jnp.arange(user.antennas)
    response = jnp.exp(phase * cosine)
    slope = (axis - cosine * direction) / distance
    per_cosine = phase * response
    return jnp.stack(
        [
            response,
            per_cosine * slope[0],
            per_cosine * slope[1],
            per_cosine * jnp.dot(direction, turned),
            jnp.zeros_like(response),
        ]
    )


def mean_at_antennas(
    scene: LocalizationScene,
    active_antennas: int | Scalar,
    frequency: Float[Array, "bin"],
    clock: float | Scalar = 0.0,
) -> Complex[Array, "config tx rx bin"]:
    r"""Mean of the received samples for all configurations, pairs of antennas and frequencies. [√J]

    The codebooks are unitary transforms of the active antennas, so that samples for all pairs of
    antennas have the same information and the same noise as samples for all pairs of beams.

    Args:
        scene: The scene.
        active_antennas: :math:`N_B`; may be traced. The mean of inactive antennas is zero.
        frequency: Frequencies relative to the carrier. [Hz]
        clock: Offset of the user's clock, as a distance. [m]
    """
    energy = scene.base_station.power * scene.frame.pilot
    found = paths(scene, active_antennas)
    share = jnp.sqrt(energy / (found[0].config.shape[1] * frequency.size))
    mean = jnp.zeros((), dtype=complex)
    for path in found:
        mean = mean + path.gain * jnp.einsum(
            "k,n,m,f->knmf",
            path.config[0],
            path.tx[0],
            path.rx[0],
            over_frequencies(frequency, path.length + clock),
        )
    return share * mean


def paths_mean(
    scene: LocalizationScene,
    active_antennas: int,
    frequency: Float[Array, "bin"],
    clock: float | Scalar = 0.0,
) -> Complex[Array, "config tx rx bin"]:
    r"""Mean of the received samples for all configurations, beam pairs and frequencies. [√J]

    Args:
        scene: The scene.
        active_antennas: :math:`N_B`, also the number of transmit beams.
        frequency: Frequencies relative to the carrier. [Hz]
        clock: Offset of the user's clock, as a distance. [m]
    """
    return at_beams(mean_at_antennas(scene, active_antennas, frequency, clock), active_antennas)


def at_beams(
    samples: Complex[Array, "config antenna rx bin"], active_antennas: int
) -> Complex[Array, "config tx rx bin"]:
    """Transform samples for pairs of antennas to samples for pairs of beams, see `paths_mean`.

    Args:
        samples: Samples for all pairs of antennas.
        active_antennas: :math:`N_B`.
    """
    transmit, receive = dft_codebook(active_antennas), dft_codebook(samples.shape[2])
    active = samples[:, :active_antennas]
    return jnp.einsum("knmf,nb,mr->kbrf", active, transmit, jnp.conj(receive), optimize=True)


def at_antennas(
    pilots: Complex[Array, "config tx rx bin"], antennas: int
) -> Complex[Array, "config antenna rx bin"]:
    """Transform samples for pairs of beams to samples for pairs of antennas, see `at_beams`.

    Args:
        pilots: Samples for all pairs of beams; there are as many transmit beams as active antennas.
        antennas: Number of antennas of the base station; the samples of inactive ones are zero.
    """
    active = pilots.shape[1]
    transmit, receive = dft_codebook(active), dft_codebook(pilots.shape[2])
    samples = jnp.einsum("kbrf,nb,mr->knmf", pilots, jnp.conj(transmit), receive, optimize=True)
    return jnp.pad(samples, ((0, 0), (0, antennas - active), (0, 0), (0, 0)))


def simulate_at_antennas(
    scene: LocalizationScene,
    active_antennas: int | Scalar,
    frequency: Float[Array, "bin"],
    *,
    clock: float | Scalar = 0.0,
    key: PRNGKeyArray,
) -> Complex[Array, "config tx rx bin"]:
    r"""Received samples for all pairs of antennas, mean plus noise of density :math:`N_0`. [√J]

    Args:
        scene: True scene.
        active_antennas: :math:`N_B`; may be traced. The samples of inactive antennas are zero.
        frequency: Frequencies relative to the carrier. [Hz]
        clock: Offset of the user's clock, as a distance. [m]
        key: Random key of the noise.
    """
    mean = mean_at_antennas(scene, active_antennas, frequency, clock)
    spread = jnp.sqrt(scene.link.noise_density)
    noise = spread * jax.random.normal(key, mean.shape, dtype=mean.dtype)
    active = jnp.arange(mean.shape[1]) < active_antennas
    return mean + jnp.where(active[None, :, None, None], noise, 0.0)


def simulate_path_pilots(
    scene: LocalizationScene,
    active_antennas: int,
    frequency: Float[Array, "bin"],
    *,
    clock: float | Scalar = 0.0,
    key: PRNGKeyArray,
) -> Complex[Array, "config tx rx bin"]:
    r"""Received samples for all pairs of beams, see `simulate_at_antennas`. [√J]

    Args:
        scene: True scene.
        active_antennas: :math:`N_B`, also the number of transmit beams.
        frequency: Frequencies relative to the carrier. [Hz]
        clock: Offset of the user's clock, as a distance. [m]
        key: Random key of the noise.
    """
    samples = simulate_at_antennas(scene, active_antennas, frequency, clock=clock, key=key)
    return at_beams(samples, active_antennas)
