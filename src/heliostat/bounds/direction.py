r"""Cramér-Rao bounds on a target's direction at each surface and on its position.

`direction_information` computes the information of paper eqs. (14), (15) without samples: with
:math:`V = [v, v_\theta, v_\varphi]`, :math:`A = V^HR_w^{-1}V` and :math:`B = V^TRV^*`, both 3x3,
the information from one reflection pattern with the unknown gain eliminated is

.. math:: J = 2T|\beta|^2\big(B_{00}\,\mathrm{Re}[A/A_{00}] + A_{00}\,\mathrm{Re}[B/B_{00}]\big),

with the Schur complement :math:`X/X_{00}` of the first entry. The gain is the same in all patterns
of a dwell. Several patterns therefore have the sum of this information and a term for the
differences between their responses, see `information_of_matrices`.

The paper prints (16d) without its real part and (16e), (16f) with :math:`\beta` in place of
:math:`\beta^*`; both are corrected here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from heliostat.bounds.fisher import (
    Identifiability,
    change_parameters,
    identify,
)
from heliostat.geometry.arrays import PlanarArray
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import (
    noise_covariance,
    round_trip,
    target_steering,
)
from heliostat.scene.sensing import ANGLES, EchoLink, SensingScene, target_angles


class DirectionInformation(eqx.Module):
    """Fisher information about the target's direction from the echo through one surface."""

    information: Float[Array, "2 2"]  # about (elevation, azimuth), gain unknown [rad⁻²]
    reference: Float[Array, "2"]
    """Information about each angle if the gain and the other angle were known, but no less than
    that of an echo whose phase turns by one radian per radian. An angle is not identifiable if its
    information is negligible on this scale. [rad⁻²]"""
    snr: Scalar  # of the matched filter's output, T |beta|^2 tr(H^H R_w^-1 H R) [1]
    coupling: Complex[Array, "2"]  # derivative of ln(gain estimate) by the angles' errors [rad⁻¹]
    target_gain: Complex[Array, ""]  # beta [1]


class DirectionBound(eqx.Module):
    """Cramér-Rao bounds for one surface; ``inf`` where not identifiable."""

    crb: Scalar
    r"""Trace of the paper's :math:`F^{-1}`, over both angles [rad²] and both parts of :math:`\beta`
    [1]; the latter are negligible where :math:`|\beta| \ll 1`."""
    direction_std: Float[Array, "2"]  # elevation, azimuth [rad]
    gain_var: Scalar  # sum for the real and imaginary parts of the gain [1]
    snr: Scalar  # of the matched filter's output [1]
    identifiability: Identifiability  # over (elevation, azimuth)

    @property
    def lost(self) -> Bool[Array, "2"]:
        """Whether each of `ANGLES` is not identifiable."""
        return jnp.isinf(self.direction_std)

    def lost_names(self) -> list[str]:
        """Names of the angles that are not identifiable."""
        lost = np.isinf(np.asarray(self.direction_std))
        return [name for name, gone in zip(ANGLES, lost, strict=True) if gone]


def steering_derivatives(
    array: PlanarArray, angles: Float[Array, "2"]
) -> Complex[Array, "3 element"]:
    """Rows of the steering vector and its derivatives with respect to elevation and azimuth."""
    slope = jax.jacfwd(lambda at: target_steering(array, at))(angles)
    return jnp.concatenate([target_steering(array, angles)[None, :], slope.T])


def echo_derivatives(
    link: EchoLink, reflection: Complex[Array, "element"], angles: Float[Array, "2"]
) -> Complex[Array, "3 tx"]:
    """Rows of v and its derivatives with respect to elevation and azimuth."""
    way = round_trip(link, reflection, angles)
    slope = jax.jacfwd(lambda at: round_trip(link, reflection, at))(angles)
    return jnp.concatenate([way[None, :], slope.T])


def echo_matrices(
    link: EchoLink,
    reflection: Complex[Array, "element"],
    covariance: Complex[Array, "tx tx"],
    angles: Float[Array, "2"],
    precision: Complex[Array, "tx tx"] | None = None,
) -> tuple[Complex[Array, "3 3"], Complex[Array, "3 3"]]:
    r"""The two 3x3 matrices that determine the information from one pattern.

    Args:
        link: Channel, panel and noise of the surface.
        reflection: :math:`\psi`. [1]
        covariance: :math:`R`. [W]
        angles: Elevation and azimuth of the target. [rad]
        precision: Inverse of the noise covariance, :math:`R_w^{-1}`, where it is already known;
            default computed for the reflection. [1/W]

    Returns:
        :math:`A = V^HR_w^{-1}V` [1/W] and :math:`B = V^TRV^*` [W]; the first row and column belong
        to :math:`v`, the others to its derivatives.
    """
    ways = echo_derivatives(link, reflection, angles)
    elements, antennas = link.bs_to_irs.shape
    if precision is not None:
        received = jnp.conj(ways) @ precision @ ways.T
    elif elements < antennas:
        received = _received_by_elements(link, reflection, angles)
    else:
        factor = jax.scipy.linalg.cho_factor(noise_covariance(link, reflection), lower=True)
        received = jnp.conj(ways) @ jax.scipy.linalg.cho_solve(factor, ways.T)
    return received, ways @ covariance @ jnp.conj(ways).T


