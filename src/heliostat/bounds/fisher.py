r"""Fisher information of complex Gaussian observations, and identifiability of parameters.

For samples with mean :math:`u(\eta)` in circular complex white noise of variance :math:`\sigma^2`
(both real dimensions together) the information is :math:`(2/\sigma^2)\,\mathrm{Re}(U^HU)` with
:math:`U = \partial u/\partial\eta` (Slepian-Bangs, :cite:`kay1993`, sec. 15.7). The localization
paper prints :math:`1/N_0` in (28); the error of a maximum-likelihood estimator is below the bound
of that form and attains the one with :math:`2/N_0`.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

SINGULAR = 1e-11
"""Share of the information with all nuisance parameters known below which a direction of the scaled
parameters is not identifiable. Rounding errors are about 1e-15."""


def slepian_bangs(
    jacobian: Complex[Array, "sample param"], noise_var: Float[Array, ""]
) -> Float[Array, "param param"]:
    r"""Information :math:`(2/\sigma^2)\,\mathrm{Re}(U^HU)`.

    Args:
        jacobian: :math:`U`, the derivative of the mean.
        noise_var: :math:`\sigma^2` of one complex sample, in the unit of the mean squared.
    """
    return 2 / noise_var * jnp.real(jnp.conj(jacobian).T @ jacobian)


def change_parameters(
    information: Float[Array, "old old"], jacobian: Float[Array, "new old"]
) -> Float[Array, "new new"]:
    r"""Information about other parameters, :math:`T J T^T` with
    :math:`T_{ij} = \partial\,old_j/\partial\,new_i` (paper eq. (30)).
    """
    return jacobian @ information @ jacobian.T


def eliminate_nuisance(
    information: Float[Array, "param param"], n_interest: int
) -> Float[Array, "interest interest"]:
    r"""Information about the first parameters if the others are unknown nuisance parameters.

    The Schur complement :math:`A - B C^{-1} B^T`. Nuisance parameters without any information of
    their own are omitted.
    """
    kept = information[:n_interest, :n_interest]
    cross = information[:n_interest, n_interest:]
    nuisance = information[n_interest:, n_interest:]
    diagonal = jnp.diagonal(nuisance)
    seen = diagonal > 0
    scale = jnp.where(seen, 1 / jnp.sqrt(jnp.where(seen, diagonal, 1.0)), 0.0)
    scaled = nuisance * scale[:, None] * scale[None, :] + jnp.diag(jnp.where(seen, 0.0, 1.0))
    scaled_cross = cross * scale[None, :]
    return kept - scaled_cross @ jnp.linalg.solve(scaled, scaled_cross.T)


class Identifiability(eqx.Module):
    """Lower bounds on variances, and the directions that are not identifiable."""

    variance: Float[Array, "param"]  # diagonal of the inverse information; inf where there is none
    rank: Int[Array, ""]
    lost: Bool[Array, "direction"]  # whether the direction is not identifiable
    directions: Float[Array, "direction param"]  # unit vectors in the parameters' own units


def identify(
    information: Float[Array, "param param"], reference: Float[Array, "param param"]
) -> Identifiability:
    r"""Invert an information matrix, or determine the directions that are not identifiable.

    Args:
        information: Information with nuisance parameters eliminated.
        reference: Information with nuisance parameters known. Its diagonal is the scale of each
            parameter, so that the result does not depend on the units.

    Returns:
        Variances, ``inf`` for a parameter with a component along a direction that is not
        identifiable, and the eigenvectors of the scaled information in the units of the parameters.
        Changes along the eigenvectors with ``lost`` true do not change the observation.
    """
    diagonal = jnp.diagonal(reference)
    seen = diagonal > 0
    scale = jnp.where(seen, 1 / jnp.sqrt(jnp.where(seen, diagonal, 1.0)), 1.0)
    scaled = jnp.where(seen[:, None] & seen[None, :], information, 0.0)
    scaled = scaled * scale[:, None] * scale[None, :]
    eigenvalues, vectors = jnp.linalg.eigh(scaled)
    lost = eigenvalues <= SINGULAR
    share = vectors**2
    finite = jnp.where(lost[None, :], 0.0, share / jnp.where(lost, 1.0, eigenvalues)[None, :])
    touched = jnp.any(lost[None, :] & (share > SINGULAR), axis=1)
    variance = jnp.where(touched, jnp.inf, scale**2 * jnp.sum(finite, axis=1))
    directions = (vectors * scale[:, None]).T
    directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    return Identifiability(variance, jnp.sum(~lost), lost, directions)


def covariance_bound(
    information: Float[Array, "param param"], reference: Float[Array, "param param"]
) -> Float[Array, "param param"]:
    """Inverse of an information matrix; if it is singular, ``inf`` on the diagonal for parameters
    that are not identifiable and zeros off the diagonal.

    Args:
        information: Information with nuisance parameters eliminated.
        reference: See `identify`.
    """
    bounds = identify(information, reference)
    seen = jnp.all(jnp.isfinite(bounds.variance))
    diagonal = jnp.diagonal(reference)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    units = scale[:, None] * scale[None, :]
    one = jnp.eye(scale.size)
    inverse = jnp.linalg.inv(jnp.where(seen, information / units, one)) / units
    return jnp.where(seen, inverse, jnp.diag(bounds.variance))
