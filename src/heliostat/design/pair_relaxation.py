r"""Upper bound on the information of a panel, from a relaxation over pairs of its elements.

With :math:`t_{mn} = u_mu_n`, the information of a surface for one watt, unit amplification and unit
noise is at most

.. math:: J_{ab} = \sum_{(mn),(pq)} t_{mn}^*\,(\zeta_n-\zeta_m)_a(\zeta_q-\zeta_p)_b\,
          \langle g_m\wedge g_n,\, g_p\wedge g_q\rangle\,t_{pq}.

It is convex in each coefficient, so :math:`|u_n| = 1` at the maximum. `moment_relaxation` with one
beam bounds :math:`1/\mathrm{tr}J^{-1} - c\,|v|^2`; here c = 0. At a dual point, X is the derivative
of :math:`1/\mathrm{tr}J^{-1}` by J, and for any X

.. math:: 1/\mathrm{tr}J^{-1} \le \mathrm{tr}(XJ)/(\mathrm{tr}\sqrt X)^2
          \le \textstyle\sum\delta/(\mathrm{tr}\sqrt X)^2 .
"""

from functools import lru_cache, partial

import numpy as np
from jaxtyping import Complex, Float

from heliostat.design.moment_relaxation import (
    Dual,
    Form,
    PairPanel,
    best_dual,
)
from heliostat.design.parametrization import best_descents, descend

LARGEST = 100
"""Largest number of elements. The memory of the last step grows with its fourth power; it is about
1.5 GB at this size."""
SMALLEST_RATIO = 1e-6
"""Smallest ratio of the two largest singular values; below, rounding would decide the result."""


def _least_variance(panel: PairPanel, information: np.ndarray) -> tuple[float, np.ndarray]:
    """1/tr J^-1 and the root of its derivative, for J in the units of the panel."""
    inverse = np.linalg.inv(information.reshape(2, 2)) / np.outer(panel.scale, panel.scale)
    trace = np.trace(inverse)
    return float(1 / trace), (panel.scale[:, None] * inverse / trace)[:, None]


def pair_form(panel: PairPanel, price: float = 0.0) -> Form:
    r"""Return the function :math:`1/\mathrm{tr}J^{-1} - c\,|v|^2`.

    Args:
        panel: The panel.
        price: c.
    """
    return Form(panel, partial(_least_variance, panel), -price * np.eye(1))


def value_at(form: Form, phase: np.ndarray) -> tuple[float, np.ndarray]:
    """Value of a function of one beam at phases, and its gradient.

    Args:
        form: The function.
        phase: Phase of each coefficient. [rad]
    """
    u = np.exp(1j * phase)
    t = (np.outer(u, u) * form.panel.off)[None, None]
    value, _, image = form.evaluate(t)
    return value, 2 * np.sum(np.imag(np.conj(t) * image), axis=(0, 1, 3))


