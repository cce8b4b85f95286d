r"""Bounds on a target's direction at each surface, and on its position from all of them.

`direction_information` and `direction_information_by_definition` have one signature and one
meaning. The second differentiates the echo and eliminates the unknown gain. The first never
builds a sample: with :math:`V = [v, v_\theta, v_\varphi]`, :math:`A = V^HR_w^{-1}V` and
:math:`B = V^TRV^*`, all 3x3, one reflection pattern gives

.. math:: J = 2T|\beta|^2\big(B_{00}\,\mathrm{Re}[A/A_{00}] + A_{00}\,\mathrm{Re}[B/B_{00}]\big),

:math:`X/X_{00}` being the Schur complement of the first entry. The gain is the same in all
patterns of a dwell, so patterns add this up and gain a term from how differently they see it.

The paper prints (16d) without its real part and (16e), (16f) with :math:`\beta` for
:math:`\beta^*`; both are set right here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from heliostat.bounds.fisher import (
    Identifiability,
    change_parameters,
    eliminate_nuisance,
    identify,
    slepian_bangs,
)
from heliostat.geometry.frames import Scalar, Vector
from heliostat.observation.echoes import (
    echo_mean,
    noise_covariance,
    round_trip,
    target_steering,
)
from heliostat.scene.sensing import ANGLES, EchoLink, SensingScene, target_angles


class DirectionInformation(eqx.Module):
    """What the echo through one surface tells about the target's direction and its gain."""

    information: Float[Array, "2 2"]  # of (elevation, azimuth), gain unknown [rad⁻²]
    reference: Float[Array, "2"]
    """Of each angle, were the gain and the other angle known, and no less than if the echo turned
    by one radian a radian: the scale on which an angle is called lost. [rad⁻²]"""
    snr: Scalar  # of the matched filter's output, T beta^2 tr(H^H R_w^-1 H R) [1]
    coupling: Complex[Array, "2"]  # slope of ln(gain) estimates to errors of the angles [rad⁻¹]
    target_gain: Complex[Array, ""]  # beta [1]


class DirectionBound(eqx.Module):
    """Cramér-Rao bounds of one surface; ``inf`` where there is none."""

    crb: Scalar
    r"""The paper's :math:`\mathrm{tr}\,F^{-1}` over both angles [rad²] and the two parts of
    :math:`\beta` [1], which add next to nothing where :math:`|\beta| \ll 1`."""
    direction_std: Float[Array, "2"]  # elevation, azimuth [rad]
    gain_var: Scalar  # of both parts of the gain together [1]
    snr: Scalar  # of the matched filter's output [1]
    identifiability: Identifiability  # over (elevation, azimuth)

    @property
    def lost(self) -> Bool[Array, "2"]:
        """Which of `ANGLES` has no bound."""
        return jnp.isinf(self.direction_std)

    def lost_names(self) -> list[str]:
        """Names of the angles without a bound."""
        return [name for name, gone in zip(ANGLES, self.lost, strict=True) if gone]


def echo_derivatives(
    link: EchoLink, reflection: Complex[Array, "element"], angles: Float[Array, "2"]
) -> Complex[Array, "3 tx"]:
    """The rows v, and its slopes to elevation and azimuth."""
    way = round_trip(link, reflection, angles)
    slope = jax.jacfwd(lambda at: round_trip(link, reflection, at))(angles)
    return jnp.concatenate([way[None, :], slope.T])


def echo_matrices(
    link: EchoLink,
    reflection: Complex[Array, "element"],
    covariance: Complex[Array, "tx tx"],
    angles: Float[Array, "2"],
    noise: Complex[Array, "tx tx"] | None = None,
) -> tuple[Complex[Array, "3 3"], Complex[Array, "3 3"]]:
    r"""The two 3x3 matrices that hold all information of one pattern.

    Args:
        link: What the echo depends on.
        reflection: :math:`\psi`. [1]
        covariance: :math:`R`. [W]
        angles: Elevation and azimuth of the target. [rad]
        noise: :math:`R_w`; by default the exact one, else one that is frozen. [W]

    Returns:
        :math:`A = V^HR_w^{-1}V` [1/W] and :math:`B = V^TRV^*` [W]; the first index and row belong
        to :math:`v`, the others to its slopes.
    """
    ways = echo_derivatives(link, reflection, angles)
    elements, antennas = link.bs_to_irs.shape
    if noise is None and elements < antennas:
        received = _received_by_elements(link, reflection, angles)
    else:
        noise = noise_covariance(link, reflection) if noise is None else noise
        factor = jax.scipy.linalg.cho_factor(noise, lower=True)
        received = jnp.conj(ways) @ jax.scipy.linalg.cho_solve(factor, ways.T)
    return received, ways @ covariance @ jnp.conj(ways).T


