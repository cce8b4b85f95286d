r"""Information of one surface as a function of its coefficients, in units of order one.

With :math:`v = \sum_nu_ng_n` and :math:`v_a = \sum_n\zeta_{na}u_ng_n`, where :math:`g_n` is the
channel to element n and :math:`\zeta_{na}` the slope of its phase to angle a, one watt along
:math:`v^*` and unit noise give the information

.. math:: \mathrm{Re}\,\Omega,\qquad \Omega_{ab} = |v|^2v_a^Hv_b - v_a^Hv\,v^Hv_b,

about both angles, with an unknown gain of the echo.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Inexact

SMALLEST_RATIO = 1e-6
"""Smallest ratio of the two largest singular values; below, rounding would decide the result."""


class ScaledPanel(NamedTuple):
    """A surface, in units in which modes and slopes are about 1."""

    modes: Complex[np.ndarray, "element mode"]
    slopes: Float[np.ndarray, "2 element"]
    scale: Float[np.ndarray, "2"]  # information is in units of the product of two of these
    size: float  # unit of the modes

    @property
    def elements(self) -> int:
        """Number of elements."""
        return len(self.modes)


def scaled_panel(channel: bytes, phase_slopes: bytes, elements: int) -> ScaledPanel | None:
    """Return the surface in its units; None if its information has no full rank.

    Args:
        channel: G as complex numbers, [element tx].
        phase_slopes: Slope of the phase of each element to each angle, centered, [element 2].
        elements: Number of elements.
    """
    slopes = np.frombuffer(phase_slopes).reshape(elements, 2)
    if np.linalg.matrix_rank(slopes - np.mean(slopes, axis=0)) < 2:
        return None
    G = np.frombuffer(channel, dtype=complex).reshape(elements, -1)
    left, values, _ = np.linalg.svd(G, full_matrices=False)
    if values.size < 2 or values[1] <= SMALLEST_RATIO * values[0]:
        return None
    modes = left * values  # v = G^T u up to a rotation
    first, second = np.triu_indices(elements, 1)
    unit = np.sqrt(np.mean((slopes[second] - slopes[first]) ** 2, axis=0))
    size = np.sqrt(np.mean(np.abs(np.conj(modes) @ modes.T)))
    return ScaledPanel(modes / size, (slopes / unit).T, size**2 * unit, float(size))


def _vectors(panel: ScaledPanel, u: Complex[np.ndarray, "element"]) -> np.ndarray:
    """v, v_1 and v_2, as [vector mode]."""
    return np.concatenate([u[None], panel.slopes * u]) @ panel.modes


def information(
    panel: ScaledPanel, u: Complex[np.ndarray, "element"]
) -> tuple[Complex[np.ndarray, "2 2"], float]:
    r"""Return :math:`\Omega` and the gain :math:`|v|^2`.

    Args:
        panel: The surface.
        u: The coefficients.
    """
    vectors = _vectors(panel, u)
    gram = np.conj(vectors) @ vectors.T
    gain = float(np.real(gram[0, 0]))
    return gain * gram[1:, 1:] - np.outer(gram[1:, 0], gram[0, 1:]), gain


def phase_slope(
    panel: ScaledPanel,
    u: Complex[np.ndarray, "element"],
    weight: Inexact[np.ndarray, "2 2"],
    gain_weight: float,
) -> Float[np.ndarray, "element"]:
    r"""Return the derivative of a function of the information and the gain by each phase.

    Args:
        panel: The surface.
        u: The coefficients.
        weight: Hermitian matrix W; the differential of the function by :math:`\Omega` is
            :math:`\sum_{ab}W_{ab}\,d\Omega_{ab}`.
        gain_weight: Derivative of the function by the gain.
    """
    vectors = _vectors(panel, u)
    gram = np.conj(vectors) @ vectors.T
    by_gram = np.empty((3, 3), dtype=complex)
    by_gram[0, 0] = gain_weight + np.sum(weight * gram[1:, 1:])
    by_gram[1:, 1:] = weight * gram[0, 0]
    by_gram[1:, 0] = -weight @ gram[0, 1:]
    by_gram[0, 1:] = -weight.T @ gram[1:, 0]
    seen = np.conj(vectors) @ panel.modes.T  # [vector element]
    factors = np.concatenate([np.ones((1, panel.elements)), panel.slopes])
    return -2 * np.imag(u * np.einsum("ij,in,jn->n", by_gram, seen, factors))
