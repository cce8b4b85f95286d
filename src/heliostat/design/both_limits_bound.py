r"""Upper bound on the information of a panel where both power limits count.

Let :math:`O = [A/A_{00}]`, :math:`D = [B/B_{00}]`, and :math:`S = \zeta^T\zeta`, in units in which
noise and amplification are 1, so that :math:`P_s` stands for :math:`P_s/a_{max}^2`. Divided by
:math:`2T|\beta|^2`, the information without the noise of the surface is :math:`J =
B_{00}\mathrm{Re}\,O + A_{00}\mathrm{Re}\,D`, and the two limits imply

.. math:: B_{00}/A_{00} + \mathrm{tr}(O^{-1}D) \le p, \qquad
          B_{00}/N + \mathrm{tr}(S^{-1}D) \le P_s .

Therefore :math:`\mathrm{tr}(XJ) \le \max(1, q)(hp + eP_s)` if, with :math:`h, e > 0` and for all
coefficients,

- *sum beams:* :math:`\mathrm{tr}(X\Omega) - (e/N)A_{00} \le h` with :math:`\Omega = A_{00}O`, and
- *difference beams:* the parallel sum of :math:`X^{1/2}\Omega X^{1/2}/h` and
  :math:`A_{00}X^{1/2}SX^{1/2}/e` is at most q times the identity. A parallel sum is at most
  :math:`\tau^2` times the first plus :math:`(1-\tau)^2` times the second operand.

Both are bounded by `element_relaxation`, the first with one beam, the second with :math:`w \in
\mathbb C^2` as the eigenvector. The derivation is in the theory of sensing.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from heliostat.design.element_relaxation import Form, element_bound
from heliostat.design.parametrization import best_phases
from heliostat.design.scaled_panel import ScaledPanel, information, phase_slope
from heliostat.design.transmit_limit_bound import TOLERANCE, SumForm, best_sum_form

LARGEST = 100
"""Largest number of elements. Above, bounding the difference beams takes minutes."""
SHARES = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Values of tau that are tried."""
PRICES = np.geomspace(0.055, 3, 8)
"""Values of e/N that are tried, relative to the ratio of f(J) and A_00 at the best coefficients
without P_s."""
SMALLEST_VALUE = 0.05
"""Smallest value at a price, relative to that without; higher prices are of no use."""


class BothLimitsBound(NamedTuple):
    """Upper bound on 1/CRB for unit amplification and noise: two factors."""

    transmit: float  # of the transmit power [rad⁻²/W]
    radiated: float  # of the radiated power over the squared amplification [rad⁻²/W]


class DifferenceForm(NamedTuple):
    r"""The function :math:`w^HC^T(\rho_1\Omega + \rho_2|v|^2S)Cw` of the coefficients and of w."""

    panel: ScaledPanel
    root: Float[np.ndarray, "angle beam"]
    r"""C, with :math:`X = CC^T`."""
    transmit: float
    r"""rho_1, which is :math:`\tau^2/h`."""
    radiated: float
    r"""rho_2, which is :math:`(1-\tau)^2/e`."""

    @property
    def aperture(self) -> Float[np.ndarray, "beam beam"]:
        """The matrix C^T S C."""
        return self.root.T @ (self.panel.slopes @ self.panel.slopes.T) @ self.root

    def value(self, u: Complex[np.ndarray, "element"]) -> tuple[float, Complex[np.ndarray, "beam"]]:
        """Return the largest value over w at coefficients, and this w.

        Args:
            u: The coefficients.
        """
        omega, gain = information(self.panel, u)
        matrix = self.transmit * self.root.T @ omega @ self.root
        values, vectors = np.linalg.eigh(matrix + self.radiated * gain * self.aperture)
        return float(values[-1]), vectors[:, -1]

    def best_coefficients(self, starts: int = 4) -> Complex[np.ndarray, "element"]:
        """Coefficients of modulus one with nearly the largest value.

        Args:
            starts: Number of random phases from which descents start.
        """

        def negative(phase: np.ndarray) -> tuple[float, np.ndarray]:
            u = np.exp(1j * phase)
            value, w = self.value(u)
            c = self.root @ w
            weight = self.transmit * np.outer(np.conj(c), c)
            gain_weight = self.radiated * float(np.real(np.conj(w) @ self.aperture @ w))
            return -np.log(value), -phase_slope(self.panel, u, weight, gain_weight) / value

        begin = 2 * np.pi * np.random.default_rng(3).random((starts, self.panel.elements))
        return best_phases(negative, begin, steps=200)

    def bound(self, u: Complex[np.ndarray, "element"]) -> float:
        """Upper bound on the value over all coefficients and w.

        Args:
            u: Coefficients of modulus one with nearly the largest value.
        """
        root = np.sqrt(self.transmit) * self.root[:, :, None]
        form = Form(self.panel, root, self.radiated * self.aperture)
        value, w = self.value(u)
        # A bound below 1 is as good as 1.
        return element_bound(form, u, w, max((1 + TOLERANCE) * value, 0.99)).value


