"""Tables and datasets of maps of both systems."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from heliostat.maps.localization import UNITS, AreaMap
from heliostat.maps.sensing import SENSING_UNITS, SensingMap, SensingQuantity
from heliostat.reports.tables import Row, angle_bound, length, provenance, rate
from heliostat.scenario import AnyScenario, LocalizationScenario, SensingScenario
from heliostat.scene.sensing import ANGLES


def attributes(
    scenario: AnyScenario, title: str, overrides: Mapping[str, str] | None
) -> dict[str, Any]:
    """Title and provenance of a dataset, as netCDF can store them.

    Args:
        scenario: The evaluated scenario.
        title: Title of the dataset.
        overrides: Overrides with which the scenario was loaded.
    """
    origin = provenance(scenario, overrides)
    return {"title": title} | origin | {"overrides": json.dumps(origin["overrides"])}


def _quantiles(name: str, unit: str, values: np.ndarray) -> list[Row]:
    """Minimum, median and 90 % quantile; no rows for no values."""
    if not values.size:
        return []
    row = {"m": length, "rad": angle_bound, "bit/s": rate}[unit]
    quantiles = np.quantile(values, [0, 0.5, 0.9], method="inverted_cdf").tolist()
    labels = ("minimum", "median", "90 % quantile")
    return [row(name, label, value) for label, value in zip(labels, quantiles, strict=True)]


def localization_rows(area_map: AreaMap) -> list[Row]:
    """Minimum, median and 90 % quantile over the points in front of the surface.

    Args:
        area_map: The map.
    """
    quantity = area_map.quantity
    return _quantiles(quantity, UNITS[quantity], area_map.value[area_map.served])


def sensing_rows(found: SensingMap, quantity: SensingQuantity) -> list[Row]:
    """Minimum, median and 90 % quantile over the points at which a bound can exist.

    Args:
        found: The map.
        quantity: Which of its bounds.
    """
    values = found.value(quantity)[found.served(quantity)]
    return _quantiles(quantity, SENSING_UNITS[quantity], values)


def localization_dataset(
    area_map: AreaMap,
    scenario: LocalizationScenario,
    title: str,
    overrides: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """A map with units and provenance.

    Args:
        area_map: The map.
        scenario: Its scenario.
        title: Title of the map.
        overrides: Overrides with which the scenario was loaded.
    """
    front = "points in front of the surface; behind it bounds are inf and rates 0"
    return xr.Dataset(
        {
            area_map.quantity: (("y", "x"), area_map.value, {"units": UNITS[area_map.quantity]}),
            "served": (("y", "x"), area_map.served, {"units": "1", "long_name": front}),
        },
        {
            "x": ("x", area_map.x, {"units": "m"}),
            "y": ("y", area_map.y, {"units": "m"}),
        },
        attributes(scenario, title, overrides),
    )


def sensing_dataset(
    found: SensingMap,
    scenario: SensingScenario,
    title: str,
    overrides: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """A map of both bounds, with units and provenance.

    Args:
        found: The map.
        scenario: Its scenario.
        title: Title of the map.
        overrides: Overrides with which the scenario was loaded.
    """
    largest = "root CRB of elevation and azimuth together, largest over surfaces"
    front = "points in front of the surface; behind it bounds are inf"
    return xr.Dataset(
        {
            "position_bound": (("y", "x"), found.position_bound, {"units": "m"}),
            "direction_bound": (
                ("y", "x"),
                found.value("direction"),
                {"units": "rad", "long_name": largest},
            ),
            "direction_std": (
                ("y", "x", "surface", "angle"),
                found.direction_std,
                {"units": "rad"},
            ),
            "facing": (("y", "x", "surface"), found.facing, {"units": "1", "long_name": front}),
        },
        {
            "x": ("x", found.x, {"units": "m"}),
            "y": ("y", found.y, {"units": "m"}),
            "angle": list(ANGLES),
        },
        attributes(scenario, title, overrides),
    )
