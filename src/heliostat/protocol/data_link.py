"""Signal-to-noise ratio of the data with beams chosen from estimates."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from heliostat.geometry.arrays import linear_steering
from heliostat.geometry.codebooks import best_beam_gain, dft_codebook
from heliostat.geometry.frames import Scalar, travel, user_axis
from heliostat.rates.effective import beam_amplitudes, single_antenna_snr
from heliostat.scene.localization import LocalizationScene


class DataLink(NamedTuple):
    """SNR of the data, and its prediction from the estimates."""

    snr: Scalar  # over all paths together [1]
    predicted: Scalar  # [1]
    path_snr: Float[Array, "path"]  # over each path alone [1]


def data_link(
    scene: LocalizationScene,
    estimated: LocalizationScene,
    active_antennas: Scalar,
    receive_beam: Int[Array, ""],
) -> DataLink:
    """SNR of the data over one path or several.

    Args:
        scene: The true scene with the surfaces configured for data.
        estimated: The scene with estimated pose and gains, and the same configurations.
        active_antennas: :math:`N_B`.
        receive_beam: Index of the receive beam in which the pilots were strongest. It is used for a
            single path; with several paths the estimated scene determines both beams, because the
            sum over the paths depends on the configurations of the surfaces.
    """
    if scene.single_path:
        snr, predicted = (data_snr(s, active_antennas, receive_beam) for s in (scene, estimated))
        return DataLink(snr, predicted, snr[None])
    expected = jnp.abs(jnp.sum(beam_amplitudes(estimated, active_antennas), axis=0)) ** 2
    receive, transmit = jnp.unravel_index(jnp.argmax(expected), expected.shape)
    amplitudes = beam_amplitudes(scene, active_antennas)[:, receive, transmit]
    return DataLink(
        jnp.abs(jnp.sum(amplitudes)) ** 2, expected[receive, transmit], jnp.abs(amplitudes) ** 2
    )


def data_snr(
    scene: LocalizationScene, active_antennas: Scalar, receive_beam: Int[Array, ""]
) -> Scalar:
    """SNR of the data with a given receive beam. [1]

    `rates.effective.codebook_snr` takes the best receive beam for the true pose instead.

    Args:
        scene: The true scene with the surface configured for data.
        active_antennas: :math:`N_B`.
        receive_beam: Index of the receive beam.
    """
    user = scene.user
    direction, _ = travel(scene.surface.position, user.position)
    arrival = jnp.dot(direction, user_axis(user.heading))
    beam = dft_codebook(user.antennas)[:, receive_beam]
    receive = jnp.abs(jnp.vdot(beam, linear_steering(user.antennas, user.spacing, arrival))) ** 2
    step = 2 * jnp.pi * scene.base_station.array.spacing * scene.bs_departure()
    return single_antenna_snr(scene) * best_beam_gain(active_antennas, step) * receive
