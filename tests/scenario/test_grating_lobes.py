"""Truths: array factors of all directions on a grid, element by element."""

import numpy as np
import pytest

from heliostat.scenario import parse
from heliostat.scenario.grating_lobes import array_lobes, panel_lobes
from tests.scenario.test_localization import BARE as LOCALIZATION
from tests.scenario.test_sensing import BARE as SENSING


def found(text, overrides):
    return [w for w in parse(text, overrides).notes if w.startswith("Grating lobes: ")]


def response(directions, positions):
    """Response of elements at positions in wavelengths, [direction element]."""
    return np.exp(2j * np.pi * directions @ positions.T) / np.sqrt(len(positions))


@pytest.mark.parametrize("spacing", [(1.0, 0.5), (0.9, 1.3), (0.5, 0.5), (0.35, 2.2)])
def test_panel_lobes_are_all_directions_with_an_equal_response(spacing):
    turned = {"surface.spacing": spacing, "surface.azimuth": "-20 deg", "surface.tilt": "8 deg"}
    panel = parse(LOCALIZATION, turned | {"surface.rows": 12, "surface.columns": 12}).surface
    row, column = (x.ravel() for x in np.divmod(np.arange(144), 12))
    across, up, normal = panel.axes
    positions = np.outer(column * spacing[0], across) + np.outer(row * spacing[1], up)
    towards = np.array([8.0, 6.0, -2.0])
    wanted = response(towards / np.linalg.norm(towards), positions)
    lobes = panel_lobes(panel, towards)
    np.testing.assert_allclose(np.abs(response(lobes, positions) @ wanted.conj()), 1.0, rtol=1e-9)
    # Directions in front on a grid, apart from the rim, where parts of lobes outside are seen:
    # wherever the response is nearly equal, there is a lobe.
    cosines = np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, 301)]), axis=-1).reshape(-1, 2)
    cosines = cosines[np.sum(cosines**2, axis=1) < 0.9]
    ahead = np.sqrt(1 - np.sum(cosines**2, axis=1))
    directions = cosines @ np.stack([across, up]) + np.outer(ahead, normal)
    equal = directions[np.abs(response(directions, positions) @ wanted.conj()) > 0.97]
    known = np.vstack([towards / np.linalg.norm(towards), lobes])
    nearest = np.max(equal @ known.T, axis=1)
    assert np.all(nearest > np.cos(0.1))
    inside = np.sum((known @ np.stack([across, up]).T) ** 2, axis=1) < 0.88
    assert np.all(np.max(known[inside] @ equal.T, axis=1) > np.cos(0.1))
    assert np.all(np.diff(lobes @ towards) <= 1e-12)  # the nearest first


def test_array_lobes_are_all_angles_with_an_equal_response():
    lobes = array_lobes(1.7, 0.3)
    grid = np.linspace(-1, 1, 20001)
    correlation = np.abs(
        np.exp(2j * np.pi * 1.7 * np.outer(grid - 0.3, np.arange(50))).mean(axis=1)
    )
    peaks = grid[1:-1][
        (correlation[1:-1] > 0.99)
        & (correlation[1:-1] >= correlation[2:])
        & (correlation[1:-1] >= correlation[:-2])
    ]
    np.testing.assert_allclose(np.sort([0.3, *lobes]), peaks, atol=2e-4)
    assert abs(lobes[0] - 0.3) == min(abs(lobes - 0.3))


def test_half_a_wavelength_has_none_even_at_grazing_angles():
    assert array_lobes(0.5, 1.0).size == array_lobes(0.5, -1.0).size == 0
    assert parse(LOCALIZATION).notes == ()
    assert parse(SENSING).notes == ()


def test_warnings_give_spacing_and_directions():
    # Broadside at d = 1: the wanted cosines are (0, 0), lobes at the rim do not count.
    straight = {"user.position": [8, 0, 3], "surface.spacing": [1.25, 0.5]}
    (warning,) = found(LOCALIZATION, straight)
    angle = np.rad2deg(np.arcsin(1 / 1.25))
    assert "with 1.25 x 0.5 wavelengths between its elements the surface has" in warning
    assert "as towards the user in 2 other directions, the nearest at azimuth " in warning
    assert f"azimuth -{angle:.1f} deg, tilt 0 deg" in warning
    (warning,) = found(LOCALIZATION, {"base_station.spacing": 2, "base_station.axis": [0, 0, 1]})
    wanted = -5 / np.sqrt(150)
    angles = [np.rad2deg(np.arccos(cosine)) for cosine in (wanted, wanted + 0.5)]
    assert "with 2 wavelengths between its antennas the base station's array has" in warning
    assert f"{angles[0]:.0f} deg from its axis, in 3 other directions" in warning
    assert "nearest at " in warning
    (warning,) = found(LOCALIZATION, {"user.spacing": 0.9})
    assert "the user's array" in warning


def test_sensing_scenarios_warn_too():
    (warning,) = found(SENSING, {"surfaces.1.spacing": [10, 10]})
    assert "10 x 10 wavelengths between its elements surfaces.1 has" in warning
    assert "as towards the target in 3" in warning  # nearly 100 pi
    (warning,) = found(SENSING, {"base_station.spacing": 3})
    assert "as towards surfaces.0, " in warning


def test_huge_spacings_are_not_enumerated():
    (warning,) = found(LOCALIZATION, {"surface.spacing": [1e8, 1e8]})
    assert "in at least " in warning
