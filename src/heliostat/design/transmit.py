r"""Optimal transmit covariances for given reflection coefficients: the paper's (P2).

.. math:: \min_{R_1..R_L \succeq 0}\ \max_l\ \mathrm{tr}\,F_l^{-1}(R_l)\quad\text{s.t.}\quad
          \tfrac1L\textstyle\sum_l\mathrm{tr}\,R_l \le P_t,\quad \mathrm{tr}(Q_lR_l) \le q_l,
          \quad \mathrm{SNR}_l \ge \gamma.

`transmit_dual` solves the dual problem. This module scales its covariances so that every power
constraint holds up to rounding, evaluates their CRBs, and computes a lower bound on the worst CRB
of any covariances (`certificate`).
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import direction_bound, direction_information
from heliostat.design.certificate import transmit_lower_bound
from heliostat.design.feasibility import check_lower_bound, violation
from heliostat.design.per_surface import each_surface
from heliostat.design.result import (
    INFEASIBLE,
    NOT_CONVERGED,
    NOT_IDENTIFIABLE,
    OPTIMAL,
    BeamformingDesign,
    evaluated_design,
    surface_bounds,
)
from heliostat.design.transmit_dual import dual_covariances, dual_slopes, solve_dual
from heliostat.design.transmit_problem import SurfaceProblem, TransmitProblem, surface_problem
from heliostat.design.transmit_snr import LargestSnr, largest_common_snr
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.stored_programs import stored_jit
from heliostat.surface.active import ActiveSurface, own_noise, reflected_power

SNR_TOLERANCE = 1e-6
"""Relative violation of an SNR constraint that counts as rounding."""


class _Measured(NamedTuple):
    """Properties of one surface's covariance before scaling.

    All are proportional to the scale of the covariance, except the CRB, which is inversely so.
    """

    crb: Scalar  # [rad²]
    snr: Scalar  # [1]
    spent: Scalar  # transmit power of the base station [W]
    radiated: Scalar  # signal power radiated by the surface, without its noise [W]


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
        direction_bound(direction).crb,
        direction.snr,
        jnp.real(jnp.trace(covariance)),
        power.echo + power.signal,
    )


def _balance(
    at: _Measured, limit: Float[Array, "surface"], budget: Scalar, min_snr: Scalar
) -> Float[Array, "surface"]:
    """Scale factors of the covariances that minimize the worst CRB.

    The factor of a surface has a lower limit, at which its SNR is `min_snr`, and an upper limit, at
    which the surface's power is used up. A CRB is inversely proportional to the factor, so the
    optimal factors follow from one number: the common CRB of the surfaces that are at neither
    limit. It is found by bisection. If no factors satisfy all constraints, the power constraints
    hold and the SNR constraints do not.
    """
    room = limit / at.radiated
    even = jnp.where(jnp.all(jnp.isfinite(at.crb)), at.crb, 1.0)
    needed = jnp.minimum(min_snr / jnp.maximum(at.snr, 1e-300), room)

    def scales(level: Scalar) -> Float[Array, "surface"]:
        return jnp.clip(even / level, needed, room)

    def halve(_: Array, ends: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = ends
        middle = jnp.sqrt(low) * jnp.sqrt(high)
        fits = jnp.sum(scales(middle) * at.spent) <= budget
        return jnp.where(fits, low, middle), jnp.where(fits, middle, high)

    # The upper end is the CRB at which the whole budget is used without limits on the factors,
    # or, if larger, the one at which all factors are at their lower limits: it is feasible if any
    # factors are. At the lower end each surface alone would use the whole budget or more.
    alone = even * at.spent / budget
    least = jnp.where(needed > 0, even / jnp.where(needed > 0, needed, 1.0), 0.0)
    ends = jnp.min(alone), jnp.maximum(jnp.sum(alone), jnp.max(least))
    _, level = jax.lax.fori_loop(0, 100, halve, ends)
    scale = scales(level)
    scale *= jnp.minimum(1.0, budget / jnp.sum(scale * at.spent))
    # Margin for the rounding of the sums above.
    return scale * (1 - 1e-12)


def _with_snr(
    covariance: Complex[Array, "surface tx tx"],
    snr: Float[Array, "surface"],
    best: LargestSnr,
    min_snr: Scalar,
) -> Complex[Array, "surface tx tx"]:
    """Convex combination with the covariances of largest SNR at which every SNR is `min_snr`.

    Powers and SNRs are linear in the covariances, so the combination keeps every power that both
    keep. Its weight is zero, or of the order of rounding, unless the solver has not converged.
    """
    short, gain = min_snr - snr, best.snr - snr
    part = jnp.where(gain > short, short / jnp.where(gain > short, gain, 1.0), 1.0)
    part = jnp.max(jnp.where(short > 0, part, 0.0))
    return (1 - part) * covariance + part * best.covariance


def design_transmit(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    *,
    min_snr: float,
) -> BeamformingDesign:
    """Transmit covariances that minimize the worst CRB for given coefficients, the paper's (P2).

    If the power of one surface limits the worst CRB, the base station's remaining power reduces the
    CRBs of the other surfaces.

    Args:
        scene: The scene.
        reflection: Reflection coefficients of each surface. [1]
        min_snr: Minimum SNR of the matched filter at every surface. With 0, the paper's
            problem, the optimal beams may have a null at the target. [1]

    Raises:
        ValueError: A coefficient exceeds the surface's amplification, a surface's amplified noise
            exceeds its power, or no covariances have the SNR.
        RuntimeError: The lower bound exceeds the CRB: an error of this package.
    """
    _check(scene, reflection)
    design = solve_transmit(scene, reflection, jnp.asarray(min_snr, dtype=float))
    if int(design.code) == INFEASIBLE:
        reachable = largest_snr(scene, reflection)
        raise ValueError(
            f"An SNR of {min_snr:.8g} cannot be reached at every surface; at most "
            f"{reachable:.8g} can."
        )
    broken = violation(scene, design.slack, min_snr)
    if broken is not None:
        raise ValueError(f"No design that satisfies all constraints was found: {broken}.")
    check_lower_bound(float(design.lower_bound), design.worst_crb)
    return design


def _check(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> None:
    """Raise an error for coefficients with which no transmit covariance is feasible."""
    noise = np.asarray(_own_noise(scene, reflection))
    for i, (surface, psi) in enumerate(zip(scene.surfaces, reflection, strict=True)):
        largest = float(np.max(np.abs(np.asarray(psi))))
        if largest > float(surface.amplification) * (1 + 1e-9):
            raise ValueError(
                f"Surface {i}: a coefficient of amplitude {largest:.6g} exceeds the amplification "
                f"{float(surface.amplification):.6g}."
            )
        if noise[i] >= float(surface.power):
            raise ValueError(
                f"Surface {i}: its own amplified noise takes {noise[i]:.6g} W, its "
                f"power is {float(surface.power):.6g} W; it needs more than the former."
            )


@stored_jit
def _own_noise(
    scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]
) -> Float[Array, "surface"]:
    """Power that each surface radiates without any signal. [W]"""
    noise = [
        own_noise(psi, scene.target_gain[i], surface.noise)
        for i, (surface, psi) in enumerate(zip(scene.surfaces, reflection, strict=True))
    ]
    return jnp.stack(noise)


def largest_snr(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> float:
    """Largest SNR that the echoes of all surfaces can have at once, for any covariances. [1]

    `design_transmit` refuses a `min_snr` above it.

    Args:
        scene: The scene.
        reflection: Reflection coefficients of each surface. [1]
    """
    return float(_largest(scene, reflection))


@stored_jit
def _largest(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> Scalar:
    budget = scene.n_surfaces * scene.base_station.power
    return largest_common_snr(_reduced(scene, reflection), budget).snr


@stored_jit
def solve_transmit(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    min_snr: Scalar,
) -> BeamformingDesign:
    """`design_transmit` for use under ``jax.vmap`` and ``jax.jit``.

    Failures are reported in ``code`` instead of being raised. The caller has to check ``code`` and
    ``slack``, and that ``lower_bound`` does not exceed the worst CRB by more than rounding.

    Args:
        scene: The scene.
        reflection: Reflection coefficients of each surface. [1]
        min_snr: Minimum SNR of the matched filter at every surface. [1]
    """
    surfaces = _reduced(scene, reflection)
    powered = surfaces.limit > 0
    identifiable = jnp.all(surfaces.identifiable)
    surfaces = eqx.tree_at(lambda s: s.limit, surfaces, jnp.where(powered, surfaces.limit, 1.0))
    budget = scene.n_surfaces * scene.base_station.power
    best = largest_common_snr(surfaces, budget)
    # At the largest SNR the feasible set has no interior and the multipliers are unbounded, so
    # the problem is solved for an SNR that is smaller by less than the tolerance.
    demanded = jnp.minimum(min_snr, (1 - SNR_TOLERANCE / 2) * best.snr)
    problem = TransmitProblem(surfaces, budget, 2 * demanded / surfaces.strength)
    point = solve_dual(problem)
    covariance = dual_covariances(problem, point)
    usable = identifiable & jnp.all(powered) & jnp.all(jnp.isfinite(covariance))
    antennas = covariance.shape[1]
    even = jnp.broadcast_to(jnp.eye(antennas, dtype=complex) / antennas, covariance.shape)
    covariance = jnp.where(usable, covariance, scene.base_station.power * even)
    at = each_surface(_measured, scene, reflection, covariance)
    scale = _balance(at, surfaces.limit, budget, demanded)
    covariance = covariance * scale[:, None, None]
    covariance = _with_snr(covariance, at.snr * scale, best, demanded) * jnp.all(powered)

    patterns, covariance = tuple(psi[None] for psi in reflection), covariance[:, None]
    bounds = surface_bounds(scene, patterns, covariance)
    worst = jnp.max(bounds.crb)
    prices = point.prices
    lower = transmit_lower_bound(
        scene,
        reflection,
        dual_slopes(problem, prices),
        prices.total / budget,
        prices.surface / surfaces.limit,
        prices.snr,
        demanded,
    )
    lower = jnp.where(usable, lower, 0.0)
    reachable = jnp.all(powered) & (best.snr >= min_snr * (1 - SNR_TOLERANCE / 4))
    code = jnp.where(jnp.abs(lower - worst) <= 1e-6 * worst, OPTIMAL, NOT_CONVERGED)
    code = jnp.where(identifiable, code, NOT_IDENTIFIABLE)
    code = jnp.where(reachable, code, INFEASIBLE)
    return evaluated_design(
        scene,
        patterns,
        covariance,
        bounds,
        min_snr,
        lower_bound=lower,
        history=worst[None],
        steps=point.steps,
        code=code,
    )


def _reduced(scene: SensingScene, reflection: tuple[Complex[Array, "_"], ...]) -> SurfaceProblem:
    """Reduced problems of all surfaces, stacked."""
    modes = max(min(channel.shape) for channel in scene.bs_to_irs)
    return each_surface(partial(surface_problem, modes=modes), scene, reflection)
