r"""Fisher information about a user's pose from pilots over several paths.

The mean of the samples over each path is an outer product of factors,
:math:`u_i = g_i\,c_i \otimes t_i \otimes r_i \otimes d_i`. The inner product of two means is the
product of the inner products of their factors, and inner products of derivatives follow from the
product rule. No tensor over beam pairs is formed: the cost for one position and n paths is
:math:`O(n^2(K + N_B + N_M))`. The codebooks are orthonormal, so that sums over beams are inner
products of array responses. The band is flat and continuous, so that the inner product over
frequency is a sinc function of the difference of the path lengths.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from heliostat.bounds.fisher import SINGULAR, slepian_bangs
from heliostat.bounds.pose import PoseInformation, pose_information
from heliostat.geometry.arrays import sinc_and_slopes
from heliostat.geometry.frames import Scalar
from heliostat.observation.path_products import Products, factor_products, multiplied
from heliostat.observation.paths import POSE_AND_CLOCK, Path, paths, paths_mean
from heliostat.scene.localization import LocalizationScene
from heliostat.units import SPEED_OF_LIGHT


def _band_products(
    length: Float[Array, "path"], slope: Float[Array, "path unknown"], bandwidth: Scalar
) -> Products:
    r"""Products of the phase factors of the delays, :math:`\sin(x)/x` for :math:`x = x_i - x_j`.

    Here :math:`x_i = \pi B\ell_i/c` with the path length :math:`\ell_i`.
    """
    scale = jnp.pi * bandwidth / SPEED_OF_LIGHT
    value, first, second = sinc_and_slopes(scale * (length[:, None] - length[None, :]))
    step = scale * slope
    return Products(
        value + 0j,
        first[:, None, :] * step[:, :, None] + 0j,
        -first[:, :, None] * step[None, :, :] + 0j,
        -second[:, None, :, None] * step[:, :, None, None] * step[None, None, :, :] + 0j,
        step**2 / 3,
    )


def _all_products(found: tuple[Path, ...], bandwidth: Scalar) -> Products:
    each: Path = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    gain = each.gain[:, None] * jnp.concatenate(
        [jnp.ones_like(each.decay[:, :1]), each.decay], axis=1
    )
    products = _band_products(each.length, each.length_slope, bandwidth)
    for factor in (gain[:, :, None], each.config, each.tx, each.rx):
        products = multiplied(products, factor_products(factor))
    return products


def paths_information(scene: LocalizationScene, active_antennas: int | Scalar) -> PoseInformation:
    """Fisher information of the pose from pilots over all paths to the user.

    Unknown nuisance parameters are eliminated from `joint_information`: the clock offset if the
    clocks are not synchronized, and the complex gains of all paths if the gains are unknown. A path
    with a gain of zero is blocked, and its gain is not an unknown.

    Args:
        scene: The scene; the bound is for its user.
        active_antennas: :math:`N_B`; may be traced.
    """
    information, power = _joint_information(scene, active_antennas)
    kept = [0, 1, 2] + [3] * (not scene.link.clock_known)
    if not scene.link.gain_known:
        kept += range(4, len(information))
    chosen = information[jnp.array(kept)][:, jnp.array(kept)]
    return PoseInformation(_without_nuisances(chosen, 3), _reference(scene, power))


def _reference(scene: LocalizationScene, power: Float[Array, "2"]) -> Float[Array, "pose"]:
    """`PoseInformation.reference` from the scales of position and heading."""
    index = jnp.arange(scene.user.antennas)
    broadside = (2 * jnp.pi * scene.user.spacing) ** 2 * jnp.mean(index**2)
    return jnp.stack([power[0], power[0], broadside * power[1]])


SEPARATE = 12
"""Length of the result of `separate_information`."""


def separate_information(
    scene: LocalizationScene, active_antennas: int | Scalar
) -> Float[Array, "12"]:
    """Share of one path in the information of several paths that sign codes separate.

    The factors ``config`` of two paths with different rows of a Hadamard matrix are orthogonal, and
    so are their derivatives. The information of several such paths is therefore the sum of that of
    each path. As the gain of a path occurs in no other path, it is eliminated here, before the sum.

    Args:
        scene: A scene whose only path with a gain is the one in question. The length of the code
            has no effect.
        active_antennas: :math:`N_B`; may be traced.

    Returns:
        Upper triangle of the information about `observation.paths.POSE_AND_CLOCK`, row by row, and
        the last two entries of `PoseInformation.reference`. The sum over the paths is the argument
        of `separated_pose_information`.
    """
    information, power = _joint_information(scene, active_antennas)
    unknowns = len(POSE_AND_CLOCK)
    if scene.link.gain_known:
        information = information[:unknowns, :unknowns]
    reduced = _without_nuisances(information, unknowns)
    return jnp.concatenate([reduced[jnp.triu_indices(unknowns)], _reference(scene, power)[1:]])


def separated_pose_information(summed: Float[Array, "12"], *, clock_known: bool) -> PoseInformation:
    """`paths_information` from the sum of `separate_information` over the paths.

    Args:
        summed: The sum over the paths.
        clock_known: Whether both ends share one clock.
    """
    # Single numbers, which XLA vectorizes over a batch; the clock is the last of the unknowns.
    pairs = itertools.combinations_with_replacement(range(len(POSE_AND_CLOCK)), 2)
    upper = {pair: summed[k] for k, pair in enumerate(pairs)}
    clock = upper[3, 3]
    share = jnp.where(clock > 0, 1 / jnp.where(clock > 0, clock, 1.0), 0.0)
    if clock_known:
        share = jnp.zeros(())

    def entry(i: int, j: int) -> Scalar:
        return upper[min(i, j), max(i, j)] - share * upper[i, 3] * upper[j, 3]

    rows = [jnp.stack([entry(i, j) for j in range(3)]) for i in range(3)]
    return PoseInformation(jnp.stack(rows), summed[jnp.array([-2, -2, -1])])


def scene_pose_information(
    scene: LocalizationScene, active_antennas: int | Scalar
) -> PoseInformation:
    """Fisher information of the pose for one path or several.

    Uses `pose_information` for one path with plane waves, `paths_information` otherwise.

    Args:
        scene: The scene; the bound is for its user.
        active_antennas: :math:`N_B`; may be traced.
    """
    information = pose_information if scene.single_path else paths_information
    return information(scene, active_antennas)


def joint_information(
    scene: LocalizationScene, active_antennas: int | Scalar
) -> Float[Array, "unknown unknown"]:
    r"""Fisher information of the pose, the clock and the gains of all paths.

    .. math:: J_{pq} = \frac{2}{N_0}\mathrm{Re}\sum_{i,j}
              \langle\partial_pu_i, \partial_qu_j\rangle

    Args:
        scene: The scene; the bound is for its user.
        active_antennas: :math:`N_B`; may be traced.

    Returns:
        Information about `observation.paths.POSE_AND_CLOCK`, followed by a of all paths and b of
        all paths. The gain of each path has the unknown factor :math:`e^{a + jb}`.
    """
    return _joint_information(scene, active_antennas)[0]


def _joint_information(
    scene: LocalizationScene, active_antennas: int | Scalar
) -> tuple[Float[Array, "unknown unknown"], Float[Array, "2"]]:
    """`joint_information`, and the scales for `PoseInformation.reference`."""
    found = paths(scene, active_antennas)
    products = _all_products(found, scene.link.bandwidth)
    energy = scene.base_station.power * scene.frame.pilot
    share = 2 * energy / (scene.link.noise_density * found[0].config.shape[1])
    known = jnp.real(jnp.sum(products.both, axis=(0, 2)))
    # The derivatives of u with respect to a and b are u and ju.
    cross = jnp.sum(products.left, axis=0)
    cross = jnp.concatenate([jnp.real(cross), -jnp.imag(cross)], axis=1)
    real, imaginary = jnp.real(products.value), jnp.imag(products.value)
    gains = jnp.block([[real, -imaginary], [imaginary, real]])
    whole = jnp.block([[known, cross], [cross.T, gains]])
    position = jnp.sum(products.apart[:, :2])
    return share * whole, share * jnp.stack([position, jnp.trace(real)])


def _without_nuisances(
    information: Float[Array, "unknown unknown"], kept: int
) -> Float[Array, "kept kept"]:
    """Information about the first unknowns after eliminating all others one by one.

    The result is that of `fisher.eliminate_nuisance`; XLA vectorizes these steps over many
    positions. An unknown about which there is no information is omitted.
    """
    diagonal = jnp.diagonal(information)
    for last in range(information.shape[0] - 1, kept - 1, -1):
        pivot, column = information[last, last], information[:last, last]
        seen = pivot > SINGULAR * diagonal[last]
        share = jnp.where(seen, column / jnp.where(seen, pivot, 1.0), 0.0)
        information = information[:last, :last] - share[:, None] * column[None, :]
    return information


def joint_information_by_definition(
    scene: LocalizationScene, active_antennas: int, nodes: int = 32
) -> Float[Array, "unknown unknown"]:
    """Compute `joint_information` from the derivatives of the mean for all beam pairs.

    The band is integrated by Gauss-Legendre quadrature.

    Args:
        scene: The scene; the bound is for its user.
        active_antennas: :math:`N_B`.
        nodes: Number of quadrature nodes.
    """
    at, weight = np.polynomial.legendre.leggauss(nodes)
    frequency = scene.link.bandwidth / 2 * jnp.asarray(at)
    user, count = scene.user, scene.gains().size
    begun = jnp.stack([user.position[0], user.position[1], user.heading, jnp.zeros(())])
    begun = jnp.concatenate([begun, jnp.zeros(2 * count)])

    def samples(unknowns: Float[Array, "unknown"]) -> Array:
        x, y, heading, clock = unknowns[:4]
        factor = jnp.exp(unknowns[4 : 4 + count] + 1j * unknowns[4 + count :])
        there = scene.with_user(jnp.stack([x, y, user.position[2]]), heading)
        there = there.with_gains(there.gains() * factor)
        mean = paths_mean(there, active_antennas, frequency, clock)
        return jnp.einsum("kbmf,f->kbmf", mean, jnp.sqrt(nodes * jnp.asarray(weight) / 2)).ravel()

    return slepian_bangs(jax.jacfwd(samples)(begun), scene.link.noise_density)
