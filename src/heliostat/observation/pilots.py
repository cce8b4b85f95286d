r"""Pilots received by a user through a passive surface.

For transmit beam b, receive beam m, surface configuration k and frequency f the mean is

.. math:: u = \sqrt{P T_s / (K F)}\; \tilde h\; s_k\,
              (a_{TX}^H w_b)\,(w_m^H a_{RX})\, e^{-j 2\pi f \tau},

in complex white noise of density :math:`N_0`: paper eqs. (3), (17), (19). The K configurations
divide the duration :math:`T_s` of each pilot equally, the F frequencies its flat band.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.arrays import linear_steering
from heliostat.geometry.codebooks import dft_codebook
from heliostat.geometry.frames import Scalar, travel, user_axis
from heliostat.scene.localization import LocalizationScene, User
from heliostat.surface.passive import surface_response
from heliostat.units import SPEED_OF_LIGHT

CHANNEL_PARAMS = (
    "delay",  # over the whole path, as a distance [m]
    "user_arrival",  # direction cosine along the user's array [1]
    "departure_horizontal",  # direction cosines at the surface [1]
    "departure_vertical",
    "gain_real",  # path gain over its nominal amplitude [1]
    "gain_imaginary",
)
UNKNOWNS = ("x", "y", "heading", "log_gain", "gain_phase", "clock")
"""Possible unknowns: pose [m, m, rad], logarithm of the gain [1, rad], clock offset [m]."""


def band_nodes(bandwidth: Scalar) -> Float[Array, "bin"]:
    r"""Two frequencies with the same second moments as a flat band. [Hz]

    Gauss-Legendre: :math:`\pm B/\sqrt{12}` integrate 1, :math:`\omega` and :math:`\omega^2` over
    the band exactly, so that the delay information is :math:`\pi^2B^2/3` (paper eq. (70)).
    """
    return bandwidth / jnp.sqrt(12.0) * jnp.array([-1.0, 1.0])


def band_bins(bandwidth: Scalar, bins: int) -> Float[Array, "bin"]:
    r"""Centers of equal parts of a flat band. [Hz]

    Their delay information is :math:`\pi^2B^2/3\,(1 - 1/F^2)`, and delays that differ by a multiple
    of :math:`F/B` give the same samples.

    Args:
        bandwidth: :math:`B`. [Hz]
        bins: Number of bins, :math:`F`.
    """
    return bandwidth * ((jnp.arange(bins) + 0.5) / bins - 0.5)


def unknowns_at(scene: LocalizationScene) -> Float[Array, "unknown"]:
    """True values of `UNKNOWNS`: the user's pose, zero deviations of gain and clock."""
    pose = jnp.stack([scene.user.position[0], scene.user.position[1], scene.user.heading])
    return jnp.concatenate([pose, jnp.zeros(3)])


def channel_params(
    scene: LocalizationScene, unknowns: Float[Array, "unknown"]
) -> Float[Array, "param"]:
    r"""Channel parameters as a function of pose, gain and clock.

    Args:
        scene: Known quantities; of the user, only its height and array are used.
        unknowns: See `UNKNOWNS`.

    Returns:
        See `CHANNEL_PARAMS`. The gain is divided by the path amplitude at the scene's own user,
        the delay is a distance, so that all parameters are of order one in their natural scale.

    Paper eqs. (7)-(12), (24); the direction cosines replace its arcsin and arccos.
    """
    x, y, heading, log_gain, gain_phase, clock = unknowns
    position = jnp.stack([x, y, scene.user.position[2]])
    direction, irs_to_user = travel(scene.surface.position, position)
    _, bs_to_irs = travel(scene.base_station.position, scene.surface.position)
    _, nominal = travel(scene.surface.position, scene.user.position)
    amplitude = scene.path_amplitude(irs_to_user) / scene.path_amplitude(nominal)
    gain = scene.surface.gain * amplitude * jnp.exp(log_gain + 1j * gain_phase)
    return jnp.stack(
        [
            bs_to_irs + irs_to_user + clock,
            jnp.dot(direction, user_axis(heading)),
            *scene.surface.array.direction_cosines(direction),
            jnp.real(gain),
            jnp.imag(gain),
        ]
    )


class PilotFactors(eqx.Module):
    """Factors of the mean of the pilots, which is their outer product times the amplitude."""

    response: Complex[Array, "config"]  # of the surface, s [1]
    over_tx: Complex[Array, "tx"]  # over the transmit beams [1]
    over_rx: Complex[Array, "rx"]  # over the receive beams [1]
    over_band: Complex[Array, "bin"]  # phase factor of the delay at each frequency [1]
    amplitude: Complex[Array, ""]  # [√J]


