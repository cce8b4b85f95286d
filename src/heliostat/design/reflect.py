r"""Reflection coefficients for given covariances: direct solution of the paper's (P3).

.. math:: \min_\psi\ \mathrm{tr}F^{-1}(\psi)\quad\text{s.t.}\quad \text{(7)} \le P_s,\quad
          |\psi_n| \le a_{max},\quad \mathrm{SNR} \ge \gamma.

Every candidate satisfies the amplitude and power constraints: coefficients saturate at
:math:`a_{max}`, and all of them are scaled down together where the surface would radiate more than
:math:`P_s`. This suffices because every term of (7) decreases at least quadratically. The SNR
constraint is a penalty. The CRB has many local minima, so short descents run from several starts
and the best few are continued. Given coefficients are among the starts, and the result is never
worse than they are.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from heliostat.bounds.direction import direction_information
from heliostat.design.feasibility import dwell_design
from heliostat.design.parametrization import (
    FINAL_SHARPNESS,
    Form,
    best_descents,
    coefficients,
    descend,
    log_crb,
    plane_free,
    polar_free,
    power_factor,
    snr_shortfall,
)
from heliostat.design.result import BeamformingDesign
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.surface.active import ActiveSurface, reflected_power

SHARPNESS = (30.0, 300.0, 3000.0)
"""Sharpness of the smooth minimum in successive descents, see `parametrization.power_factor`."""
TRIAL_STEPS, STEPS = 60, 600
FINALISTS = 2


class ReflectionTask(eqx.Module):
    """Design problem of one surface's coefficients for given covariances."""

    link: EchoLink
    surface: ActiveSurface
    angles: Float[Array, "2"]  # [rad]
    target_gain: Complex[Array, ""]  # beta [1]
    covariance: Complex[Array, "pattern tx tx"]  # R of each pattern [W]
    min_snr: Scalar  # [1]


def reflection_task(
    scene: SensingScene,
    index: int,
    covariance: Complex[Array, "pattern tx tx"],
    min_snr: float | Scalar,
) -> ReflectionTask:
    """Return the design problem of one surface of a scene.

    Args:
        scene: The scene.
        index: Index of the surface.
        covariance: Transmit covariance of each pattern. [W]
        min_snr: Least SNR. [1]
    """
    return ReflectionTask(
        scene.link(index),
        scene.surfaces[index],
        scene.angles()[index],
        scene.target_gain[index],
        covariance,
        jnp.asarray(min_snr, dtype=float),
    )


def within_power(
    task: ReflectionTask, reflection: Complex[Array, "pattern element"], sharpness: Scalar
) -> Complex[Array, "pattern element"]:
    """Scale down the coefficients of each pattern until the surface keeps its power limit. [1]

    Args:
        task: The design problem.
        reflection: Coefficients of each pattern. [1]
        sharpness: Sharpness of the smooth minimum, see `parametrization.power_factor`.
    """
    steering = target_steering(task.link.array, task.angles)

    def pattern(psi: Array, covar: Array) -> Array:
        radiated = reflected_power(
            psi, task.link.bs_to_irs, covar, steering, task.target_gain, task.surface.noise
        )
        return psi * jnp.sqrt(power_factor(task.surface.power, radiated.total, sharpness))

    return jax.vmap(pattern)(reflection, task.covariance)


def reflection_objective(
    task: ReflectionTask,
    free: Float[Array, "pattern element 2"],
    sharpness: Scalar,
    form: Form,
) -> Scalar:
    """Return the log CRB plus a penalty where the SNR falls short.

    Args:
        task: The design problem.
        free: Unknowns in one of the forms of `parametrization.coefficients`.
        sharpness: Sharpness of the smooth minimum; also the weight of the penalty.
        form: Parametrization.
    """
    psi = within_power(task, coefficients(free, task.surface.amplification, form), sharpness)
    direction = direction_information(
        task.link, psi, task.covariance, task.angles, task.target_gain
    )
    return log_crb(direction) + sharpness * snr_shortfall(direction.snr, task.min_snr)


@partial(jax.jit, static_argnames="form")
def _value_and_slope(
    task: ReflectionTask, flat: Float[Array, "unknown"], sharpness: Scalar, form: Form
) -> tuple[Scalar, Array]:
    shape = (task.covariance.shape[0], task.link.bs_to_irs.shape[0], 2)
    return jax.value_and_grad(
        lambda x: reflection_objective(task, x.reshape(shape), sharpness, form)
    )(flat)


