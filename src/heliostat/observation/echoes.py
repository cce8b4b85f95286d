r"""The echo that the base station receives through one surface.

.. math:: y[t] = \beta\,G^T\Psi aa^T\Psi G\,s[t] + w[t] = \beta\,v v^Ts[t] + w[t],\qquad
          v = G^T\Psi a(\theta, \varphi),

paper eqs. (8), (10)-(13), with noise of covariance :math:`R_w` that is white in time. All functions
are for one surface and one reflection pattern.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.arrays import PlanarArray, planar_steering
from heliostat.scene.sensing import EchoLink


def target_steering(array: PlanarArray, angles: Float[Array, "2"]) -> Complex[Array, "element"]:
    r"""Steering vector of a panel, :math:`a = a_v(\theta) \otimes a_h(\theta, \varphi)`. [1]

    Args:
        array: The array of the panel.
        angles: Elevation and azimuth. [rad]

    Paper eqs. (1)-(3).
    """
    elevation, azimuth = angles
    cosines = jnp.stack([jnp.sin(elevation) * jnp.cos(azimuth), jnp.cos(elevation)])
    return planar_steering(array, cosines)


def round_trip(
    link: EchoLink, reflection: Complex[Array, "element"], angles: Float[Array, "2"]
) -> Complex[Array, "tx"]:
    r"""One-way response between base station and target, :math:`v = G^T\Psi a`. [1]

    By reciprocity the round trip is :math:`\beta v v^T`.

    Args:
        link: Channel, panel and noise of the surface.
        reflection: Coefficients of the surface, :math:`\psi`. [1]
        angles: Elevation and azimuth of the target. [rad]
    """
    return (reflection * target_steering(link.array, angles)) @ link.bs_to_irs


def echo_mean(
    link: EchoLink,
    reflection: Complex[Array, "element"],
    angles: Float[Array, "2"],
    target_gain: Complex[Array, ""],
    transmitted: Complex[Array, "tx snapshot"],
) -> Complex[Array, "tx snapshot"]:
    r"""Noiseless echo, :math:`\beta v v^T S`, paper eq. (11). [√W]

    Args:
        link: Channel, panel and noise of the surface.
        reflection: Coefficients of the surface, :math:`\psi`. [1]
        angles: Elevation and azimuth of the target. [rad]
        target_gain: Complex gain of the target, :math:`\beta`. [1]
        transmitted: Transmitted signal, :math:`S`. [√W]
    """
    way = round_trip(link, reflection, angles)
    return target_gain * way[:, None] * (way @ transmitted)[None, :]


def noise_covariance(
    link: EchoLink, reflection: Complex[Array, "element"]
) -> Complex[Array, "tx tx"]:
    r"""Noise covariance, :math:`R_w = \sigma_r^2G^T\Psi\Psi^HG^* + \sigma_b^2I`. [W]

    Paper eq. (13), which neglects the surface's noise of the first pass,
    :math:`\sigma_r^2|\beta|^2\|\psi\|^2\,vv^H`, where :math:`v` is the `round_trip`.
    ``noise_covariance(link, 0 * reflection)`` is the base station's noise alone.

    Args:
        link: Channel, panel and noise of the surface.
        reflection: Coefficients of the surface, :math:`\psi`. [1]
    """
    weighted = reflection[:, None] * link.bs_to_irs
    own = link.surface_noise * (weighted.T @ jnp.conj(weighted))
    return own + link.noise * jnp.eye(own.shape[0])


def transmitted_signal(
    covariance: Complex[Array, "tx tx"], snapshots: int
) -> Complex[Array, "tx snapshot"]:
    r"""Signal :math:`S` with the sample covariance :math:`SS^H/T = R`. [√W]

    The eigenvectors of R are used as beams for orthogonal sequences of constant modulus.

    Args:
        covariance: Transmit covariance :math:`R`, with a rank of at most :math:`T`. [W]
        snapshots: Number of snapshots, :math:`T`.
    """
    power, beams = jnp.linalg.eigh(covariance)
    kept = min(snapshots, power.size)
    amplitude = jnp.sqrt(jnp.maximum(power[-kept:], 0.0))
    turn = (jnp.arange(kept)[:, None] * jnp.arange(snapshots)[None, :]) % snapshots / snapshots
    return (beams[:, -kept:] * amplitude[None, :]) @ jnp.exp(2j * jnp.pi * turn)


def simulate_echo(
    link: EchoLink,
    reflection: Complex[Array, "element"],
    angles: Float[Array, "2"],
    target_gain: Complex[Array, ""],
    transmitted: Complex[Array, "tx snapshot"],
    *,
    neglect_reradiated: bool = False,
    key: PRNGKeyArray,
) -> Complex[Array, "tx snapshot"]:
    r"""Received samples with all noise terms of paper eqs. (8) and (9). [√W]

    Args:
        link: Channel, panel and noise of the surface.
        reflection: Coefficients of the surface, :math:`\psi`. [1]
        angles: Elevation and azimuth of the target. [rad]
        target_gain: Complex gain of the target, :math:`\beta`. [1]
        transmitted: Transmitted signal, :math:`S`. [√W]
        neglect_reradiated: Omit the surface's noise of the first pass, as the bounds do.
        key: Random key of the noise.
    """
    elements, antennas = link.bs_to_irs.shape
    snapshots = transmitted.shape[1]
    first, second, own = jax.random.split(key, 3)

    def drawn(key: PRNGKeyArray, rows: int) -> Array:
        return jax.random.normal(key, (rows, snapshots), dtype=complex)

    mean = echo_mean(link, reflection, angles, target_gain, transmitted)
    # The surface adds noise in both passes; that of the first pass returns by way of the target.
    back = reflection[:, None] * jnp.sqrt(link.surface_noise) * drawn(second, elements)
    noise = link.bs_to_irs.T @ back + jnp.sqrt(link.noise) * drawn(own, antennas)
    if neglect_reradiated:
        return mean + noise
    forth = reflection * target_steering(link.array, angles)
    lit = jnp.sqrt(link.surface_noise) * (forth @ drawn(first, elements))
    way = round_trip(link, reflection, angles)
    return mean + noise + target_gain * way[:, None] * lit[None, :]
