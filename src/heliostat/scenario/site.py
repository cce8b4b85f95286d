"""Place of a scenario on Earth, for exports with longitudes and latitudes."""

import math
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

from heliostat.scenario.fields import Number, Section, quantity, setting

SEMI_MAJOR, FLATTENING = 6378137.0, 1 / 298.257223563
"""Semi-major axis [m] and flattening of the WGS 84 ellipsoid."""
_STEEPEST = 89.0  # the tangent plane's longitudes diverge at the poles [deg]


def _on_earth(origin: tuple[float, float]) -> tuple[float, float]:
    longitude, latitude = origin
    if not (abs(longitude) <= 180 and abs(latitude) <= _STEEPEST):
        raise ValueError(
            f"{list(origin)} is not a longitude from -180 to 180 and a latitude from -89 to 89 "
            "degrees; write e.g. [13.3777, 52.5163]"
        )
    return origin


class SiteSpec(Section):
    """Place and orientation of the scenario's coordinates on Earth."""

    origin: Annotated[tuple[Number, Number], AfterValidator(_on_earth)] | None = setting(
        "Longitude and latitude of the origin of the coordinates in degrees (WGS 84), for exports; "
        "default none, exports are in meters.",
        [13.3777, 52.5163],
        None,
    )
    bearing: Annotated[float, quantity("angle", signed=True)] = setting(
        "Direction of the y axis, clockwise from north.", "30 deg", "0 deg"
    )

    def longitude_latitude(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""Longitudes and latitudes of positions on the plane that touches Earth at the origin.

        .. math:: \Delta\varphi = n/M,\quad \Delta\lambda = e/(N\cos\varphi)

        with east and north coordinates e, n and the radii of curvature M of the meridian and N of
        the prime vertical of the WGS 84 ellipsoid (:cite:`torge2012`, sec. 4.1). The error is below
        1 m within 3 km at latitudes up to 60 degrees.

        Args:
            x: Coordinates of the scenario. [m]
            y: Coordinates of the scenario. [m]

        Returns:
            Longitude and latitude. [deg]

        Raises:
            ValueError: The scenario has no ``site.origin``.
        """
        if self.origin is None:
            raise ValueError("The scenario has no site.origin.")
        longitude, latitude = self.origin
        cosine, sine = math.cos(self.bearing), math.sin(self.bearing)
        east, north = cosine * x + sine * y, cosine * y - sine * x
        eccentricity2 = FLATTENING * (2 - FLATTENING)
        curvature = 1 - eccentricity2 * math.sin(math.radians(latitude)) ** 2
        prime_vertical = SEMI_MAJOR / math.sqrt(curvature)
        meridian = SEMI_MAJOR * (1 - eccentricity2) / curvature**1.5
        parallel = prime_vertical * math.cos(math.radians(latitude))
        return longitude + np.degrees(east / parallel), latitude + np.degrees(north / meridian)