@jax.jit
def _measure(task: ReflectionTask, psi: Complex[Array, "pattern element"]) -> tuple[Scalar, Scalar]:
    direction = direction_information(
        task.link, psi, task.covariance, task.angles, task.target_gain
    )
    return log_crb(direction), direction.snr


class SetSurface(NamedTuple):
    """Designed coefficients of one surface."""

    reflection: Complex[Array, "pattern element"]  # [1]
    log_crb: float
    snr: float  # [1]


def design_surface(
    task: ReflectionTask,
    incumbent: Complex[Array, "pattern element"] | None,
    *,
    starts: int,
    rng: np.random.Generator,
) -> SetSurface:
    """Return the best coefficients found for one surface.

    Args:
        task: The design problem.
        incumbent: Known coefficients, if any; the result is no worse. [1]
        starts: Number of random starts.
        rng: Random generator of the starts.
    """
    surface = task.surface
    form: Form = "phase" if surface.passive else "plane"
    shape = (task.covariance.shape[0], task.link.bs_to_irs.shape[0], 2)

    def run(x: np.ndarray, sharp: float, form: Form, steps: int) -> tuple[np.ndarray, float]:
        bounds = [(0.0, 1.0), (None, None)] * (x.size // 2) if form == "polar" else None
        weight = jnp.asarray(sharp)
        return descend(
            lambda at: _value_and_slope(task, at, weight, form), x, steps=steps, bounds=bounds
        )

    beginnings = [rng.normal(size=shape).ravel() for _ in range(starts)]
    if incumbent is not None:
        beginnings.append(np.asarray(plane_free(incumbent, surface.amplification)).ravel())
    known = [] if incumbent is None else [incumbent]
    for finalist in best_descents(
        lambda x: run(x, SHARPNESS[0], form, TRIAL_STEPS), beginnings, FINALISTS
    ):
        flat = finalist
        for sharp in SHARPNESS:
            flat, _ = run(flat, sharp, form, STEPS)
        psi = coefficients(jnp.asarray(flat).reshape(shape), surface.amplification, form)
        if not surface.passive:
            polar = np.asarray(polar_free(psi, surface.amplification)).ravel()
            polar, _ = run(polar, SHARPNESS[-1], "polar", STEPS)
            psi = coefficients(jnp.asarray(polar).reshape(shape), surface.amplification, "polar")
        known.append(within_power(task, psi, jnp.asarray(FINAL_SHARPNESS)))
    return _best(task, known)


def _best(task: ReflectionTask, known: list[Array]) -> SetSurface:
    """Return the candidate of least CRB among those whose SNR suffices, else of largest SNR."""
    measured = [SetSurface(psi, *(float(m) for m in _measure(task, psi))) for psi in known]
    enough = float(task.min_snr) * (1 - 1e-6)
    loud = [m for m in measured if m.snr >= enough]
    if loud:
        return min(loud, key=lambda m: m.log_crb)
    return max(measured, key=lambda m: m.snr)


def design_reflection(
    scene: SensingScene,
    covariance: Complex[Array, "surface *pattern tx tx"],
    *,
    incumbent: tuple[Complex[Array, "pattern _"], ...] | None = None,
    min_snr: float | Scalar,
    starts: int = 6,
    seed: int = 0,
) -> BeamformingDesign:
    """Design the coefficients of every surface for given covariances; (P3) separates by surface.

    Args:
        scene: The scene.
        covariance: Transmit covariance of each surface, for one pattern, or of each surface and
            pattern. [W]
        incumbent: Known coefficients, used as a start; the result is no worse. [1]
        min_snr: Least SNR of the matched filter, 100 being 20 dB; 0 for the paper's criterion. [1]
        starts: Number of random starts for each surface.
        seed: Seed of the starts.

    Raises:
        ValueError: If no coefficients were found that reach the SNR.
    """
    if covariance.ndim == 3:
        covariance = covariance[:, None]
    chosen = []
    for i in range(scene.n_surfaces):
        task = reflection_task(scene, i, covariance[i], min_snr)
        known = (
            None
            if incumbent is None
            else within_power(task, incumbent[i], jnp.asarray(FINAL_SHARPNESS))
        )
        rng = np.random.default_rng([seed, i])
        chosen.append(design_surface(task, known, starts=starts, rng=rng))
    return dwell_design(scene, covariance, tuple(c.reflection for c in chosen), min_snr=min_snr)
