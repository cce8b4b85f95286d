"""What a beamforming design returns: the answer, its value, its proof, its history."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from heliostat.bounds.direction import DirectionBound, direction_bound, direction_information
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.sensing_scene import SensingScene
from heliostat.surface.active import reflected_power

STATUS = ("optimal", "feasible", "not converged", "not identifiable", "infeasible")
"""Certified to tolerance; every constraint holds but no proof of optimality; stopped early; an
angle cannot be estimated whatever is sent; a surface's own noise exceeds its power."""
OPTIMAL, FEASIBLE, NOT_CONVERGED, NOT_IDENTIFIABLE, INFEASIBLE = range(len(STATUS))


class Slack(eqx.Module):
    """What each constraint leaves; negative where one is violated."""

    transmit: Scalar  # P_t less the mean over surfaces of tr R, paper eq. (17b) [W]
    surface: Float[Array, "surface"]  # P_s less what the surface radiates, (17a); inf: no limit [W]
    amplitude: Float[Array, "surface"]  # a_max less the largest amplitude, (17d) [1]
    snr: Float[Array, "surface"]  # matched-filter SNR over the least one demanded [1]


class BeamformingDesign(eqx.Module):
    """A design of what the base station sends, and of how the surfaces are set."""

    covariance: Complex[Array, "surface tx tx"]  # R_l [W]
    reflection: tuple[Complex[Array, "_"], ...]  # psi_l [1]
    crb: Float[Array, "surface"]
    """Paper's :math:`\\mathrm{tr}F_l^{-1}`. [rad²]"""
    direction_std: Float[Array, "surface 2"]  # elevation, azimuth [rad]
    snr: Float[Array, "surface"]  # of the matched filter's output [1]
    lower_bound: Scalar  # no design of this problem has a smaller worst CRB [rad²]
    slack: Slack
    history: Float[Array, "iteration"]  # worst CRB found so far, after each step [rad²]
    steps: Int[Array, ""]  # how many of the history's entries are used
    code: Int[Array, ""]  # index into `STATUS`

    @property
    def worst_crb(self) -> Scalar:
        """Largest CRB over the surfaces. [rad²]"""
        return jnp.max(self.crb)

    @property
    def gap(self) -> Scalar:
        """How far from the best it can be: 1 - lower bound / worst CRB. [1]"""
        worst = self.worst_crb
        finite = jnp.isfinite(worst)
        return jnp.where(finite, 1 - self.lower_bound / jnp.where(finite, worst, 1.0), jnp.inf)

    @property
    def status(self) -> str:
        """In words, one of `STATUS`."""
        return STATUS[int(self.code)]


def surface_bounds(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    covariance: Complex[Array, "surface tx tx"],
) -> tuple[DirectionBound, ...]:
    """Bounds at each surface for one reflection pattern in each dwell.

    Args:
        scene: The scene.
        reflection: One a surface. [1]
        covariance: One a surface. [W]
    """
    angles = scene.angles()
    return tuple(
        direction_bound(
            direction_information(
                scene.link(i), psi[None], covariance[i][None], angles[i], scene.target_gain[i]
            )
        )
        for i, psi in enumerate(reflection)
    )


def constraint_slack(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "_"], ...],
    covariance: Complex[Array, "surface tx tx"],
    snr: Float[Array, "surface"],
    min_snr: float | Scalar,
) -> Slack:
    """What every constraint of paper eq. (17) leaves.

    Args:
        scene: The scene.
        reflection: One a surface. [1]
        covariance: One a surface. [W]
        snr: What each surface's echo has. [1]
        min_snr: Least that is demanded of it. [1]
    """
    angles = scene.angles()
    radiated, amplitude = [], []
    for i, (surface, psi) in enumerate(zip(scene.surfaces, reflection, strict=True)):
        steering = target_steering(surface.array, angles[i])
        power = reflected_power(
            psi, scene.bs_to_irs[i], covariance[i], steering, scene.target_gain[i], surface.noise
        )
        radiated.append(surface.power - power.total)
        amplitude.append(surface.amplification - jnp.max(jnp.abs(psi)))
    spent = jnp.sum(jnp.real(jax.vmap(jnp.trace)(covariance))) / scene.n_surfaces
    return Slack(
        scene.base_station.power - spent, jnp.stack(radiated), jnp.stack(amplitude), snr - min_snr
    )