class _Priced(NamedTuple):
    """The function of the sum beams with a price, and its best coefficients."""

    form: SumForm
    u: Complex[np.ndarray, "element"]
    total: float  # bound on 1/CRB for one watt, if these coefficients are the best [rad⁻²]


@lru_cache(maxsize=256)
def _priced(
    channel: bytes, phase_slopes: bytes, elements: int, ratio: float
) -> tuple[_Priced, ...]:
    """The function with each price, in ascending order."""
    best = best_sum_form(channel, phase_slopes, elements) if 4 <= elements <= LARGEST else None
    if best is None:
        return ()
    free, u = best
    panel = free.panel
    largest, gain = free.value(u), information(panel, u)[1]
    found, rng = [], np.random.default_rng(4)
    for price in PRICES * largest / gain:
        form = SumForm(panel, float(price))
        # The best phases of the last price, and new ones.
        begin = np.stack([np.angle(u), *(2 * np.pi * rng.random((2, elements)))])
        u = form.best_coefficients(begin)
        value = form.value(u)
        if value < SMALLEST_VALUE * largest:
            break  # no coefficients are worth this price
        total = value + price * elements / panel.size**2 * ratio
        found.append(_Priced(form, u, float(total)))
    return tuple(found)


def attained_both_limits(
    channel: bytes, phase_slopes: bytes, elements: int, ratio: float
) -> float | None:
    """Nearly the smallest value of the bounds of `both_limits_bounds`, for one watt. [rad⁻²]

    Args:
        channel: See `both_limits_bounds`.
        phase_slopes: See `both_limits_bounds`.
        elements: Number of elements.
        ratio: See `both_limits_bounds`.
    """
    found = _priced(channel, phase_slopes, elements, ratio)
    return min((each.total for each in found), default=None)


@lru_cache(maxsize=256)
def both_limits_bounds(
    channel: bytes, phase_slopes: bytes, elements: int, ratio: float
) -> tuple[BothLimitsBound, ...]:
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
    return tuple(_bound(each) for each in priced[max(best - 1, 0) : best + 1])


def _bound(priced: _Priced) -> BothLimitsBound:
    form, panel = priced.form, priced.form.panel
    h, root = form.bound(priced.u)
    e = form.price * panel.elements
    weight = np.linalg.cholesky(root[:, 0] @ root[:, 0].T)
    forms = [DifferenceForm(panel, weight, x**2 / h, (1 - x) ** 2 / e) for x in SHARES]
    coefficients = [each.best_coefficients() for each in forms]
    values = [each.value(u)[0] for each, u in zip(forms, coefficients, strict=True)]
    chosen = int(np.argmin(values))
    k = max(1.0, forms[chosen].bound(coefficients[chosen]))
    return BothLimitsBound(k * h, k * e / panel.size**2)
