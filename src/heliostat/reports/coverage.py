"""Tables and files of maps: quantiles, shares below a threshold, CSV and GeoJSON."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from heliostat.plots.coverage import share_of
from heliostat.reports.tables import SUFFIX, Row, angle_bound, crb, decibels, length, rate, share
from heliostat.scenario import parse
from heliostat.units import to_db


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
    unit, name = array.attrs["units"], str(array.name)
    row = {"m": length, "rad": angle_bound, "rad²": crb, "bit/s": rate}.get(unit, _ratio)
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


def _ratio(name: str, label: str, value: float) -> Row:
    return decibels(name, label, float(to_db(value)) if value > 0 else -math.inf)


def frame(data: xr.Dataset) -> pd.DataFrame:
    """One row for each position: coordinates, the quantity, and whether it is served.

    Args:
        data: Result of `heliostat.coverage`.
    """
    array = data[data.attrs["quantity"]]
    column = f"{array.name}{SUFFIX[array.attrs['units']]}"
    chosen = data[[array.name, "served", "near_field"]].rename({array.name: column})
    table = chosen.to_dataframe().reset_index()
    order = ["place"] * ("place" in table) + ["x", "y", "z", column, "served", "near_field"]
    return table[order].rename(columns={axis: f"{axis}_m" for axis in "xyz"})


def write_csv(data: xr.Dataset, file: Path) -> None:
    """Write the values of a map as a table, one position per row.

    Args:
        data: Result of `heliostat.coverage`.
        file: File to write.
    """
    frame(data).to_csv(file, index=False, float_format="%.9g")


def write_geojson(data: xr.Dataset, file: Path) -> None:
    """Write the positions as GeoJSON points with their values; numbers that are infinite are null.

    The coordinates are longitude and latitude where the scenario has a ``site.origin``, otherwise x
    and y of the scenario in metres.

    Args:
        data: Result of `heliostat.coverage`.
        file: File to write.
    """
    features, table = [], frame(data)
    site = parse(data.attrs["scenario_text"]).site
    system = "local: x and y of the scenario in metres"
    if site.origin is not None:
        system = "longitude and latitude in degrees, WGS 84"
        table["x_m"], table["y_m"] = site.longitude_latitude(
            *(table[column].to_numpy() for column in ("x_m", "y_m"))
        )
    for record in table.to_dict("records"):
        x, y, z = (round(float(record.pop(f"{axis}_m")), 8) for axis in "xyz")
        properties = {key: _plain(value) for key, value in record.items()} | {"height_m": z}
        point = {"type": "Point", "coordinates": [x, y]}
        features.append({"type": "Feature", "geometry": point, "properties": properties})
    document = {
        "type": "FeatureCollection",
        "name": data.attrs["title"],
        "coordinate_system": system,
        "features": features,
    }
    file.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")


def _plain(value: Any) -> Any:
    """A value for JSON: bool, text, or a finite number of 9 digits; otherwise None."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str):
        return value
    return float(f"{value:.9g}") if math.isfinite(value) else None
