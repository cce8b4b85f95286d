r"""Fisher information of a complex Gaussian observation, and what it cannot see.

For samples with mean :math:`u(\eta)` in circular complex white noise of variance :math:`\sigma^2`
(both real dimensions together) the information is :math:`(2/\sigma^2)\,\mathrm{Re}(U^HU)` with
:math:`U = \partial u/\partial\eta` (Slepian-Bangs, :cite:`kay1993`, sec. 15.7). The localization
paper prints :math:`1/N_0` in (28); a maximum-likelihood estimator beats that and reaches 2/N0.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

SINGULAR = 1e-11
"""A direction whose information is below this share of what it was with every nuisance known, each
parameter in its own scale, is not identifiable: rounding alone leaves about 1e-15."""


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
    r"""Information left about the first parameters when the others are unknown.

    The Schur complement :math:`A - B C^{-1} B^T`. Nuisances without any information of their own
    are left out, as they can say nothing.
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
    """Lower bounds on variances, and the directions for which there is none."""

    variance: Float[Array, "param"]  # diagonal of the inverse information; inf where lost
    rank: Int[Array, ""]
    lost: Bool[Array, "direction"]
    directions: Float[Array, "direction param"]  # unit vectors in the parameters' own units


def identify(
    information: Float[Array, "param param"], reference: Float[Array, "param param"]
) -> Identifiability:
    r"""Invert an information matrix, or say what it does not see.

    Args:
        information: What is left when nuisances are eliminated.
        reference: What it was with nuisances known; its diagonal sets each parameter's scale, so
            that the answer does not depend on the units.

    Returns:
        Variances, ``inf`` for a parameter with a share in any lost direction; and all eigenvectors
        of the scaled information turned back into the parameters' units, those with ``lost`` true
        being the combinations that can change without any trace in the observation.
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
    """Inverse of an information matrix where there is one, else ``inf`` on the diagonal of what is
    lost and zeros beside it.

    Args:
        information: What is left when nuisances are eliminated.
        reference: See `identify`.
    """
    found = identify(information, reference)
    seen = jnp.all(jnp.isfinite(found.variance))
    diagonal = jnp.diagonal(reference)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    units = scale[:, None] * scale[None, :]
    one = jnp.eye(scale.size)
    inverse = jnp.linalg.inv(jnp.where(seen, information / units, one)) / units
    return jnp.where(seen, inverse, jnp.diag(found.variance))
