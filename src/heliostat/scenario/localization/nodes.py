"""Base station, surfaces, users and obstacles of a localization scenario, with their keys."""

import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
)

from heliostat.scenario.fields import (
    Count,
    Direction,
    Number,
    Position,
    Positive,
    Section,
    not_a_word,
    quantity,
    setting,
)
from heliostat.scenario.panels import PanelSpec
from heliostat.units import quote

if TYPE_CHECKING:
    import heliostat.geometry.obstacles


class BaseStationSpec(Section):
    """Base station with a linear array."""

    position: Position = setting("Position of its first antenna, x, y, z in meters.", [0, 0, 40])
    antennas: Count = setting("Number of antennas.", 32)
    power: Annotated[float, quantity("power")] = setting(
        "Total transmit power of the active antennas.", "27 dBm"
    )
    axis: Direction = setting("Unit vector along the array.", [1, 0, 0], (1.0, 0.0, 0.0))
    spacing: Positive = setting("Distance between neighboring antennas in wavelengths.", 0.5, 0.5)
    antenna_gain: Annotated[float, quantity("gain")] = setting(
        "Gain of each antenna towards the surface.", "5 dBi", "0 dBi"
    )


def _phase_source(text: str) -> str:
    if text not in ("designed", "random") and not text.endswith(".npy"):
        raise ValueError(f"{quote(text)} is unknown; write designed, random or a file.npy")
    return text


def _plain_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", text):
        raise ValueError(
            f"{quote(text)} is not a name; write up to 40 letters, digits, - and _, "
            "e.g. facade-north"
        )
    return text


class SurfaceSpec(PanelSpec):
    """Passive surface."""

    name: Annotated[str, AfterValidator(_plain_name)] | None = setting(
        "Name of the surface in results; default surface 1, surface 2, ...", "facade-north", None
    )

    reflection: Annotated[Positive, Field(le=1)] = setting(
        "Amplitude of the reflection coefficients, at most 1.", 1.0, 1.0
    )
    phases: Annotated[str, AfterValidator(_phase_source)] = setting(
        "designed, random, or a .npy file of phases in radians, [element] or [configuration, "
        "element], the horizontal index fastest; looked for next to the scenario file, then in "
        "the working folder.",
        "designed",
        "designed",
    )
    bits: Annotated[int, Field(ge=1, le=8), BeforeValidator(not_a_word)] | None = setting(
        "Bits of phase resolution; default continuous phases.", 2, None
    )
    focus: Position | None = setting(
        "Point to which designed phases steer in both stages, x, y, z in meters; default the user.",
        [20, 40, 0],
        None,
    )
    sweep: Annotated[tuple[tuple[Number, Number], ...], Field(min_length=1, max_length=4096)] | (
        None
    ) = setting(
        "Configurations of the alignment stage, one entry for each: offset from the focus in "
        "direction cosines (along a row, along a column), in units of 1/columns and 1/rows. "
        "Default [[0, 0]] if model.gain is known, else four around the focus, with a larger offset "
        "along a column (1.4/rows) than along a row (1/columns), so that no two directions near "
        "the focus give the same response.",
        [[1.0, 0], [-1.0, 0], [0, 1.4], [0, -1.4]],
        None,
    )

    def listed_phases(self, folder: Path) -> np.ndarray | None:
        """Phases of all configurations, [config, element]; None if they are not from a file. [rad]

        Args:
            folder: Folder that is searched before the working folder.

        Raises:
            ValueError: The file does not exist or is not an array of phases.
        """
        if self.phases in ("designed", "random"):
            return None
        name, elements = quote(self.phases), self.rows * self.columns
        found = [p for p in (folder / self.phases, Path(self.phases)) if os.path.isfile(p)]
        if not found:
            raise ValueError(
                f"{name} is neither next to the scenario file nor in the working folder; "
                "write the path of a .npy file, or designed"
            )
        try:
            phases = np.load(io.BytesIO(found[0].read_bytes()), allow_pickle=False)
            shape, kind = phases.shape, phases.dtype.kind
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(
                f"{name} cannot be read as an array; write it with numpy.save"
            ) from error
        if kind not in "fiu":
            raise ValueError(f"{name} is not an array of real numbers; store phases in radians")
        rows = np.atleast_2d(phases).astype(float)
        if rows.ndim != 2 or rows.shape[1] != elements or len(rows) == 0:
            raise ValueError(
                f"{name} has the shape {list(shape)}; store [{elements}] phases, rows x columns "
                f"of the surface, or [configurations, {elements}]"
            )
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} contains nan or inf; store finite phases in radians")
        return rows


class UserSpec(Section):
    """User with a horizontal linear array."""

    position: Position = setting("Position of its first antenna, x, y, z in meters.", [20, 40, 0])
    heading: Annotated[float, quantity("angle", signed=True)] = setting(
        "Rotation of its array clockwise from the x axis, seen from above.", "45 deg"
    )
    antennas: Count = setting("Number of antennas.", 32)
    spacing: Positive = setting("Distance between neighboring antennas in wavelengths.", 0.5, 0.5)
    antenna_gain: Annotated[float, quantity("gain")] = setting(
        "Gain of each antenna towards the surface.", "2 dBi", "0 dBi"
    )
    name: Annotated[str, AfterValidator(_plain_name)] | None = setting(
        "Name of the user in results; default user 1, user 2, ...", "cart-1", None
    )


class ObstacleSpec(Section):
    """Obstacle with vertical walls that blocks straight paths."""

    name: Annotated[str, AfterValidator(_plain_name)] = setting(
        "Name in messages and figures.", "building-a"
    )
    footprint: Annotated[
        tuple[tuple[Number, Number], ...], Field(min_length=3, max_length=1000)
    ] = setting(
        "Corners of its outline from above, x and y in meters.", [[0, 0], [10, 0], [10, 8], [0, 8]]
    )
    height: Annotated[float, quantity("length")] = setting(
        "Height from its lower to its upper end.", "12 m"
    )
    base: Annotated[float, quantity("length", signed=True)] = setting(
        "Height of its lower end.", "0 m", "0 m"
    )

    @property
    def prism(self) -> "heliostat.geometry.obstacles.Obstacle":
        """The obstacle for `geometry.obstacles`."""
        # Scenarios without obstacles do not need shapely.
        from heliostat.geometry.obstacles import Obstacle  # noqa: PLC0415

        footprint = np.asarray(self.footprint, dtype=float)
        return Obstacle(footprint, self.base, self.base + self.height)

    def contains(self, positions: np.ndarray) -> np.ndarray:
        """Whether each position is in the interior.

        Args:
            positions: Positions, [point, xyz]. [m]
        """
        from heliostat.geometry.obstacles import inside  # noqa: PLC0415

        return inside(positions, self.prism)
