"""What a beamforming design returns: the answer, its value, its proof, its history."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from heliostat.bounds.direction import DirectionBound, direction_bound, direction_information
from heliostat.design.per_surface import each_surface
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.surface.active import ActiveSurface, reflected_power

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
        """Largest possible relative distance from the optimum, 1 - lower bound / worst CRB. [1]

        Not rounded: at an optimum it may be negative by the rounding of both.
        """
        worst = self.worst_crb
        finite = jnp.isfinite(worst)
        return jnp.where(finite, 1 - self.lower_bound / jnp.where(finite, worst, 1.0), jnp.inf)

    @property
    def excess_db(self) -> Scalar:
        """Excess of the worst CRB over its lower bound, -10 log10(1 - gap). [dB]

        The design is within this distance of the best possible one.
        """
        return excess_over_bound(self.gap)

    @property
    def status(self) -> str:
        """In words, one of `STATUS`."""
        return STATUS[int(self.code)]


def excess_over_bound(gap: Scalar) -> Scalar:
    r""":math:`-10\log_{10}(1 - \mathrm{gap})`, inf where there is no finite CRB or no bound. [dB]

    Args:
        gap: 1 - lower bound / CRB. [1]
    """
    bounded = gap < 1  # inf: there is no finite CRB
    return jnp.where(bounded, -10 * jnp.log10(1 - jnp.where(bounded, gap, 0.0)), jnp.inf)


@eqx.filter_jit
def surface_bounds(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "*pattern _"], ...],
    covariance: Complex[Array, "surface *pattern tx tx"],
) -> DirectionBound:
    """Bounds at each surface, stacked, from all its patterns or its only one.

    Args:
        scene: The scene.
        reflection: Of each surface, and of each pattern if there are several. [1]
        covariance: Likewise. [W]
    """

    def own(
        link: EchoLink, _: ActiveSurface, angles: Array, gain: Array, psi: Array, covar: Array
    ) -> DirectionBound:
        patterns = covar.reshape(-1, *covar.shape[-2:])
        direction = direction_information(link, jnp.atleast_2d(psi), patterns, angles, gain)
        return direction_bound(direction)

    return each_surface(own, scene, reflection, covariance)


@eqx.filter_jit
def constraint_slack(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "*pattern _"], ...],
    covariance: Complex[Array, "surface *pattern tx tx"],
    snr: Float[Array, "surface"],
    min_snr: float | Scalar,
) -> Slack:
    """What the constraints of paper eq. (17) leave, the worst pattern's for each surface.

    Args:
        scene: The scene.
        reflection: Of each surface, and of each pattern if there are several. [1]
        covariance: Likewise. The transmit power counts as its mean over the dwell, a surface's
            power must hold in every pattern. [W]
        snr: What each surface's echo has. [1]
        min_snr: Least that is demanded of it. [1]
    """

    def own(
        link: EchoLink, surface: ActiveSurface, angles: Array, gain: Array, psi: Array, covar: Array
    ) -> tuple[Scalar, Scalar, Scalar]:
        patterns = covar.reshape(-1, *covar.shape[-2:])
        steering = target_steering(surface.array, angles)
        radiated = jax.vmap(
            lambda p, r: reflected_power(p, link.bs_to_irs, r, steering, gain, surface.noise).total
        )(jnp.atleast_2d(psi), patterns)
        spent = jnp.mean(jnp.real(jnp.trace(patterns, axis1=1, axis2=2)))
        amplitude = surface.amplification - jnp.max(jnp.abs(psi))
        return surface.power - jnp.max(radiated), amplitude, spent

    left, amplitude, spent = each_surface(own, scene, reflection, covariance)
    return Slack(scene.base_station.power - jnp.mean(spent), left, amplitude, snr - min_snr)
