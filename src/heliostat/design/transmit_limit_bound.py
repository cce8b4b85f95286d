r"""Upper bound on the information of a panel where only the transmit power is limited.

Without the noise of the surface, the information of a surface for one watt, unit amplification and
unit noise, divided by :math:`2T|\beta|^2`, is at most :math:`J = \mathrm{Re}\,\Omega` of
`scaled_panel`. With the function
:math:`f(J) = 1/\mathrm{tr}J^{-1}`, which is concave and of degree one, `element_relaxation` bounds
:math:`f(J) - c\,|v|^2`; here c = 0.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from heliostat.design.element_relaxation import LARGEST_MODES, ElementBound, Form, element_bound
from heliostat.design.parametrization import best_phases
from heliostat.design.scaled_panel import ScaledPanel, information, phase_slope, scaled_panel

LARGEST = 400
"""Largest number of elements; the memory grows with its square, to about 0.6 GB at this size."""
TOLERANCE = 0.003
"""Relative distance from the best coefficients found at which a relaxation ends."""


class SumForm(NamedTuple):
    """The function f(J) - c |v|² of the coefficients of a surface."""

    panel: ScaledPanel
    price: float = 0.0
    """c"""

    def root_at(
        self, information: Float[np.ndarray, "2 2"]
    ) -> tuple[float, Float[np.ndarray, "2 1 2"]]:
        """Value and root of the derivative of f.

        Args:
            information: J, in the units of the panel.
        """
        scale = self.panel.scale
        inverse = np.linalg.inv(information) / np.outer(scale, scale)
        trace = np.trace(inverse)
        return float(1 / trace), (scale[:, None] * inverse / trace)[:, None]

    def value(self, u: Complex[np.ndarray, "element"]) -> float:
        """Return the value at coefficients.

        Args:
            u: The coefficients.
        """
        omega, gain = information(self.panel, u)
        return self.root_at(np.real(omega))[0] - self.price * gain

    def best_coefficients(
        self, begin: Float[np.ndarray, "start element"] | None = None
    ) -> Complex[np.ndarray, "element"]:
        """Coefficients of modulus one with nearly the largest value.

        Args:
            begin: Phases from which descents start; by default eight random ones. [rad]
        """
        if begin is None:
            begin = 2 * np.pi * np.random.default_rng(0).random((8, self.panel.elements))
        unit = max(self._replace(price=0.0).value(np.exp(1j * phase)) for phase in begin)

        def negative(phase: np.ndarray) -> tuple[float, np.ndarray]:
            u = np.exp(1j * phase)
            omega, gain = information(self.panel, u)
            value, root = self.root_at(np.real(omega))
            slope = phase_slope(self.panel, u, root[:, 0] @ root[:, 0].T, -self.price)
            return (self.price * gain - value) / unit, -slope / unit

        return best_phases(negative, begin, steps=300)

    def bound(self, u: Complex[np.ndarray, "element"]) -> ElementBound:
        """Upper bound on the value over all coefficients.

        Args:
            u: Coefficients of modulus one with nearly the largest value.
        """
        root = self.root_at(np.real(information(self.panel, u)[0]))[1]
        form = Form(self.panel, root, np.full((1, 1), -self.price), self.root_at)
        return element_bound(form, u, np.ones(1) + 0j, (1 + TOLERANCE) * self.value(u))


@lru_cache(maxsize=256)
def best_sum_form(
    channel: bytes, phase_slopes: bytes, elements: int
) -> tuple[SumForm, Complex[np.ndarray, "element"]] | None:
    """Return the function without c and its best coefficients; None where there is no bound.

    Args:
        channel: See `transmit_limit_bound`.
        phase_slopes: See `transmit_limit_bound`.
        elements: Number of elements.
    """
    panel = scaled_panel(channel, phase_slopes, elements)
    if panel is None or elements > LARGEST or panel.modes.shape[1] > LARGEST_MODES:
        return None
    form = SumForm(panel)
    return form, form.best_coefficients()


def attained_transmit_limit(channel: bytes, phase_slopes: bytes, elements: int) -> float | None:
    """1/CRB of the best phases found, below which `transmit_limit_bound` cannot be. [rad⁻²]

    Args:
        channel: See `transmit_limit_bound`.
        phase_slopes: See `transmit_limit_bound`.
        elements: Number of elements.
    """
    best = best_sum_form(channel, phase_slopes, elements)
    return None if best is None else best[0].value(best[1])


@lru_cache(maxsize=256)
def transmit_limit_bound(channel: bytes, phase_slopes: bytes, elements: int) -> float | None:
    """Upper bound on 1/CRB for one watt, unit amplification and unit noise, or None. [rad⁻²]

    None for a channel of rank one, for elements on a line, and for more than `LARGEST` elements or
    `LARGEST_MODES` modes. The arguments are bytes so that results can be kept: they depend on
    neither powers nor amplification, and are computed once for all points of a study that share a
    channel.

    Args:
        channel: G as complex numbers, [element tx].
        phase_slopes: Slope of the phase of each element to each angle, centered, [element 2].
        elements: Number of elements.
    """
    best = best_sum_form(channel, phase_slopes, elements)
    return None if best is None else best[0].bound(best[1]).value
