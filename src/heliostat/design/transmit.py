r"""The best transmit covariances for surfaces that are already set: the paper's (P2), fast.

.. math:: \min_{R_1..R_L \succeq 0}\ \max_l\ \mathrm{tr}\,F_l^{-1}(R_l)\quad\text{s.t.}\quad
          \tfrac1L\textstyle\sum_l\mathrm{tr}\,R_l \le P_t,\quad \mathrm{tr}(Q_lR_l) \le q_l,
          \quad \mathrm{SNR}_l \ge \gamma.

`transmit_dual` solves it; here its covariances are scaled to keep every power to the last digit,
measured by the bounds, and held against a certificate that does not know where they come from.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy.optimize import minimize_scalar

from heliostat.bounds.direction import DirectionBound, direction_bound, direction_information
from heliostat.design.certificate import transmit_lower_bound
from heliostat.design.per_surface import each_surface
from heliostat.design.result import (
    INFEASIBLE,
    NOT_CONVERGED,
    NOT_IDENTIFIABLE,
    OPTIMAL,
    BeamformingDesign,
    Slack,
)
from heliostat.design.transmit_dual import (
    SurfaceProblem,
    TransmitProblem,
    dual_covariances,
    dual_slopes,
    solve_dual,
    surface_problem,
)
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.surface.active import ActiveSurface, reflected_power


class _Measured(NamedTuple):
    """One surface and its covariance, before it is scaled. All but ``own_noise`` scale with it."""

    bound: DirectionBound
    spent: Scalar  # by the base station [W]
    radiated: Scalar  # by the surface, its own noise left out [W]
    own_noise: Scalar  # [W]


def _measured(
    link: EchoLink,
    surface: ActiveSurface,
    angles: Float[Array, "2"],
    target_gain: Complex[Array, ""],
    reflection: Complex[Array, "element"],
    covariance: Complex[Array, "tx tx"],
) -> _Measured:
    direction = direction_information(link, reflection[None], covariance[None], angles, target_gain)
    steering = target_steering(surface.array, angles)
    power = reflected_power(
        reflection, link.bs_to_irs, covariance, steering, target_gain, surface.noise
    )
    return _Measured(
        direction_bound(direction),
        jnp.real(jnp.trace(covariance)),
        power.echo + power.signal,
        power.own_noise,
    )


def _balance(
    at: _Measured, limit: Float[Array, "surface"], budget: Scalar, min_snr: Scalar
) -> Float[Array, "surface"]:
    """Scales that keep every power, and make the CRBs as even as powers allow.

    A CRB falls as the scale of its covariance grows, so the best scales follow from one number,
    the CRB of the surfaces that have power left; it is found by bisection. A surface that has
    none keeps its larger CRB and the rest of the power goes to the others.
    """
    room = limit / at.radiated
    crb = at.bound.crb
    even = jnp.where(jnp.all(jnp.isfinite(crb)), crb, 1.0)
    needed = min_snr / jnp.maximum(at.bound.snr, 1e-300)

    def scales(level: Scalar) -> Float[Array, "surface"]:
        return jnp.minimum(jnp.maximum(even / level, needed), room)

    def halve(_: Array, ends: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = ends
        middle = jnp.sqrt(low * high)
        fits = jnp.sum(scales(middle) * at.spent) <= budget
        return jnp.where(fits, low, middle), jnp.where(fits, middle, high)

    most = jnp.sum(even * at.spent) / budget
    _, level = jax.lax.fori_loop(0, 60, halve, (1e-6 * most, most))
    scale = scales(level)
    scale *= jnp.minimum(1.0, budget / jnp.sum(scale * at.spent))
    # Rounding of the sums above must not leave a violation.
    return scale * (1 - 1e-12)


def design_transmit(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    *,
    min_snr: float = 0.0,
) -> BeamformingDesign:
    """Transmit covariances of least worst CRB for surfaces that are already set, paper's (P2).

    Where a surface limits the worst CRB and the base station has power left, it is spent on the
    others as far as they can take it.

    Args:
        scene: The scene.
        reflection: How the surfaces are set. [1]
        min_snr: Least SNR of the matched filter at every surface; 0 is the paper's own problem,
            whose optimum may leave the target itself in the dark. [1]

    Raises:
        ValueError: A coefficient exceeds its amplification, a surface's power is below its own
            amplified noise, or the SNR is out of reach.
    """
    _check(scene, reflection)
    design = solve_transmit(scene, reflection, jnp.asarray(min_snr, dtype=float))
    if int(design.code) == INFEASIBLE:
        reachable = largest_snr(scene, reflection)
        raise ValueError(
            f"An SNR of {min_snr:.4g} cannot be reached at every surface; at most "
            f"{reachable:.4g} can."
        )
    return design


def _check(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> None:
    """Refuse reflections that no transmit covariance can make feasible."""
    own_noise = np.asarray(_own_noise(scene, reflection))
    for i, (surface, psi) in enumerate(zip(scene.surfaces, reflection, strict=True)):
        largest = float(np.max(np.abs(np.asarray(psi))))
        if largest > float(surface.amplification) * (1 + 1e-9):
            raise ValueError(
                f"Surface {i}: a coefficient of amplitude {largest:.6g} exceeds the amplification "
                f"{float(surface.amplification):.6g}."
            )
        if own_noise[i] >= float(surface.power):
            raise ValueError(
                f"Surface {i}: its own amplified noise takes {own_noise[i]:.6g} W, its "
                f"power is {float(surface.power):.6g} W; it needs more than the former."
            )


@eqx.filter_jit
def _own_noise(
    scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]
) -> Float[Array, "surface"]:
    """What each surface radiates without any signal. [W]"""

    def own(
        link: EchoLink, surface: ActiveSurface, angles: Array, gain: Array, psi: Array
    ) -> Scalar:
        antennas = link.bs_to_irs.shape[1]
        silent = jnp.zeros((antennas, antennas), dtype=complex)
        steering = target_steering(surface.array, angles)
        return reflected_power(psi, link.bs_to_irs, silent, steering, gain, surface.noise).own_noise

    return each_surface(own, scene, reflection)


def largest_snr(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> float:
    """Largest SNR that all surfaces' echoes can have together, whatever their CRB. [1]

    Args:
        scene: The scene.
        reflection: How the surfaces are set. [1]
    """
    surfaces = eqx.filter_jit(_reduced)(scene, reflection)
    each = [jax.tree.map(lambda x, i=i: x[i], surfaces) for i in range(scene.n_surfaces)]
    budget = scene.n_surfaces * float(scene.base_station.power)

    def least_power(problem: SurfaceProblem, snr: float) -> float:
        """Of the base station, for one surface; inf if the surface cannot radiate enough."""
        watts = 2 * snr / float(problem.strength)
        modes = np.asarray(problem.pairs[:, 0])
        price, limit = np.asarray(problem.price), float(problem.limit)
        if not np.isfinite(limit):
            return watts / modes.sum()

        def dual(log_price: float) -> float:
            nu = np.exp(log_price)
            cost = 1 / np.sum(modes / (1 + nu * price)) + nu * float(problem.echo_gain)
            return nu * limit - watts * cost

        top = np.log(1e12 / price.max())
        found = minimize_scalar(dual, bounds=(top - 50, top), method="bounded")
        return np.inf if found.x > top - 1e-3 else max(-found.fun, watts / modes.sum())

    low, high = (
        0.0,
        min(float(p.strength) / 2 * budget * float(jnp.sum(p.pairs[:, 0])) for p in each),
    )
    for _ in range(50):
        middle = (low + high) / 2
        fits = sum(least_power(p, middle) for p in each) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return low


@eqx.filter_jit
def solve_transmit(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    min_snr: Scalar,
) -> BeamformingDesign:
    """`design_transmit` for use under ``jax.vmap`` and ``jax.jit``: it says by its code, not by an
    error, what cannot be. Arguments as there, except that ``min_snr`` is an array.
    """
    surfaces = _reduced(scene, reflection)
    powered = surfaces.limit > 0
    identifiable = jnp.all(surfaces.identifiable)
    surfaces = eqx.tree_at(lambda s: s.limit, surfaces, jnp.where(powered, surfaces.limit, 1.0))
    budget = scene.n_surfaces * scene.base_station.power
    problem = TransmitProblem(surfaces, budget, 2 * min_snr / surfaces.strength)
    point = solve_dual(problem)
    covariance = dual_covariances(problem, point)
    usable = identifiable & jnp.all(powered) & jnp.all(jnp.isfinite(covariance))
    antennas = covariance.shape[1]
    even = jnp.broadcast_to(jnp.eye(antennas, dtype=complex) / antennas, covariance.shape)
    covariance = jnp.where(usable, covariance, scene.base_station.power * even)
    at = each_surface(_measured, scene, reflection, covariance)
    scale = _balance(at, surfaces.limit, budget, min_snr) * jnp.all(powered)

    crb, snr = at.bound.crb / scale, at.bound.snr * scale
    prices = point.prices
    lower = transmit_lower_bound(
        scene,
        reflection,
        dual_slopes(problem, prices),
        prices.total / budget,
        prices.surface / surfaces.limit,
        prices.snr,
        min_snr,
    )
    lower = jnp.where(usable, jnp.minimum(lower, jnp.max(crb)), 0.0)
    reached = jnp.all(snr >= min_snr * (1 - 1e-6))
    close = lower >= (1 - 1e-6) * jnp.max(crb)
    code = jnp.where(close, OPTIMAL, NOT_CONVERGED)
    code = jnp.where(reached, code, INFEASIBLE)
    code = jnp.where(identifiable, code, NOT_IDENTIFIABLE)
    code = jnp.where(jnp.all(powered), code, INFEASIBLE)
    amplitude = [
        s.amplification - jnp.max(jnp.abs(psi))
        for s, psi in zip(scene.surfaces, reflection, strict=True)
    ]
    slack = Slack(
        scene.base_station.power - jnp.mean(scale * at.spent),
        jnp.stack([s.power for s in scene.surfaces]) - at.own_noise - scale * at.radiated,
        jnp.stack(amplitude),
        snr - min_snr,
    )
    return BeamformingDesign(
        covariance * scale[:, None, None],
        reflection,
        crb,
        at.bound.direction_std / jnp.sqrt(scale)[:, None],
        snr,
        lower,
        slack,
        jnp.max(crb)[None],
        point.steps,
        code,
    )


def _reduced(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> SurfaceProblem:
    """Every surface's problem, stacked."""
    modes = max(min(channel.shape) for channel in scene.bs_to_irs)
    return each_surface(partial(surface_problem, modes=modes), scene, reflection)
