"""Truths: literal path lengths of reflections, found without mirror images; the image of a wall."""

import numpy as np
import pytest
from scipy.optimize import minimize

from heliostat.channel.specular import (
    Plane,
    SpecularPath,
    mirror_image,
    plane_through,
    specular_channel,
)
from heliostat.scenario.panels import PanelSpec

WAVELENGTH = 0.0107
SLANTED = Plane(np.array([9.0, 1.0, 0.5]), np.array([-14.0, 14.0, 1.0]) / np.sqrt(393))
GROUND = Plane(np.array([4.0, -7.0, -1.0]), np.array([0.0, 0.0, 1.0]))
ANTENNAS = np.array([1.0, 2.0, -0.2]) + np.array([[0.0, 0, 0], [0, 0.4, 0], [0, 0.8, 0.1]])
PANEL = np.array([3.0, 8.0, 4.0]) + np.array([[0.0, 0, 0], [0.3, 0, 0], [0, 0, 0.3], [0.3, 0, 0.3]])


def shortest(start, end, planes):
    """Length of the shortest way from start to end that touches each plane in turn (Fermat)."""
    bases = [np.linalg.svd(plane.normal[None, :])[2][1:] for plane in planes]

    def length(coordinates):
        touched = [
            plane.point + coordinates[2 * k : 2 * k + 2] @ basis
            for k, (plane, basis) in enumerate(zip(planes, bases, strict=True))
        ]
        stops = np.array([start, *touched, end])
        return np.linalg.norm(np.diff(stops, axis=0), axis=1).sum()

    found = minimize(length, np.zeros(2 * len(planes)), method="BFGS", options={"gtol": 1e-9})
    return found.fun


@pytest.mark.parametrize(
    ("sources", "receivers", "planes"),
    [
        (ANTENNAS, PANEL, [SLANTED]),
        (ANTENNAS, PANEL, [GROUND, SLANTED]),
        (PANEL, ANTENNAS, [SLANTED, GROUND]),
    ],
)
def test_the_channel_has_the_lengths_of_literal_reflections(sources, receivers, planes):
    reflection = 0.4 - 0.3j
    channel = specular_channel([SpecularPath(reflection, planes)], sources, receivers, WAVELENGTH)
    lengths = np.array([[shortest(s, r, planes) for s in sources] for r in receivers])
    expected = reflection * WAVELENGTH / (4 * np.pi * lengths)
    expected = expected * np.exp(-2j * np.pi * lengths / WAVELENGTH)
    np.testing.assert_allclose(channel, expected, rtol=1e-6)  # lengths to 1e-9 m


def test_the_direct_path_has_straight_lengths():
    channel = specular_channel([SpecularPath(1, [])], ANTENNAS, PANEL, WAVELENGTH)
    lengths = np.array([[np.linalg.norm(r - s) for s in ANTENNAS] for r in PANEL])
    np.testing.assert_allclose(abs(channel), WAVELENGTH / (4 * np.pi * lengths), rtol=1e-14)
    turns = np.angle(channel * np.exp(2j * np.pi * lengths / WAVELENGTH))
    np.testing.assert_allclose(turns, 0, atol=1e-11)


def test_the_image_in_a_wall_and_the_order_of_planes():
    wall = Plane(np.array([5.0, 0, 0]), np.array([1.0, 0, 0]))
    np.testing.assert_allclose(mirror_image(ANTENNAS, [wall])[0], [9.0, 2.0, -0.2])
    lower = Plane(np.array([0.0, 0, 1]), np.array([1.0, 0, 1]) / np.sqrt(2))
    # The second plane exchanges x - 1/2 and 1/2 - z.
    np.testing.assert_allclose(mirror_image(ANTENNAS, [wall, lower])[0], [1.2, 2.0, -8.0])
    np.testing.assert_allclose(
        mirror_image(ANTENNAS, [lower, wall])[0], [8.8, 2.0, 0.0], atol=1e-15
    )


def test_the_plane_of_a_triangle():
    corners = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    point, normal = plane_through(corners)
    np.testing.assert_allclose(abs(normal @ np.array([1.0, 1, 1])), np.sqrt(3))
    np.testing.assert_allclose((corners - point) @ normal, 0, atol=1e-15)


def test_paths_add_up():
    paths = [SpecularPath(1, []), SpecularPath(-0.5j, [GROUND])]
    both = specular_channel(paths, ANTENNAS, PANEL, WAVELENGTH)
    each = [specular_channel([path], ANTENNAS, PANEL, WAVELENGTH) for path in paths]
    np.testing.assert_allclose(both, each[0] + each[1], rtol=1e-14)


@pytest.mark.parametrize(
    ("turn", "column", "row"),
    [
        ({}, [0, 1, 0], [0, 0, 1]),  # faces +x
        ({"azimuth": "90 deg"}, [-1, 0, 0], [0, 0, 1]),  # faces +y
        ({"horizontal": [0, 0, 1], "vertical": [0, -1, 0]}, [0, 0, 1], [0, -1, 0]),  # on its side
    ],
)
def test_elements_lie_along_the_axes_of_a_panel(turn, column, row):
    panel = PanelSpec(position=[1, 2, 3], rows=2, columns=3, spacing=[0.5, 0.25], **turn)
    positions = panel.element_positions(0.1)
    expected = [
        np.array([1, 2, 3]) + 0.05 * c * np.array(column) + 0.025 * r * np.array(row)
        for r in range(2)
        for c in range(3)
    ]
    np.testing.assert_allclose(positions, expected, atol=1e-15)
