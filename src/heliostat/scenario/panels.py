"""Panels of the surfaces of both systems: keys, checks of the axes, far-field warning."""

import math
from typing import Annotated

import numpy as np

from heliostat.scenario.errors import Clash
from heliostat.scenario.fields import (
    Count,
    Direction,
    Position,
    Positive,
    Section,
    quantity,
    setting,
    write_vector,
)
from heliostat.scenario.link_budget import TOLERANCE
from heliostat.units import format_quantity


class PanelSpec(Section):
    """Rectangular panel of elements."""

    position: Position = setting("Position of its first element, x, y, z in metres.", [-20, 20, 30])
    rows: Count = setting("Number of rows of elements.", 8)
    columns: Count = setting("Number of columns of elements.", 8)
    horizontal: Direction = setting("Unit vector along a row.", [0, 1, 0], (0.0, 1.0, 0.0))
    vertical: Direction = setting("Unit vector along a column.", [0, 0, 1], (0.0, 0.0, 1.0))
    normal: Direction | None = setting(
        "Unit normal of the reflecting side; default horizontal x vertical.", [1, 0, 0], None
    )
    spacing: tuple[Positive, Positive] = setting(
        "Distance between neighbouring elements along a row and along a column, in wavelengths.",
        [0.5, 0.5],
        (0.5, 0.5),
    )

    element_gain: Annotated[float, quantity("gain")] | None = setting(
        "Gain of an element towards its normal, in each direction of travel; default the gain of "
        "its aperture, 4 pi times the product of the spacings, 5 dBi at half a wavelength.",
        "5 dBi",
        None,
    )

    @property
    def elements(self) -> int:
        """Number of elements."""
        return self.rows * self.columns

    @property
    def aperture_gain(self) -> float:
        r"""Gain of the area per element, :math:`4\pi A/\lambda^2`. [1]

        It is the largest gain of one element in a panel: larger gains would let the panel receive
        more than the power that falls on its area.
        """
        return 4 * math.pi * self.spacing[0] * self.spacing[1]

    @property
    def gain(self) -> float:
        """Gain of an element: `element_gain`, by default that of its aperture. [1]"""
        return self.aperture_gain if self.element_gain is None else self.element_gain

    @property
    def facing(self) -> tuple[float, float, float]:
        """Unit normal of the reflecting side."""
        if self.normal is not None:
            return self.normal
        x, y, z = np.cross(self.horizontal, self.vertical).tolist()
        return (x, y, z)

    def diagonal(self, wavelength: float) -> float:
        """Length of the diagonal, the largest extent. [m]

        Args:
            wavelength: Wavelength of the carrier. [m]
        """
        across, up = self.columns * self.spacing[0], self.rows * self.spacing[1]
        return wavelength * math.hypot(across, up)


def clash_of_axes(panel: PanelSpec, name: str) -> Clash | None:
    """Return the violated condition on a panel's axes, None if they are orthogonal.

    Args:
        panel: The panel.
        name: Dotted key of the panel.
    """
    lean = float(np.dot(panel.horizontal, panel.vertical))
    if abs(lean) > 1e-6:
        upright = np.subtract(panel.vertical, lean * np.asarray(panel.horizontal))
        length = float(np.linalg.norm(upright))
        remedy = f"write {write_vector(upright / length)}" if length > 1e-6 else "turn one of them"
        crooked = f"{write_vector(panel.vertical)} is not at a right angle to {name}.horizontal"
        return Clash(f"{name}.vertical", (f"{name}.horizontal",), f"{crooked}; {remedy}")
    across = np.cross(panel.horizontal, panel.vertical)
    if panel.normal is not None and 1 - abs(np.dot(across, panel.normal)) > 1e-6:
        return Clash(
            f"{name}.normal",
            (f"{name}.horizontal", f"{name}.vertical"),
            f"{write_vector(panel.normal)} is not at right angles to {name}.horizontal and "
            f"{name}.vertical; write {write_vector(across)} or {write_vector(-across)}",
        )
    return None


def high_element_gain(panel: PanelSpec, name: str) -> str | None:
    """Return a warning if the gain of an element is above that of the area per element.

    Args:
        panel: The panel.
        name: Dotted key of the panel.
    """
    if panel.gain <= TOLERANCE * panel.aperture_gain:
        return None
    found, allowed = (format_quantity(gain, "gain") for gain in (panel.gain, panel.aperture_gain))
    return (
        f"Link budget: {name}.element_gain is {found}, but the area per element, "
        f"{panel.spacing[0]:g} x {panel.spacing[1]:g} wavelengths, has a gain of {allowed}: the "
        f"panel receives more power than falls on it; remove {name}.element_gain."
    )


def near_field(
    hop: str, distance: float, owner: str, aperture: float, wavelength: float
) -> str | None:
    """Return a warning if a distance is below the Fraunhofer distance, 2 aperture² / wavelength.

    Args:
        hop: Name of the link, e.g. "base station to surface".
        distance: Length of the link. [m]
        owner: Name of the array that the aperture belongs to.
        aperture: Largest extent of the array. [m]
        wavelength: Wavelength of the carrier. [m]
    """
    far = 2 * aperture**2 / wavelength
    if distance >= far:
        return None
    return (
        f"Far field: {hop} is {format_quantity(distance, 'length')}, within the "
        f"Fraunhofer distance {format_quantity(far, 'length')} of {owner}; the model's "
        "plane waves are inaccurate there."
    )
