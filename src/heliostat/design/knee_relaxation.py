r"""Upper bound on the information of a panel where both power limits count.

Let :math:`O = [A/A_{00}]`, :math:`D = [B/B_{00}]`, and :math:`S = \zeta^T\zeta`, in units in which
noise and amplification are 1. Then :math:`J = B_{00}\mathrm{Re}\,O + A_{00}\mathrm{Re}\,D` without
the noise of the surface, and the two limits imply

.. math:: B_{00}/A_{00} + \mathrm{tr}(O^{-1}D) \le p, \qquad
          B_{00}/N + \mathrm{tr}(S^{-1}D) \le P_s .

Therefore :math:`\mathrm{tr}(XJ) \le \max(1, k)(hp + eP_s)` if, for all coefficients,

- *sum beams:* :math:`\mathrm{tr}(X\Omega) - (e/N)A_{00} \le h` with :math:`\Omega = A_{00}O`, and
- *difference beams:* the parallel sum of :math:`X^{1/2}\Omega X^{1/2}/h` and
  :math:`A_{00}X^{1/2}SX^{1/2}/e` is at most k times the identity. A parallel sum is at most
  :math:`\theta^2` times the first plus :math:`(1-\theta)^2` times the second operand.

The first is a relaxation over pairs of elements (`pair_relaxation`) with one more term. The second
is one over :math:`t \otimes w`, with :math:`w \in \mathbb C^2` the eigenvector. For fixed w and
:math:`\theta` it is convex in each coefficient. The first is not, and `amplitude_excess` bounds
what smaller amplitudes could add; it is zero in most scenes. The derivation is in the theory of
sensing.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from heliostat.design.pair_relaxation import (
    COLUMNS,
    DESCENT_STEPS,
    NEW_COLUMNS,
    NEW_SIZE,
    STALLED,
    STEPS,
    TOLERANCE,
    PairDual,
    PairPanel,
    attained,
    best_dual,
    best_phases,
    packed,
    pair_panel_of,
    proven_excess,
    root_trace,
    symmetric,
    top_vectors,
    wedge_sums,
)
from heliostat.design.parametrization import best_descents, descend

LARGEST = 49
"""Largest number of elements; the matrices have twice the size of those of `pair_relaxation`."""
SHARES = (0.6, 0.7, 0.8, 0.9, 0.97)
"""Values of theta that are tried."""
PRICES = np.geomspace(0.055, 3, 8)
"""Values of e that are tried, relative to the ratio of information and A_00 N without P_s."""

SMALLEST_VALUE = 0.05
"""Smallest value at a price, relative to that without; the relaxation needs a positive one."""


class KneeReach(NamedTuple):
    """Upper bound on 1/CRB for unit amplification and noise: two factors."""

    transmit: float  # of the transmit power [rad⁻²/W]
    radiated: float  # of the radiated power over the squared amplification [rad⁻²/W]


class _Difference(NamedTuple):
    """The form over t (x) w of the difference beams."""

    panel: PairPanel
    root: Float[np.ndarray, "angle beam"]  # C with X = C C^T
    spread: Float[np.ndarray, "beam beam"]  # C^T S C
    transmit: float  # theta^2 / h
    radiated: float  # (1 - theta)^2 / e over N - 2

    def times(self, t: Complex[np.ndarray, "column beam element element"]) -> np.ndarray:
        """Return the matrix of the form times columns."""
        panel, elements = self.panel, len(self.panel.off)
        wedges = wedge_sums(panel, t.reshape(-1, elements, elements))
        mixed = np.einsum(
            "ak,arkij->rij", self.root, wedges.reshape(2, len(t), 2, *wedges.shape[2:])
        )
        back = np.conj(panel.modes) @ mixed @ np.conj(panel.modes).T
        result = np.zeros(t.shape, dtype=complex)
        for slope, row in zip(panel.slopes, self.root, strict=True):
            part = slope[:, None] * back - back * slope
            result += self.transmit * row[:, None, None] * part[:, None]
        turned = np.einsum("kl,rlmn->rkmn", self.spread, t)
        half = turned @ (panel.modes @ np.conj(panel.modes).T)
        constant = np.sum(panel.element_power) / panel.pairs
        result += self.radiated * (half + np.swapaxes(half, -1, -2) - constant * turned)
        return result * panel.off

    def matrix(self) -> np.ndarray:
        """The same matrix over pairs, [beam pair, beam pair]."""
        panel, elements = self.panel, len(self.panel.off)
        first, second = np.triu_indices(elements, 1)
        i, j = np.triu_indices(panel.modes.shape[1], 1)
        modes = panel.modes
        wedge = modes[first][:, i] * modes[second][:, j] - modes[first][:, j] * modes[second][:, i]
        apart = (panel.slopes[:, second] - panel.slopes[:, first]).T @ self.root
        tall = np.concatenate([wedge * apart[:, k, None] for k in range(2)])
        shared = np.einsum("kl,nq->knlq", self.spread, np.conj(modes) @ modes.T) * self.radiated
        constant = self.radiated * np.sum(panel.element_power) / panel.pairs
        result = self.transmit * (np.conj(tall) @ tall.T)
        result += _over_pairs(np.broadcast_to(shared, (elements, *shared.shape)))
        return result - constant * np.kron(self.spread, np.eye(first.size))


def _over_pairs(
    multipliers: Complex[np.ndarray, "element beam element beam element"],
) -> np.ndarray:
    """Matrix over beams and pairs with given entries between (mn) and (mq)."""
    elements = len(multipliers)
    first, second = np.triu_indices(elements, 1)
    number = np.zeros((elements, elements), dtype=int)
    number[first, second] = number[second, first] = np.arange(first.size)
    result = np.zeros((2, first.size, 2, first.size), dtype=complex)
    for m in range(elements):
        others = np.delete(np.arange(elements), m)
        at = number[m, others]
        for k in range(2):
            for q in range(2):
                block = multipliers[m, k, :, q][np.ix_(others, others)]
                result[k, at[:, None], q, at] += block
    return result.reshape(2 * first.size, -1)


def _differences(moments: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Differences of entries from their mean over those that should be equal.

    These are the entries at (mn), (mq) over m, and the blocks of all pairs.
    """
    elements = len(off)
    shared = (off[:, :, None] * off[:, None, :])[:, None, :, None, :]
    same = np.eye(elements)[None, None, :, None, :] * shared
    apart = moments * (shared - same)
    apart = apart - np.sum(apart, axis=0) / (elements - 2) * (shared - same)
    blocks = moments * same
    mean = np.sum(blocks, axis=(0, 2, 4)) / (elements * (elements - 1))
    return apart + blocks - mean[None, :, None, :, None] * same


