r"""Ambiguity of a sweep of a steered surface when the gain is unknown.

With an unknown complex gain, two directions cannot be distinguished if their responses
:math:`s \in \mathbb{C}^K` over the K configurations are proportional. The measure is the normalized
correlation

.. math:: \rho(\psi, \psi') = \frac{|s(\psi)^H s(\psi')|^2}{\|s(\psi)\|^2\|s(\psi')\|^2}.

This module uses NumPy alone, because checking a scenario must not load JAX.
"""

import math

import numpy as np

from heliostat.scenario.localization.nodes import SurfaceSpec
from heliostat.scenario.localization.schema import LocalizationSections

AMBIGUOUS = 0.9
"""Correlation of two separate directions above which a sweep is called ambiguous; the default
sweep stays below 0.75."""
FINENESS = 8
"""Directions per beamwidth at which the correlation is evaluated."""


def kernel(elements: int, cycles: np.ndarray) -> np.ndarray:
    r"""Dirichlet kernel without its phase, :math:`\sin(\pi n x)/(n\sin\pi x)`. [1]

    Args:
        elements: :math:`n`.
        cycles: Phase step between neighboring elements, :math:`x`. [cycles]
    """
    # At whole cycles the ratio is a limit; a step of 1e-9 beside them it is equal to rounding.
    shifted = np.where(np.abs(cycles - np.round(cycles)) < 1e-9, cycles + 1e-9, cycles)
    return np.sin(np.pi * elements * shifted) / (elements * np.sin(np.pi * shifted))


def largest_correlation(scenario: LocalizationSections, surface: SurfaceSpec) -> float:
    """Largest correlation between a direction near the focus and any other that is not its
    neighbor. [1]

    The first direction is within half a beamwidth (1/columns, 1/rows) around the focus, the second
    any in front of the surface at the user's height that is a whole null off the first: at the same
    distance from the surface if the clock is synchronized, at any distance otherwise.

    Args:
        scenario: A localization scenario.
        surface: One of its surfaces, with designed phases.
    """
    focus = np.asarray(surface.focus or scenario.user.position, dtype=float)
    position = np.asarray(surface.position, dtype=float)
    axes = surface.axes
    towards = axes @ (focus - position) / np.linalg.norm(focus - position)
    counts = np.array([surface.columns, surface.rows])
    spacing = np.asarray(surface.spacing)
    nulls = 1 / (counts * spacing)
    drop = math.copysign(1.0, scenario.user.position[2] - position[2])
    level = scenario.user.position[2] == position[2]

    def response(cosines: np.ndarray) -> np.ndarray:
        steering = towards[:2] + np.asarray(scenario.sweep_of(surface)) / counts
        step = spacing * (steering - cosines[..., None, :])
        along_row = kernel(surface.columns, step[..., 0])
        found = along_row * kernel(surface.rows, step[..., 1])
        return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-300)

    cells = FINENESS * float(np.max(counts * spacing))
    bearing = np.linspace(-np.pi, np.pi, max(64, math.ceil(2 * np.pi * cells)), endpoint=False)
    rise = np.sin(np.linspace(0, np.pi / 2, max(16, math.ceil(np.pi / 2 * cells)))) * drop
    largest = 0.0
    for off in np.ndindex(3, 3):
        here = towards[:2] + (np.array(off) - 1) / 2 / counts
        if here @ here >= 1:
            continue
        own = float(np.array([*here, math.sqrt(1 - here @ here)]) @ axes[:, 2])
        fixed = level or scenario.model.clock == "synchronized"
        height = np.array([own]) if fixed else rise
        flat = np.sqrt(1 - height**2)[:, None]
        direction = np.stack(
            [
                flat * np.cos(bearing),
                flat * np.sin(bearing),
                np.broadcast_to(height[:, None], (height.size, bearing.size)),
            ],
            axis=-1,
        ).reshape(-1, 3)
        seen = direction @ axes.T
        apart = (np.abs(seen[:, :2] - here) > nulls).any(axis=1) & (seen[:, 2] > 0)
        if apart.any():
            found = (response(seen[apart, :2]) @ response(here)) ** 2
            largest = max(largest, float(found.max()))
    return largest
