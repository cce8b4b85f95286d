r"""Lower bound on the worst CRB of all covariances and coefficients.

For phases counted from the center of the panel, the information about an angle along x is

.. math:: J_x = \tfrac{2T|\beta|^2}{\sigma_b^2}\,\|\Omega_x R^{1/2}\|^2,\qquad
          \Omega_x = v_xv^T - vv_x^T,

at most; the noise of the surface is neglected. As :math:`\mathrm{tr}J^{-1} \ge (\mathrm{tr}\sqrt
X)^2 / \mathrm{tr}(XJ)` for every positive definite X, each majorant :math:`\mathrm{tr}(XJ) \le
\alpha p + \gamma` gives a lower bound on the CRB of a surface as a function of its power p. The
optimal division of the power over these gives a lower bound on the worst CRB. Two kinds of majorant
are used.

*Singular values.* With :math:`k_i = a_{max}^2s_i^2(G)`, :math:`f_i = k_i/(\sigma_b^2+\sigma_r^2
k_i)`, any multipliers :math:`\mu, \nu` of the transmitted and the radiated power and :math:`\tilde
k_i = k_i/(\mu+\nu k_i)`,

.. math:: \mathrm{tr}(XJ) \le 2T|\beta|^2(\mu p+\nu P_s)\big[\lambda_2\max_i\tilde k_i
          \textstyle\sum_{j\ne i}f_j + (\lambda_1-\lambda_2)\max_{i\ne j}\tilde k_if_j\big],

with indices up to 3 and the eigenvalues :math:`\lambda_1 \ge \lambda_2` of :math:`NX^{1/2}\zeta^T
\zeta X^{1/2}`. With several patterns the bracket is :math:`\tilde k_1(\lambda_1f_1+\lambda_2f_2)`,
because symmetric matrices :math:`v_xv^T + vv_x^T` take the place of :math:`\Omega_x`. The majorant
takes both power limits and the noise of the surface in :math:`R_w` into account, but not that the
amplitudes of the elements are limited one by one.

*Element relaxations*, for one pattern (`element_relaxation`): one that does not depend on
:math:`P_s` and is tight to a few percent where it has little influence (`transmit_limit_bound`),
and one for both power limits (`both_limits_bound`). Neither depends on :math:`\sigma_r^2`.
"""

from contextlib import suppress
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import brentq

from heliostat.design.both_limits_bound import attained_both_limits, both_limits_bounds
from heliostat.design.transmit_limit_bound import attained_transmit_limit, transmit_limit_bound
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import SensingScene
from heliostat.stored_programs import stored_jit

QUICK = 20
"""Largest number of elements for which an element relaxation is computed for every design."""
PRICES = 21  # number of ratios of the two multipliers


class Majorant(NamedTuple):
    """Upper bound on 1/CRB: ``slope`` times the power plus ``rest``."""

    slope: float  # [rad⁻²/W]
    rest: float  # [rad⁻²]


class Panel(NamedTuple):
    """Quantities of one surface that the bounds depend on."""

    channel: np.ndarray  # G [element tx]
    phase_slopes: np.ndarray  # derivatives of the elements' phases, centered [element 2] [1]
    amplification: float
    power: float  # P_s [W]
    surface_noise: float
    noise: float
    strength: float  # 2 T |beta|²


@stored_jit
def _phase_slopes(scene: SensingScene) -> tuple[Float[Array, "element 2"], ...]:
    """Derivative of the phase of each surface's elements with respect to both angles. [1]"""
    slopes = []
    for i, angles in enumerate(scene.angles()):
        array = scene.surfaces[i].array
        response = target_steering(array, angles)
        slope = jax.jacfwd(lambda at, a=array: target_steering(a, at))(angles)
        slopes.append(jnp.imag(slope / response[:, None]))
    return tuple(slopes)


def panels_of(scene: SensingScene) -> list[Panel]:
    """Quantities of each surface of a scene that the bounds depend on.

    Args:
        scene: The scene.
    """
    symbols = float(scene.symbols) / scene.n_surfaces
    gain = np.abs(np.asarray(scene.target_gain))
    return [
        Panel(
            np.asarray(scene.bs_to_irs[i]),
            np.asarray(phase) - np.mean(np.asarray(phase), axis=0),
            float(surface.amplification),
            float(surface.power),
            float(surface.noise),
            float(scene.noise),
            float(2 * symbols * gain[i] ** 2),
        )
        for i, (surface, phase) in enumerate(zip(scene.surfaces, _phase_slopes(scene), strict=True))
    ]


