r"""Rician fading channels from a base station's array to a panel.

The channel is reciprocal, :math:`G` one way and :math:`G^T` back, as the sensing paper has it, so
both ends see *where the other end lies*: the response of an array grows in phase along the
direction to the other end. This is the paper's own sign in (1)-(3), that of :math:`e^{+j\omega t}`.
The localization paper's :math:`a_{end}a_{start}^H` of travel directions is its complex conjugate.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, PRNGKeyArray

from heliostat.geometry.arrays import (
    LinearArray,
    PlanarArray,
    linear_steering,
    planar_steering,
)
from heliostat.geometry.frames import Scalar, Vector, travel


def line_of_sight(
    bs_position: Vector, bs_array: LinearArray, irs_position: Vector, irs_array: PlanarArray
) -> Complex[Array, "element tx"]:
    """Plane wave between two arrays, every entry of modulus 1. [1]

    Args:
        bs_position: Base station. [m]
        bs_array: Its array.
        irs_position: Surface. [m]
        irs_array: Its panel.
    """
    direction, _ = travel(bs_position, irs_position)
    at_bs = linear_steering(bs_array.elements, bs_array.spacing, jnp.dot(direction, bs_array.axis))
    at_irs = planar_steering(irs_array, irs_array.direction_cosines(-direction))
    return at_irs[:, None] * at_bs[None, :]


def rician(
    key: PRNGKeyArray,
    specular: Complex[Array, "element tx"],
    rician_factor: Scalar,
    amplitude: Scalar,
) -> Complex[Array, "element tx"]:
    r"""A specular part and independent Rayleigh fading around it.

    .. math:: G = \sqrt{\rho}\,\Big(\sqrt{\tfrac{K}{K+1}}\,G_{LoS}
              + \sqrt{\tfrac{1}{K+1}}\,W\Big),\qquad W_{nm} \sim \mathcal{CN}(0, 1).

    Args:
        key: A random key, another one for each channel.
        specular: :math:`G_{LoS}`, entries of modulus 1. [1]
        rician_factor: :math:`K`, specular to diffuse power; inf leaves the specular part. [1]
        amplitude: :math:`\sqrt\rho`, the path loss. [1]
    """
    diffuse = jax.random.normal(key, specular.shape, dtype=complex)
    share = 1 / (1 + 1 / rician_factor)
    return amplitude * (jnp.sqrt(share) * specular + jnp.sqrt(1 - share) * diffuse)
