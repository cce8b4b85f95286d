"""What the surfaces of all systems share: a panel, its axes, and where its far field begins."""

import math

import numpy as np

from heliostat.scenario.errors import Clash
from heliostat.scenario.fields import (
    Count,
    Direction,
    Position,
    Positive,
    Section,
    setting,
    write_vector,
)
from heliostat.units import format_quantity


class PanelSpec(Section):
    """A rectangular panel of elements."""

    position: Position = setting("Where it hangs, x, y, z in metres.", [-20, 20, 30])
    rows: Count = setting("Rows of elements.", 8)
    columns: Count = setting("Columns of elements.", 8)
    horizontal: Direction = setting("Unit vector along a row.", [0, 1, 0], (0.0, 1.0, 0.0))
    vertical: Direction = setting("Unit vector along a column.", [0, 0, 1], (0.0, 0.0, 1.0))
    normal: Direction | None = setting(
        "Unit vector to the side it serves; default horizontal x vertical.", [1, 0, 0], None
    )
    spacing: tuple[Positive, Positive] = setting(
        "Distance of neighbouring elements along a row and along a column, in wavelengths.",
        [0.5, 0.5],
        (0.5, 0.5),
    )

    @property
    def elements(self) -> int:
        """Number of elements."""
        return self.rows * self.columns

    @property
    def facing(self) -> tuple[float, float, float]:
        """Unit vector to the side it serves."""
        if self.normal is not None:
            return self.normal
        x, y, z = np.cross(self.horizontal, self.vertical).tolist()
        return (x, y, z)

    def diagonal(self, wavelength: float) -> float:
        """Its largest extent. [m]

        Args:
            wavelength: Of the carrier. [m]
        """
        across, up = self.columns * self.spacing[0], self.rows * self.spacing[1]
        return wavelength * math.hypot(across, up)


def clash_of_axes(panel: PanelSpec, name: str) -> Clash | None:
    """What is wrong with the axes of a panel, if anything.

    Args:
        panel: A panel.
        name: Its dotted key.
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


def near_field(
    hop: str, distance: float, owner: str, aperture: float, wavelength: float
) -> str | None:
    """A warning if a hop is shorter than Fraunhofer's distance, twice aperture² / wavelength.

    Args:
        hop: From what to what, in words.
        distance: How long it is. [m]
        owner: Whose aperture it is, in words.
        aperture: Largest extent. [m]
        wavelength: Of the carrier. [m]
    """
    far = 2 * aperture**2 / wavelength
    if distance >= far:
        return None
    return (
        f"Far field: {hop} is {format_quantity(distance, 'length')}, within the "
        f"Fraunhofer distance {format_quantity(far, 'length')} of {owner}; waves are "
        "not plane there, as the model takes them to be."
    )
