r"""Largest matched-filter SNR that all surfaces can have at once, and the beams that give it.

.. math:: \max_{R_1..R_L \succeq 0}\ \gamma\quad\text{s.t.}\quad \mathrm{SNR}_l \ge \gamma,
          \quad \textstyle\sum_l\mathrm{tr}\,R_l \le LP_t,\quad \mathrm{tr}(Q_lR_l) \le q_l.

For a price of one for each watt of the base station and :math:`\nu_l` for each watt that surface l
radiates, the cheapest way to bring one watt to the target is the beam
:math:`(I + \nu_lK_l)^{-1}v_l^*`, at a cost of :math:`1/S_l + \nu_le_l` with
:math:`S_l = v_l^T(I + \nu_lK_l)^{-1}v_l^*` and :math:`e_l = |\beta_l|^2\|\psi_l\|^2`. The dual is

.. math:: \gamma^\star = \min_{\nu \ge 0}\
          \frac{LP_t + \sum_l\nu_lq_l}{\sum_lr_l(1/S_l(\nu_l) + \nu_le_l)},

with :math:`r_l` the watts at the target for an SNR of one. Dinkelbach's method solves this
fractional program: for a given :math:`\gamma` the best :math:`\nu_l` is the smallest price at which
the beam that gives :math:`\gamma` keeps the limit :math:`q_l`, and the ratio at these prices is the
next :math:`\gamma`. The iterates fall monotonically to the optimum.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.design.transmit_problem import SurfaceProblem
from heliostat.geometry.frames import Scalar

RATIOS = 12  # iterations of Dinkelbach's method, which converges superlinearly
HALVINGS = 60  # of the interval that holds the logarithm of a price


class LargestSnr(NamedTuple):
    """Covariances of largest common SNR."""

    snr: Scalar  # smallest over the surfaces [1]
    covariance: Complex[Array, "surface tx tx"]  # rank one each [W]


class _Beam(NamedTuple):
    """Properties of the beam (I + nu K)^-1 v*, for one watt at the target."""

    cost: Scalar  # 1 / S, zero where nothing reaches the target [1]
    spent: Scalar  # of the base station's power [W]
    radiated: Scalar  # by the surface, in both passes [W]


def _beam(surface: SurfaceProblem, price: Scalar) -> _Beam:
    power = surface.pairs[:, 0]  # of v in each mode
    weight = 1 / (1 + price * surface.price)
    gain = power @ weight
    cost = jnp.where(gain > 0, 1 / jnp.where(gain > 0, gain, 1.0), 0.0)
    spent = (power @ weight**2) * cost**2
    radiated = (power * surface.price) @ weight**2 * cost**2 + surface.echo_gain
    return _Beam(cost, spent, radiated)


def _surface_price(surface: SurfaceProblem, watts: Scalar, budget: Scalar) -> Scalar:
    """Smallest price at which the beam that brings these watts to the target keeps the limit."""
    unlimited = jnp.isinf(surface.limit)
    limit = jnp.where(unlimited, 1.0, surface.limit)
    scale = jnp.maximum(jnp.max(surface.price), 1e-300)
    # At the upper end the base station's power has no weight against the surface's.
    ends = jnp.log(1e-16 / scale), jnp.log(1e14 * jnp.maximum(budget / limit, 1 / scale))

    def halve(_: Array, ends: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = ends
        middle = (low + high) / 2
        keeps = watts * _beam(surface, jnp.exp(middle)).radiated <= limit
        return jnp.where(keeps, low, middle), jnp.where(keeps, middle, high)

    _, high = jax.lax.fori_loop(0, HALVINGS, halve, ends)
    free = unlimited | (watts * _beam(surface, jnp.zeros(())).radiated <= limit)
    return jnp.where(free, 0.0, jnp.exp(high))


def largest_common_snr(surfaces: SurfaceProblem, budget: Scalar) -> LargestSnr:
    r"""Solve the max-min SNR problem above.

    Args:
        surfaces: The reduced problems of all surfaces, stacked.
        budget: Power of the base station summed over the surfaces, :math:`LP_t`. [W]
    """
    needed = 2 / surfaces.strength  # watts at the target for an SNR of one

    def prices(snr: Scalar) -> Float[Array, "surface"]:
        return jax.vmap(_surface_price, (0, 0, None))(surfaces, needed * snr, budget)

    def ratio(price: Float[Array, "surface"]) -> Scalar:
        cost = jax.vmap(_beam)(surfaces, price).cost + price * surfaces.echo_gain
        paid = jnp.where(price > 0, price * surfaces.limit, 0.0)
        denominator = jnp.sum(needed * cost)
        worth = jnp.where(denominator > 0, denominator, 1.0)
        return jnp.where(denominator > 0, (budget + jnp.sum(paid)) / worth, 0.0)

    snr = jax.lax.fori_loop(
        0, RATIOS, lambda _, snr: ratio(prices(snr)), ratio(jnp.zeros_like(needed))
    )
    price = prices(snr)
    beam = jax.vmap(_beam)(surfaces, price)
    watts = needed * snr
    # Rounding, and a surface whose limit no price keeps exactly, must not leave a violation.
    watts *= jnp.minimum(1.0, surfaces.limit / jnp.maximum(watts * beam.radiated, 1e-300))
    watts *= jnp.minimum(1.0, budget / jnp.maximum(jnp.sum(watts * beam.spent), 1e-300))
    watts *= 1 - 1e-12

    def covariance(
        surface: SurfaceProblem, nu: Scalar, cost: Scalar, lit: Scalar
    ) -> Complex[Array, "tx tx"]:
        direction = surface.basis @ (jnp.conj(surface.ways[0]) / (1 + nu * surface.price))
        direction = direction * cost * jnp.sqrt(lit)
        return direction[:, None] * jnp.conj(direction)[None, :]

    return LargestSnr(
        jnp.maximum(jnp.min(jnp.where(beam.cost > 0, watts / needed, 0.0)), 0.0),
        jax.vmap(covariance)(surfaces, price, beam.cost, watts),
    )
