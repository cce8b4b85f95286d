r"""Warnings about grating lobes: directions with the same array response as the wanted one.

The response of an array with the spacing :math:`d` (in wavelengths) depends on a direction cosine
:math:`\psi` only through :math:`e^{j2\pi d\psi}`, so that it is the same at :math:`\psi + k/d` for
every whole :math:`k`. With at most half a wavelength none of these is a direction.

This module does not use JAX, because checking a scenario must not load it.
"""

import math
from collections.abc import Sequence

import numpy as np

from heliostat.scenario.panels import PanelSpec
from heliostat.units import format_quantity

MOST_ORDERS = 50
"""Largest order of grating lobes that is looked for on each axis."""


def panel_lobes(panel: PanelSpec, towards: np.ndarray) -> np.ndarray:
    """Unit vectors of the grating lobes in front of a panel, the nearest first, [lobe xyz]. [1]

    Args:
        panel: The panel.
        towards: Vector from the panel to the place that it is steered to. [m]
    """
    axes = panel.axes
    cosines = axes @ towards / np.linalg.norm(towards)
    orders = [np.arange(-k, k + 1) for k in (_orders(spacing) for spacing in panel.spacing)]
    across, up = (grid.ravel() for grid in np.meshgrid(*orders))
    found = cosines[:2] + np.stack([across, up], axis=1) / np.asarray(panel.spacing)
    ahead = 1 - np.sum(found**2, axis=1)
    lobes = (ahead > 1e-9) & ((across != 0) | (up != 0))
    seen = np.column_stack([found[lobes], np.sqrt(ahead[lobes])])
    return np.asarray((seen @ axes)[np.argsort(-(seen @ cosines), kind="stable")])


def array_lobes(spacing: float, cosine: float) -> np.ndarray:
    """Direction cosines of the grating lobes of a linear array, the nearest first, [lobe]. [1]

    Args:
        spacing: Distance between neighboring antennas. [wavelengths]
        cosine: Direction cosine of the wanted direction. [1]
    """
    most = _orders(spacing)
    orders = np.arange(-most, most + 1)
    found = cosine + orders / spacing
    lobes = found[(np.abs(found) < 1 - 1e-9) & (orders != 0)]
    return lobes[np.argsort(np.abs(lobes - cosine), kind="stable")]


def _orders(spacing: float) -> int:
    return min(math.ceil(2 * spacing), MOST_ORDERS)


def panel_warning(panel: PanelSpec, name: str, towards: np.ndarray, end: str) -> str | None:
    """Return a warning if a panel has grating lobes.

    Args:
        panel: The panel.
        name: Name of the panel, e.g. "the surface".
        towards: Vector from the panel to the place that it is steered to. [m]
        end: Name of that place, e.g. "the user".
    """
    lobes = panel_lobes(panel, towards)
    if not len(lobes):
        return None
    x, y, z = lobes[0].tolist()
    azimuth = format_quantity(math.atan2(y, x), "angle")
    tilt = format_quantity(math.atan2(-z, math.hypot(x, y)) + 0.0, "angle")
    return (
        f"Grating lobes: with {panel.spacing[0]:g} x {panel.spacing[1]:g} wavelengths between its "
        f"elements {name} has the same response as towards {end} in "
        f"{_count(lobes, panel.spacing)}, the nearest at azimuth {azimuth}, tilt {tilt}; bounds "
        "neglect this ambiguity. At most 0.5 wavelengths avoid it."
    )


def array_warning(spacing: float, name: str, cosine: float, end: str) -> str | None:
    """Return a warning if a linear array has grating lobes.

    Args:
        spacing: Distance between neighboring antennas. [wavelengths]
        name: Name of the array, e.g. "the user's array".
        cosine: Direction cosine towards the other end of its link. [1]
        end: Name of that end, e.g. "the surface".
    """
    lobes = array_lobes(spacing, cosine)
    if not len(lobes):
        return None
    wanted, nearest = (format_quantity(math.acos(c), "angle") for c in (cosine, lobes[0]))
    return (
        f"Grating lobes: with {spacing:g} wavelengths between its antennas {name} has the same "
        f"response as towards {end}, {wanted} from its axis, in {_count(lobes, [spacing])}, the "
        f"nearest at {nearest}; bounds neglect this ambiguity. At most 0.5 wavelengths avoid it."
    )


def _count(lobes: np.ndarray, spacings: Sequence[float]) -> str:
    several = "other direction" if len(lobes) == 1 else "other directions"
    least = "at least " if max(spacings) > MOST_ORDERS / 2 else ""
    return f"{least}{len(lobes)} {several}"
