"""Where a command computes: an area, listed positions, or the users of a scenario."""

import math
from pathlib import Path
from typing import Any

from heliostat.cli.console import UserError
from heliostat.cli.options import polygon_or_rectangle_of


def positions_of(
    area: str | None, points: int | None, at: str | None, points_file: Path | None
) -> dict[str, Any]:
    """Arguments of `heliostat.coverage` and `heliostat.place` for the given options.

    Args:
        area: Value of --area.
        points: Value of --points.
        at: Value of --at.
        points_file: Value of --points-file.

    Raises:
        UserError: Options contradict each other, or one has no valid value.
    """
    if at is not None:
        if any(given is not None for given in (area, points, points_file)):
            raise UserError(
                "--at users: takes the place of --area, --points and --points-file; leave them out."
            )
        return {"at_users": True}
    if points_file is None:
        return {"area": polygon_or_rectangle_of(area), "points": points}
    if area is not None or points is not None:
        raise UserError("--points-file: takes the place of --area and --points; leave them out.")
    return _listed(points_file)


def _listed(file: Path) -> dict[str, Any]:
    """Names, positions [m] and, if the file has them, headings [rad]."""
    from heliostat.scenario.csv_reader import read_positions

    try:
        lines = read_positions(file)
        axes = [axis for axis in "xyz" if axis in lines[0].cells]
        found: dict[str, Any] = {
            "positions": [[line.value(axis) for axis in axes] for line in lines],
            "names": [line.cells.get("name") or str(i) for i, line in enumerate(lines)],
        }
        if "heading" in lines[0].cells:
            found["headings"] = [math.radians(line.value("heading", "degrees")) for line in lines]
    except ValueError as error:
        raise UserError(f"--points-file {file}: {error}") from None
    return found
