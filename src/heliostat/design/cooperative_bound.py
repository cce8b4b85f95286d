r"""Lower bound on the worst CRB of all covariances and coefficients.

For phases counted from the centre of the panel, the information about an angle along x is

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

with indices up to 3 and the eigenvalues :math:`\lambda` of X weighted by the spread of the panel.

*Pairs of elements.* :math:`\Omega_x = \sum_{m<n}u_mu_n(\zeta_n-\zeta_m)_x\,g_m\wedge g_n` is linear
in :math:`t_{mn} = u_mu_n`. The information is convex in each coefficient, so its maximum has
:math:`|u_n| = a_{max}`, and :math:`t^HKt \le a_{max}^4\sum\delta` for every
:math:`\mathrm{diag}(\delta) \succeq K + Z` with :math:`t^HZt = 0` for all such t. Such Z exist
because :math:`t_{mn}t_{mq}^* = a_{max}^2u_nu_q^*` is the same for every m. This is the dual of a
semidefinite relaxation, and each dual feasible point gives a valid bound. It does not depend on
:math:`P_s` and :math:`\sigma_r^2`, and is tight to a few percent where these have little influence.
For large panels Z is omitted. For still larger ones only the singular values are used, whose bound
is about 4 dB below the CRB of designs. With several patterns the information of each surface need
not involve three modes, and the bound follows from the largest singular value alone, which is the
loosest case.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy.linalg import eigh
from scipy.optimize import brentq, minimize
from scipy.special import logsumexp, softmax

from heliostat.design.parametrization import descend
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import SensingScene

LARGEST = 300  # size of the largest matrix whose eigenvalues are computed in every step
MOST_PAIRS = 700  # largest number of pairs of elements
PRICES = 21  # number of ratios of the two multipliers
SHARPNESS = 60.0  # of the smooth largest eigenvalue
STEPS = 25  # of the descent; the bound is valid after any of them
WATCHED = 24  # number of largest eigenvalues in the smooth maximum
Z_UNIT = 30.0  # scale of the unknowns of Z, so that they converge as fast as the others


class Majorant(NamedTuple):
    """Upper bound on 1/CRB: ``slope`` times the power plus ``rest``."""

    slope: float  # [rad⁻²/W]
    rest: float  # [rad⁻²]


class Panel(NamedTuple):
    """Quantities of one surface that the bounds depend on."""

    channel: np.ndarray  # G [element tx]
    spread: np.ndarray  # slope of each element's phase to each angle, centred [element 2] [1]
    amplification: float
    power: float  # P_s [W]
    surface_noise: float
    noise: float
    strength: float  # 2 T |beta|²


@eqx.filter_jit
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


def _factor(unknown: np.ndarray) -> np.ndarray:
    """Triangular C of determinant 1 with X = C C^T, from the first two unknowns."""
    return np.array([[np.exp(unknown[0]), 0.0], [unknown[1], np.exp(-unknown[0])]])


def singular_value_majorants(panel: Panel, patterns: int) -> list[Majorant]:
    """Majorants from the singular values of the channel, for several ratios of the multipliers.

    Args:
        panel: The surface.
        patterns: Number of patterns; from two on only the largest singular value is used.
    """
    count = len(panel.spread)
    root = np.linalg.cholesky(count * panel.spread.T @ panel.spread)
    values = np.linalg.svd(panel.channel, compute_uv=False)
    k = np.zeros(3)
    k[: min(3, values.size)] = panel.amplification**2 * values[:3] ** 2
    f = k / (panel.noise + panel.surface_noise * k)

    def reach(matrix: np.ndarray, transmitted: float, radiated: float) -> float:
        """Largest tr(XJ) over 2T|beta|² for a total cost of 1 at these multipliers."""
        cost = transmitted + radiated * k
        # A mode of gain zero contributes nothing, and its cost is zero if only the radiated power
        # has a multiplier.
        paid = np.divide(k, cost, out=np.zeros_like(k), where=k > 0)
        small, large = np.linalg.eigvalsh(root.T @ matrix @ root)
        if patterns > 1:
            return float((small + large) * paid[0] * f[0])
        both = max(paid[i] * (f.sum() - f[i]) for i in range(3))
        one = max(paid[i] * f[j] for i in range(3) for j in range(3) if i != j)
        return float(small * both + (large - small) * one)

    def crb_reach(unknown: np.ndarray, transmitted: float, radiated: float) -> float:
        matrix = _factor(unknown) @ _factor(unknown).T
        return reach(matrix, transmitted, radiated) / (np.trace(matrix) + 2)  # det X = 1

    def log_reach(unknown: np.ndarray, transmitted: float, radiated: float) -> float:
        return float(np.log(max(crb_reach(unknown, transmitted, radiated), 1e-300)))

    limited = np.isfinite(panel.power)
    reference = panel.power / max(k[0], 1e-300) if limited else 1.0  # power that reaches P_s
    ratios = np.geomspace(1e-2, 1e4, PRICES) if limited else np.empty(0)
    prices = [(1.0, 0.0)] + [(1.0, r * reference / panel.power) for r in ratios]
    prices += [(0.0, 1.0)] if limited else []
    majorants = []
    for transmitted, radiated in prices:
        best = minimize(
            log_reach,
            np.zeros(2),
            args=(transmitted, radiated),
            method="Nelder-Mead",
            options={"xatol": 1e-3, "fatol": 1e-4},
        )
        scale = panel.strength * crb_reach(best.x, transmitted, radiated)
        rest = scale * radiated * panel.power if limited else 0.0
        majorants.append(Majorant(scale * transmitted, rest))
    return majorants


class _Pairs(NamedTuple):
    """The relaxation over pairs of elements, in units in which its entries are about 1."""

    wedge: Complex[np.ndarray, "pair mode"]  # conjugate of g_m wedge g_n
    overlap: Complex[np.ndarray, "pair pair"] | None  # of these; None where Z is left out
    apart: Float[np.ndarray, "pair 2"]  # (zeta_n - zeta_m)
    rows: np.ndarray  # pairs (m, n) and ...
    columns: np.ndarray  # ... (m, q), as [n < q, m]
    unit: Float[np.ndarray, "2"]  # of the angles


class _Scaled(NamedTuple):
    """Eigenvalues of the scaled matrix, and quantities for its derivative."""

    values: np.ndarray  # largest eigenvalues, ascending
    vectors: np.ndarray  # their eigenvectors over pairs
    scale: np.ndarray  # delta^-1/2 of each pair
    turned: np.ndarray  # (zeta_n - zeta_m)^T C [pair 2]
    tall: np.ndarray | None  # the matrix's factor, where Z is left out


def _scaled(flat: np.ndarray, pairs: _Pairs) -> _Scaled:
    """Eigenvalues of diag(delta)^-1/2 (K + Z) diag(delta)^-1/2."""
    count = len(pairs.apart)
    scale = np.exp(-flat[2 : 2 + count] / 2)
    turned = pairs.apart @ _factor(flat)
    tall = None
    if pairs.overlap is None:
        tall = pairs.wedge[:, None, :] * (turned * scale[:, None])[:, :, None]
        tall = tall.reshape(count, -1)
        kernel = np.conj(tall).T @ tall
    else:
        kernel = pairs.overlap * (turned @ turned.T)
        parts = flat[2 + count :].reshape(2, *pairs.rows.shape)
        free = Z_UNIT * (parts - np.mean(parts, axis=2, keepdims=True))  # zero sum over m
        kernel[pairs.rows, pairs.columns] += free[0] + 1j * free[1]
        kernel[pairs.columns, pairs.rows] += free[0] - 1j * free[1]
        kernel *= scale[:, None] * scale[None, :]
    size = len(kernel)
    values, vectors = eigh(kernel, subset_by_index=[max(size - WATCHED, 0), size - 1])
    if tall is not None:
        values = np.maximum(values, 1e-12 * values[-1])
        vectors = tall @ vectors / np.sqrt(values)
    return _Scaled(values, vectors, scale, turned, tall)


def _trace(flat: np.ndarray, pairs: _Pairs) -> tuple[float, np.ndarray]:
    """(tr sqrt X)^2 = tr X + 2 sqrt(det X), and its derivatives by the two unknowns of C."""
    (first, _), (below, second) = _factor(flat)
    one, two = 1 / pairs.unit**2
    slope = np.array([2 * first**2 * one - 2 * second**2 * two, 2 * below * two])
    return first**2 * one + (below**2 + second**2) * two + 2 * np.sqrt(one * two), slope


def _log_reach(flat: np.ndarray, pairs: _Pairs) -> float:
    """Log of an upper bound on tr(XJ) over (tr sqrt X)^2, in the units of the pairs."""
    delta = np.exp(flat[2 : 2 + len(pairs.apart)])
    top = _scaled(flat, pairs).values[-1]
    return float(np.log(top) + np.log(delta.sum()) - np.log(_trace(flat, pairs)[0]))


def _smooth_log_reach(flat: np.ndarray, pairs: _Pairs) -> tuple[float, np.ndarray]:
    """`_log_reach` with a smooth largest eigenvalue, and its gradient."""
    count = len(pairs.apart)
    at, delta = _scaled(flat, pairs), np.exp(flat[2 : 2 + count])
    trace, trace_slope = _trace(flat, pairs)
    top = at.values[-1]
    smooth = top * logsumexp(SHARPNESS * at.values / top) / SHARPNESS
    weight = softmax(SHARPNESS * at.values / top) / smooth
    weight[-1] += (1 - weight @ at.values) / top  # the scale of the exponents changes too

    slope = np.zeros_like(flat)
    slope[2 : 2 + count] = delta / delta.sum() - np.abs(at.vectors) ** 2 @ (weight * at.values)
    scaled = at.vectors * at.scale[:, None]
    heavy = scaled * weight
    if at.tall is None:
        assert pairs.overlap is not None
        moment = heavy @ np.conj(scaled).T
        turned_slope = 2 * np.real(pairs.overlap * moment.T) @ at.turned
        free = 2 * Z_UNIT * moment[pairs.columns, pairs.rows]
        free -= np.mean(free, axis=1, keepdims=True)
        slope[2 + count :] = np.concatenate([np.real(free).ravel(), -np.imag(free).ravel()])
    else:
        back = (np.conj(at.tall).T @ at.vectors).reshape(2, -1, weight.size)
        turned_slope = np.stack(
            [np.real(np.sum(np.conj(heavy) * (pairs.wedge @ part), axis=1)) for part in back],
            axis=1,
        )
        turned_slope *= 2
    (first, _), (_, second) = _factor(flat)
    moved = pairs.apart.T @ turned_slope
    slope[:2] = [moved[0, 0] * first - moved[1, 1] * second, moved[1, 0]]
    slope[:2] -= trace_slope / trace
    return float(np.log(smooth) + np.log(delta.sum()) - np.log(trace)), slope


def pair_majorant(panel: Panel) -> Majorant | None:
    """Majorant from the relaxation over pairs of elements, or None if it would be too large.

    Args:
        panel: The surface.
    """
    reach = _pair_reach(panel.channel.tobytes(), panel.spread.tobytes(), len(panel.spread))
    if reach is None:
        return None
    factor = panel.amplification**4 / panel.noise
    return Majorant(panel.strength * factor * reach, 0.0)


@lru_cache(maxsize=256)
def _pair_reach(channel: bytes, spread: bytes, elements: int) -> float | None:
    """Upper bound on tr(XJ) over (tr sqrt X)^2 for one watt, unit amplification and unit noise.

    Cached, because it depends on neither powers nor amplification.
    """
    left, values, _ = np.linalg.svd(
        np.frombuffer(channel, dtype=complex).reshape(elements, -1), full_matrices=False
    )
    modes = left * values  # v = G^T u up to a rotation
    rank = modes.shape[1]
    first, second = np.triu_indices(elements, 1)
    if rank < 2 or first.size > MOST_PAIRS:
        return None
    i, j = np.triu_indices(rank, 1)
    exact = first.size <= LARGEST // 2
    if not exact and 2 * i.size > LARGEST:
        return None
    wedge = modes[first][:, i] * modes[second][:, j] - modes[first][:, j] * modes[second][:, i]
    size = np.linalg.norm(wedge) / np.sqrt(first.size)
    slopes = np.frombuffer(spread).reshape(elements, 2)
    apart = slopes[second] - slopes[first]
    unit = np.sqrt(np.mean(apart**2, axis=0))
    rows, columns = _sharing_pairs(elements) if exact else (np.empty(0, int), np.empty(0, int))
    wedge = np.conj(wedge) / size
    overlap = wedge @ np.conj(wedge).T if exact else None
    pairs = _Pairs(wedge, overlap, apart / unit, rows, columns, unit)
    flat = np.zeros(2 + first.size + 2 * rows.size)
    flat, _ = descend(partial(_smooth_log_reach, pairs=pairs), flat, steps=STEPS)
    return float(np.exp(_log_reach(flat, pairs)) * size**2) * (1 + 1e-9)


def _sharing_pairs(elements: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pairs (m, n) and (m, q): n < q along rows, all other m along columns."""
    first, second = np.triu_indices(elements, 1)
    number = np.zeros((elements, elements), dtype=int)
    number[first, second] = number[second, first] = np.arange(first.size)
    others = [
        [m for m in range(elements) if m not in (n, q)] for n, q in zip(first, second, strict=True)
    ]
    shared = np.asarray(others, dtype=int).reshape(first.size, elements - 2)
    return number[shared, first[:, None]], number[shared, second[:, None]]


