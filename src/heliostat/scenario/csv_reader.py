"""CSV files with positions: a header with columns x and y, then one position in each line."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from heliostat.units import quote


class CsvLine(NamedTuple):
    """One line of a CSV file."""

    number: int
    cells: dict[str, str | None]  # by the name of the column; None where the line is too short

    def value(self, column: str, unit: str = "meters") -> float:
        """The number in a column.

        Args:
            column: Name of the column.
            unit: Unit of the column, for the message.

        Raises:
            ValueError: There is none, or it is not finite.
        """
        text = self.cells[column]
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            given = f"is {quote(text)}" if text else "is missing"
            raise ValueError(
                f"line {self.number}: {column} {given}; write a number in {unit}, e.g. 12.5."
            )
        return value


def read_positions(file: Path) -> list[CsvLine]:
    """Read the lines of a CSV file with positions; all of them have the same columns.

    Args:
        file: File with a header; columns x and y are required.

    Raises:
        ValueError: The file cannot be read, lacks a column or has no line; the message does not
            contain the name of the file.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, skipinitialspace=True)
            heads = reader.fieldnames or ()
            lines = [CsvLine(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not CSV text"
        raise ValueError(f"cannot be read ({reason}); give a CSV file.") from None
    if not {"x", "y"} <= set(heads):
        raise ValueError("the first line must name columns x and y; write e.g. name,x,y.")
    if not lines:
        raise ValueError("lists no position; write one in each line below the first.")
    return lines
