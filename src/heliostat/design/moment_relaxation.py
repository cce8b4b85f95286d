r"""Upper bounds on functions of a panel's coefficients, from moments over pairs of its elements.

Let :math:`t_{mn} = u_mu_n` for coefficients of modulus one, and :math:`w \in \mathbb C^K` a unit
vector over K beams. With the slope :math:`\zeta_n` of the phase of element n to both angles, the
functions are

.. math:: f(J) + |v|^2\,w^HPw,\qquad |v|^2 = \sum_{nq} u_n^*u_q\,g_n^Hg_q,

.. math:: J_{ak,bl} = \mathrm{Re}\sum_{(mn),(pq)} w_k^*t_{mn}^*\,
          (\zeta_n-\zeta_m)_a(\zeta_q-\zeta_p)_b
          \,\langle g_m\wedge g_n,\, g_p\wedge g_q\rangle\,t_{pq}w_l,

with a concave f and :math:`v = \sum_nu_ng_n`. Both terms are linear in
:math:`M = (t\otimes w)(t\otimes w)^H`. As :math:`t_{mn}t_{mq}^* = u_nu_q^*`, the blocks of M at
(mn), (mq) are the same for every m, and the diagonal blocks are all :math:`ww^H`. The relaxation
maximizes over all positive semidefinite M of this kind.

*Primal.* :math:`M = LL^H` with few columns and rows of length one, the first column from the best
coefficients found by descents. The method of multipliers (augmented Lagrangian method) adjusts the
multipliers Z of the equal entries. Between its steps, the eigenvectors of the most violated dual
constraints replace the weakest columns.

*Dual.* Let K be the matrix of the derivative of the function at any M. For any Z that sums to zero
over the entries that are equal, and any :math:`\delta` with :math:`\mathrm{diag}(\delta)\otimes 1
\succeq K + Z`, the function is at most :math:`\sum\delta` (as f is concave, plus the constant
:math:`f(J) - \mathrm{tr}(f'(J)J)`, which is zero for an f of degree one, as here).

Only this inequality counts for the bound. A multiple of the identity is added to
:math:`\mathrm{diag}(\delta)\otimes 1 - K - Z` until its Cholesky factorisation succeeds with a
margin for rounding, so that the bound holds wherever the iteration stops.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from scipy.linalg import LinAlgError, cholesky

from heliostat.design.parametrization import descend

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
"""Relative distance from the best coefficients found at which the iteration ends."""
STALLED = 5
"""Number of steps without an improvement by a tenth of the distance, after which it ends."""


class PairPanel(NamedTuple):
    """A panel, in units in which the entries of the relaxation are about 1."""

    modes: Complex[np.ndarray, "element mode"]
    slopes: Float[np.ndarray, "2 element"]
    scale: Float[np.ndarray, "2"]  # J is in units of the product of two of these
    off: Float[np.ndarray, "element element"]  # 0 on the diagonal, 1 elsewhere
    size: float  # unit of the modes

    @property
    def pairs(self) -> int:
        """Number of pairs of elements."""
        return self.off.shape[0] * (self.off.shape[0] - 1) // 2

    @property
    def element_gain(self) -> Float[np.ndarray, "element"]:
        """Squared norm of each row of the modes."""
        return np.sum(np.abs(self.modes) ** 2, axis=1)


def wedge_sums(panel: PairPanel, t: Complex[np.ndarray, "... element element"]) -> np.ndarray:
    """Return sums of t times the slope and the wedge product, as [angle ... mode mode].

    Args:
        panel: The panel.
        t: Symmetric columns over pairs.
    """
    half = [panel.modes.T @ (s[:, None] * (t @ panel.modes)) for s in panel.slopes]
    return np.stack([h - np.swapaxes(h, -1, -2) for h in half])


class Form(NamedTuple):
    """Function of the moments of a panel's coefficients and of a number of beams."""

    panel: PairPanel
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]]
    """f, as a function of J in the units of the panel, [angle beam angle beam]. It returns f and C,
    [angle beam term], where the derivative of f is :math:`CC^T`."""
    gain_weight: Float[np.ndarray, "beam beam"]
    """P, the weight of :math:`|v|^2`."""

    @property
    def beams(self) -> int:
        """Number of beams."""
        return len(self.gain_weight)

    @property
    def penalty(self) -> float:
        """Weight of the squared differences of entries that should be equal."""
        return PENALTY / (self.panel.pairs * len(self.panel.off))

    def curvature(self, root: np.ndarray, wedges: np.ndarray) -> np.ndarray:
        """Return the matrix of the derivative of f times the columns that have these wedge sums.

        Args:
            root: C, see `objective`.
            wedges: Wedge sums of the columns, [angle column beam mode mode].
        """
        modes = np.conj(self.panel.modes)
        back = modes @ np.einsum("akr,ackij->rcij", root, wedges) @ modes.T
        slopes = np.einsum("akr,an->rkn", root, self.panel.slopes)
        result = np.zeros(1)
        for slope, part in zip(slopes[:, None], back[:, :, None], strict=True):
            result = result + slope[..., None] * part - part * slope[..., None, :]
        return result

    def gain(self, t: Complex[np.ndarray, "column beam element element"]) -> np.ndarray:
        """Return the matrix of the second term times columns.

        Args:
            t: The columns.
        """
        if not np.any(self.gain_weight):
            return np.zeros(1)
        weighted = np.einsum("kl,clmn->ckmn", self.gain_weight, t)
        half = weighted @ _gram(self.panel).T
        return (half + np.swapaxes(half, -1, -2)) * self.panel.off / (len(self.panel.off) - 2)

    def gain_multipliers(self) -> np.ndarray:
        """Return the matrix of the second term as multipliers of entries that are equal."""
        each = np.einsum("kl,nq->knlq", self.gain_weight, _gram(self.panel))
        return each * _shared(self.panel.off) / max(len(self.panel.off) - 2, 1)

    def evaluate(self, factor: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the value at the moments of a factor, C, and the derivative times the factor.

        Args:
            factor: L, [column beam element element].
        """
        wedges = wedge_sums(self.panel, factor)
        information = np.einsum("ackij,bclij->akbl", np.conj(wedges), wedges, optimize=True)
        value, root = self.objective(np.real(information) / 2)
        gain = self.gain(factor)
        value += float(np.real(np.sum(np.conj(factor) * gain))) / 2
        return value, root, self.curvature(root, wedges) + gain


class Dual(NamedTuple):
    """A point of the dual problem, and the upper bound that it proves."""

    root: Float[np.ndarray, "angle beam term"]  # C, where the derivative of f is C C^T
    delta: Float[np.ndarray, "element element"]
    multipliers: Complex[np.ndarray, "element beam element beam element"]
    """Minus Z and the second term of the function, with its diagonal."""
    value: float  # unit of delta and of the multipliers
    bound: float


def _gram(panel: PairPanel) -> np.ndarray:
    """Inner products of the modes, with a diagonal that counts each element once in |v|²."""
    gram = np.conj(panel.modes) @ panel.modes.T
    return gram - np.eye(len(gram)) * np.mean(panel.element_gain) / (len(gram) - 1)


def _shared(off: np.ndarray) -> np.ndarray:
    """One at [m, beam, n, beam, q] if (mn) and (mq) are pairs."""
    return off[:, None, :, None, None] * off[:, None, None, None, :]


def _differences(moments: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Differences of entries from their mean over those that should be equal.

    These are the entries at (mn), (mq) over m, and the blocks of all pairs.
    """
    elements, at = len(off), np.arange(len(off))
    moments = moments * _shared(off)
    mean = np.sum(moments, axis=0) / max(elements - 2, 1)
    blocks = np.einsum("mknln->kl", moments) / (elements * (elements - 1))
    mean[:, at, :, at] = blocks
    return moments - mean * _shared(off)


def _rows(t: np.ndarray) -> np.ndarray:
    """Columns as [element, beam element, column]."""
    elements = t.shape[-1]
    return np.transpose(t, (2, 1, 3, 0)).reshape(elements, -1, len(t))


def _multiplied(multipliers: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return multipliers of the differences times columns."""
    elements, beams = multipliers.shape[:2]
    half = multipliers.reshape(elements, beams * elements, -1) @ _rows(t)
    half = np.transpose(half.reshape(elements, beams, elements, -1), (3, 1, 0, 2))
    return half + np.swapaxes(half, -1, -2)


def _symmetric(half: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Symmetric part of columns over pairs, without a diagonal."""
    return (half + np.swapaxes(half, -1, -2)) / 2 * off


def _packed(factor: np.ndarray) -> np.ndarray:
    """Real and imaginary parts as one vector."""
    return np.concatenate([np.real(factor).ravel(), np.imag(factor).ravel()])


def _unpacked(flat: np.ndarray, form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric factor whose rows have length one, and the lengths before."""
    off = form.panel.off
    real, imaginary = flat.reshape(2, -1, form.beams, *off.shape)
    factor = _symmetric(real + 1j * imaginary, off)
    length = np.sqrt(np.sum(np.abs(factor) ** 2, axis=(0, 1)) + np.eye(len(off)))
    return factor / length, length


class _Evaluation(NamedTuple):
    value: float
    root: np.ndarray
    differences: np.ndarray
    multipliers: np.ndarray  # after a step of the method of multipliers
    slope: np.ndarray  # of the augmented Lagrangian by L, over 2


def _evaluate(form: Form, factor: np.ndarray, multipliers: np.ndarray) -> _Evaluation:
    value, root, image = form.evaluate(factor)
    rows = _rows(factor)
    moments = rows @ np.conj(np.swapaxes(rows, 1, 2))
    found = _differences(moments.reshape(multipliers.shape), form.panel.off)
    updated = multipliers + form.penalty * found
    return _Evaluation(value, root, found, updated, _multiplied(updated, factor) - image / value)


def _lagrangian(
    form: Form, multipliers: np.ndarray
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Augmented Lagrangian of minus the log of the value, and its gradient, by packed factors."""

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        factor, length = _unpacked(flat, form)
        at = _evaluate(form, factor, multipliers)
        linear = np.real(np.vdot(multipliers, at.differences))
        square = np.sum(np.abs(at.differences) ** 2) * form.penalty / 2
        along = np.sum(np.real(np.conj(factor) * at.slope), axis=(0, 1))
        slope = _packed(_symmetric((at.slope - factor * along) / length, form.panel.off))
        if at.value <= 0:
            return np.inf, slope
        return float(-np.log(at.value) + linear + square), slope

    return value_and_slope


def _top_vectors(
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


def _slack_matrix(panel: PairPanel, dual: Dual) -> np.ndarray:
    """Return diag(delta) x 1 - K - Z over beams and pairs."""
    elements, beams = dual.multipliers.shape[:2]
    first, second = np.triu_indices(elements, 1)
    i, j = np.triu_indices(panel.modes.shape[1], 1)
    modes = panel.modes
    wedge = modes[first][:, i] * modes[second][:, j] - modes[first][:, j] * modes[second][:, i]
    products = np.conj(wedge) @ wedge.T / dual.value
    apart = np.einsum("akr,ap->kpr", dual.root, panel.slopes[:, second] - panel.slopes[:, first])
    result = np.empty((beams, first.size, beams, first.size), dtype=complex)
    number = np.zeros((elements, elements), dtype=int)
    number[first, second] = number[second, first] = np.arange(first.size)
    for k, other in np.ndindex(beams, beams):
        result[k, :, other] = products * -(apart[k] @ apart[other].T)
        for m in range(elements):
            others = np.delete(np.arange(elements), m)
            at = number[m, others]
            block = dual.multipliers[m, k, :, other][np.ix_(others, others)]
            result[k, at[:, None], other, at] += block
    slack = result.reshape(beams * first.size, -1)
    slack[np.diag_indices(len(slack))] += np.tile(dual.delta[first, second], beams)
    return slack


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


def best_dual(
    form: Form, start: np.ndarray, attained: float, sufficient: float = 0.0
) -> Dual | None:
    r"""Best dual point of an iteration, with its proven bound for coefficients of modulus one.

    None if the iteration loses every positive value, which is possible with a negative weight of
    :math:`|v|^2`.

    Args:
        form: The function.
        start: First column, :math:`t \otimes w` of nearly the largest value,
            [beam element element].
        attained: The value there.
        sufficient: Bound below which a smaller one is of no use.
    """
    panel, beams = form.panel, form.beams
    off, pairs, elements, rng = panel.off, panel.pairs, len(panel.off), np.random.default_rng(beams)
    extra = rng.normal(size=(2, COLUMNS - 1, *start.shape)) * NEW_SIZE
    factor = np.concatenate([start[None], _symmetric(extra[0] + 1j * extra[1], off)])
    multipliers = np.zeros((elements, beams, elements, beams, elements), dtype=complex)
    direction = _symmetric(rng.normal(size=start.shape) + 0j, off)
    best: tuple[Dual, float] | None = None
    waiting = 0
    for _ in range(STEPS):
        flat, _ = descend(_lagrangian(form, multipliers), _packed(factor), steps=DESCENT_STEPS)
        factor, _ = _unpacked(flat, form)
        at = _evaluate(form, factor, multipliers)
        if at.value <= 0:
            break
        multipliers = at.multipliers
        delta = -np.sum(np.real(np.conj(factor) * at.slope), axis=(0, 1))

        def violation(t: np.ndarray, at: _Evaluation = at, delta: np.ndarray = delta) -> np.ndarray:
            image = form.curvature(at.root, wedge_sums(panel, t[None])) + form.gain(t[None])
            return (image / at.value - _multiplied(at.multipliers, t[None]))[0] - delta * t

        excess, vectors = _top_vectors(violation, direction, beams * pairs)
        direction = vectors[-1] + 0.01 * _symmetric(rng.normal(size=start.shape), off)
        bound = float(np.sum(delta) / 2 + pairs * max(excess[-1], 0.0)) * at.value
        progress = best is not None and bound - attained < 0.9 * (best[0].bound - attained)
        waiting = 0 if best is None or progress else waiting + 1
        if best is None or bound < best[0].bound:
            best = Dual(at.root, delta, multipliers, at.value, bound), float(excess[-1])
        if bound <= max((1 + TOLERANCE) * attained, sufficient) or waiting >= STALLED:
            break
        kept = np.linalg.svd(factor.reshape(len(factor), -1).T, full_matrices=False)
        weak = (kept[0] * kept[1]).T[: COLUMNS - NEW_COLUMNS].reshape(-1, *start.shape)
        size = NEW_SIZE * np.sqrt(2 * pairs) * (excess > 0)
        factor = np.concatenate([weak, vectors * size[:, None, None, None]])
    if best is None:
        return None
    dual, guess = best
    dual = dual._replace(multipliers=dual.multipliers - form.gain_multipliers() / dual.value)
    dual = dual._replace(delta=dual.delta + proven_excess(_slack_matrix(panel, dual), guess) * off)
    # The last factor covers the rounding of these sums and of the zero sums of the multipliers.
    return dual._replace(bound=float(np.sum(dual.delta) / 2 * dual.value) * (1 + 1e-9))
