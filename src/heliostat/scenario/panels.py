"""Panels of the surfaces of both systems: keys, checks of the axes, far-field warning."""

import math
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

from heliostat.scenario.errors import Clash
from heliostat.scenario.fields import (
    ROUNDING,
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

ANGLES, VECTORS = ("azimuth", "tilt"), ("horizontal", "vertical", "normal")
"""Keys of the two ways to write the orientation of a panel."""
HORIZONTAL, VERTICAL = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
"""Default directions of rows and columns."""


def _tilt(angle: float) -> float:
    if abs(angle) > math.pi / 2:
        shown = format_quantity(angle, "angle")
        raise ValueError(f"{shown} is beyond the vertical; write -90 deg to 90 deg")
    return angle


class PanelSpec(Section):
    """Rectangular panel of elements."""

    position: Position = setting("Position of its first element, x, y, z in meters.", [-20, 20, 30])
    rows: Count = setting("Number of rows of elements.", 8)
    columns: Count = setting("Number of columns of elements.", 8)
    azimuth: Annotated[float, quantity("angle", signed=True)] | None = setting(
        "Azimuth of the normal of the reflecting side, anticlockwise from the x axis, seen from "
        "above; rows are horizontal. Default 0 deg.",
        "0 deg",
        None,
    )
    tilt: Annotated[float, quantity("angle", signed=True), AfterValidator(_tilt)] | None = setting(
        "Tilt of the normal below the horizontal plane, negative above it. Default 0 deg.",
        "10 deg",
        None,
    )
    horizontal: Direction | None = setting(
        "Instead of azimuth and tilt: unit vector along a row. Default [0, 1, 0].",
        [0, 1, 0],
        None,
    )
    vertical: Direction | None = setting(
        "Instead of azimuth and tilt: unit vector along a column. Default [0, 0, 1].",
        [0, 0, 1],
        None,
    )
    normal: Direction | None = setting(
        "With horizontal and vertical: unit normal of the reflecting side; default "
        "horizontal x vertical.",
        [1, 0, 0],
        None,
    )
    spacing: tuple[Positive, Positive] = setting(
        "Distance between neighboring elements along a row and along a column, in wavelengths.",
        [0.5, 0.5],
        (0.5, 0.5),
    )

    element_gain: Annotated[float, quantity("gain")] | None = setting(
        "Gain of an element, the same in all directions and both ways; default the gain of "
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
    def axes(self) -> np.ndarray:
        r"""Unit vectors along a row, along a column, and of the normal, [axis xyz]. [1]

        For the azimuth :math:`a` and the tilt :math:`t` they are the columns y, z and x of the
        rotation :math:`R_z(a)R_y(t)`.
        """
        if self.azimuth is not None or self.tilt is not None:
            azimuth, tilt = self.azimuth or 0.0, self.tilt or 0.0
            across = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
            ahead = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
            below = np.array([0.0, 0.0, -1.0])
            normal = math.cos(tilt) * ahead + math.sin(tilt) * below
            axes = np.stack([across, np.cross(normal, across), normal])
            return np.where(np.abs(axes) < 1e-15, 0.0, axes)
        across = np.array(self.horizontal or HORIZONTAL)
        up = np.array(self.vertical or VERTICAL)
        upright = up - np.dot(across, up) * across
        length = float(np.linalg.norm(upright))
        up = upright / length if length > 1e-6 else up  # parallel vectors are refused elsewhere
        normal = np.cross(across, up)
        if self.normal is not None and np.dot(self.normal, normal) < 0:
            normal = -normal
        return np.stack([across, up, normal])

    @property
    def facing(self) -> tuple[float, float, float]:
        """Unit normal of the reflecting side."""
        x, y, z = self.axes[2].tolist()
        return (x, y, z)

    def element_positions(self, wavelength: float) -> np.ndarray:
        """Positions of all elements, [element xyz], the horizontal index fastest. [m]

        Args:
            wavelength: Wavelength of the carrier. [m]
        """
        across = self.spacing[0] * np.arange(self.columns)[:, None] * self.axes[0]
        up = self.spacing[1] * np.arange(self.rows)[:, None] * self.axes[1]
        offsets = (up[:, None, :] + across[None, :, :]).reshape(-1, 3)
        return np.asarray(self.position) + wavelength * offsets

    @property
    def turned_by(self) -> str:
        """Key that turns the panel as it is written."""
        written = any(getattr(self, key) is not None for key in VECTORS)
        return "horizontal" if written else "azimuth"

    def fraunhofer_distance(self, wavelength: float) -> float:
        """Distance from which on waves are nearly plane, 2 diagonal² / wavelength. [m]

        Args:
            wavelength: Wavelength of the carrier. [m]
        """
        return 2 * self.diagonal(wavelength) ** 2 / wavelength

    def diagonal(self, wavelength: float) -> float:
        """Length of the diagonal, the largest extent. [m]

        Args:
            wavelength: Wavelength of the carrier. [m]
        """
        across, up = self.columns * self.spacing[0], self.rows * self.spacing[1]
        return wavelength * math.hypot(across, up)


def clash_of_axes(panel: PanelSpec, name: str) -> Clash | None:
    """Return the violated condition on a panel's orientation, None if there is none.

    Args:
        panel: The panel.
        name: Dotted key of the panel.
    """
    angles, vectors = (
        [f"{name}.{key}" for key in keys if getattr(panel, key) is not None]
        for keys in (ANGLES, VECTORS)
    )
    if angles and vectors:
        return Clash(
            angles[0],
            (*angles[1:], *vectors),
            f"the orientation is also given by {' and '.join(vectors)}; remove one of them (as an "
            f"override: {vectors[0]}=null)",
        )
    if angles:
        return None
    across, up, normal = panel.axes
    written = panel.vertical or VERTICAL
    lean = float(np.dot(across, written))
    if abs(lean) > ROUNDING:
        parallel = 1 - abs(lean) < 1e-9
        remedy = "turn one of them" if parallel else f"write {write_vector(up)}"
        crooked = f"{write_vector(written)} is not at a right angle to {name}.horizontal"
        return Clash(f"{name}.vertical", (f"{name}.horizontal",), f"{crooked}; {remedy}")
    if panel.normal is not None and np.linalg.norm(np.subtract(panel.normal, normal)) > ROUNDING:
        return Clash(
            f"{name}.normal",
            (f"{name}.horizontal", f"{name}.vertical"),
            f"{write_vector(panel.normal)} is not at right angles to {name}.horizontal and "
            f"{name}.vertical; write {write_vector(normal)} or {write_vector(-normal)}",
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
