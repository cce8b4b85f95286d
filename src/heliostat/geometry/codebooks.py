"""DFT codebooks, and the gain of their best beam without a search."""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.geometry.arrays import dirichlet
from heliostat.geometry.frames import Scalar


def dft_codebook(elements: int) -> Complex[Array, "element beam"]:
    r"""Orthonormal beams, :math:`C_{k,m} = e^{-j 2\pi k m / n} / \sqrt n`.

    Paper eqs. (2) and (18).
    """
    index = jnp.arange(elements)
    # Reduce k m modulo n first: the exponential of a large angle loses digits.
    turn = (index[:, None] * index[None, :]) % elements / elements
    return jnp.exp(-2j * jnp.pi * turn) / jnp.sqrt(float(elements))


def best_beam_gain(elements: int | Scalar, step: Scalar) -> Float[Array, ""]:
    r"""Largest :math:`|c_m^T a|^2` over the beams of the DFT codebook, in O(1). [1]

    The best beam is the one with the nearest phase step, which replaces the search of paper eq.
    (39) by a rounding. The gain is :math:`n` where a beam points exactly along the direction and
    about :math:`0.41 n` midway between two beams (scalloping).

    Args:
        elements: :math:`n`; may be traced.
        step: Phase step between neighboring elements, :math:`2\pi d\psi`. [rad]
    """
    beam_step = 2 * jnp.pi / elements
    nearest = jnp.round(step / beam_step)
    response, _ = dirichlet(elements, step - nearest * beam_step)
    return jnp.abs(response) ** 2 / elements