def _received_by_elements(
    link: EchoLink, reflection: Complex[Array, "element"], angles: Float[Array, "2"]
) -> Complex[Array, "3 3"]:
    r""":math:`A` by inverting a matrix of the number of elements instead of antennas.

    With :math:`X = \Psi G` and :math:`V^T = SX`, :math:`R_w^{-1}X^T =
    X^T(\sigma_b^2I + \sigma_r^2X^*X^T)^{-1}`.
    """
    rows = steering_derivatives(link.array, angles)
    weighted = reflection[:, None] * link.bs_to_irs
    square = jnp.conj(weighted) @ weighted.T
    noise = link.noise * jnp.eye(square.shape[0]) + link.surface_noise * square
    factor = jax.scipy.linalg.cho_factor(noise, lower=True)
    return jnp.conj(rows) @ square @ jax.scipy.linalg.cho_solve(factor, rows.T)


def _schur(matrix: Complex[Array, "3 3"]) -> Complex[Array, "2 2"]:
    """Schur complement of the first entry; the unchanged block if that entry is zero."""
    corner = jnp.real(matrix[0, 0])
    inverse = jnp.where(corner > 0, 1 / jnp.where(corner > 0, corner, 1.0), 0.0)
    return matrix[1:, 1:] - matrix[1:, 0][:, None] * matrix[0, 1:][None, :] * inverse


def information_of_matrices(
    received: Complex[Array, "pattern 3 3"],
    transmitted: Complex[Array, "pattern 3 3"],
    target_gain: Complex[Array, ""],
    symbols: Scalar,
) -> DirectionInformation:
    r"""Information from :math:`A` and :math:`B` of patterns of equal duration.

    With :math:`g_k = A_{00}B_{00}` and :math:`m_k = A_{0\cdot}/A_{00} + (B_{0\cdot}/B_{00})`,
    the information exceeds the sum over single patterns by
    :math:`\mathrm{Re}\sum_k g_k(m_k - \bar m)^*(m_k - \bar m)^T`, where :math:`\bar m` is the mean
    weighted by :math:`g_k`.

    Args:
        received: :math:`A` of each pattern. [1/W]
        transmitted: :math:`B` of each pattern. [W]
        target_gain: Complex gain of the target, :math:`\beta`. [1]
        symbols: Number of symbols :math:`T` in the surface's share of the dwell. [1]
    """
    scale = 2 * symbols * jnp.abs(target_gain) ** 2 / received.shape[0]
    corner_a = jnp.real(received[:, 0, 0])
    corner_b = jnp.real(transmitted[:, 0, 0])
    seen = jax.vmap(_schur)(received), jax.vmap(_schur)(transmitted)
    own = jnp.sum(
        corner_b[:, None, None] * jnp.real(seen[0]) + corner_a[:, None, None] * jnp.real(seen[1]),
        axis=0,
    )
    weight = corner_a * corner_b
    # tr(H^H R_w^-1 C_i R), the projection of the mean's derivative onto the mean.
    cross = received[:, 0, 1:] * corner_b[:, None] + corner_a[:, None] * transmitted[:, 1:, 0]
    lit = weight > 0
    slope = jnp.where(lit[:, None], cross / jnp.where(lit, weight, 1.0)[:, None], 0.0)
    total = jnp.sum(weight)
    mean = jnp.sum(cross, axis=0) / jnp.where(total > 0, total, 1.0)
    apart = (slope - mean[None, :]) * jnp.sqrt(weight)[:, None]
    information = scale * (own + jnp.real(jnp.conj(apart).T @ apart))
    known = jnp.sum(
        corner_b[:, None] * jnp.real(jnp.diagonal(received, axis1=1, axis2=2))[:, 1:]
        + corner_a[:, None] * jnp.real(jnp.diagonal(transmitted, axis1=1, axis2=2))[:, 1:]
        + 2 * jnp.real(received[:, 0, 1:] * jnp.conj(transmitted[:, 1:, 0])),
        axis=0,
    )
    return DirectionInformation(
        information,
        scale * jnp.maximum(known, total),
        scale / 2 * total,
        mean,
        target_gain,
    )


