r"""Upper bound on the information of a panel, from a relaxation over pairs of its elements.

With :math:`t_{mn} = u_mu_n`, the information of a surface for one watt, unit amplification and unit
noise is at most

.. math:: J_{ab} = \sum_{(mn),(pq)} t_{mn}^*\,(\zeta_n-\zeta_m)_a(\zeta_q-\zeta_p)_b\,
          \langle g_m\wedge g_n,\, g_p\wedge g_q\rangle\,t_{pq},

which is linear in :math:`M = tt^H`. It is convex in each coefficient, so :math:`|u_n| = 1` at the
maximum, and M has a diagonal of ones. Because :math:`t_{mn}t_{mq}^* = u_nu_q^*`, the entries of M
at (mn), (mq) are the same for every m. The relaxation maximises :math:`1/\mathrm{tr}J^{-1}` over
all positive semidefinite M with these two properties.

*Primal.* :math:`M = LL^H` with few columns and rows of length one, the first column from the best
phases found by descents. An augmented Lagrangian method adjusts the multipliers Z of the equal
entries. Between its steps, the eigenvectors of the most violated dual constraints replace the
weakest columns.

*Dual.* For any X and Z with :math:`\sum_mZ^{(m)} = 0`, and any :math:`\delta` with
:math:`\mathrm{diag}(\delta) \succeq K_X + Z`, where :math:`\mathrm{tr}(XJ) = \mathrm{tr}(K_XM)`,

.. math:: 1/\mathrm{tr}J^{-1} \le \mathrm{tr}(XJ)/(\mathrm{tr}\sqrt X)^2
          \le \textstyle\sum\delta/(\mathrm{tr}\sqrt X)^2 .

Only this inequality counts for the bound. A multiple of the identity is added to
:math:`\mathrm{diag}(\delta) - K_X - Z` until its Cholesky factorisation succeeds with a margin for
rounding, so that the bound holds wherever the iteration stops.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from scipy.linalg import LinAlgError, cholesky

from heliostat.design.parametrization import best_descents, descend

LARGEST = 100
"""Largest number of elements. The memory of the last step grows with its fourth power; it is about
1.5 GB at this size."""
COLUMNS = 16
"""Number of columns of the factor L."""
NEW_COLUMNS = 6
"""Number of these that each step replaces by eigenvectors of violated dual constraints."""
NEW_SIZE = 0.05
"""Length of the rows of a new column, relative to that of the rows of L."""
PENALTY = 20.0
"""Weight of the squared differences of entries that should be equal, times the number of pairs and
of elements. A larger one slows the adaptation of the multipliers, a smaller one the descents."""
STEPS, DESCENT_STEPS = 30, 30
"""Most steps of the method of multipliers, and of the descent in each of them."""
LANCZOS_STEPS = 40
TOLERANCE = 0.01
"""Relative distance from the best phases found at which the iteration ends."""
STALLED = 5
"""Number of steps without an improvement by a tenth of the distance, after which it ends."""
SMALLEST_RATIO = 1e-6
"""Smallest ratio of the two largest singular values; below, rounding would decide the result."""


class PairPanel(NamedTuple):
    """A panel, in units in which the entries of the relaxation are about 1."""

    modes: Complex[np.ndarray, "element mode"]
    slopes: Float[np.ndarray, "2 element"]
    scale: Float[np.ndarray, "2"]  # J is in units of the product of two of these
    shared: Float[np.ndarray, "element element element"]  # 1 at [m, n, q] with three indices
    off: Float[np.ndarray, "element element"]  # 0 on the diagonal, 1 elsewhere
    size: float  # unit of the modes
    price: float = 0.0  # c: the value is 1/tr J^-1 - c |v|^2

    @property
    def pairs(self) -> int:
        """Number of pairs of elements."""
        return self.off.shape[0] * (self.off.shape[0] - 1) // 2

    @property
    def penalty(self) -> float:
        """Weight of the squared differences of entries that should be equal."""
        return PENALTY / (self.pairs * self.off.shape[0])

    @property
    def element_power(self) -> Float[np.ndarray, "element"]:
        """Squared norm of each row of the modes."""
        return np.sum(np.abs(self.modes) ** 2, axis=1)

    def toll(self) -> np.ndarray:
        r"""Multipliers, [m n q], whose form is :math:`c\,|v|^2` up to a constant."""
        if self.price == 0:
            return np.zeros((1, 1, 1))
        gram = np.conj(self.modes) @ self.modes.T
        return gram * (self.price / (len(self.off) - 2)) * self.off[:, :, None] * self.off[:, None]

    @property
    def refund(self) -> float:
        """This constant."""
        return self.price * float(np.sum(self.element_power)) / max(len(self.off) - 2, 1)


class PairDual(NamedTuple):
    """A point of the dual problem: M is bounded by the sum of delta."""

    weight: Float[np.ndarray, "2 2"]  # X over the value of the relaxation
    delta: Float[np.ndarray, "element element"]
    multipliers: Complex[np.ndarray, "element element element"]  # minus Z, and the toll
    value: float = 1.0  # unit of all of these


def pair_panel(channel: np.ndarray, spread: np.ndarray) -> PairPanel | None:
    """Return a panel, or None if its channel has only one mode."""
    elements = len(spread)
    left, values, _ = np.linalg.svd(channel, full_matrices=False)
    if values.size < 2 or values[1] <= SMALLEST_RATIO * values[0]:
        return None
    modes = left * values  # v = G^T u up to a rotation
    first, second = np.triu_indices(elements, 1)
    slope_unit = np.sqrt(np.mean((spread[second] - spread[first]) ** 2, axis=0))
    size = np.sqrt(np.mean(np.abs(np.conj(modes) @ modes.T)))
    off = 1 - np.eye(elements)
    shared = off[:, :, None] * off[:, None, :] * off[None, :, :]
    scaled = (spread / slope_unit).T
    return PairPanel(modes / size, scaled, size**2 * slope_unit, shared, off, float(size))


def wedge_sums(panel: PairPanel, t: Complex[np.ndarray, "column element element"]) -> np.ndarray:
    """Return sums of t times the slope and the wedge product, as [angle column mode mode]."""
    half = [panel.modes.T @ (s[:, None] * (t @ panel.modes)) for s in panel.slopes]
    return np.stack([h - np.swapaxes(h, -1, -2) for h in half])


def _information(wedges: np.ndarray) -> Float[np.ndarray, "2 2"]:
    """J in the units of the panel."""
    flat = wedges.reshape(2, -1)
    return np.real(np.conj(flat) @ flat.T) / 2


def _kernel(panel: PairPanel, wedges: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return K_X times the columns that have these wedges."""
    result = np.zeros(1)
    for slope, wedge in zip(panel.slopes, np.tensordot(weight, wedges, 1), strict=True):
        back = np.conj(panel.modes) @ wedge @ np.conj(panel.modes).T
        result = result + slope[:, None] * back - back * slope
    return result


