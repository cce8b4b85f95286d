r"""Free-space link budgets, and warnings about paths that exceed them.

This module does not use JAX, because checking a scenario must not load it.
"""

import math
from typing import NamedTuple

from heliostat.units import format_quantity

TOLERANCE = 10**0.01
"""Power ratio up to which a path-loss law counts as free space, 0.1 dB: rounded values in files."""
TOLERANCE_IMPORTED = 10**0.6
"""The same for imported channels, 6 dB: a reflected path can double the amplitude."""


def free_space_gain(distance: float, wavelength: float) -> float:
    r"""Power ratio of isotropic antennas in free space, :math:`(\lambda/4\pi d)^2` (Friis). [1]

    Args:
        distance: :math:`d`. [m]
        wavelength: :math:`\lambda`. [m]
    """
    return (wavelength / (4 * math.pi * distance)) ** 2


def radar_gain(reference_loss: float, cross_section: float, distance: float, gain: float) -> float:
    r"""Power ratio from a surface's element to a target and back, :math:`K_0 G^2\sigma/(4\pi d^4)`.

    With :math:`K_0 = (\lambda/4\pi)^2` this is the radar equation,
    :math:`G^2\lambda^2\sigma/((4\pi)^3 d^4)`. [1]

    Args:
        reference_loss: :math:`K_0`, the power ratio at one meter. [1]
        cross_section: :math:`\sigma`. [m²]
        distance: :math:`d`. [m]
        gain: Gain of the element, :math:`G`. [1]
    """
    return reference_loss * gain**2 * cross_section / (4 * math.pi * distance**4)


class LinkBudget(NamedTuple):
    """Gain of a path, and what free space allows."""

    path: str  # e.g. "the path from the base station to surfaces.0"
    gain: float  # power ratio of the path [1]
    allowed: float  # power ratio in free space with the same antennas and elements [1]
    remedy: str  # what to change if the gain is too high
    tolerance: float = TOLERANCE  # ratio of both up to which there is no warning [1]

    def warning(self) -> str | None:
        """Return a warning if the gain is higher than free space allows."""
        if self.gain <= self.tolerance * self.allowed:
            return None
        excess, found, allowed = (
            format_quantity(ratio, "ratio")
            for ratio in (self.gain / self.allowed, self.gain, self.allowed)
        )
        return (
            f"Link budget: {self.path} gains {excess} over free space: {found} where free space "
            f"allows {allowed}; {self.remedy}."
        )