def _received_by_elements(
    link: EchoLink, reflection: Complex[Array, "element"], angles: Float[Array, "2"]
) -> Complex[Array, "3 3"]:
    r"""The same :math:`A` through a matrix as large as the surface, not as the base station.

    With :math:`X = \Psi G` and :math:`V^T = SX`, :math:`R_w^{-1}X^T =
    X^T(\sigma_b^2I + \sigma_r^2X^*X^T)^{-1}`.
    """
    steering = target_steering(link.array, angles)
    slope = jax.jacfwd(lambda at: target_steering(link.array, at))(angles)
    rows = jnp.concatenate([steering[None, :], slope.T])
    weighted = reflection[:, None] * link.bs_to_irs
    square = jnp.conj(weighted) @ weighted.T
    noise = link.noise * jnp.eye(square.shape[0]) + link.surface_noise * square
    factor = jax.scipy.linalg.cho_factor(noise, lower=True)
    return jnp.conj(rows) @ square @ jax.scipy.linalg.cho_solve(factor, rows.T)


def _schur(matrix: Complex[Array, "3 3"]) -> Complex[Array, "2 2"]:
    """Schur complement of the first entry; the rest as it is where that entry is zero."""
    corner = jnp.real(matrix[0, 0])
    inverse = jnp.where(corner > 0, 1 / jnp.where(corner > 0, corner, 1.0), 0.0)
    return matrix[1:, 1:] - matrix[1:, 0][:, None] * matrix[0, 1:][None, :] * inverse


