r"""Active surfaces: elements shift the phase and amplify, add noise, and have limited power.

A surface with the coefficients :math:`\psi` amplifies twice in a round trip, on the way to the
target and on the way back. A passive surface is the special case :math:`|\psi_n| = 1` without noise
and without a limit of its power.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.arrays import PlanarArray
from heliostat.geometry.frames import Scalar, Vector
from heliostat.surface.own_noise import radiated_noise


class ActiveSurface(eqx.Module):
    """Position, panel, and limits of amplification and power of a surface."""

    position: Vector  # [m]
    array: PlanarArray
    amplification: Scalar  # largest amplitude of a coefficient, a_max; 1 if passive
    power: Scalar  # limit of the radiated power, P_s; inf if passive [W]
    noise: Scalar  # of one element and pass, sigma_r^2; 0 if passive [W]
    passive: bool = eqx.field(static=True, default=False)  # |psi| is 1, not at most a_max


def passive_surface(position: Vector, array: PlanarArray) -> ActiveSurface:
    """A passive surface: coefficients of unit modulus, no noise, no power limit.

    Args:
        position: Position of element 0. [m]
        array: Array of the panel.
    """
    one = jnp.ones(())
    return ActiveSurface(position, array, one, one * jnp.inf, 0 * one, passive=True)


def random_reflection(
    key: PRNGKeyArray, elements: int, amplification: Scalar
) -> Complex[Array, "element"]:
    """Coefficients of full amplitude and random phase, the paper's benchmark. [1]

    Args:
        key: Random key.
        elements: Number of elements.
        amplification: Amplitude of the coefficients, :math:`a_{max}`. [1]
    """
    phase = jax.random.uniform(key, (elements,), minval=-jnp.pi, maxval=jnp.pi)
    return amplification * jnp.exp(1j * phase)


class ReflectedPower(eqx.Module):
    """Terms of the power that a surface radiates in both passes, in the order of paper eq. (7)."""

    echo: Scalar  # the target's echo of the signal, amplified again [W]
    echo_noise: Scalar  # the target's echo of the surface's own noise, amplified again [W]
    signal: Scalar  # the base station's signal, amplified once [W]
    noise: Scalar  # noise added in both passes [W]

    @property
    def total(self) -> Scalar:
        """Sum of all four terms. [W]"""
        return self.echo + self.echo_noise + self.signal + self.noise

    @property
    def own_noise(self) -> Scalar:
        """Power radiated without any signal, the smallest feasible power limit. [W]"""
        return self.echo_noise + self.noise


def reflected_power(
    reflection: Complex[Array, "element"],
    bs_to_irs: Complex[Array, "element tx"],
    covariance: Complex[Array, "tx tx"],
    steering: Complex[Array, "element"],
    target_gain: Complex[Array, ""],
    noise: Scalar,
) -> ReflectedPower:
    r"""Power that a surface radiates in both passes, paper eq. (7).

    With :math:`x = \Psi G s` and :math:`E = \beta aa^T`,

    .. math:: |\beta|^2\|\psi\|^2\,a^T\Psi GRG^H\Psi^Ha^* + \sigma_r^2|\beta|^2\|\psi\|^4
              + \mathrm{tr}(\Psi GRG^H\Psi^H) + 2\sigma_r^2\|\psi\|^2,

    for :math:`|a_n| = 1`, which turns :math:`\|\Psi a\|` into :math:`\|\psi\|` (eqs. (22a)-(22d)).

    Args:
        reflection: Coefficients, :math:`\psi`. [1]
        bs_to_irs: Channel from the base station, :math:`G`. [1]
        covariance: Covariance of the transmitted signal, :math:`R`. [W]
        steering: Steering vector towards the target, :math:`a`, with entries of modulus 1. [1]
        target_gain: Complex gain of the target, :math:`\beta`. [1]
        noise: Noise power of one element and pass, :math:`\sigma_r^2`. [W]
    """
    weighted = reflection[:, None] * bs_to_irs
    towards_target = steering @ weighted
    gain = jnp.sum(jnp.abs(reflection) ** 2)
    echo_gain = jnp.abs(target_gain) ** 2 * gain
    illumination = jnp.real(towards_target @ covariance @ jnp.conj(towards_target))
    echo_noise, own = radiated_noise(gain, jnp.abs(target_gain) ** 2, noise)
    return ReflectedPower(
        echo=echo_gain * illumination,
        echo_noise=echo_noise,
        signal=jnp.real(jnp.sum(jnp.conj(weighted) * (weighted @ covariance))),
        noise=own,
    )


def own_noise(
    reflection: Complex[Array, "element"], target_gain: Complex[Array, "*any"], noise: Scalar
) -> Float[Array, "*any"]:
    r"""Power that a surface radiates without any signal, 2nd and 4th term of paper eq. (7). [W]

    Args:
        reflection: Coefficients, :math:`\psi`. [1]
        target_gain: Complex gain of the target, :math:`\beta`. [1]
        noise: Noise power of one element and pass, :math:`\sigma_r^2`. [W]
    """
    gain = jnp.sum(jnp.abs(reflection) ** 2)
    echo_noise, own = radiated_noise(gain, jnp.abs(target_gain) ** 2, noise)
    return echo_noise + own


def power_weight(
    reflection: Complex[Array, "element"],
    bs_to_irs: Complex[Array, "element tx"],
    steering: Complex[Array, "element"],
    target_gain: Complex[Array, ""],
) -> Complex[Array, "tx tx"]:
    r"""Matrix whose inner product with a transmit covariance is the radiated signal power.

    :math:`Q = G^H\Psi^H\Psi G + |\beta|^2\|\psi\|^2v^*v^T` with :math:`v = G^T\Psi a`, so that
    :math:`\mathrm{tr}(QR)` is the sum of the first and third term of paper eq. (7).

    Args:
        reflection: Coefficients, :math:`\psi`. [1]
        bs_to_irs: Channel from the base station, :math:`G`. [1]
        steering: Steering vector towards the target, :math:`a`, with entries of modulus 1. [1]
        target_gain: Complex gain of the target, :math:`\beta`. [1]
    """
    weighted = reflection[:, None] * bs_to_irs
    towards_target = steering @ weighted
    echo_gain = jnp.abs(target_gain) ** 2 * jnp.sum(jnp.abs(reflection) ** 2)
    echo = jnp.conj(towards_target)[:, None] * towards_target[None, :]
    return jnp.conj(weighted).T @ weighted + echo_gain * echo