def smallest_ratio(first: float, second: float, spread: np.ndarray) -> float:
    r"""Smallest ratio of a majorant of tr(XJ) to the squared trace of the root of X.

    .. math:: \min_X \frac{c_1\lambda_1 + c_2\lambda_2}{(\mathrm{tr}\sqrt X)^2}

    with the eigenvalues :math:`\lambda_1 \ge \lambda_2` of :math:`X^{1/2}SX^{1/2}`, where S is N
    times the matrix of the same name in the theory of sensing.

    Args:
        first: Factor of the larger eigenvalue, c_1.
        second: Factor of the smaller eigenvalue, c_2.
        spread: Positive definite 2x2 matrix S.
    """
    small, large = np.linalg.eigvalsh(np.linalg.inv(spread))
    if small * first**2 < large * second**2:  # the optimal eigenvalues differ
        return float(first * second / (large * second + small * first))
    return float((first + second) / (np.sqrt(large) + np.sqrt(small)) ** 2)


def singular_value_majorants(panel: Panel, patterns: int) -> list[Majorant]:
    """Majorants from the singular values of the channel, for several ratios of the multipliers.

    Args:
        panel: The surface.
        patterns: Number of patterns.
    """
    spread = len(panel.phase_slopes) * panel.phase_slopes.T @ panel.phase_slopes
    values = np.linalg.svd(panel.channel, compute_uv=False)
    k = np.zeros(3)
    k[: min(3, values.size)] = panel.amplification**2 * values[:3] ** 2
    f = k / (panel.noise + panel.surface_noise * k)

    def reach(transmitted: float, radiated: float) -> float:
        """Smallest majorant of 1/CRB over 2T|beta|² for a total cost of 1 at these multipliers."""
        cost = transmitted + radiated * k
        # A mode of gain zero contributes nothing, and its cost is zero if only the radiated power
        # has a multiplier.
        paid = np.divide(k, cost, out=np.zeros_like(k), where=k > 0)
        if patterns > 1:
            return smallest_ratio(paid[0] * f[0], paid[0] * f[1], spread)
        both = max(paid[i] * (f.sum() - f[i]) for i in range(3))
        one = max(paid[i] * f[j] for i in range(3) for j in range(3) if i != j)
        return smallest_ratio(one, both - one, spread)

    limited = np.isfinite(panel.power)
    reference = panel.power / max(k[0], 1e-300) if limited else 1.0  # power that reaches P_s
    ratios = np.geomspace(1e-2, 1e4, PRICES) if limited else np.empty(0)
    prices = [(1.0, 0.0)] + [(1.0, r * reference / panel.power) for r in ratios]
    prices += [(0.0, 1.0)] if limited else []
    majorants = []
    for transmitted, radiated in prices:
        scale = panel.strength * reach(transmitted, radiated)
        rest = scale * radiated * panel.power if limited else 0.0
        majorants.append(Majorant(scale * transmitted, rest))
    return majorants


def _key(panel: Panel) -> tuple[bytes, bytes, int]:
    return panel.channel.tobytes(), panel.phase_slopes.tobytes(), len(panel.phase_slopes)


def _per_watt(panel: Panel, bound: float) -> float:
    """1/CRB for one watt, from that for unit amplification and noise. [rad⁻²]"""
    return panel.strength * panel.amplification**4 / panel.noise * bound


def transmit_limit_majorant(panel: Panel) -> Majorant | None:
    """Majorant for a limited transmit power alone, or None if there is none.

    Args:
        panel: The surface.
    """
    bound = transmit_limit_bound(*_key(panel))
    return None if bound is None else Majorant(_per_watt(panel, bound), 0.0)


def both_limits_majorants(panel: Panel, power: float) -> list[Majorant]:
    """Majorants that use both power limits; none for large panels.

    Args:
        panel: The surface.
        power: Transmit power at which they are to be small. [W]
    """
    limit = panel.power / panel.amplification**2
    return [
        Majorant(_per_watt(panel, bound.transmit), _per_watt(panel, bound.radiated) * limit)
        for bound in both_limits_bounds(*_key(panel), _ratio(panel, power))
    ]


def _ratio(panel: Panel, power: float) -> float:
    return panel.power / panel.amplification**2 / power