def information_of_matrices(
    received: Complex[Array, "pattern 3 3"],
    transmitted: Complex[Array, "pattern 3 3"],
    target_gain: Complex[Array, ""],
    symbols: Scalar,
) -> DirectionInformation:
    r"""Compressed form, from :math:`A` and :math:`B` of patterns that share a dwell equally.

    With :math:`g_k = A_{00}B_{00}` and :math:`m_k = A_{0\cdot}/A_{00} + (B_{0\cdot}/B_{00})`,
    what several patterns add to the sum of single ones is
    :math:`\mathrm{Re}\sum_k g_k(m_k - \bar m)^*(m_k - \bar m)^T`, :math:`\bar m` being the mean
    weighted by :math:`g_k`.

    Args:
        received: :math:`A` of each pattern. [1/W]
        transmitted: :math:`B` of each pattern. [W]
        target_gain: :math:`\beta`. [1]
        symbols: :math:`T`, in the surface's whole share of the dwell. [1]
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
    # The mean's slope along H: tr(H^H R_w^-1 C_i R).
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
    noise: Complex[Array, "pattern tx tx"] | None = None,
) -> DirectionInformation:
    r"""Compressed form: 3x3 matrices, no samples.

    Args:
        link: What the echo depends on.
        reflection: :math:`\psi` of each pattern; the patterns share the surface's symbols equally.
        covariance: :math:`R` during each pattern. [W]
        angles: Elevation and azimuth of the target. [rad]
        target_gain: :math:`\beta`. [1]
        noise: :math:`R_w` of each pattern, if it is frozen elsewhere; by default exact. [W]

    Equals paper eqs. (15), (16) with the gain eliminated.
    """
    received, transmitted = jax.vmap(
        lambda psi, covar, noisy: echo_matrices(link, psi, covar, angles, noisy)
    )(reflection, covariance, noise)
    return information_of_matrices(received, transmitted, target_gain, link.symbols)


def direction_information_by_definition(
    link: EchoLink,
    reflection: Complex[Array, "pattern element"],
    covariance: Complex[Array, "pattern tx tx"],
    angles: Float[Array, "2"],
    target_gain: Complex[Array, ""],
    noise: Complex[Array, "pattern tx tx"] | None = None,
) -> DirectionInformation:
    r"""From the definition, paper eq. (14): Slepian-Bangs over the differentiated, whitened echo.

    A covariance is sent as the columns of its square root, which have the same information as any
    signal of that sample covariance. Arguments as for `direction_information`.
    """
    full = full_information(link, reflection, covariance, angles, target_gain, noise)
    information = eliminate_nuisance(full, 2)
    gain_power = jnp.abs(target_gain) ** 2
    snr = gain_power * full[2, 2] / 2
    cross = (full[2, :2] + 1j * full[3, :2]) / jnp.where(full[2, 2] > 0, full[2, 2], 1.0)
    return DirectionInformation(
        information,
        jnp.maximum(jnp.diagonal(full)[:2], 2 * snr),
        snr,
        cross / target_gain,
        target_gain,
    )


def full_information(
    link: EchoLink,
    reflection: Complex[Array, "pattern element"],
    covariance: Complex[Array, "pattern tx tx"],
    angles: Float[Array, "2"],
    target_gain: Complex[Array, ""],
    noise: Complex[Array, "pattern tx tx"] | None = None,
) -> Float[Array, "4 4"]:
    r"""The paper's :math:`F` over :math:`(\theta, \varphi, \mathrm{Re}\beta, \mathrm{Im}\beta)`.

    Arguments as for `direction_information`. Paper eqs. (14), (15).
    """
    if noise is None:
        noise = jax.vmap(lambda psi: noise_covariance(link, psi))(reflection)

    def pattern(psi: Array, covar: Array, noisy: Array) -> Array:
        power, vectors = jnp.linalg.eigh(covar)
        sent = vectors * jnp.sqrt(jnp.maximum(power, 0.0))[None, :]
        factor = jnp.linalg.cholesky(noisy)

        def samples(params: Float[Array, "4"]) -> Array:
            gain = jax.lax.complex(params[2], params[3])
            mean = echo_mean(link, psi, params[:2], gain, sent)
            return jax.scipy.linalg.solve_triangular(factor, mean, lower=True).ravel()

        params = jnp.concatenate(
            [angles, jnp.stack([jnp.real(target_gain), jnp.imag(target_gain)])]
        )
        return slepian_bangs(jax.jacfwd(samples)(params), jnp.ones(()))

    each = jax.vmap(pattern)(reflection, covariance, noise)
    return link.symbols * jnp.mean(each, axis=0)


def direction_bound(direction: DirectionInformation) -> DirectionBound:
    r"""Invert the information, or say which angle has no bound.

    The gain's variance follows from that of the angles:
    :math:`|\beta|^2(1/\mathrm{SNR} + \mathrm{Re}(m^HJ^{-1}m))` with the coupling :math:`m`.

    Args:
        direction: What the echo tells.
    """
    found = identify(direction.information, jnp.diag(direction.reference))
    seen = jnp.all(jnp.isfinite(found.variance))
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
        jnp.sum(found.variance) + gain_var,
        jnp.sqrt(found.variance),
        gain_var,
        direction.snr,
        found,
    )


def scene_information(
    scene: SensingScene,
    covariance: tuple[Complex[Array, "pattern tx tx"], ...],
    reflection: tuple[Complex[Array, "pattern _"], ...],
    position: Vector | None = None,
) -> tuple[DirectionInformation, ...]:
    """What the echo through each surface tells of its own direction to a position.

    Args:
        scene: The scene; its target gains are used wherever the target is taken to be.
        covariance: One entry a surface. [W]
        reflection: One entry a surface. [1]
        position: Of the target; by default the scene's. [m]
    """
    angles = scene.angles(position)
    return tuple(
        direction_information(scene.link(i), psi, covar, angles[i], scene.target_gain[i])
        for i, (psi, covar) in enumerate(zip(reflection, covariance, strict=True))
    )


def position_information(
    scene: SensingScene, directions: tuple[DirectionInformation, ...]
) -> tuple[Float[Array, "3 3"], Float[Array, "3 3"]]:
    r"""Information about the target's position: :math:`\sum_l T_lJ_lT_l^T`.

    :math:`T_l` holds the slopes of elevation and azimuth at surface l to the position. How far
    the target is from one surface is not used, as the gain is unknown.

    Args:
        scene: Surfaces and target.
        directions: What each surface tells, in their order.

    Returns:
        The information, and the same were all else known, for `identify`. [m⁻²]
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
    """Root mean square error of any unbiased position estimate, ``inf`` if there is none. [m]

    One surface alone never has one: it sees a direction, not how far the target is along it.

    Args:
        scene: Surfaces and target.
        directions: What each surface tells, in their order.

    Returns:
        The bound, and which combinations of (x, y, z) are lost.
    """
    information, reference = position_information(scene, directions)
    # One scale for all three coordinates, so that turning the scene changes nothing.
    common = jnp.trace(reference) * jnp.eye(3)
    found = identify(information, common)
    return jnp.sqrt(jnp.sum(found.variance)), found
