"""Tables and files of maps: quantiles, shares below a threshold, CSV and GeoJSON."""

import json
import math
from pathlib import Path

import numpy as np
import xarray as xr

from heliostat.plots.coverage import share_of, shares_of_causes
from heliostat.reports.tables import (
    SUFFIX,
    Row,
    angle_bound,
    crb,
    length,
    power_ratio,
    rate,
    share,
    write_columns,
)
from heliostat.scenario import parse


def rows(data: xr.Dataset, below: float | None = None) -> list[Row]:
    """Minimum, median and 90 % quantile over the served positions, and a share of them.

    Args:
        data: Result of `heliostat.coverage`.
        below: Threshold; its row is the share of the served positions below it. [SI unit]

    Returns:
        No rows if no position is served.
    """
    array = data[data.attrs["quantity"]]
    values = array.values[data["served"].values]
    if not values.size:
        return []
    if array.name == "cause":
        other = "area" if "y" in data.dims else "places"
        return [
            share("share", f"share of the {other} reached by {name}", part)
            for name, part in shares_of_causes(data).items()
        ]
    unit, name = array.attrs["units"], str(array.name)
    row = {"m": length, "rad": angle_bound, "rad²": crb, "bit/s": rate}.get(unit, power_ratio)
    quantiles = np.quantile(values, [0, 0.5, 0.9], method="inverted_cdf").tolist()
    over = "area" if "y" in data.dims else "places"
    labels = (
        "minimum",
        f"median over the served {over}",
        f"90 % quantile over the served {over}",
    )
    found = [row(name, label, value) for label, value in zip(labels, quantiles, strict=True)]
    if below is not None:
        text = row("", "", below).text
        found.append(
            share("share_below", f"share of the served {over} below {text}", share_of(data, below))
        )
    return found


def columns(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Coordinates, the quantity, and whether it is served, at each position.

    Args:
        data: Result of `heliostat.coverage`.
    """
    array = data[data.attrs["quantity"]]
    names = {"place": "place", "x": "x_m", "y": "y_m", "z": "z_m"}
    names |= {str(array.name): f"{array.name}{SUFFIX[array.attrs['units']]}"}
    names |= {"served": "served", "near_field": "near_field"}
    return {
        column: data[name].broadcast_like(array).transpose(*array.dims).values.ravel()
        for name, column in names.items()
        if name in data.variables
    }


def write_csv(data: xr.Dataset, file: Path) -> None:
    """Write the values of a map as a table, one position per row.

    Args:
        data: Result of `heliostat.coverage`.
        file: File to write.
    """
    write_columns({name: _texts(values) for name, values in columns(data).items()}, file)


def _texts(values: np.ndarray) -> list[str]:
    """Numbers of 9 digits; anything else as it is."""
    if values.dtype.kind == "f":
        return [f"{value:.9g}" for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def write_geojson(data: xr.Dataset, file: Path) -> None:
    """Write the positions as GeoJSON points with their values; numbers that are infinite are null.

    The coordinates are longitude and latitude where the scenario has a ``site.origin``, otherwise x
    and y of the scenario in meters.

    Args:
        data: Result of `heliostat.coverage`.
        file: File to write.
    """
    table = columns(data)
    x, y, height = (table.pop(f"{axis}_m") for axis in "xyz")
    site = parse(data.attrs["scenario_text"]).site
    system = "local: x and y of the scenario in meters"
    if site.origin is not None:
        system = "longitude and latitude in degrees, WGS 84"
        x, y = site.longitude_latitude(x, y)
    properties = table | {"height_m": height}
    parts = [np.round(x, 8).tolist(), np.round(y, 8).tolist()]
    parts += [_json_texts(values) for values in properties.values()]
    # A template, because encoding nested dicts takes many times longer than computing the map.
    inner = ", ".join(f"{json.dumps(name)}: %s" for name in properties)
    feature = (
        '{"type": "Feature", "geometry": {"type": "Point", "coordinates": [%s, %s]}, '
        f'"properties": {{{inner}}}}}'
    )
    head = {
        "type": "FeatureCollection",
        "name": data.attrs["title"],
        "coordinate_system": system,
    }
    features = ",\n".join(feature % row for row in zip(*parts, strict=True))
    text = f'{json.dumps(head)[:-1]}, "features": [\n{features}\n]}}\n'
    file.write_text(text, encoding="utf-8")


def _json_texts(values: np.ndarray) -> list[str]:
    """Values as JSON: true or false, text, or numbers of 9 digits, null if not finite."""
    if values.dtype.kind == "f":
        return [f"{v:.9g}" if math.isfinite(v) else "null" for v in values.tolist()]
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    return [json.dumps(value) for value in values.tolist()]
