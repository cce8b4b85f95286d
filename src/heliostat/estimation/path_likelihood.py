r"""Likelihood of a pose from pilots over several paths, with the gains eliminated.

The mean of the samples is :math:`\sum_i g_i v_i`, where :math:`v_i` is the outer product of the
factors of path i for a gain of one (`observation.paths`). With the inner products
:math:`G_{ij} = v_i^Hv_j` and :math:`b_i = v_i^Hy` the maximum-likelihood gains are
:math:`g = G^{-1}b`, and the log-likelihood that is left is :math:`b^HG^{-1}b/N_0`: variable
projection, Golub and Pereyra (1973). The samples are correlated once with the factors that do not
depend on the pose. All other inner products come from those of the factors.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.estimation.gauss_newton import Likelihood, solve_small
from heliostat.geometry.frames import Scalar
from heliostat.observation.path_products import Products, factor_products, multiplied
from heliostat.observation.paths import Path, paths
from heliostat.scene.localization import LocalizationScene
from heliostat.units import SPEED_OF_LIGHT

ROUNDING = 1e-12
"""Share by which the energies of the paths are raised, so that paths with the same mean do not make
the equations for the gains singular."""


class PathSamples(eqx.Module):
    """Samples correlated with the known factors of each path: a sufficient statistic."""

    each: tuple[Complex[Array, "_ rx bin"], ...]
    """For the direct path over the transmit antennas, correlated with its configurations; for a
    surface over its configurations, correlated with its code and its transmit factor. [√J]"""
    energy: Scalar  # of all samples [J]
    count: Scalar  # number of complex samples


def match_paths(
    scene: LocalizationScene,
    samples: Complex[Array, "config antenna rx bin"],
    active_antennas: int | Scalar,
) -> PathSamples:
    """Correlate samples with the factors of each path that do not depend on the pose.

    Args:
        scene: Scene as known to the receiver.
        samples: Samples for all pairs of antennas, see `observation.paths.at_antennas`. [√J]
        active_antennas: :math:`N_B`; may be traced.
    """
    found, each = paths(scene, active_antennas), []
    if scene.direct is not None:
        each.append(jnp.sum(samples, axis=0))
    for surface, path in zip(scene.surfaces, found[len(each) :], strict=True):
        through = jnp.einsum("knmf,n->kmf", samples, jnp.conj(path.tx[0]))
        through = through.reshape(-1, surface.code.size, *through.shape[1:])
        each.append(jnp.einsum("klmf,l->kmf", through, surface.code))
    silent = samples.shape[1] - jnp.asarray(active_antennas, dtype=float)
    count = samples.size - silent * (samples.size // samples.shape[1])
    return PathSamples(tuple(each), jnp.sum(jnp.abs(samples) ** 2), count)


def first_factor(scene: LocalizationScene, index: int, path: Path) -> Complex[Array, "5 _"]:
    """The factor over the first axis of `PathSamples.each`, and its derivatives. [1]

    Args:
        scene: The scene.
        index: Index of the path.
        path: The path.
    """
    surface = surface_index(scene, index)
    if surface is None:
        return path.tx
    code = scene.surfaces[surface].code
    return path.config[:, :: code.size] * code[0]


def surface_index(scene: LocalizationScene, index: int) -> int | None:
    """Index of the surface of a path, None for the direct path.

    Args:
        scene: The scene.
        index: Index of the path.
    """
    surface = index - (scene.direct is not None)
    return None if surface < 0 else surface


def band_factor(path: Path, frequency: Float[Array, "bin"], clock: Scalar) -> Complex[Array, "bin"]:
    """Phase factor of a path's delay at each frequency. [1]

    Args:
        path: The path.
        frequency: Frequencies of the bins. [Hz]
        clock: Clock offset as a distance. [m]
    """
    return jnp.exp(-2j * jnp.pi / SPEED_OF_LIGHT * frequency * (path.length + clock))


def sample_scale(scene: LocalizationScene, bins: int) -> Scalar:
    """Factor between the outer product of a path's factors and its samples. [√J]

    Args:
        scene: The scene.
        bins: Number of frequencies.
    """
    configurations = scene.surface.alignment.count * scene.surface.code.size
    energy = scene.base_station.power * scene.frame.pilot
    return jnp.sqrt(energy / (configurations * bins))


def path_likelihood(
    scene: LocalizationScene,
    samples: PathSamples,
    frequency: Float[Array, "bin"],
    clock: Scalar,
    active_antennas: int | Scalar,
    present: Float[Array, "path"],
) -> tuple[Likelihood, Complex[Array, "path"]]:
    r"""Log-likelihood :math:`(\|y\|^2 - \|y - \sum_ig_iv_i\|^2)/N_0`, its slopes, and the gains.

    Args:
        scene: Scene as known to the receiver, with the user at the assumed pose and unknown gains
            of one.
        samples: Samples, see `match_paths`.
        frequency: Frequencies of the bins. [Hz]
        clock: Assumed clock offset as a distance. [m]
        active_antennas: :math:`N_B`; may be traced.
        present: 1 for paths of the model and 0 for paths that are left out of it. [1]

    Returns:
        The likelihood with derivatives with respect to `observation.paths.POSE_AND_CLOCK`, ``-inf``
        behind all surfaces if there is no direct path; and the gains, 0 for paths left out.
    """
    found = paths(scene, active_antennas)
    each: Path = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    turn = (-2j * jnp.pi / SPEED_OF_LIGHT * frequency)[None, None, :]
    band = jax.vmap(lambda path: band_factor(path, frequency, clock))(each)
    band = _with_slopes(band, each.length_slope[:, :, None] * (turn * band[:, None, :]))
    amplitude = each.gain * present * sample_scale(scene, frequency.size)
    amplitude = _with_slopes(amplitude[:, None], (each.decay * amplitude[:, None])[:, :, None])

    products = factor_products(amplitude)
    for factor in (each.config, each.tx, each.rx, band):
        products = multiplied(products, factor_products(factor))
    overlap = jnp.stack(
        [
            _overlap(samples.each[i], first_factor(scene, i, path), path.rx, band[i], amplitude[i])
            for i, path in enumerate(found)
        ]
    )
    known = jnp.ones_like(present) if scene.link.gain_known else None
    likelihood, gain = _projected(products, overlap, known)
    value, gradient, curvature = (x / scene.link.noise_density for x in likelihood)
    value = jnp.where(jnp.any(each.gain != 0), value, -jnp.inf)
    whole = scene.gains() * (gain if known is None else present)
    return Likelihood(value, gradient, curvature), whole


def _with_slopes(
    value: Complex[Array, "path sample"], slopes: Complex[Array, "path unknown sample"]
) -> Complex[Array, "path order sample"]:
    return jnp.concatenate([value[:, None, :], slopes], axis=1)


def _overlap(
    samples: Complex[Array, "first rx bin"],
    first: Complex[Array, "5 first"],
    rx: Complex[Array, "5 rx"],
    band: Complex[Array, "5 bin"],
    amplitude: Complex[Array, "5 1"],
) -> Complex[Array, "5"]:
    """Inner products of the mean of a path and of its derivatives with the samples."""
    first, rx, band, amplitude = (jnp.conj(factor) for factor in (first, rx, band, amplitude))
    beamed = jnp.einsum("amf,f->am", samples, band[0])
    over_first = beamed @ rx[0]
    over_rx = first[0] @ beamed
    over_band = rx[0] @ jnp.einsum("amf,a->mf", samples, first[0])
    value = over_first @ first[0]
    slopes = first[1:] @ over_first + rx[1:] @ over_rx + band[1:] @ over_band
    slopes = amplitude[0, 0] * slopes + amplitude[1:, 0] * value
    return jnp.concatenate([(amplitude[0, 0] * value)[None], slopes])


def _projected(
    products: Products,
    overlap: Complex[Array, "path 5"],
    known: Float[Array, "path"] | None,
) -> tuple[Likelihood, Complex[Array, "path"]]:
    """Likelihood times the noise density, from inner products; the gains relative to the scene's.

    The curvature is the Gauss-Newton one, from the derivatives of the mean orthogonal to the means
    of all paths.
    """
    energy = jnp.real(jnp.diagonal(products.value))
    gram = products.value + jnp.diag(jnp.where(energy > 0, ROUNDING * energy, 1.0))
    if known is None:
        gain = solve_small(gram, overlap[:, 0])
        value = jnp.real(jnp.vdot(gain, overlap[:, 0]))
    else:
        gain = known + 0j
        value = jnp.real(jnp.vdot(gain, 2 * overlap[:, 0] - products.value @ gain))
    residual = overlap[:, 1:] - jnp.einsum("iaj,j->ia", products.left, gain)
    gradient = 2 * jnp.real(jnp.conj(gain) @ residual)
    curvature = jnp.einsum("i,iajb,j->ab", jnp.conj(gain), products.both, gain)
    if known is None:
        cross = jnp.einsum("ija,j->ia", products.right, gain)
        curvature = curvature - jnp.conj(cross).T @ solve_small(gram, cross)
    return Likelihood(value, gradient, 2 * jnp.real(curvature)), gain