def best_phases(
    form: Form, begin: Float[np.ndarray, "start element"] | None = None
) -> Complex[np.ndarray, "element"]:
    """Coefficients of modulus one with nearly the largest value.

    Args:
        form: Function of one beam.
        begin: Phases from which descents start; by default eight random ones. [rad]
    """
    if begin is None:
        begin = 2 * np.pi * np.random.default_rng(0).random((8, len(form.panel.off)))
    unit = max(value_at(pair_form(form.panel), x)[0] for x in begin)

    def negative(phase: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_at(form, phase)
        return -value / unit, -slope / unit

    best = best_descents(lambda x: descend(negative, x, steps=60), begin, 1)[0]
    return np.exp(1j * descend(negative, best, steps=300)[0])


def turned(form: Form, u: Complex[np.ndarray, "element"]) -> Form:
    """Return the function for coefficients relative to given ones of modulus one.

    Args:
        form: Function of one beam.
        u: The coefficients that become one.
    """
    panel = form.panel._replace(modes=u[:, None] * form.panel.modes)
    return form._replace(panel=panel)


def pair_panel(channel: bytes, phase_slopes: bytes, elements: int) -> PairPanel | None:
    """Return the panel of `pair_bound`; None where there is no bound.

    Args:
        channel: See `pair_bound`.
        phase_slopes: See `pair_bound`.
        elements: Number of elements.
    """
    slopes = np.frombuffer(phase_slopes).reshape(elements, 2)
    if elements > LARGEST or np.linalg.matrix_rank(slopes - np.mean(slopes, axis=0)) < 2:
        return None
    G = np.frombuffer(channel, dtype=complex).reshape(elements, -1)
    left, values, _ = np.linalg.svd(G, full_matrices=False)
    if values.size < 2 or values[1] <= SMALLEST_RATIO * values[0]:
        return None
    modes = left * values  # v = G^T u up to a rotation
    first, second = np.triu_indices(elements, 1)
    unit = np.sqrt(np.mean((slopes[second] - slopes[first]) ** 2, axis=0))
    size = np.sqrt(np.mean(np.abs(np.conj(modes) @ modes.T)))
    off = 1 - np.eye(elements)
    return PairPanel(modes / size, (slopes / unit).T, size**2 * unit, off, float(size))


@lru_cache(maxsize=256)
def _prepared(channel: bytes, phase_slopes: bytes, elements: int) -> Form | None:
    """The function without c, relative to its best phases."""
    panel = pair_panel(channel, phase_slopes, elements)
    if panel is None:
        return None
    form = pair_form(panel)
    return turned(form, best_phases(form))


def attained(form: Form) -> float:
    """Return the value of a function of one beam at coefficients of one.

    Args:
        form: The function.
    """
    return value_at(form, np.zeros(len(form.panel.off)))[0]


def attained_pairs(channel: bytes, phase_slopes: bytes, elements: int) -> float | None:
    """1/CRB of the best phases found, below which `pair_bound` cannot be. [rad⁻²]

    Args:
        channel: See `pair_bound`.
        phase_slopes: See `pair_bound`.
        elements: Number of elements.
    """
    form = _prepared(channel, phase_slopes, elements)
    return None if form is None else attained(form)


@lru_cache(maxsize=256)
def pair_bound(channel: bytes, phase_slopes: bytes, elements: int) -> float | None:
    """Upper bound on 1/CRB for one watt, unit amplification and unit noise, or None. [rad⁻²]

    None for a channel of rank one, for elements on a line, and for more than `LARGEST` elements.
    The arguments are bytes so that results can be kept: they depend on neither powers nor
    amplification, and are computed once for all points of a study that share a channel.

    Args:
        channel: G as complex numbers, [element tx].
        phase_slopes: Slope of the phase of each element to each angle, [element 2].
        elements: Number of elements.
    """
    form = _prepared(channel, phase_slopes, elements)
    dual = None if form is None else pair_dual(form)
    return None if form is None or dual is None else dual.bound / root_trace(form.panel, dual)


def pair_dual(form: Form) -> Dual | None:
    """Return the best dual point of a function of one beam, see `moment_relaxation.best_dual`.

    Args:
        form: The function; coefficients of one have nearly the largest value.
    """
    return best_dual(form, form.panel.off[None].astype(complex), attained(form))


def weight(dual: Dual) -> Float[np.ndarray, "2 2"]:
    """Return X of a dual point for one beam, in the units of the panel.

    Args:
        dual: The dual point.
    """
    return dual.root[:, 0] @ dual.root[:, 0].T


def root_trace(panel: PairPanel, dual: Dual) -> float:
    r""":math:`(\mathrm{tr}\sqrt X)^2` of a dual point for one beam.

    Args:
        panel: The panel.
        dual: The dual point.
    """
    values = np.linalg.eigvalsh(weight(dual) / np.outer(panel.scale, panel.scale))
    return float(np.sum(np.sqrt(values)) ** 2)
