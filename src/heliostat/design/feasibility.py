"""Check of designs: every constraint holds, and no lower bound exceeds the CRB of a design."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Complex

from heliostat.design.cooperative_bound import cooperative_lower_bound
from heliostat.design.result import (
    FEASIBLE,
    NOT_IDENTIFIABLE,
    BeamformingDesign,
    Slack,
    evaluated_design,
    surface_bounds,
)
from heliostat.geometry.frames import Scalar
from heliostat.scene.sensing import SensingScene

TOLERANCE = 1e-9
"""Relative violation of a constraint that counts as rounding."""
BOUND_TOLERANCE = 1e-9
"""Relative excess of a lower bound over the CRB that counts as rounding."""


def violation(scene: SensingScene, slack: Slack, min_snr: float | Scalar) -> str | None:
    """Description of the first violated constraint of paper eq. (17), or None.

    Args:
        scene: The scene.
        slack: Constraint slack.
        min_snr: Minimum SNR. [1]
    """
    if float(slack.transmit) < -TOLERANCE * float(scene.base_station.power):
        return f"the base station exceeds its power by {-float(slack.transmit):.3g} W"
    each = (np.asarray(s).tolist() for s in (slack.surface, slack.amplitude, slack.snr))
    for i, (surface, power, amplitude, snr) in enumerate(zip(scene.surfaces, *each, strict=True)):
        if power < -TOLERANCE * float(surface.power):
            return f"surface {i} exceeds its power by {-power:.3g} W"
        if amplitude < -TOLERANCE * float(surface.amplification):
            return f"an element of surface {i} exceeds the amplification by {-amplitude:.3g}"
        if snr < -1e-6 * float(min_snr):
            return (
                f"the echo through surface {i} has an SNR of {float(min_snr) + snr:.4g}, "
                f"below the minimum of {float(min_snr):.4g}"
            )
    return None


def check_lower_bound(lower_bound: float, crb: float) -> None:
    """Raise an error if a lower bound on every design exceeds the CRB of one.

    The tolerance covers rounding. `solve_transmit` stops at a relative gap of about 2e-8, so its
    bounds stay below the CRB by more than that.

    Args:
        lower_bound: The bound. [rad²]
        crb: Worst CRB of a feasible design. [rad²]

    Raises:
        RuntimeError: The bound exceeds the CRB by more than rounding.
    """
    if not lower_bound <= crb * (1 + BOUND_TOLERANCE):
        raise RuntimeError(
            f"The lower bound {lower_bound:.12g} rad² exceeds the CRB {crb:.12g} rad² of a "
            "feasible design, so it is not a lower bound. This is an error in heliostat; please "
            "report it."
        )


def dwell_design(
    scene: SensingScene,
    covariance: Complex[Array, "surface pattern tx tx"],
    reflection: tuple[Complex[Array, "pattern _"], ...],
    *,
    min_snr: float | Scalar,
    history: Sequence[float] | None = None,
    lower_bound: float | None = None,
) -> BeamformingDesign:
    """Evaluate and check a design.

    Args:
        scene: The scene.
        covariance: Transmit covariance for each surface and pattern. [W]
        reflection: Reflection coefficients of each surface and pattern. [1]
        min_snr: Minimum SNR. [1]
        history: Smallest worst CRB up to each step; default that of the design only. [rad²]
        lower_bound: Lower bound on the worst CRB of any design; default
            `cooperative_lower_bound`. [rad²]

    Raises:
        ValueError: The design violates a constraint.
        RuntimeError: The lower bound exceeds the CRB: an error of this package.
    """
    if lower_bound is None:
        lower_bound = cooperative_lower_bound(scene, covariance.shape[1])
    bounds = surface_bounds(scene, reflection, covariance)
    worst = float(np.max(np.asarray(bounds.crb)))
    steps = [worst] if history is None else history
    design = evaluated_design(
        scene,
        reflection,
        covariance,
        bounds,
        min_snr,
        lower_bound=lower_bound,
        history=jax.device_put(np.asarray(steps, dtype=float)),
        steps=len(steps),
        code=FEASIBLE if np.isfinite(worst) else NOT_IDENTIFIABLE,
    )
    broken = violation(scene, design.slack, min_snr)
    if broken is not None:
        raise ValueError(f"no design that satisfies all constraints was found: {broken}")
    check_lower_bound(lower_bound, worst)
    return design