def surface_majorants(panel: Panel, patterns: int = 1) -> list[Majorant]:
    """All majorants of one surface.

    Args:
        panel: The surface.
        patterns: Number of patterns.
    """
    majorants = singular_value_majorants(panel, patterns)
    pairs = pair_majorant(panel) if patterns == 1 else None
    return majorants if pairs is None else [*majorants, pairs]


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


def cooperative_lower_bound(scene: SensingScene, patterns: int = 1) -> float:
    """Lower bound on the worst CRB of all designs that satisfy paper eq. (17). [rad²]

    Args:
        scene: The scene.
        patterns: Number of patterns of each surface.
    """
    return region_lower_bound((scene,), patterns, mean=False)


def region_lower_bound(scenes: tuple[SensingScene, ...], patterns: int, mean: bool) -> float:
    """Lower bound on the worst CRB over positions, or on the worst mean over positions. [rad²]

    1/CRB at the worst position is at most every position's majorant, and the mean of the CRBs is at
    least the inverse of the mean of the majorants.

    Args:
        scenes: The same scene with the target at each position.
        patterns: Number of patterns of each surface.
        mean: Whether to bound the mean over the positions instead of the worst.
    """
    panels = [panels_of(scene) for scene in scenes]  # by position and surface
    if not all(np.linalg.matrix_rank(p.spread) == 2 for at in panels for p in at):
        return float(np.inf)
    majorants: list[list[Majorant]] = []
    for i in range(scenes[0].n_surfaces):
        by_position = [surface_majorants(at[i], patterns) for at in panels]
        if mean:
            alike = zip(*by_position, strict=True)
            majorants.append([Majorant(*np.mean(same, axis=0)) for same in alike])
        else:
            majorants.append([m for at in by_position for m in at])
    return least_crb(majorants, scenes[0].n_surfaces * float(scenes[0].base_station.power))
