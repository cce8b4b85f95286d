r"""Problem (P2) of each surface, reduced to the modes of its channel.

The information depends on a covariance R only through :math:`V^TRV^*` with
:math:`V = [v, v_\theta, v_\varphi]`. The cost of R under the power constraints is determined by
:math:`K = (\Psi G)^H\Psi G` and v. In the eigenbasis of K, the matrix :math:`\mu I + \nu K` that
`transmit_dual` and `transmit_snr` have to invert is diagonal.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from heliostat.bounds.direction import echo_derivatives, echo_matrices, steering_derivatives
from heliostat.bounds.fisher import SINGULAR
from heliostat.geometry.frames import Scalar
from heliostat.scene.sensing import EchoLink
from heliostat.surface.active import ActiveSurface, own_noise


class SurfaceProblem(eqx.Module):
    """Problem of one surface, in the eigenbasis of K = (Psi G)^H Psi G."""

    shape: Float[Array, "2 2"]  # S_A / A_00 [rad⁻²]
    mean_slope: Complex[Array, "2"]  # A_0i / A_00 [rad⁻¹]
    price: Float[Array, "mode"]  # eigenvalues of K [1]
    pairs: Float[Array, "mode 9"]  # each mode's part of V^T (mu + nu K)^-1 V*, input of `_gram`
    ways: Complex[Array, "3 mode"]  # coordinates of v and its derivatives
    basis: Complex[Array, "tx mode"]  # eigenvectors, possibly unnormalized
    echo_gain: Scalar  # |beta|² |psi|² [1]
    gain: Scalar  # |beta| [1]
    strength: Scalar  # tau A_00 = 2 T |beta|² A_00 [1/W]
    limit: Scalar  # q, P_s less the surface's own noise [W]
    identifiable: Bool[Array, ""]


class TransmitProblem(NamedTuple):
    """Reduced problems of all surfaces and the constraints that couple them."""

    surfaces: SurfaceProblem  # stacked over the surfaces
    budget: Scalar  # L P_t [W]
    least: Float[Array, "surface"]  # power at the target that gives the minimum SNR [W]


def surface_problem(
    link: EchoLink,
    surface: ActiveSurface,
    angles: Float[Array, "2"],
    target_gain: Complex[Array, ""],
    reflection: Complex[Array, "element"],
    modes: int,
) -> SurfaceProblem:
    r"""Reduced problem of one surface.

    Args:
        link: Channel and noise of the surface's echo.
        surface: The surface.
        angles: Elevation and azimuth of the target. [rad]
        target_gain: :math:`\beta`. [1]
        reflection: Reflection coefficients. [1]
        modes: Number of modes after padding with zeros.
    """
    elements, antennas = link.bs_to_irs.shape
    silent = jnp.zeros((antennas, antennas), dtype=complex)
    ways = echo_derivatives(link, reflection, angles)
    received, _ = echo_matrices(link, reflection, silent, angles)
    corner = jnp.real(received[0, 0])
    lit = corner > 0
    corner = jnp.where(lit, corner, 1.0)
    mean_slope = received[0, 1:] / corner
    shape = jnp.real(
        received[1:, 1:] / corner - jnp.conj(mean_slope)[:, None] * mean_slope[None, :]
    )
    scale = 1 / jnp.sqrt(jnp.maximum(jnp.real(jnp.diagonal(received))[1:] / corner, 1.0))
    one, two = jnp.diagonal(shape) * scale**2
    across = shape[0, 1] * scale[0] * scale[1]
    least = (one + two) / 2 - jnp.hypot((one - two) / 2, across)  # eigenvalue
    identifiable = lit & (least > SINGULAR)

    weighted = reflection[:, None] * link.bs_to_irs
    steering = steering_derivatives(link.array, angles)
    if elements < antennas:
        # V* lies in the range of (Psi G)^H, whose eigenbasis follows from that of Psi G (Psi G)^H.
        price, vectors = jnp.linalg.eigh(weighted @ jnp.conj(weighted).T)
        coordinates = steering @ vectors
        basis = jnp.conj(weighted).T @ vectors
        price = jnp.maximum(price, 0.0)
        weight = price
    else:
        price, basis = jnp.linalg.eigh(jnp.conj(weighted).T @ weighted)
        coordinates = ways @ basis
        price = jnp.maximum(price, 0.0)
        weight = jnp.ones_like(price)
    pad = modes - price.size
    magnitude = jnp.abs(target_gain)
    return SurfaceProblem(
        jnp.where(identifiable, shape, jnp.eye(2)),
        mean_slope,
        jnp.pad(price, (0, pad)),
        jnp.pad(_pairs(coordinates, weight), ((0, pad), (0, 0))),
        jnp.pad(coordinates, ((0, 0), (0, pad))),
        jnp.pad(basis, ((0, 0), (0, pad))),
        magnitude**2 * jnp.sum(jnp.abs(reflection) ** 2),
        magnitude,
        2 * link.symbols * magnitude**2 * corner,
        surface.power - own_noise(reflection, target_gain, surface.noise),
        identifiable,
    )


def _pairs(ways: Complex[Array, "3 mode"], weight: Float[Array, "mode"]) -> Array:
    """Products of the coordinates in each mode: powers, then real and imaginary cross products."""
    first, second, third = ways
    crossed = jnp.stack([first, first, second]) * jnp.conj(jnp.stack([second, third, third]))
    products = [jnp.abs(ways) ** 2, jnp.real(crossed), jnp.imag(crossed)]
    return (jnp.concatenate(products) * weight[None, :]).T
