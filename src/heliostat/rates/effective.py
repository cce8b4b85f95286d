"""Effective achievable data rate (EADR): the rate over a period with pilots and optimization.

SNRs are linear power ratios, rates are in bit/s.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.geometry.codebooks import best_beam_gain, dft_codebook
from heliostat.geometry.frames import Scalar, travel, user_axis
from heliostat.observation.paths import paths
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import surface_response


def available_ratio(scene: LocalizationScene) -> Scalar:
    r"""Share of a period available for pilots and data, :math:`c = 1 - T_o/T_c`. [1]"""
    return 1 - scene.frame.optimization / scene.frame.period


def time_ratio(scene: LocalizationScene, active_antennas: int | Scalar) -> Scalar:
    r"""Share of a period used for pilots, :math:`\varpi = N_BN_MT_s/T_c`. [1]"""
    pilots = active_antennas * jnp.asarray(scene.user.antennas, dtype=float)
    return pilots * scene.frame.pilot / scene.frame.period


def path_snrs(scene: LocalizationScene) -> Float[Array, "path"]:
    """Signal-to-noise ratio (SNR) over each path alone, for one antenna at each end. [1]

    The direct path comes first, if there is one.
    """
    noise = scene.link.noise_density * scene.link.bandwidth
    gains = jnp.stack([path.gain * path.config[0, 0] for path in paths(scene, 1, "data")])
    return scene.base_station.power * jnp.abs(gains) ** 2 / noise


def single_antenna_snr(scene: LocalizationScene) -> Scalar:
    r"""SNR for one antenna at each end, :math:`P|\tilde h|^2|s|^2/(N_0B)`. [1]

    The surface has its configuration of the data stage; :math:`|s| = \delta N` if it is focused on
    the user. With several paths, the SNR of the strongest path.
    """
    if not scene.single_path:
        return jnp.max(path_snrs(scene))
    direction, distance = travel(scene.surface.position, scene.user.position)
    response, _ = surface_response(
        scene.surface.array,
        scene.surface.reflection,
        scene.surface.data,
        scene.arrival(),
        scene.surface.array.direction_cosines(direction),
    )
    gain = scene.surface.gain * scene.path_amplitude(distance) * response[0]
    noise = scene.link.noise_density * scene.link.bandwidth
    return scene.base_station.power * jnp.abs(gain) ** 2 / noise


def snr_slope(scene: LocalizationScene) -> Scalar:
    r"""Slope :math:`Y` of the SNR over the time ratio, SNR :math:`= Y\varpi`. [1]

    The SNR is proportional to the number of active antennas, and so is the number of pilots.

    Paper eq. (46) with :math:`|s|^2` in place of :math:`N^2`, which also holds for a surface that
    is not focused on the user and for :math:`\delta < 1`.
    """
    return single_antenna_snr(scene) * scene.frame.period / scene.frame.pilot


def codebook_snr(scene: LocalizationScene, active_antennas: int | Scalar) -> Scalar:
    """SNR over all paths together with the best pair of beams of both DFT codebooks. [1]"""
    if not scene.single_path:
        whole = jnp.sum(beam_amplitudes(scene, active_antennas), axis=0)
        return jnp.max(jnp.abs(whole) ** 2)
    direction, _ = travel(scene.surface.position, scene.user.position)
    bs_step = 2 * jnp.pi * scene.base_station.array.spacing * scene.bs_departure()
    arrival = jnp.dot(direction, user_axis(scene.user.heading))
    user_step = 2 * jnp.pi * scene.user.spacing * arrival
    transmit_gain = best_beam_gain(active_antennas, bs_step)
    receive_gain = best_beam_gain(scene.user.antennas, user_step)
    return single_antenna_snr(scene) * transmit_gain * receive_gain


def snr_by_path(scene: LocalizationScene, active_antennas: int | Scalar) -> Float[Array, "path"]:
    """SNR over each path alone with the best pair of codebook beams for this path. [1]

    The direct path comes first, if there is one; blocked paths have an SNR of 0.
    """
    if scene.single_path:
        return codebook_snr(scene, active_antennas)[None]
    return jnp.max(jnp.abs(beam_amplitudes(scene, active_antennas)) ** 2, axis=(1, 2))


def beam_amplitudes(
    scene: LocalizationScene, active_antennas: int | Scalar
) -> Complex[Array, "path rx tx"]:
    """Complex amplitude for each path and pair of beams; its squared modulus is the SNR. [1]"""
    factors = beam_factors(scene, active_antennas)
    return factors.receive[:, :, None] * factors.transmit[:, None, :]


class BeamFactors(NamedTuple):
    """Factors of the amplitude over each path for each pair of codebook beams.

    The squared modulus of the sum of their products over the paths is the SNR.
    """

    receive: Complex[Array, "path rx"]  # with gain and response of the surface, for unit noise [1]
    transmit: Complex[Array, "path tx"]  # beams of inactive antennas are zero [1]


def beam_factors(scene: LocalizationScene, active_antennas: int | Scalar) -> BeamFactors:
    """Return the factors of the amplitudes over all paths in the data stage.

    Args:
        scene: The scene.
        active_antennas: :math:`N_B`; may be traced.
    """
    index = jnp.arange(scene.base_station.array.elements)
    turn = jnp.mod(index[:, None] * index[None, :], active_antennas) / active_antennas
    transmit = jnp.exp(-2j * jnp.pi * turn) / jnp.sqrt(jnp.asarray(active_antennas, dtype=float))
    transmit = jnp.where((index < active_antennas)[None, :], transmit, 0.0)
    receive = dft_codebook(scene.user.antennas)
    noise = scene.link.noise_density * scene.link.bandwidth
    scale = jnp.sqrt(scene.base_station.power / noise)
    found = paths(scene, active_antennas, "data")
    return BeamFactors(
        jnp.stack(
            [
                scale * path.gain * path.config[0, 0] * (jnp.conj(receive).T @ path.rx[0])
                for path in found
            ]
        ),
        jnp.stack([path.tx[0] @ transmit for path in found]),
    )


def rate_left(
    scene: LocalizationScene, ratio: Float[Array, "*#any"], snr: Float[Array, "*#any"]
) -> Float[Array, "*any"]:
    r"""Rate in the time without pilots, :math:`(c - \varpi)B\log_2(1 + \mathrm{SNR})`. [bit/s]

    Args:
        scene: Bandwidth and period.
        ratio: :math:`\varpi`; the rate is 0 above :math:`c`. [1]
        snr: SNR of the data. [1]
    """
    left = jnp.maximum(available_ratio(scene) - ratio, 0.0)
    # log1p is accurate for a small SNR.
    return left * scene.link.bandwidth * jnp.log1p(snr) / jnp.log(2.0)


def eadr(scene: LocalizationScene, active_antennas: int | Scalar) -> Scalar:
    r"""Effective rate with codebook beams, paper eq. (39). [bit/s]

    .. math:: R = \Big(1 - \frac{MT_s + T_o}{T_c}\Big) B\log_2(1 + \mathrm{SNR}),

    zero if the pilots take all of the time.

    Args:
        scene: The scene.
        active_antennas: :math:`N_B`; may be traced.
    """
    return rate_left(
        scene, time_ratio(scene, active_antennas), codebook_snr(scene, active_antennas)
    )


def eadr_closed_form(scene: LocalizationScene, ratio: Scalar) -> Scalar:
    r"""Effective rate with beams that point exactly, paper eq. (42). [bit/s]

    .. math:: R = (c - \varpi) B \log_2(1 + Y\varpi)

    Args:
        scene: The scene.
        ratio: :math:`\varpi`. [1]
    """
    return rate_left(scene, ratio, snr_slope(scene) * ratio)