def over_transmit_beams(scene: LocalizationScene, active_antennas: int) -> Complex[Array, "tx"]:
    r"""Factor of the mean for each transmit beam, :math:`a_{TX}^H w_b`. [1]

    Args:
        scene: Base station and surface.
        active_antennas: :math:`N_B`, also the number of transmit beams.
    """
    transmitted = linear_steering(
        active_antennas, scene.base_station.array.spacing, scene.bs_departure()
    )
    return jnp.conj(transmitted) @ dft_codebook(active_antennas)


def over_receive_beams(user: User, arrival: Scalar) -> Complex[Array, "rx"]:
    r"""Factor of the mean for each receive beam, :math:`w_m^H a_{RX}`. [1]

    Args:
        user: The user's array.
        arrival: Direction cosine along it. [1]
    """
    received = linear_steering(user.antennas, user.spacing, arrival)
    return jnp.conj(dft_codebook(user.antennas)).T @ received


def over_frequencies(frequency: Float[Array, "bin"], delay: Scalar) -> Complex[Array, "bin"]:
    r"""Phase factor of the delay at each frequency, :math:`e^{-j2\pi f\tau}`. [1]

    Args:
        frequency: Offsets from the carrier. [Hz]
        delay: Delay as a distance. [m]
    """
    return jnp.exp(-2j * jnp.pi * frequency * delay / SPEED_OF_LIGHT)


def pilot_factors(
    scene: LocalizationScene,
    channel: Float[Array, "param"],
    active_antennas: int,
    frequency: Float[Array, "bin"],
) -> PilotFactors:
    """Factors of `pilot_mean`, for use without forming all beam pairs.

    Arguments as for `pilot_mean`.
    """
    delay, user_arrival, horizontal, vertical, gain_real, gain_imaginary = channel
    user = scene.user
    response, _ = surface_response(
        scene.surface.array,
        scene.surface.reflection,
        scene.surface.alignment,
        scene.arrival(),
        jnp.stack([horizontal, vertical]),
    )
    _, nominal = travel(scene.surface.position, user.position)
    energy = scene.base_station.power * scene.frame.pilot / (response.size * frequency.size)
    gain = (gain_real + 1j * gain_imaginary) * scene.path_amplitude(nominal)
    return PilotFactors(
        response,
        over_transmit_beams(scene, active_antennas),
        over_receive_beams(user, user_arrival),
        over_frequencies(frequency, delay),
        jnp.sqrt(energy) * gain,
    )


def pilot_mean(
    scene: LocalizationScene,
    channel: Float[Array, "param"],
    active_antennas: int,
    frequency: Float[Array, "bin"],
) -> Complex[Array, "config tx rx bin"]:
    r"""Mean of the received samples for all configurations, beam pairs and frequencies.

    Args:
        scene: Scene; its user's position sets the nominal path amplitude.
        channel: See `CHANNEL_PARAMS`.
        active_antennas: :math:`N_B`, also the number of transmit beams.
        frequency: Offsets from the carrier. [Hz]

    Returns:
        Energy-normalized samples [√J]; their noise has the variance :math:`N_0` [J].
    """
    factors = pilot_factors(scene, channel, active_antennas, frequency)
    return factors.amplitude * jnp.einsum(
        "k,b,m,f->kbmf", factors.response, factors.over_tx, factors.over_rx, factors.over_band
    )


def simulate_pilots(
    scene: LocalizationScene,
    active_antennas: int,
    frequency: Float[Array, "bin"],
    *,
    clock: float | Scalar = 0.0,
    key: PRNGKeyArray,
) -> Complex[Array, "config tx rx bin"]:
    r"""Received samples of one alignment stage, mean plus noise of density :math:`N_0`. [√J]

    Args:
        scene: True scene.
        active_antennas: :math:`N_B`.
        frequency: Offsets from the carrier, see `band_bins`. [Hz]
        clock: Offset of the user's clock, as a distance. [m]
        key: Random key of the noise.
    """
    unknowns = unknowns_at(scene).at[5].set(clock)
    mean = pilot_mean(scene, channel_params(scene, unknowns), active_antennas, frequency)
    spread = jnp.sqrt(scene.link.noise_density)
    return mean + spread * jax.random.normal(key, mean.shape, dtype=mean.dtype)
