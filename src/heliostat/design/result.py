"""Result of a beamforming design: covariances, coefficients, their CRBs, and a lower bound.

Within the package every design has an axis of patterns. `evaluated_design` removes it from the
result of a single pattern, as the paper has no patterns.
"""

import math
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from heliostat.bounds.direction import DirectionBound, direction_bound, direction_information
from heliostat.design.per_surface import each_surface
from heliostat.geometry.frames import Scalar
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.stored_programs import stored_jit
from heliostat.surface.active import ActiveSurface, reflected_power

STATUS = ("optimal", "feasible", "not converged", "not identifiable", "infeasible")
"""Optimal to the certificate's tolerance; feasible, but not proven optimal; stopped early; an angle
is not identifiable for any covariance; no covariance satisfies all constraints."""
OPTIMAL, FEASIBLE, NOT_CONVERGED, NOT_IDENTIFIABLE, INFEASIBLE = range(len(STATUS))
Criterion: TypeAlias = Literal["worst", "mean"]
"""Criterion of a design for several positions: the worst or the mean CRB over them."""


class Slack(eqx.Module):
    """Constraint slack; negative where a constraint is violated."""

    transmit: Scalar  # P_t minus the mean of tr R over the surfaces, paper eq. (17b) [W]
    surface: Float[Array, "surface"]  # P_s minus the radiated power, (17a); inf: no limit [W]
    amplitude: Float[Array, "surface"]  # a_max minus the largest amplitude, (17d) [1]
    snr: Float[Array, "surface"]  # SNR of the matched filter minus the minimum SNR [1]


class BeamformingDesign(eqx.Module):
    """Transmit covariances and reflection coefficients of all surfaces.

    If there are several patterns, a surface uses each of them for an equal part of its time. With
    one pattern, ``covariance`` and ``reflection`` have no pattern axis.
    """

    covariance: Complex[Array, "surface *pattern tx tx"]  # R_l [W]
    reflection: tuple[Complex[Array, "*pattern _"], ...]  # psi_l [1]
    crb: Float[Array, "surface"]
    """Cramér-Rao bound (CRB), the paper's :math:`\\mathrm{tr}F_l^{-1}`. [rad²]"""
    direction_std: Float[Array, "surface 2"]  # elevation, azimuth [rad]
    snr: Float[Array, "surface"]  # of the matched filter's output [1]
    lower_bound: Scalar  # lower bound on the worst CRB of any design of this problem [rad²]
    slack: Slack
    history: Float[Array, "iteration"]  # smallest worst CRB up to each step [rad²]
    steps: Int[Array, ""]  # number of steps
    code: Int[Array, ""]  # index into `STATUS`
    notes: tuple[str, ...] = eqx.field(static=True, default=())
    """Assumptions of the model that the scenario violates."""

    @property
    def worst_crb(self) -> float:
        """Largest CRB over the surfaces. [rad²]"""
        return float(np.max(np.asarray(self.crb)))

    @property
    def gap(self) -> float:
        """Largest possible relative distance from the optimum, 1 - lower bound / worst CRB. [1]

        Not rounded: at an optimum it may be negative by the rounding of both.
        """
        return gap_to_bound(self.worst_crb, float(self.lower_bound))

    @property
    def excess_db(self) -> float:
        """Excess of the worst CRB over its lower bound, -10 log10(1 - gap). [dB]

        The design is within this distance of the best possible one.
        """
        return excess_over_bound(self.gap)

    def __repr__(self) -> str:
        if isinstance(self.crb, jax.core.Tracer) or self.crb.ndim != 1:
            return super().__repr__()
        return (
            f"<{type(self).__name__}: worst CRB {self.worst_crb:.4g} rad^2, "
            f"{self.status}, within {self.excess_db:.2g} dB of the best possible>"
        )

    @property
    def status(self) -> str:
        """Status of the solver, one of `STATUS`."""
        return STATUS[int(self.code)]


class RegionDesign(eqx.Module):
    """One design for several possible target positions."""

    designs: tuple[BeamformingDesign, ...]  # the same design, evaluated at each position
    criterion: Criterion = eqx.field(static=True)
    lower_bound: Scalar  # lower bound on the criterion of any design [rad²]
    notes: tuple[str, ...] = eqx.field(static=True, default=())
    """Assumptions of the model that the scenario violates."""

    @property
    def worst_crb(self) -> float:
        """Largest CRB over surfaces and positions. [rad²]"""
        return float(np.max([d.crb for d in self.designs]))

    @property
    def mean_crb(self) -> float:
        """Largest over surfaces of the mean CRB over positions. [rad²]"""
        return float(np.max(np.mean([d.crb for d in self.designs], axis=0)))

    @property
    def gap(self) -> float:
        """Largest possible relative distance from the optimum, 1 - lower bound / criterion. [1]"""
        value = self.worst_crb if self.criterion == "worst" else self.mean_crb
        return gap_to_bound(value, float(self.lower_bound))

    @property
    def excess_db(self) -> float:
        """Excess of the criterion over its lower bound, -10 log10(1 - gap). [dB]"""
        return excess_over_bound(self.gap)

    def __repr__(self) -> str:
        return (
            f"<RegionDesign: {len(self.designs)} positions, worst CRB {self.worst_crb:.4g} rad^2, "
            f"mean CRB {self.mean_crb:.4g} rad^2, {self.criterion} CRB within "
            f"{self.excess_db:.2g} dB of the best possible>"
        )