def _rows(t: np.ndarray) -> np.ndarray:
    """Columns as [element, beam element, column]."""
    elements = t.shape[-1]
    return np.transpose(t, (2, 1, 3, 0)).reshape(elements, 2 * elements, -1)


def _multiplied(multipliers: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return multipliers of the differences times columns."""
    elements = len(multipliers)
    half = multipliers.reshape(elements, 2 * elements, 2 * elements) @ _rows(t)
    half = np.transpose(half.reshape(elements, 2, elements, -1), (3, 1, 0, 2))
    return half + np.swapaxes(half, -1, -2)


def _start(form: _Difference, starts: int = 4) -> tuple[float, np.ndarray]:
    """Largest value of the form that descents over phases find, and t (x) w there."""
    off = form.panel.off

    def at(phase: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        u = np.exp(1j * phase)
        t = np.outer(u, u) * off
        images = form.times(np.eye(2)[:, :, None, None] * t[None, None])
        values, vectors = np.linalg.eigh(np.einsum("mn,rkmn->kr", np.conj(t), images) / 2)
        return float(values[-1]), t, vectors[:, -1], images

    def negative(phase: np.ndarray) -> tuple[float, np.ndarray]:
        value, t, w, images = at(phase)
        whole = np.einsum("r,k,rkmn->mn", w, np.conj(w), images)
        return -np.log(value), -2 * np.sum(np.imag(np.conj(t) * whole), axis=1) / value

    begin = 2 * np.pi * np.random.default_rng(3).random((starts, len(off)))
    best = best_descents(lambda x: descend(negative, x, steps=60), begin, 1)[0]
    value, t, w, _ = at(descend(negative, best, steps=200)[0])
    return value, t * w[:, None, None]


def _unpacked(flat: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric factor whose rows have length one, and the lengths before."""
    real, imaginary = flat.reshape(2, -1, 2, *off.shape)
    factor = symmetric(real + 1j * imaginary, off)
    length = np.sqrt(np.sum(np.abs(factor) ** 2, axis=(0, 1)) + np.eye(len(off)))
    return factor / length, length


class _Evaluation(NamedTuple):
    value: float
    differences: np.ndarray
    multipliers: np.ndarray  # after a step of the method of multipliers
    slope: np.ndarray  # of the augmented Lagrangian by L, over 2


def _evaluate(form: _Difference, factor: np.ndarray, multipliers: np.ndarray) -> _Evaluation:
    image, rows = form.times(factor), _rows(factor)
    value = float(np.real(np.vdot(factor, image))) / 2
    moments = rows @ np.conj(np.swapaxes(rows, 1, 2))
    differences = _differences(moments.reshape(multipliers.shape), form.panel.off)
    updated = multipliers + form.panel.penalty * differences
    return _Evaluation(value, differences, updated, _multiplied(updated, factor) - image / value)


def _largest_difference(form: _Difference, reached: float, start: np.ndarray) -> float | None:
    """Proven upper bound on the largest value of the form, as `pair_relaxation.best_dual`."""
    off, pairs, penalty = form.panel.off, form.panel.pairs, form.panel.penalty
    elements, rng = len(off), np.random.default_rng(2)
    extra = rng.normal(size=(2, COLUMNS - 1, *start.shape)) * NEW_SIZE
    factor = np.concatenate([start[None], symmetric(extra[0] + 1j * extra[1], off)])
    multipliers = np.zeros((elements, 2, elements, 2, elements), dtype=complex)
    direction = symmetric(rng.normal(size=start.shape) + 0j, off)
    best: tuple[float, _Evaluation, np.ndarray, float] | None = None
    waiting = 0
    for _ in range(STEPS):

        def lagrangian(
            flat: np.ndarray, multipliers: np.ndarray = multipliers
        ) -> tuple[float, np.ndarray]:
            factor, length = _unpacked(flat, off)
            at = _evaluate(form, factor, multipliers)
            linear = np.real(np.vdot(multipliers, at.differences))
            square = penalty / 2 * np.sum(np.abs(at.differences) ** 2)
            along = np.sum(np.real(np.conj(factor) * at.slope), axis=(0, 1))
            slope = symmetric((at.slope - factor * along) / length, off)
            if at.value <= 0:
                return np.inf, packed(slope)
            return float(-np.log(at.value) + linear + square), packed(slope)

        flat, _ = descend(lagrangian, packed(factor), steps=DESCENT_STEPS)
        factor, _ = _unpacked(flat, off)
        at = _evaluate(form, factor, multipliers)
        if at.value <= 0:
            break
        multipliers = at.multipliers
        delta = -np.sum(np.real(np.conj(factor) * at.slope), axis=(0, 1))

        def violation(t: np.ndarray, at: _Evaluation = at, delta: np.ndarray = delta) -> np.ndarray:
            image = form.times(t[None]) / at.value - _multiplied(at.multipliers, t[None])
            return image[0] - delta * t

        excess, vectors = top_vectors(violation, direction, 2 * pairs)
        direction = vectors[-1] + 0.01 * symmetric(rng.normal(size=start.shape), off)
        total = float(np.sum(delta) / 2 + pairs * max(excess[-1], 0.0)) * at.value / reached
        waiting = 0 if best is None or total - 1 < 0.9 * (best[0] - 1) else waiting + 1
        if best is None or total < best[0]:
            best = total, at, delta, float(excess[-1])
        # A bound below 1 is as good as one of 1, see `_reach`.
        if total <= 1 + TOLERANCE or total * reached <= 0.99 or waiting >= STALLED:
            break
        kept = np.linalg.svd(factor.reshape(len(factor), -1).T, full_matrices=False)
        weak = (kept[0] * kept[1]).T[: COLUMNS - NEW_COLUMNS].reshape(-1, *start.shape)
        size = NEW_SIZE * np.sqrt(2 * pairs) * (excess > 0)
        factor = np.concatenate([weak, vectors * size[:, None, None, None]])
    if best is None:
        return None
    _, at, delta, guess = best
    first, second = np.triu_indices(elements, 1)
    slack = _over_pairs(at.multipliers) - form.matrix() / at.value
    slack[np.diag_indices(len(slack))] += np.tile(delta[first, second], 2)
    bound = np.sum(delta) / 2 + pairs * proven_excess(slack, guess)
    return float(bound * at.value) * (1 + 1e-9)


def amplitude_excess(panel: PairPanel, dual: PairDual) -> float:
    r"""Upper bound on what amplitudes below the largest can add to a bound with a price.

    With :math:`y_n = 1 - |u_n|^2` and multipliers :math:`Y^{(m)}` without diagonal, the value is at
    most

    .. math:: \textstyle\sum_{m<n}\delta_{mn}(1-y_m)(1-y_n) + \sum_my_m\,u^HY^{(m)}u
              - c\sum_n|g_n|^2(1-y_n) .

    With :math:`Y^{(m)} \preceq \lambda_m\mathrm{diag}(\delta_{mn})_n` this is affine in each
    :math:`y_n`, and largest where each is 0 or 1. An element with 1 adds at most
    :math:`c|g_m|^2 - \min(1-\lambda_m, \tfrac12)\sum_n\delta_{mn}`.

    Args:
        panel: The panel with its price c.
        dual: The dual point.
    """
    elements = len(panel.off)
    own = np.real(np.einsum("mnn->mn", dual.multipliers))
    loads = (dual.delta + own + own.T) * panel.off
    floored = np.maximum(loads, 1e-3 * np.sum(loads) / (elements * (elements - 1))) * panel.off
    total = float(np.sum(floored - loads)) / 2  # delta has to be positive
    for m in range(elements):
        others = np.delete(np.arange(elements), m)
        shared = -dual.multipliers[m][np.ix_(others, others)]
        np.fill_diagonal(shared, 0.0)
        scale = 1 / np.sqrt(floored[m, others])
        share = max(np.linalg.eigvalsh(shared * scale[:, None] * scale)[-1], 0.0) * (1 + 1e-9)
        kept = min(1 - share, 0.5) * np.sum(floored[m])
        total += max(0.0, panel.price * panel.element_power[m] / dual.value - kept)
    return float(total * dual.value)


class _Priced(NamedTuple):
    """A panel with a price, its best phases as the origin."""

    total: float  # information at these phases
    panel: PairPanel


@lru_cache(maxsize=256)
def _priced(channel: bytes, spread: bytes, elements: int, ratio: float) -> tuple[_Priced, ...]:
    """The panel with each price, in ascending order."""
    panel = pair_panel_of(channel, spread, elements) if 4 <= elements <= LARGEST else None
    if panel is None:
        return ()
    u = best_phases(panel)
    free = panel._replace(modes=u[:, None] * panel.modes)
    v = np.sum(free.modes, axis=0)
    found, rng = [], np.random.default_rng(4)
    for price in PRICES * attained(free) / float(np.real(np.vdot(v, v))):
        priced = panel._replace(price=float(price))
        # The best phases of the last price, and new ones.
        begin = np.stack([np.angle(u), *(2 * np.pi * rng.random((2, elements)))])
        u = best_phases(priced, begin)
        priced = priced._replace(modes=u[:, None] * panel.modes)
        if attained(priced) < SMALLEST_VALUE * attained(free):
            break  # no coefficients are worth this price, and higher ones are of no use
        total = attained(priced) + price * elements / panel.size**2 * ratio
        found.append(_Priced(float(total), priced))
    return tuple(found)


def attained_knee(channel: bytes, spread: bytes, elements: int, ratio: float) -> float | None:
    """Nearly the smallest value of the bounds that `knee_reaches` can prove, for one watt. [rad⁻²]

    Args:
        channel: See `knee_reaches`.
        spread: See `knee_reaches`.
        elements: Number of elements.
        ratio: See `knee_reaches`.
    """
    return min((each.total for each in _priced(channel, spread, elements, ratio)), default=None)


@lru_cache(maxsize=256)
def knee_reaches(
    channel: bytes, spread: bytes, elements: int, ratio: float
) -> tuple[KneeReach, ...]:
    """Upper bounds on 1/CRB as functions of both powers; none where a panel is too large.

    They are for the price that is best for sum beams and for the next smaller one, at which
    difference beams cost less.

    Args:
        channel: G as complex numbers, [element tx].
        spread: Slope of the phase of each element to each angle, centred, [element 2].
        elements: Number of elements.
        ratio: Ratio of the radiated power over the squared amplification and the transmit power at
            which the bounds are to be small; they are valid at all others.
    """
    priced = _priced(channel, spread, elements, ratio)
    if not priced:
        return ()
    best = int(np.argmin([each.total for each in priced]))
    reaches = [_reach(each.panel) for each in priced[max(best - 1, 0) : best + 1]]
    return tuple(reach for reach in reaches if reach is not None)


def _reach(panel: PairPanel) -> KneeReach | None:
    found = best_dual(panel)
    if found is None:
        return None
    dual, bound = found
    h = (bound + amplitude_excess(panel, dual)) * (1 + 1e-9)
    e = panel.price * len(panel.off)
    root = np.linalg.cholesky(dual.weight * dual.value)
    spread = root.T @ (panel.slopes @ panel.slopes.T) @ root
    weights = [(x**2 / h, (1 - x) ** 2 / e / (len(panel.off) - 2)) for x in SHARES]
    forms = [_Difference(panel, root, spread, *both) for both in weights]
    starts = [_start(form) for form in forms]
    chosen = int(np.argmin([value for value, _ in starts]))
    largest = _largest_difference(forms[chosen], *starts[chosen])
    if largest is None:
        return None
    scale = max(1.0, largest) / root_trace(panel, dual)
    return KneeReach(scale * h, scale * e / panel.size**2)