def direction_information(
    link: EchoLink,
    reflection: Complex[Array, "pattern element"],
    covariance: Complex[Array, "pattern tx tx"],
    angles: Float[Array, "2"],
    target_gain: Complex[Array, ""],
    precision: Complex[Array, "pattern tx tx"] | None = None,
) -> DirectionInformation:
    r"""Fisher information about the direction, from 3x3 matrices.

    Args:
        link: Channel, panel and noise of the surface.
        reflection: Coefficients :math:`\psi` of each pattern; all have the same duration. [1]
        covariance: Transmit covariance :math:`R` during each pattern. [W]
        angles: Elevation and azimuth of the target. [rad]
        target_gain: :math:`\beta`. [1]
        precision: :math:`R_w^{-1}` of each pattern, see `echo_matrices`. [1/W]

    Equals paper eqs. (15), (16) with the gain eliminated.
    """
    received, transmitted = jax.vmap(
        lambda psi, covar, inverse: echo_matrices(link, psi, covar, angles, inverse)
    )(reflection, covariance, precision)
    return information_of_matrices(received, transmitted, target_gain, link.symbols)


def direction_bound(direction: DirectionInformation) -> DirectionBound:
    r"""Cramér-Rao bounds from the information about a direction.

    The bound on the gain's variance is
    :math:`|\beta|^2(1/\mathrm{SNR} + \mathrm{Re}(m^HJ^{-1}m))` with the coupling :math:`m`.

    Args:
        direction: Information from the echo through one surface.
    """
    angles = identify(direction.information, jnp.diag(direction.reference))
    seen = jnp.all(jnp.isfinite(angles.variance))
    safe = jnp.where(seen, direction.information, jnp.eye(2))
    coupled = jnp.real(
        jnp.conj(direction.coupling) @ jnp.linalg.solve(safe + 0j, direction.coupling)
    )
    lit = direction.snr > 0
    alone = jnp.where(lit, 1 / jnp.where(lit, direction.snr, 1.0), jnp.inf)
    gain_var = jnp.where(
        seen & lit, jnp.abs(direction.target_gain) ** 2 * (alone + coupled), jnp.inf
    )
    return DirectionBound(
        jnp.sum(angles.variance) + gain_var,
        jnp.sqrt(angles.variance),
        gain_var,
        direction.snr,
        angles,
    )


def scene_information(
    scene: SensingScene,
    covariance: tuple[Complex[Array, "pattern tx tx"], ...],
    reflection: tuple[Complex[Array, "pattern _"], ...],
) -> tuple[DirectionInformation, ...]:
    """Fisher information at each surface about the direction of the target.

    Args:
        scene: The scene.
        covariance: Transmit covariances of each surface's patterns. [W]
        reflection: Coefficients of each surface's patterns. [1]
    """
    angles = scene.angles()
    return tuple(
        direction_information(scene.link(i), psi, covar, angles[i], scene.target_gain[i])
        for i, (psi, covar) in enumerate(zip(reflection, covariance, strict=True))
    )


def position_information(
    scene: SensingScene, directions: tuple[DirectionInformation, ...]
) -> tuple[Float[Array, "3 3"], Float[Array, "3 3"]]:
    r"""Information about the target's position: :math:`\sum_l T_lJ_lT_l^T`.

    :math:`T_l` is the transposed Jacobian of elevation and azimuth at surface l with respect to the
    position. The ranges contribute no information, as the gains are unknown.

    Args:
        scene: Surfaces and target.
        directions: Information from each surface, in the order of the scene.

    Returns:
        The information, and its reference for `identify`. [m⁻²]
    """
    information, reference = jnp.zeros((3, 3)), jnp.zeros((3, 3))
    for surface, direction in zip(scene.surfaces, directions, strict=True):
        slope = jax.jacfwd(lambda at, s=surface: target_angles(at, s.position, s.array))(
            scene.target.position
        ).T
        information += change_parameters(direction.information, slope)
        reference += change_parameters(jnp.diag(direction.reference), slope)
    return information, reference


def position_bound(
    scene: SensingScene, directions: tuple[DirectionInformation, ...]
) -> tuple[Scalar, Identifiability]:
    """Lower bound on the root mean square error of unbiased position estimates. [m]

    It is ``inf`` if the position is not identifiable, as with one surface, which gives a direction
    but no range.

    Args:
        scene: Surfaces and target.
        directions: Information from each surface, in the order of the scene.

    Returns:
        The bound, and the combinations of (x, y, z) that are not identifiable.
    """
    information, reference = position_information(scene, directions)
    # One scale for all three coordinates makes the result invariant under rotations of the scene.
    common = jnp.trace(reference) * jnp.eye(3)
    coordinates = identify(information, common)
    return jnp.sqrt(jnp.sum(coordinates.variance)), coordinates
