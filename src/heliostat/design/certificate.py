r"""Lower bound on the worst CRB over all transmit covariances, by weak duality.

For any symmetric :math:`Z \succeq 0`, by the Cauchy-Schwarz inequality,

.. math:: \mathrm{tr}(DF^{-1})\ \mathrm{tr}(ZF) \ge h(Z) = (\mathrm{tr}(D^{1/2}ZD^{1/2})^{1/2})^2

with D the weights of the parameters. F is linear in R, so a largest eigenvalue bounds
:math:`\sum_l\mathrm{tr}(Z_lF_l)` from above over all feasible covariances, and the worst CRB is at
least :math:`\sum_l h(Z_l)` divided by this bound. The result is a valid lower bound for any
:math:`Z_l \succeq 0` and nonnegative prices; it is tight for optimal ones.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import echo_matrices, steering_derivatives
from heliostat.design.per_surface import each_surface
from heliostat.geometry.frames import Scalar
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.surface.active import ActiveSurface, reflected_power

# Derivatives of the echo with respect to (ln gain, elevation, azimuth), as coefficients of
# v_c v_d^T ...
_PRODUCTS = np.array(
    [
        [[1.0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]],
        [[0, 0, 1.0], [0, 0, 0], [1.0, 0, 0]],
    ]
)
# ... and with respect to (elevation, azimuth, Re ln gain, Im ln gain), as combinations of those.
_PARAMS = np.array([[0, 0, 1, 1j], [1, 0, 0, 0], [0, 1, 0, 0]])


def linear_information(
    received: Complex[Array, "3 3"], strength: Scalar
) -> Complex[Array, "4 4 3 3"]:
    r"""Matrices :math:`X_{pq}` with :math:`F_{pq} = \mathrm{Re}\,\mathrm{tr}(X_{pq}B)`.

    The parameters are :math:`(\theta, \varphi, \mathrm{Re}\ln\beta, \mathrm{Im}\ln\beta)`.

    Args:
        received: :math:`A`. [1/W]
        strength: :math:`2T|\beta|^2`. [1]
    """
    return strength * jnp.einsum(
        "ap,bq,acd,bef,ce->pqdf", np.conj(_PARAMS), _PARAMS, _PRODUCTS, _PRODUCTS, received
    )


def priced_gram(
    steering: Complex[Array, "3 element"],
    weighted: Complex[Array, "element tx"],
    echo_gain: Scalar,
    total: Scalar,
    surface: Scalar,
) -> Complex[Array, "3 3"]:
    r"""Compute :math:`V^TW^{-1}V^*`, :math:`W = \mu I + \nu Q`, by one Cholesky factorization.

    Args:
        steering: Steering vector to the target and its derivatives with respect to the angles;
            :math:`V^T` is its product with `weighted`.
        weighted: :math:`\Psi G`.
        echo_gain: :math:`|\beta|^2\|\psi\|^2`.
        total: :math:`\mu`.
        surface: :math:`\nu`.
    """
    elements, antennas = weighted.shape
    # Solved in the smaller of the two spaces: X (mu + nu X^H X)^-1 X^H = (mu + nu X X^H)^-1 X X^H.
    if elements < antennas:
        square = weighted @ jnp.conj(weighted).T
        right, left = square @ jnp.conj(steering).T, steering
    else:
        square = jnp.conj(weighted).T @ weighted
        left = steering @ weighted
        right = jnp.conj(left).T
    factor = jax.scipy.linalg.cho_factor(
        total * jnp.eye(square.shape[0]) + surface * square, lower=True
    )
    gram = left @ jax.scipy.linalg.cho_solve(factor, right)
    extra = surface * echo_gain
    gram -= extra / (1 + extra * jnp.real(gram[0, 0])) * gram[:, 0][:, None] * gram[0][None, :]
    return (gram + jnp.conj(gram).T) / 2


@eqx.filter_jit
def transmit_lower_bound(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    slopes: Float[Array, "surface 4 4"],
    total_price: Scalar,
    surface_price: Float[Array, "surface"],
    snr_price: Float[Array, "surface"],
    min_snr: Scalar,
) -> Scalar:
    r"""Lower bound on the worst CRB of all feasible covariances. [rad²]

    It may be infinite or arbitrarily large if the problem is infeasible, and 0 if the prices prove
    nothing.

    Args:
        scene: The scene.
        reflection: Reflection coefficients of each surface. [1]
        slopes: :math:`Z_l` over :math:`(\theta, \varphi, \mathrm{Re}\ln\beta,
            \mathrm{Im}\ln\beta)`, in any common scale.
        total_price: Price of a watt of the base station, :math:`\mu > 0`, in any scale.
        surface_price: Price of a watt radiated by a surface, :math:`\nu_l \ge 0`, in the same
            scale.
        snr_price: Price of a watt at the target in the SNR constraint, :math:`\xi_l \ge 0`, in
            the scale of the slopes.
        min_snr: Minimum SNR of the matched filter. [1]
    """

    def terms(
        link: EchoLink,
        surface: ActiveSurface,
        angles: Array,
        gain: Array,
        psi: Array,
        pricing: Array,
        radiated_price: Scalar,
        lit_price: Scalar,
    ) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """h(Z), largest tr(ZF) at unit cost, cost of the power limits, value of the minimum SNR."""
        antennas = link.bs_to_irs.shape[1]
        silent = jnp.zeros((antennas, antennas), dtype=complex)
        received, _ = echo_matrices(link, psi, silent, angles)
        magnitude = jnp.abs(gain)
        linear = linear_information(received, 2 * link.symbols * magnitude**2)
        size = jnp.concatenate([jnp.ones(2), jnp.stack([magnitude, magnitude])])
        scaled = pricing * size[:, None] * size[None, :]
        roots = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(scaled), 0.0))
        linearized = jnp.einsum("pq,pqdf->df", pricing, linear)
        linearized = (linearized + jnp.conj(linearized).T) / 2
        linearized = linearized.at[0, 0].add(lit_price)

        steering = steering_derivatives(surface.array, angles)
        power = reflected_power(psi, link.bs_to_irs, silent, steering[0], gain, surface.noise)
        limit = surface.power - power.own_noise
        unlimited = jnp.isinf(limit)
        radiated_price = jnp.where(unlimited, 0.0, radiated_price)
        gram = priced_gram(
            steering,
            psi[:, None] * link.bs_to_irs,
            magnitude**2 * jnp.sum(jnp.abs(psi) ** 2),
            total_price,
            radiated_price,
        )
        lengths, axes = jnp.linalg.eigh(gram)
        root = axes * jnp.sqrt(jnp.maximum(lengths, 0.0))[None, :]
        watts = min_snr / (link.symbols * magnitude**2 * jnp.real(received[0, 0]))
        return (
            jnp.sum(roots) ** 2,
            jnp.linalg.eigvalsh(jnp.conj(root).T @ linearized @ root)[-1],
            radiated_price * jnp.where(unlimited, 0.0, limit),
            lit_price * watts,
        )

    values, reaches, limits, worths = each_surface(
        terms, scene, reflection, slopes, surface_price, snr_price
    )
    value, worst = jnp.sum(values), jnp.maximum(jnp.max(reaches), 0.0)
    price, worth = jnp.sum(limits), jnp.sum(worths)
    budget = scene.n_surfaces * scene.base_station.power
    reach = worst * (total_price * budget + price) - worth
    sound = (reach > 0) & jnp.isfinite(reach) & jnp.isfinite(value)
    return jnp.where(sound, value / jnp.where(sound, reach, 1.0), 0.0)