def gap_to_bound(crb: float, lower_bound: float) -> float:
    """1 - lower bound / CRB, inf where there is no finite CRB. [1]

    Args:
        crb: The CRB. [rad²]
        lower_bound: Its lower bound. [rad²]
    """
    return 1 - lower_bound / crb if math.isfinite(crb) else math.inf


def excess_over_bound(gap: float) -> float:
    r""":math:`-10\log_{10}(1 - \mathrm{gap})`, inf where there is no finite CRB or no bound. [dB]

    Args:
        gap: 1 - lower bound / CRB. [1]
    """
    return -10 * math.log10(1 - gap) if gap < 1 else math.inf


@stored_jit
def surface_bounds(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "pattern _"], ...],
    covariance: Complex[Array, "surface pattern tx tx"],
) -> DirectionBound:
    """Bounds on the target's direction at each surface, stacked.

    Args:
        scene: The scene.
        reflection: Coefficients of each surface and pattern. [1]
        covariance: Transmit covariance of each surface and pattern. [W]
    """

    def bound(
        link: EchoLink, _: ActiveSurface, angles: Array, gain: Array, psi: Array, covar: Array
    ) -> DirectionBound:
        return direction_bound(direction_information(link, psi, covar, angles, gain))

    return each_surface(bound, scene, reflection, covariance)


@stored_jit
def constraint_slack(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "pattern _"], ...],
    covariance: Complex[Array, "surface pattern tx tx"],
    snr: Float[Array, "surface"],
    min_snr: float | Scalar,
) -> Slack:
    """Slack of the constraints of paper eq. (17); for each surface, that of its worst pattern.

    The transmit power is limited in the mean over the dwell, the power of a surface in every
    pattern.

    Args:
        scene: The scene.
        reflection: Coefficients of each surface and pattern. [1]
        covariance: Transmit covariance of each surface and pattern. [W]
        snr: SNR of each surface's echo. [1]
        min_snr: Minimum SNR. [1]
    """

    def one(
        link: EchoLink, surface: ActiveSurface, angles: Array, gain: Array, psi: Array, covar: Array
    ) -> tuple[Scalar, Scalar, Scalar]:
        steering = target_steering(surface.array, angles)
        radiated = jax.vmap(
            lambda p, r: reflected_power(p, link.bs_to_irs, r, steering, gain, surface.noise).total
        )(psi, covar)
        spent = jnp.mean(jnp.real(jnp.trace(covar, axis1=1, axis2=2)))
        amplitude = surface.amplification - jnp.max(jnp.abs(psi))
        return surface.power - jnp.max(radiated), amplitude, spent

    left, amplitude, spent = each_surface(one, scene, reflection, covariance)
    return Slack(scene.base_station.power - jnp.mean(spent), left, amplitude, snr - min_snr)


def evaluated_design(
    scene: SensingScene,
    reflection: tuple[Complex[Array, "pattern _"], ...],
    covariance: Complex[Array, "surface pattern tx tx"],
    bounds: DirectionBound,
    min_snr: float | Scalar,
    *,
    lower_bound: float | Scalar,
    history: Float[Array, "iteration"],
    steps: int | Array,
    code: int | Array,
) -> BeamformingDesign:
    """Result of a design, without the pattern axis where there is one pattern.

    Args:
        scene: The scene.
        reflection: Coefficients of each surface and pattern. [1]
        covariance: Transmit covariance of each surface and pattern. [W]
        bounds: Bounds of the design, see `surface_bounds`.
        min_snr: Minimum SNR. [1]
        lower_bound: Lower bound on the worst CRB of any design. [rad²]
        history: Smallest worst CRB up to each step. [rad²]
        steps: Number of steps.
        code: Index into `STATUS`.
    """
    single = covariance.shape[1] == 1
    return BeamformingDesign(
        covariance[:, 0] if single else covariance,
        tuple(psi[0] for psi in reflection) if single else reflection,
        bounds.crb,
        bounds.direction_std,
        bounds.snr,
        jnp.asarray(lower_bound, dtype=float),
        constraint_slack(scene, reflection, covariance, bounds.snr, min_snr),
        history,
        jnp.asarray(steps),
        jnp.asarray(code),
    )


def patterned(design: BeamformingDesign) -> tuple[np.ndarray, list[np.ndarray]]:
    """Covariances [surface pattern tx tx] and coefficients [pattern element] of a design.

    Args:
        design: A design, with a pattern axis or, for a single pattern, without.
    """
    covariance = np.asarray(design.covariance)
    if covariance.ndim == 3:
        covariance = covariance[:, None]
    return covariance, [np.atleast_2d(np.asarray(psi)) for psi in design.reflection]
