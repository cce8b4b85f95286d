"""Longitudes and latitudes against distances on the WGS 84 ellipsoid."""

import math

import numpy as np
import pytest

import heliostat as hs
from tests.support.hall import hall


def ecef(longitude, latitude):
    """Geocentric coordinates of a point on the ellipsoid: the definition. [m]"""
    a, f = 6378137.0, 1 / 298.257223563
    lon, lat = np.radians(longitude), np.radians(latitude)
    n = a / np.sqrt(1 - f * (2 - f) * np.sin(lat) ** 2)
    return np.stack(
        [
            n * np.cos(lat) * np.cos(lon),
            n * np.cos(lat) * np.sin(lon),
            n * (1 - f) ** 2 * np.sin(lat),
        ]
    )


@pytest.mark.parametrize("latitude", [-33.9, 0.0, 52.5])
def test_distances_on_earth_are_those_of_the_scenario(latitude):
    site = hall(site__origin=[13.4, latitude], site__bearing="30 deg").site
    x, y = np.array([0.0, 300.0, -200.0, 1000.0]), np.array([0.0, 400.0, 500.0, -1000.0])
    points = ecef(*site.longitude_latitude(x, y))
    distance = np.linalg.norm(points - points[:, :1], axis=0)
    np.testing.assert_allclose(distance, np.hypot(x, y), atol=0.2)


def test_the_y_axis_has_the_bearing():
    site = hall(site__origin=[10.0, 50.0], site__bearing="90 deg").site
    longitude, latitude = site.longitude_latitude(np.array([0.0]), np.array([100.0]))
    assert latitude[0] == pytest.approx(50.0, abs=1e-12)
    # A degree of longitude at 50 degrees north measures 71.70 km.
    assert (longitude[0] - 10.0) * 71698 == pytest.approx(100.0, rel=1e-3)


def test_a_scenario_without_a_site_has_no_longitudes():
    with pytest.raises(ValueError, match=r"no site\.origin"):
        hall().site.longitude_latitude(np.zeros(1), np.zeros(1))


@pytest.mark.parametrize("origin", [[13.4, 90.5], [200.0, 10.0]])
def test_an_origin_is_on_earth(origin):
    with pytest.raises(hs.ScenarioError, match="longitude from -180 to 180"):
        hall(site__origin=origin)


def test_one_degree_of_latitude_has_its_length():
    # At 45 degrees one degree of latitude measures 111.132 km.
    site = hall(site__origin=[0.0, 45.0]).site
    _, latitude = site.longitude_latitude(np.zeros(1), np.array([111132.0]))
    assert latitude[0] - 45 == pytest.approx(1.0, abs=1e-4)
    assert math.isfinite(latitude[0])
