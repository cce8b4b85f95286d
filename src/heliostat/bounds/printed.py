r"""Error bound exactly as printed in the localization paper, for comparison only.

Appendices A to C: angles, a 6x6 matrix over
:math:`(\tau, \varphi_{RX}, \varphi^a, \varphi^e, \tilde h_R, \tilde h_I)` and :math:`J = TAT^T`.
The errors are 1/N0 for 2/N0, a minus sign in (117), an arcsin with the derivative of an arctan2 in
(9), (90), (96), and opposite signs of the vertical cosine in (10) and (11). `bounds.pose` is the
correct bound.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from heliostat.bounds.pose import PoseInformation
from heliostat.geometry.arrays import linear_steering
from heliostat.geometry.frames import Scalar
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import Steered
from heliostat.units import SPEED_OF_LIGHT


def pose_information_as_printed(
    scene: LocalizationScene, active_antennas: int | Scalar
) -> PoseInformation:
    """Fisher information from (36), (88)-(102) and (112)-(128) as printed, with 1/N0.

    Args:
        scene: The paper's geometry: panel in the y-z plane facing +x, base station's array along
            x, user at height 0, one steered configuration, gain and clock known, sum-distance law.
        active_antennas: :math:`N_B`; may be traced.

    Raises:
        TypeError: The surface is set by phases; the paper prints steered ones only.
    """
    steered = scene.surface.alignment
    if not isinstance(steered, Steered):
        raise TypeError("The printed forms are for a steered surface; this one is set by phases.")
    user, link, array = scene.user, scene.link, scene.surface.array
    dx, dy, fall = user.position - scene.surface.position
    height = -fall
    distance = jnp.sqrt(dx**2 + dy**2 + height**2)
    ground = jnp.sqrt(dx**2 + dy**2)
    cos_heading, sin_heading = jnp.cos(user.heading), jnp.sin(user.heading)
    across = dx * cos_heading - dy * sin_heading

    azimuth = jnp.arcsin(dy / ground)  # (9)
    elevation = jnp.arccos(height / distance)  # (11)
    user_arrival = jnp.arcsin(across / distance)  # (12)

    # gamma_IRS and its slopes: (61), (63), (64) with (35).
    spacing = 2 * jnp.pi * array.spacing
    focus_horizontal, focus_vertical = steered.focus
    weight_row = linear_steering(array.columns, array.spacing[0], focus_horizontal)
    weight_column = linear_steering(array.rows, array.spacing[1], -focus_vertical)
    row = weight_row * jnp.conj(
        linear_steering(array.columns, array.spacing[0], jnp.sin(azimuth) * jnp.sin(elevation))
    )
    column = weight_column * jnp.conj(
        linear_steering(array.rows, array.spacing[1], jnp.cos(elevation))
    )
    p, q = jnp.arange(array.columns), jnp.arange(array.rows)
    row_lag, column_lag = -1j * spacing[0] * p, -1j * spacing[1] * q
    response = row.sum() * column.sum()
    by_azimuth = (row_lag * row).sum() * column.sum() * jnp.cos(azimuth) * jnp.sin(elevation)
    by_elevation = (row_lag * row).sum() * column.sum() * jnp.sin(azimuth) * jnp.cos(
        elevation
    ) - row.sum() * (column_lag * column).sum() * jnp.sin(elevation)

    # A: (112)-(128).
    nominal = scene.path_amplitude(distance)
    gain = scene.surface.gain * nominal
    gain_power = jnp.abs(gain) ** 2
    bins = float(user.antennas)
    receive = 2 * jnp.pi * user.spacing * jnp.cos(user_arrival)
    mean_lag = -0.5j * receive * (bins - 1)
    strength = jnp.abs(response) ** 2
    zero = jnp.zeros(())
    a12_to_16 = [zero] * 5
    a22 = receive**2 * (bins - 1) * (2 * bins - 1) / 6 * gain_power * strength
    a23 = gain_power * jnp.real(mean_lag * jnp.conj(response) * by_azimuth)
    a24 = gain_power * jnp.real(mean_lag * jnp.conj(response) * by_elevation)
    a25 = jnp.real(mean_lag * jnp.conj(gain)) * strength
    a26 = jnp.real(1j * mean_lag * jnp.conj(gain)) * strength
    a33 = gain_power * jnp.abs(by_azimuth) ** 2
    a34 = gain_power * jnp.real(jnp.conj(by_azimuth) * by_elevation)
    a35 = jnp.real(jnp.conj(gain) * jnp.conj(by_azimuth) * response)
    a36 = jnp.real(1j * jnp.conj(gain) * jnp.conj(by_azimuth) * response)
    a44 = gain_power * jnp.abs(by_elevation) ** 2
    a45 = jnp.real(jnp.conj(gain) * jnp.conj(by_elevation) * response)
    a46 = jnp.real(1j * jnp.conj(gain) * jnp.conj(by_elevation) * response)
    a11 = (jnp.pi * link.bandwidth) ** 2 / 3 * gain_power * strength
    rows = [
        [a11, *a12_to_16],
        [zero, a22, a23, a24, a25, a26],
        [zero, a23, a33, a34, a35, a36],
        [zero, a24, a34, a44, a45, a46],
        [zero, a25, a35, a45, strength, zero],
        [zero, a26, a36, a46, zero, -strength],  # (117): a Fisher matrix never has this minus
    ]
    pilots = active_antennas * bins
    energy = scene.base_station.power * scene.frame.pilot
    matrix = pilots * energy / link.noise_density * jnp.stack([jnp.stack(r) for r in rows])

    # T: (88)-(102).
    broadside = jnp.sqrt(distance**2 - across**2)
    offset = scene.surface.position - scene.base_station.position
    whole = jnp.linalg.norm(offset) + distance
    decay = -nominal * scene.surface.gain / whole / distance

    def by(step: Scalar, turn: Scalar, azimuth_slope: Scalar) -> Array:
        return jnp.stack(
            [
                step / (SPEED_OF_LIGHT * distance),
                (turn - step * across / distance**2) / broadside,
                azimuth_slope,
                height * step / (distance**2 * ground),
                jnp.real(decay) * step,
                jnp.imag(decay) * step,
            ]
        )

    heading_slope = -(dx * sin_heading + dy * cos_heading) / broadside
    jacobian: Float[Array, "pose param"] = jnp.stack(
        [
            by(dx, cos_heading, -dy / ground**2),
            by(dy, -sin_heading, dx / ground**2),
            jnp.stack([zero, heading_slope, zero, zero, zero, zero]),
        ]
    )
    alone = jnp.abs(jnp.diagonal(matrix))
    to_position = alone @ jnp.sum(jacobian[:2] ** 2, axis=0)
    reference = jnp.stack([to_position, to_position, alone[1] * jnp.cos(user_arrival) ** -2])
    return PoseInformation(jacobian @ matrix @ jacobian.T, reference)
