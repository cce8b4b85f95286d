"""Responses to spherical waves against sums over the elements, and their limit far away."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import fresnel

from heliostat.geometry.arrays import PlanarArray
from heliostat.geometry.frames import travel
from heliostat.surface.passive import Focused, Phased, Steered, steered_phases, surface_response
from heliostat.surface.spherical import (
    excess_length,
    focused_phases,
    separable_response,
    spherical_response,
)
from tests.support.sites import yard

WAVELENGTH = jnp.asarray(299792458.0 / 60e9)
START = jnp.array([30.0, -20.0, 8.0])


def panel(columns=6, rows=4):
    return PlanarArray(
        jnp.array([0.0, 1.0, 0.0]),
        jnp.array([0.0, 0.0, 1.0]),
        jnp.array([1.0, 0.0, 0.0]),
        jnp.array([0.5, 0.7]),
        columns,
        rows,
    )


def elements(array):
    """Positions of the elements around the origin, one by one."""
    step = float(WAVELENGTH) * np.asarray(array.spacing)
    return np.array(
        [
            (column - (array.columns - 1) / 2) * step[0] * np.asarray(array.horizontal)
            + (row - (array.rows - 1) / 2) * step[1] * np.asarray(array.vertical)
            for row in range(array.rows)
            for column in range(array.columns)
        ]
    )


def test_response_is_the_sum_over_the_elements_and_the_slope_its_derivative():
    array, center = panel(), jnp.array([1.0, 2.0, 3.0])
    end = center + jnp.array([0.4, 0.2, -0.1])
    phase = np.random.default_rng(0).uniform(-np.pi, np.pi, (3, 24))
    found, slope = spherical_response(
        array, jnp.asarray(0.8), Phased(jnp.asarray(phase)), WAVELENGTH, START, center, end
    )
    for k in range(3):
        total = 0
        for angle, at in zip(phase[k], elements(array) + np.asarray(center), strict=True):
            length = np.linalg.norm(at - START) - np.linalg.norm(center - START)
            length += np.linalg.norm(at - end) - np.linalg.norm(center - end)
            total += 0.8 * np.exp(1j * (angle + 2 * np.pi / float(WAVELENGTH) * length))
        np.testing.assert_allclose(found[k], total, rtol=1e-9)

    def parts(place):
        value, _ = spherical_response(
            array, jnp.asarray(0.8), Phased(jnp.asarray(phase)), WAVELENGTH, START, center, place
        )
        return jnp.stack([value.real, value.imag])

    derivative = jax.jacfwd(parts)(end)
    np.testing.assert_allclose(slope, derivative[0] + 1j * derivative[1], rtol=1e-8)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.1, -0.2)])
def test_a_focused_panel_is_its_phases(offset):
    array, center = panel(), jnp.zeros(3)
    focused = Focused(jnp.array([0.5, 0.1, -0.2]), jnp.array([offset]))
    phases = Phased(focused_phases(array, WAVELENGTH, START, focused, center))
    for end in (focused.focus, jnp.array([0.45, 0.15, -0.2])):
        one, slope = spherical_response(
            array, jnp.ones(()), focused, WAVELENGTH, START, center, end
        )
        other, same = spherical_response(
            array, jnp.ones(()), phases, WAVELENGTH, START, center, end
        )
        np.testing.assert_allclose(one, other, rtol=1e-9)
        np.testing.assert_allclose(slope, same, rtol=1e-8)
    at_focus, _ = spherical_response(
        array, jnp.ones(()), focused, WAVELENGTH, START, center, focused.focus
    )
    if offset == (0.0, 0.0):
        np.testing.assert_allclose(at_focus, 24, rtol=1e-12)


def test_far_away_it_is_the_response_to_plane_waves():
    # Up to the phase of the first element, to which plane waves are referred.
    array, far = panel(), jnp.array([4e4, 1e4, -2e4])
    start = 1e3 * START
    cosines = array.direction_cosines(travel(jnp.zeros(3), far)[0])
    arrival = array.direction_cosines(travel(start, jnp.zeros(3))[0])
    offset = jnp.array([[0.0, 0.0], [0.2, 0.1], [-0.1, 0.3]])
    plane, _ = surface_response(array, jnp.ones(()), Steered(cosines, offset), arrival, cosines)
    phases = Phased(steered_phases(array, arrival, Steered(cosines, offset)))
    spherical, _ = spherical_response(
        array, jnp.ones(()), phases, WAVELENGTH, start, jnp.zeros(3), far
    )
    ratio = np.asarray(spherical / plane)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    np.testing.assert_allclose(np.abs(ratio), 1, rtol=1e-3)


@pytest.mark.parametrize("distance", [2.0, 5.0, 20.0])
def test_plane_steering_loses_the_amplitude_of_a_fresnel_integral(distance):
    # 64 x 64 elements at 60 GHz, seen from broadside: the phase error is quadratic along both axes.
    spacing = jnp.array([0.5, 0.5])
    axes = jnp.eye(3)
    array = PlanarArray(axes[1], axes[2], axes[0], spacing, 64, 64)
    end, start = jnp.array([distance, 0.0, 0.0]), jnp.array([1e5, 0.0, 0.0])
    plane = Steered(jnp.zeros(2), jnp.zeros((1, 2)))
    phases = Phased(steered_phases(array, jnp.zeros(2), plane))
    found, _ = spherical_response(array, jnp.ones(()), phases, WAVELENGTH, start, jnp.zeros(3), end)
    half = 32 * 0.5 * float(WAVELENGTH)
    edge = np.sqrt(2 * half**2 / (float(WAVELENGTH) * distance))
    sine, cosine = fresnel(edge)
    along_axis = abs(cosine + 1j * sine) / edge
    np.testing.assert_allclose(abs(found[0]) / 64**2, along_axis**2, rtol=1e-3)


def test_excess_length_keeps_its_digits_far_away():
    offsets = jnp.asarray(elements(panel()))
    far = jnp.array([1e7, 2e6, 3e6])
    exact = -offsets @ far / jnp.linalg.norm(far)  # plane waves; the rest is 1e-13 of it
    np.testing.assert_allclose(excess_length(offsets, far), exact, rtol=1e-8, atol=1e-12)


def test_the_separable_response_is_close_to_the_exact_one():
    # Truth: the sum over all elements with exact distances, for users from a few panel widths on.
    scene = yard(surfaces=1, spherical=True, columns=32, rows=32)
    surface, center = scene.surface, scene.reflection_point()
    rng = np.random.default_rng(0)
    for distance in (1.5, 4.0, 12.0):
        direction = rng.normal(size=3) - np.array([0.0, 1.0, 0.0])
        direction[1] = -abs(direction[1])
        end = center + distance * jnp.asarray(direction / np.linalg.norm(direction))
        focus = end + 0.03 * distance * jnp.asarray(rng.normal(size=3))
        focused = Focused(focus, surface.alignment.offset)
        common = (surface.array, surface.reflection, focused, scene.link.wavelength)
        exact, _ = spherical_response(*common, scene.base_station.position, center, end)
        found = separable_response(*common, center, end)
        np.testing.assert_allclose(found, exact, atol=0.02 * surface.array.elements)
