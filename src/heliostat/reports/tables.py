"""Table rows, JSON values and data files shared by all reports."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from heliostat.units import format_quantity, to_db, to_dbm, to_deg

SUFFIX = {
    "1": "",
    "m": "_m",
    "rad": "_rad",
    "rad²": "_rad2",
    "W": "_w",
    "bit/s": "_bit_per_s",
    "dB": "_db",
}


class Row(NamedTuple):
    """One number with its unit, label and text."""

    name: str
    unit: str
    label: str
    text: str
    value: float  # in this unit

    @property
    def key(self) -> str:
        """Name in JSON, with the unit."""
        return self.name + SUFFIX[self.unit]


def length(name: str, label: str, value: float) -> Row:
    """A length or the bound on a length."""
    text = format_quantity(value, "length") if math.isfinite(value) else "no bound exists"
    return Row(name, "m", label, text, value)


_RADIANS = ((0.1, 1.0, "rad"), (1e-4, 1e3, "mrad"), (0.0, 1e6, "µrad"))
"""Units of radians: smallest value, factor and name."""


def angle(name: str, label: str, value: float) -> Row:
    """An angle, in degrees and radians."""
    scale, unit = next((scale, unit) for least, scale, unit in _RADIANS if not abs(value) < least)
    text = f"{format_quantity(value, 'angle')} = {scale * value:.3g} {unit}"
    return Row(name, "rad", label, text if math.isfinite(value) else "no bound exists", value)


def angle_bound(name: str, label: str, value: float) -> Row:
    """A bound on an angle, in degrees and radians; above 1 rad it carries no information."""
    row = angle(name, label, value)
    return row._replace(text="no bound below 1 rad") if 1 < value < math.inf else row


def degrees(name: str, label: str, value: float) -> Row:
    """A bound on an angle, in degrees, for wide tables."""
    text = f"{to_deg(value):.3g} deg" if value <= 1 else "above 1 rad"
    return Row(name, "rad", label, text if math.isfinite(value) else "no bound", value)


def rate(name: str, label: str, value: float) -> Row:
    """A data rate."""
    return Row(name, "bit/s", label, f"{value / 1e6:.4g} Mbit/s", value)


def share(name: str, label: str, value: float) -> Row:
    """A fraction of a whole."""
    return Row(name, "1", label, f"{value:.3g}", value)


def dbm(name: str, label: str, value: float) -> Row:
    """A power as a number of dBm, for wide tables with the unit in the title."""
    return Row(name, "W", label, f"{to_dbm(value):.1f}" if value > 0 else "none", value)


def crb(name: str, label: str, value: float) -> Row:
    """A Cramér-Rao bound on the variance of a direction, in rad² and dB."""
    text = (
        f"{value:.4g} rad² = {to_db(value):.2f} dB" if 0 < value < math.inf else "no bound exists"
    )
    return Row(name, "rad²", label, "0 rad²" if value == 0 else text, value)


def decibels(name: str, label: str, value: float) -> Row:
    """A ratio of powers, from its level; -inf for zero power. [dB]"""
    return Row(name, "dB", label, f"{value:.1f} dB" if value > -math.inf else "no power", value)


def power_ratio(name: str, label: str, value: float) -> Row:
    """A ratio of powers in dB, from its value. [1]"""
    return decibels(name, label, float(to_db(value)))


def number(name: str, label: str, value: float) -> Row:
    """A count."""
    return Row(name, "1", label, f"{value:g}", value)


def small(name: str, label: str, value: float) -> Row:
    """A number close to zero, such as a residual."""
    return Row(name, "1", label, f"{value:.1e}", value)


class Line(NamedTuple):
    """One line of a table."""

    label: str
    cells: list[Row]
    prefix: str = ""  # of the identifiers of its numbers, to make them unique


class Table(NamedTuple):
    """A titled table of numbers."""

    title: str
    lines: list[Line]
    aside: str = ""
    heads: tuple[str, ...] = ()  # column headings; none if each line has one number

    @property
    def texts(self) -> list[list[str]]:
        """Lines as text, for a terminal."""
        return [[line.label, *(row.text for row in line.cells)] for line in self.lines]


def listed(title: str, rows: Sequence[Row], aside: str = "", prefix: str = "") -> Table:
    """A table with one number per line.

    Args:
        title: Title of the table.
        rows: The numbers, with their labels.
        aside: Addition to the title.
        prefix: Prefix of the identifiers of the numbers, to make them unique.
    """
    return Table(title, [Line(row.label, [row], prefix) for row in rows], aside)


def document_of(rows: Sequence[Row]) -> dict[str, float]:
    """Values by name with unit, for JSON."""
    return {row.key: row.value for row in rows}


def variables_of(rows: Sequence[Row], prefix: str = "") -> dict[str, Any]:
    """Scalar variables of a dataset, with unit and label.

    Args:
        rows: The numbers.
        prefix: Prefix of the names.
    """
    return {
        prefix + row.name: ((), row.value, {"units": row.unit, "long_name": row.label})
        for row in rows
    }


def without_infinities(value: Any) -> Any:
    """Replace every number that is not finite by None, because JSON has no infinity.

    Args:
        value: Nested dicts and lists.
    """
    if isinstance(value, dict):
        return {key: without_infinities(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_infinities(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def columns_of(dataset: xr.Dataset, dimension: str) -> dict[str, list[Any]]:
    """Values along one dimension by name with unit; those of each surface as lists.

    Args:
        dataset: Results with units; matrices are left out.
        dimension: First dimension of the columns.
    """
    return {
        Row(str(name).removesuffix("_db"), str(values.attrs["units"]), "", "", 0.0).key: (
            values.values.tolist()
        )
        for name, values in dataset.data_vars.items()
        if values.dims[0] == dimension and "axis" not in values.dims
    }


def write_dataset(dataset: xr.Dataset, file: Path) -> None:
    """Write a dataset as netCDF.

    Args:
        dataset: The dataset.
        file: Output file.
    """
    # `Dataset.to_netcdf` imports Dask's scheduler, where it is installed, to choose a lock.
    store = xr.backends.H5NetCDFStore.open(file, "w", lock=False)
    try:
        dataset.dump_to_store(store)
    finally:
        store.close()


def write_columns(columns: Mapping[str, Sequence[Any]], file: Path) -> None:
    """Write columns as CSV; a column of lists becomes one column for each of their entries.

    Args:
        columns: Columns by name, all of the same length.
        file: Output file.
    """
    flat: dict[str, Sequence[Any]] = {}
    for name, values in columns.items():
        if isinstance(values[0], list):
            flat |= {f"{name}_{i}": own for i, own in enumerate(zip(*values, strict=True))}
        else:
            flat[name] = values
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(flat)
        for row in zip(*flat.values(), strict=True):
            writer.writerow([int(v) if isinstance(v, bool) else v for v in row])