def _value(panel: PairPanel, information: np.ndarray) -> tuple[float, np.ndarray]:
    """1/tr J^-1, and its derivative by J in the units of the panel."""
    inverse = np.linalg.inv(information) / np.outer(panel.scale, panel.scale)
    trace = np.trace(inverse)
    slope = inverse @ inverse / trace**2
    return float(1 / trace), slope * np.outer(panel.scale, panel.scale)


def _phases_value(panel: PairPanel, phase: np.ndarray) -> tuple[float, np.ndarray]:
    """1/tr J^-1 minus c |v|^2 at phases, and its gradient."""
    u = np.exp(1j * phase)
    t = np.outer(u, u) * panel.off
    wedges = wedge_sums(panel, t[None])
    value, weight = _value(panel, _information(wedges))
    slope = 2 * np.sum(np.imag(np.conj(t) * _kernel(panel, wedges, weight)[0]), axis=1)
    v = panel.modes.T @ u
    value -= panel.price * np.real(np.vdot(v, v))
    slope -= panel.price * 2 * np.imag(np.conj(u) * (np.conj(panel.modes) @ v))
    return value, slope


def best_phases(
    panel: PairPanel, begin: Float[np.ndarray, "start element"] | None = None
) -> Complex[np.ndarray, "element"]:
    """Coefficients of modulus one with nearly the largest value.

    Args:
        panel: The panel.
        begin: Phases from which descents start; by default eight random ones. [rad]
    """
    if begin is None:
        begin = 2 * np.pi * np.random.default_rng(0).random((8, len(panel.off)))
    unit = max(_phases_value(panel._replace(price=0.0), x)[0] for x in begin)

    def negative(phase: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _phases_value(panel, phase)
        return -value / unit, -slope / unit

    best = best_descents(lambda x: descend(negative, x, steps=60), begin, 1)[0]
    return np.exp(1j * descend(negative, best, steps=300)[0])


def _differences(panel: PairPanel, moments: np.ndarray) -> np.ndarray:
    """Differences of the entries at (mn), (mq) from their mean over m, as [m n q]."""
    shared = moments * panel.shared
    return shared - np.sum(shared, axis=0) / max(len(panel.off) - 2, 1) * panel.shared


def _times(multipliers: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return multipliers of the differences times columns t, as [column element element]."""
    half = np.transpose(multipliers @ np.transpose(t, (1, 2, 0)), (2, 0, 1))
    return half + np.swapaxes(half, 1, 2)


def symmetric(half: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Symmetric part of columns over pairs, without a diagonal."""
    return (half + np.swapaxes(half, -1, -2)) / 2 * off


class _Evaluation(NamedTuple):
    value: float  # 1/tr J^-1 minus c |v|^2
    weight: np.ndarray
    differences: np.ndarray
    multipliers: np.ndarray  # after a step of the method of multipliers
    slope: np.ndarray  # of the augmented Lagrangian by L, over 2


def _evaluate(panel: PairPanel, factor: np.ndarray, multipliers: np.ndarray) -> _Evaluation:
    wedges = wedge_sums(panel, factor)
    value, weight = _value(panel, _information(wedges))
    toll = panel.toll()
    if panel.price > 0:
        value += panel.refund - np.real(np.vdot(factor, _times(toll, factor))) / 2
    rows = np.transpose(factor, (1, 2, 0))
    differences = _differences(panel, rows @ np.conj(np.swapaxes(rows, 1, 2)))
    updated = multipliers + panel.penalty * differences
    slope = _times(updated + toll / value, factor) - _kernel(panel, wedges, weight / value)
    return _Evaluation(value, weight, differences, updated, slope)


def packed(factor: np.ndarray) -> np.ndarray:
    """Real and imaginary parts as one vector."""
    return np.concatenate([np.real(factor).ravel(), np.imag(factor).ravel()])


def _unpacked(flat: np.ndarray, panel: PairPanel) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric factor whose rows have length one, and the lengths before."""
    real, imaginary = flat.reshape(2, -1, *panel.off.shape)
    factor = symmetric(real + 1j * imaginary, panel.off)
    length = np.sqrt(np.sum(np.abs(factor) ** 2, axis=0) + np.eye(len(panel.off)))
    return factor / length, length


def _lagrangian(
    panel: PairPanel, multipliers: np.ndarray
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Augmented Lagrangian of minus the log of 1/tr J^-1, and its gradient."""

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        factor, length = _unpacked(flat, panel)
        at = _evaluate(panel, factor, multipliers)
        linear = np.real(np.vdot(multipliers, at.differences))
        square = np.sum(np.abs(at.differences) ** 2) * panel.penalty / 2
        along = np.sum(np.real(np.conj(factor) * at.slope), axis=0)
        slope = symmetric((at.slope - factor * along) / length, panel.off)
        if at.value <= 0:
            return np.inf, packed(slope)
        return float(-np.log(at.value) + linear + square), packed(slope)

    return value_and_slope


def top_vectors(
    apply: Callable[[np.ndarray], np.ndarray], start: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalues over pairs of a Hermitian map, and their eigenvectors, by Lanczos."""
    basis = [start / np.linalg.norm(start)]
    images = []
    for _ in range(min(LANCZOS_STEPS, size)):
        images.append(apply(basis[-1]))
        known = np.stack(basis).reshape(len(basis), -1)
        rest = images[-1].ravel()
        for _ in range(2):
            rest = rest - known.T @ (np.conj(known) @ rest)
        if np.linalg.norm(rest) <= 1e-10 * np.linalg.norm(images[-1]):
            break
        basis.append((rest / np.linalg.norm(rest)).reshape(start.shape))
    known = np.stack(basis[: len(images)]).reshape(len(images), -1)
    small = np.conj(known) @ np.stack(images).reshape(len(images), -1).T
    values, turn = np.linalg.eigh((small + np.conj(small).T) / 2)
    vectors = (turn.T @ known).reshape(-1, *start.shape)
    return values[-NEW_COLUMNS:], vectors[-NEW_COLUMNS:]


def _matrix(panel: PairPanel, dual: PairDual) -> np.ndarray:
    """diag(delta) - K_X - Z over pairs."""
    elements = len(panel.off)
    first, second = np.triu_indices(elements, 1)
    i, j = np.triu_indices(panel.modes.shape[1], 1)
    modes = panel.modes
    wedge = modes[first][:, i] * modes[second][:, j] - modes[first][:, j] * modes[second][:, i]
    apart = (panel.slopes[:, second] - panel.slopes[:, first]).T
    result = -np.conj(wedge) @ wedge.T
    result *= apart @ dual.weight @ apart.T
    number = np.zeros((elements, elements), dtype=int)
    number[first, second] = number[second, first] = np.arange(first.size)
    for m in range(elements):
        others = np.delete(np.arange(elements), m)
        at = number[m, others]
        result[np.ix_(at, at)] += dual.multipliers[m][np.ix_(others, others)]
    result[np.diag_indices(first.size)] += dual.delta[first, second]
    return result


def proven_excess(slack: Complex[np.ndarray, "row row"], guess: float) -> float:
    r"""Return an upper bound on the largest eigenvalue of minus a Hermitian matrix.

    A Cholesky factorisation of an n x n matrix A that ends proves that A plus
    :math:`c\,(n+1)\,\epsilon\,\mathrm{tr}A` times the identity is positive semidefinite (Rump,
    BIT 46, 2006); c = 8 covers complex arithmetic and the rounding of the entries.

    Args:
        slack: The matrix, of which the lower triangle is read; its diagonal is overwritten.
        guess: Estimate of the eigenvalue, such as a Ritz value.
    """
    size, diagonal = len(slack), np.real(np.diag(slack)).copy()
    shift, widen = guess, 1e-3 / size
    while True:
        np.fill_diagonal(slack, diagonal + shift)
        try:
            cholesky(slack, lower=True, check_finite=False)
        except LinAlgError:
            shift, widen = max(shift, 0.0) + widen, 2 * widen
        else:
            trace = np.sum(np.abs(diagonal) + abs(shift))
            return float(shift + 8 * (size + 1) * np.finfo(float).eps * trace)


def pair_panel_of(channel: bytes, spread: bytes, elements: int) -> PairPanel | None:
    """Return the panel of `pair_reach`; None where there is no bound.

    Args:
        channel: See `pair_reach`.
        spread: See `pair_reach`.
        elements: Number of elements.
    """
    slopes = np.frombuffer(spread).reshape(elements, 2)
    if elements > LARGEST or np.linalg.matrix_rank(slopes - np.mean(slopes, axis=0)) < 2:
        return None
    return pair_panel(np.frombuffer(channel, dtype=complex).reshape(elements, -1), slopes)


@lru_cache(maxsize=256)
def _prepared(channel: bytes, spread: bytes, elements: int) -> PairPanel | None:
    """The same with its best phases as the origin."""
    panel = pair_panel_of(channel, spread, elements)
    if panel is None:
        return None
    return panel._replace(modes=best_phases(panel)[:, None] * panel.modes)


def attained(panel: PairPanel) -> float:
    """Return the value of the phases that are the origin of a panel."""
    return _phases_value(panel, np.zeros(len(panel.off)))[0]


def attained_reach(channel: bytes, spread: bytes, elements: int) -> float | None:
    """1/CRB of the best phases found, below which `pair_reach` cannot be. [rad⁻²]

    Args:
        channel: See `pair_reach`.
        spread: See `pair_reach`.
        elements: Number of elements.
    """
    panel = _prepared(channel, spread, elements)
    return None if panel is None else attained(panel)


@lru_cache(maxsize=256)
def pair_reach(channel: bytes, spread: bytes, elements: int) -> float | None:
    """Upper bound on 1/CRB for one watt, unit amplification and unit noise, or None. [rad⁻²]

    None for a channel of rank one, for elements on a line, and for more than `LARGEST` elements.
    The arguments are bytes so that results can be kept: they depend on neither powers nor
    amplification, and are computed once for all points of a study that share a channel.

    Args:
        channel: G as complex numbers, [element tx].
        spread: Slope of the phase of each element to each angle, [element 2].
        elements: Number of elements.
    """
    panel = _prepared(channel, spread, elements)
    if panel is None:
        return None
    found = best_dual(panel)
    if found is None:
        return None
    dual, bound = found
    return bound / root_trace(panel, dual) * (1 + 1e-9)


def root_trace(panel: PairPanel, dual: PairDual) -> float:
    r""":math:`(\mathrm{tr}\sqrt X)^2` of the dual point."""
    weight = dual.weight * dual.value / np.outer(panel.scale, panel.scale)
    return float(np.sum(np.sqrt(np.linalg.eigvalsh(weight))) ** 2)


def best_dual(panel: PairPanel) -> tuple[PairDual, float] | None:
    """Best dual point of an iteration, and its proven bound for coefficients of modulus one.

    None if the iteration loses every positive value, which is possible with a price.

    Args:
        panel: The panel; its origin has nearly the largest value.
    """
    off, pairs, rng = panel.off, panel.pairs, np.random.default_rng(1)
    ones = off[None].astype(complex)  # the best phases: their products are the origin
    reached = attained(panel)
    extra = rng.normal(size=(2, COLUMNS - 1, *off.shape)) * NEW_SIZE
    factor = np.concatenate([ones, symmetric(extra[0] + 1j * extra[1], panel.off)])
    multipliers = np.zeros(panel.shared.shape, dtype=complex)
    direction = symmetric(rng.normal(size=off.shape) + 0j, panel.off)
    best: tuple[float, PairDual, float] | None = None
    waiting = 0
    for _ in range(STEPS):
        flat, _ = descend(_lagrangian(panel, multipliers), packed(factor), steps=DESCENT_STEPS)
        factor, _ = _unpacked(flat, panel)
        at = _evaluate(panel, factor, multipliers)
        if at.value <= 0:
            break
        multipliers = at.multipliers
        delta = -np.sum(np.real(np.conj(factor) * at.slope), axis=0)
        tolled = multipliers + panel.toll() / at.value
        dual = PairDual(at.weight / at.value, delta, tolled, at.value)

        def violation(t: np.ndarray, dual: PairDual = dual) -> np.ndarray:
            kernel = _kernel(panel, wedge_sums(panel, t[None]), dual.weight)
            return (kernel - _times(dual.multipliers, t[None]))[0] - dual.delta * t

        excess, vectors = top_vectors(violation, direction, pairs)
        direction = vectors[-1] + 0.01 * symmetric(rng.normal(size=off.shape), panel.off)
        total = float(np.sum(delta) / 2 + pairs * max(excess[-1], 0.0)) * at.value
        total = (total + panel.refund) / reached
        waiting = 0 if best is None or total - 1 < 0.9 * (best[0] - 1) else waiting + 1
        if best is None or total < best[0]:
            best = total, dual, float(excess[-1])
        if total <= 1 + TOLERANCE or waiting >= STALLED:
            break
        kept = np.linalg.svd(factor.reshape(len(factor), -1).T, full_matrices=False)
        weak = (kept[0] * kept[1]).T[: COLUMNS - NEW_COLUMNS].reshape(-1, *off.shape)
        new = vectors * (NEW_SIZE * np.sqrt(pairs) * (excess > 0))[:, None, None]
        factor = np.concatenate([weak, new * np.sqrt(2)])
    if best is None:
        return None
    _, dual, guess = best
    proven = proven_excess(_matrix(panel, dual), guess)
    dual = dual._replace(delta=dual.delta + proven * off)
    # The last factor covers the rounding of these sums and of the zero sums of the multipliers.
    return dual, float(np.sum(dual.delta) / 2 * dual.value + panel.refund)
