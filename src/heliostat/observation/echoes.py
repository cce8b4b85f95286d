r"""The echo that the base station receives through one surface.

.. math:: y[t] = \beta\,G^T\Psi aa^T\Psi G\,s[t] + w[t] = \beta\,v v^Ts[t] + w[t],\qquad
          v = G^T\Psi a(\theta, \varphi),

paper eqs. (8), (10)-(13), with noise of covariance :math:`R_w` that is white in time. Every
function sees one surface, one reflection pattern.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.arrays import PlanarArray, planar_steering
from heliostat.scene.sensing import EchoLink


def target_steering(array: PlanarArray, angles: Float[Array, "2"]) -> Complex[Array, "element"]:
    r"""Response of a panel towards a target, :math:`a = a_v(\theta) \otimes a_h(\theta, \varphi)`.

    Args:
        array: The panel.
        angles: Elevation and azimuth. [rad]

    Paper eqs. (1)-(3).
    """
    elevation, azimuth = angles
    cosines = jnp.stack([jnp.sin(elevation) * jnp.cos(azimuth), jnp.cos(elevation)])
    return planar_steering(array, cosines)


def round_trip(
    link: EchoLink, reflection: Complex[Array, "element"], angles: Float[Array, "2"]
) -> Complex[Array, "tx"]:
    r"""One way between base station and target, :math:`v = G^T\Psi a`. [1]

    The round trip is :math:`\beta v v^T`: the same vector on the way out and back.

    Args:
        link: What the echo depends on.
        reflection: :math:`\psi`. [1]
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
        link: What the echo depends on.
        reflection: :math:`\psi`. [1]
        angles: Elevation and azimuth of the target. [rad]
        target_gain: :math:`\beta`. [1]
        transmitted: :math:`S`. [√W]
    """
    way = round_trip(link, reflection, angles)
    return target_gain * way[:, None] * (way @ transmitted)[None, :]


def noise_covariance(
    link: EchoLink, reflection: Complex[Array, "element"]
) -> Complex[Array, "tx tx"]:
    r"""Of one snapshot, :math:`R_w = \sigma_r^2G^T\Psi\Psi^HG^* + \sigma_b^2I`, paper eq. (13). [W]

    The paper leaves out the surface's noise of the first pass, which returns by way of the
    target: `reradiated_noise`. Its Lemma 1 further *freezes* :math:`R_w` while the reflection
    moves: evaluate this at the reflection where it is frozen and hand the result to the bound.
    With the base station's own noise alone it is ``noise_covariance(link, 0 * reflection)``.

    Args:
        link: What the echo depends on.
        reflection: :math:`\psi`; where :math:`R_w` is frozen, the one it is frozen at. [1]
    """
    weighted = reflection[:, None] * link.bs_to_irs
    own = link.surface_noise * (weighted.T @ jnp.conj(weighted))
    return own + link.noise * jnp.eye(own.shape[0])


def reradiated_noise(
    link: EchoLink,
    reflection: Complex[Array, "element"],
    angles: Float[Array, "2"],
    target_gain: Complex[Array, ""],
) -> Complex[Array, "tx tx"]:
    r"""What :math:`R_w` neglects: :math:`\sigma_r^2|\beta|^2\|\psi\|^2\,v v^H`. [W]

    The second term of paper eq. (8), a millionth of :math:`R_w` in the paper's set-up.

    Args:
        link: What the echo depends on.
        reflection: :math:`\psi`. [1]
        angles: Elevation and azimuth of the target. [rad]
        target_gain: :math:`\beta`. [1]
    """
    way = round_trip(link, reflection, angles)
    gain = jnp.abs(target_gain) ** 2 * jnp.sum(jnp.abs(reflection) ** 2)
    return link.surface_noise * gain * way[:, None] * jnp.conj(way)[None, :]


def transmitted_signal(
    covariance: Complex[Array, "tx tx"], snapshots: int
) -> Complex[Array, "tx snapshot"]:
    r"""A signal :math:`S` of exactly this sample covariance, :math:`SS^H/T = R`. [√W]

    The eigenvectors of R, as beams, carry orthogonal sequences of constant modulus.

    Args:
        covariance: :math:`R`; of no higher rank than there are snapshots. [W]
        snapshots: :math:`T`.
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
    r"""What the base station receives, paper eqs. (8) and (9), noise by noise. [√W]

    Args:
        link: What the echo depends on.
        reflection: :math:`\psi`. [1]
        angles: Elevation and azimuth of the target. [rad]
        target_gain: :math:`\beta`. [1]
        transmitted: :math:`S`. [√W]
        neglect_reradiated: Leave out the surface's noise of the first pass, as the bounds do.
        key: Of the noise; a trial's own.
    """
    elements, antennas = link.bs_to_irs.shape
    snapshots = transmitted.shape[1]
    first, second, own = jax.random.split(key, 3)

    def drawn(key: PRNGKeyArray, rows: int) -> Array:
        return jax.random.normal(key, (rows, snapshots), dtype=complex)

    mean = echo_mean(link, reflection, angles, target_gain, transmitted)
    # The surface amplifies its own noise in either pass; in the first it goes by way of the target.
    back = reflection[:, None] * jnp.sqrt(link.surface_noise) * drawn(second, elements)
    noise = link.bs_to_irs.T @ back + jnp.sqrt(link.noise) * drawn(own, antennas)
    if neglect_reradiated:
        return mean + noise
    forth = reflection * target_steering(link.array, angles)
    lit = jnp.sqrt(link.surface_noise) * (forth @ drawn(first, elements))
    way = round_trip(link, reflection, angles)
    return mean + noise + target_gain * way[:, None] * lit[None, :]
