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
from jaxtyping import Float

from heliostat.design.moment_relaxation import Dual, Form, PairPanel, best_dual
from heliostat.design.pair_relaxation import (
    attained,
    best_phases,
    pair_dual,
    pair_form,
    pair_panel,
    root_trace,
    turned,
    weight,
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


class KneeBound(NamedTuple):
    """Upper bound on 1/CRB for unit amplification and noise: two factors."""

    transmit: float  # of the transmit power [rad⁻²/W]
    radiated: float  # of the radiated power over the squared amplification [rad⁻²/W]


def difference_form(
    panel: PairPanel, root: Float[np.ndarray, "angle beam"], transmit: float, radiated: float
) -> Form:
    r"""Return the function of the difference beams, with two beams.

    Args:
        panel: The panel.
        root: C with :math:`X = CC^T`.
        transmit: Weight of :math:`C^T\Omega C`, :math:`\theta^2/h`.
        radiated: Weight of :math:`A_{00}C^TSC`, :math:`(1-\theta)^2/e`.
    """
    term = np.sqrt(transmit) * root[:, :, None]

    def objective(information: np.ndarray) -> tuple[float, np.ndarray]:
        flat = term.ravel()
        return float(flat @ information.reshape(flat.size, -1) @ flat), term

    aperture = root.T @ (panel.slopes @ panel.slopes.T) @ root
    return Form(panel, objective, radiated * aperture)


def best_direction(form: Form, starts: int = 4) -> tuple[float, np.ndarray]:
    """Largest value of a form of two beams that descents over phases find, and t (x) w there.

    Args:
        form: A form whose derivative is constant.
        starts: Number of random starts.
    """
    off = form.panel.off

    def at(phase: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        u = np.exp(1j * phase)
        t = np.outer(u, u) * off
        images = form.evaluate(np.eye(2)[:, :, None, None] * t[None, None])[2]
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


def amplitude_excess(form: Form, dual: Dual) -> float:
    r"""Upper bound on what amplitudes below the largest can add to a bound with :math:`c > 0`.

    With :math:`y_n = 1 - |u_n|^2` and multipliers :math:`Y^{(m)}` without diagonal, the value is at
    most

    .. math:: \textstyle\sum_{m<n}\delta_{mn}(1-y_m)(1-y_n) + \sum_my_m\,u^HY^{(m)}u
              - c\sum_n|g_n|^2(1-y_n) .

    With :math:`Y^{(m)} \preceq \lambda_m\mathrm{diag}(\delta_{mn})_n` this is affine in each
    :math:`y_n`, and largest where each is 0 or 1. An element with 1 adds at most
    :math:`c|g_m|^2 - \min(1-\lambda_m, \tfrac12)\sum_n\delta_{mn}`.

    Args:
        form: The function of one beam, in which -c is the weight of :math:`|v|^2`.
        dual: The dual point.
    """
    panel, price = form.panel, -float(form.gain_weight[0, 0])
    elements, multipliers = len(panel.off), dual.multipliers[:, 0, :, 0]
    own = np.real(np.einsum("mnn->mn", multipliers))
    loads = (dual.delta + own + own.T) * panel.off
    floored = np.maximum(loads, 1e-3 * np.sum(loads) / (elements * (elements - 1))) * panel.off
    total = float(np.sum(floored - loads)) / 2  # delta has to be positive
    for m in range(elements):
        others = np.delete(np.arange(elements), m)
        shared = -multipliers[m][np.ix_(others, others)]
        np.fill_diagonal(shared, 0.0)
        scale = 1 / np.sqrt(floored[m, others])
        share = max(np.linalg.eigvalsh(shared * scale[:, None] * scale)[-1], 0.0) * (1 + 1e-9)
        kept = min(1 - share, 0.5) * np.sum(floored[m])
        total += max(0.0, price * panel.element_gain[m] / dual.value - kept)
    return float(total * dual.value)


class _Priced(NamedTuple):
    """The function with a price, relative to its best phases."""

    total: float  # information at these phases
    form: Form

    @property
    def price(self) -> float:
        """Minus the weight of the gain."""
        return -float(self.form.gain_weight[0, 0])


@lru_cache(maxsize=256)
def _priced(
    channel: bytes, phase_slopes: bytes, elements: int, ratio: float
) -> tuple[_Priced, ...]:
    """The function with each price, in ascending order."""
    panel = pair_panel(channel, phase_slopes, elements) if 4 <= elements <= LARGEST else None
    if panel is None:
        return ()
    u = best_phases(pair_form(panel))
    free = turned(pair_form(panel), u)
    v = np.sum(free.panel.modes, axis=0)
    found, rng = [], np.random.default_rng(4)
    for price in PRICES * attained(free) / float(np.real(np.vdot(v, v))):
        form = pair_form(panel, float(price))
        # The best phases of the last price, and new ones.
        begin = np.stack([np.angle(u), *(2 * np.pi * rng.random((2, elements)))])
        u = best_phases(form, begin)
        form = turned(form, u)
        if attained(form) < SMALLEST_VALUE * attained(free):
            break  # no coefficients are worth this price, and higher ones are of no use
        total = attained(form) + price * elements / panel.size**2 * ratio
        found.append(_Priced(float(total), form))
    return tuple(found)


def attained_knee(channel: bytes, phase_slopes: bytes, elements: int, ratio: float) -> float | None:
    """Nearly the smallest value of the bounds that `knee_bounds` can prove, for one watt. [rad⁻²]

    Args:
        channel: See `knee_bounds`.
        phase_slopes: See `knee_bounds`.
        elements: Number of elements.
        ratio: See `knee_bounds`.
    """
    found = _priced(channel, phase_slopes, elements, ratio)
    return min((each.total for each in found), default=None)


@lru_cache(maxsize=256)
def knee_bounds(
    channel: bytes, phase_slopes: bytes, elements: int, ratio: float
) -> tuple[KneeBound, ...]:
    """Upper bounds on 1/CRB as functions of both powers; none where a panel is too large.

    They are for the price that is best for sum beams and for the next smaller one, at which
    difference beams cost less.

    Args:
        channel: G as complex numbers, [element tx].
        phase_slopes: Slope of the phase of each element to each angle, centered, [element 2].
        elements: Number of elements.
        ratio: Ratio of the radiated power over the squared amplification and the transmit power at
            which the bounds are to be small; they are valid at all others.
    """
    priced = _priced(channel, phase_slopes, elements, ratio)
    if not priced:
        return ()
    best = int(np.argmin([each.total for each in priced]))
    bounds = [_knee_bound(each) for each in priced[max(best - 1, 0) : best + 1]]
    return tuple(bound for bound in bounds if bound is not None)


def _knee_bound(priced: _Priced) -> KneeBound | None:
    form, panel = priced.form, priced.form.panel
    dual = pair_dual(form)
    if dual is None:
        return None
    h = (dual.bound + amplitude_excess(form, dual)) * (1 + 1e-9)
    e = priced.price * len(panel.off)
    root = np.linalg.cholesky(weight(dual))
    forms = [difference_form(panel, root, x**2 / h, (1 - x) ** 2 / e) for x in SHARES]
    starts = [best_direction(each) for each in forms]
    chosen = int(np.argmin([value for value, _ in starts]))
    value, start = starts[chosen]
    # A largest value below 1 is as good as 1.
    difference = best_dual(forms[chosen], start, value, sufficient=0.99)
    if difference is None:
        return None
    scale = max(1.0, difference.bound) / root_trace(panel, dual)
    return KneeBound(scale * h, scale * e / panel.size**2)