def surface_majorants(
    panel: Panel, patterns: int, power: float, thorough: bool = False
) -> list[Majorant]:
    """All majorants of one surface.

    The element relaxations are left out where they could not be the smallest majorant, that for
    both power limits also where it could not be smaller by a tenth: they are never below the
    information of phases that are found in no time.

    Args:
        panel: The surface.
        patterns: Number of patterns.
        power: Transmit power at which the smallest majorant is to be small; all of them are valid
            at any other. [W]
        thorough: Whether to compute the element relaxations that take several seconds: that for
            both power limits, and that for more than `QUICK` elements.
    """
    majorants = singular_value_majorants(panel, patterns)
    if patterns == 1 and (thorough or len(panel.phase_slopes) <= QUICK):
        # Matrices are singular to rounding where an angle can hardly be estimated.
        with suppress(np.linalg.LinAlgError):
            _add_element_relaxations(majorants, panel, power, thorough)
    return majorants


def _add_element_relaxations(
    majorants: list[Majorant], panel: Panel, power: float, thorough: bool
) -> None:
    """Append the majorants of the element relaxations that may be the smallest."""

    def least(power: float) -> float:
        return min(m.slope * power + m.rest for m in majorants)

    # A surface may get less power than the others.
    attained = attained_transmit_limit(*_key(panel))
    if attained is not None and _per_watt(panel, attained) * power / 4 <= least(power / 4):
        limited = transmit_limit_majorant(panel)
        majorants += [] if limited is None else [limited]
    if thorough and np.isfinite(panel.power):
        attained = attained_both_limits(*_key(panel), _ratio(panel, power))
        if attained is not None and _per_watt(panel, attained) * power <= 0.9 * least(power):
            majorants += both_limits_majorants(panel, power)


def least_crb(majorants: list[list[Majorant]], total: float) -> float:
    """Smallest worst CRB over all divisions of a power, according to the majorants. [rad²]

    Args:
        majorants: Majorants of each surface.
        total: Sum of all powers. [W]
    """

    def needed(level: float) -> float:
        """Smallest total power for which 1/CRB reaches a level at every surface."""
        return sum(
            max(
                0.0 if level <= m.rest else (level - m.rest) / m.slope if m.slope > 0 else np.inf
                for m in own
            )
            for own in majorants
        )

    reach = [min(m.slope * total + m.rest for m in own) for own in majorants]
    high = min(reach)  # with all of the power for each surface
    if high <= 0:
        return float(np.inf)

    def short(log_level: float) -> float:
        return min(needed(float(np.exp(log_level))), 2 * total) / total - 1

    top = float(np.log(high))
    bottom = top - np.log(2.0 * len(majorants))
    if short(top) <= 0 or short(bottom) >= 0:
        return float(1 / high)
    return float(np.exp(-brentq(short, bottom, top))) * (1 - 1e-9)


def cooperative_lower_bound(
    scene: SensingScene, patterns: int = 1, thorough: bool = False
) -> float:
    """Lower bound on the worst CRB of all designs that satisfy paper eq. (17). [rad²]

    Args:
        scene: The scene.
        patterns: Number of patterns of each surface.
        thorough: See `surface_majorants`.
    """
    return region_lower_bound((scene,), patterns, mean=False, thorough=thorough)


def region_lower_bound(
    scenes: tuple[SensingScene, ...], patterns: int, mean: bool, thorough: bool = False
) -> float:
    """Lower bound on the worst CRB over positions, or on the worst mean over positions. [rad²]

    1/CRB at the worst position is at most every position's majorant, and the mean of the CRBs is at
    least the inverse of the mean of the majorants.

    Args:
        scenes: The same scene with the target at each position.
        patterns: Number of patterns of each surface.
        mean: Whether to bound the mean over the positions instead of the worst.
        thorough: See `surface_majorants`.
    """
    panels = [panels_of(scene) for scene in scenes]  # by position and surface
    if not all(np.linalg.matrix_rank(p.phase_slopes) == 2 for at in panels for p in at):
        return float(np.inf)
    power = float(scenes[0].base_station.power)
    majorants: list[list[Majorant]] = []
    for i in range(scenes[0].n_surfaces):
        by_position = [surface_majorants(at[i], patterns, power, thorough) for at in panels]
        if mean:
            # Any choice of one majorant for each position is valid. Those from singular values are
            # in the same order everywhere; the others come last and may be missing somewhere.
            alike = zip(*by_position, strict=False)
            majorants.append([Majorant(*np.mean(same, axis=0)) for same in alike])
        else:
            majorants.append([m for at in by_position for m in at])
    return least_crb(majorants, scenes[0].n_surfaces * power)
