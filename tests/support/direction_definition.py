"""Fisher information about a target's direction in its literal form, and the neglected noise."""

import jax
import jax.numpy as jnp

from heliostat.bounds.direction import DirectionInformation
from heliostat.bounds.fisher import eliminate_nuisance, slepian_bangs
from heliostat.observation.echoes import echo_mean, noise_covariance, round_trip


def direction_information_by_definition(
    link, reflection, covariance, angles, target_gain, noise=None
):
    """Fisher information from the definition, paper eq. (14), by the Slepian-Bangs formula.

    The transmitted signal consists of the columns of the covariance's square root, which carry the
    same information as any signal of that sample covariance. Arguments as for
    `heliostat.bounds.direction.direction_information`.
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


def full_information(link, reflection, covariance, angles, target_gain, noise=None):
    r"""Information F about (elevation, azimuth, Re beta, Im beta), paper eqs. (14), (15)."""
    if noise is None:
        noise = jax.vmap(lambda psi: noise_covariance(link, psi))(reflection)

    def pattern(psi, covar, noisy):
        power, vectors = jnp.linalg.eigh(covar)
        sent = vectors * jnp.sqrt(jnp.maximum(power, 0.0))[None, :]
        factor = jnp.linalg.cholesky(noisy)

        def samples(params):
            gain = jax.lax.complex(params[2], params[3])
            mean = echo_mean(link, psi, params[:2], gain, sent)
            return jax.scipy.linalg.solve_triangular(factor, mean, lower=True).ravel()

        params = jnp.concatenate(
            [angles, jnp.stack([jnp.real(target_gain), jnp.imag(target_gain)])]
        )
        return slepian_bangs(jax.jacfwd(samples)(params), jnp.ones(()))

    each = jax.vmap(pattern)(reflection, covariance, noise)
    return link.symbols * jnp.mean(each, axis=0)


def reradiated_noise(link, reflection, angles, target_gain):
    r"""Covariance of the neglected noise, sigma_r^2 |beta|^2 ||psi||^2 v v^H. [W]

    It is the surface's noise of the first pass, in the second term of paper eq. (8).
    """
    way = round_trip(link, reflection, angles)
    gain = jnp.abs(target_gain) ** 2 * jnp.sum(jnp.abs(reflection) ** 2)
    return link.surface_noise * gain * way[:, None] * jnp.conj(way)[None, :]
