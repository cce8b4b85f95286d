"""Base station and panels of the scene from those of a scenario; needs JAX."""

from typing import Any

import jax
import numpy as np

from heliostat.geometry.arrays import LinearArray, PlanarArray
from heliostat.scenario.localization.nodes import BaseStationSpec
from heliostat.scenario.panels import PanelSpec
from heliostat.scenario.sensing.schema import SensingBaseStationSpec
from heliostat.scene.localization import BaseStation


def real(value: Any) -> jax.Array:
    """Return real numbers as an array of JAX in double precision.

    Args:
        value: Number, or nested sequence of numbers.
    """
    return jax.device_put(np.asarray(value, dtype=float))


def built_station(written: BaseStationSpec | SensingBaseStationSpec) -> BaseStation:
    """Build the base station."""
    array = LinearArray(
        axis=real(written.axis), spacing=real(written.spacing), elements=written.antennas
    )
    return BaseStation(position=real(written.position), array=array, power=real(written.power))


def planar_array(panel: PanelSpec) -> PlanarArray:
    """Build the array of a panel."""
    horizontal, vertical, normal = (real(axis) for axis in panel.axes)
    spacing = real(panel.spacing)
    return PlanarArray(horizontal, vertical, normal, spacing, panel.columns, panel.rows)
