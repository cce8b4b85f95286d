"""Noise that an active surface radiates, for arrays and plain numbers alike; needs no JAX."""

from typing import Any


def radiated_noise(reflection_gain: Any, target_gain_power: Any, noise: Any) -> tuple[Any, Any]:
    r"""Second and fourth term of the sensing paper's eq. (7). [W]

    Args:
        reflection_gain: :math:`\|\psi\|^2` of the coefficients. [1]
        target_gain_power: :math:`|\beta|^2`. [1]
        noise: :math:`\sigma_r^2` of one element and pass. [W]

    Returns:
        The target's echo of the noise of the first pass, amplified again,
        :math:`\sigma_r^2|\beta|^2\|\psi\|^4`, and the noise of both passes,
        :math:`2\sigma_r^2\|\psi\|^2`.
    """
    echo = noise * target_gain_power * reflection_gain * reflection_gain
    return echo, 2 * noise * reflection_gain
