"""Truths: Friis' formula and the radar equation by hand, numerical integrals over apertures."""

import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.scenario import load, parse
from tests.scenario.test_localization import BARE as LOCALIZATION
from tests.scenario.test_sensing import BARE as SENSING
from tests.scenario.test_sensing import some_channels, with_channels

SPECULAR = {"link.rician": "150 dB"}


def decibel(ratio):
    return 10 * np.log10(ratio)


def friis(distance, wavelength, *gains):
    return np.prod(gains) * (wavelength / (4 * np.pi * distance)) ** 2


def aperture(size, wavelength, points=60):
    """Points over a rectangular aperture in the plane x = 0, [point xyz], and their area. [m]"""
    steps = (np.arange(points) + 0.5) / points - 0.5
    y, z = np.meshgrid(steps * size[0] * wavelength, steps * size[1] * wavelength)
    area = size[0] * size[1] * wavelength**2
    return np.stack([np.zeros(y.size), y.ravel(), z.ravel()], axis=1), area / y.size


def radiated(points, patch, field, place, wavelength):
    """Field at a place by the Kirchhoff integral over an aperture."""
    distance = np.linalg.norm(place - points, axis=1)
    return (
        np.sum(field * np.exp(2j * np.pi * distance / wavelength) / distance) * patch / wavelength
    )


def test_channels_to_surfaces_are_friis_formula_in_free_space():
    gains = {"base_station.antenna_gain": "7 dBi", "surfaces.0.element_gain": "3 dBi"}
    scenario = parse(SENSING, SPECULAR | gains)
    scene = scenario.build()
    first, second = np.sqrt(16 + 36 + 1), np.sqrt(36 + 144 + 4)
    for channel, distance, element in zip(
        scene.bs_to_irs, (first, second), (10**0.3, np.pi), strict=True
    ):
        expected = friis(distance, scenario.wavelength, 10**0.7, element)
        np.testing.assert_allclose(np.abs(channel) ** 2, expected, rtol=1e-6)


def test_target_gain_is_the_radar_equation():
    scenario = parse(SENSING, {"surfaces.0.element_gain": "3 dBi"})
    expected = 10**0.6 * scenario.wavelength**2 * 0.1 / ((4 * np.pi) ** 3 * 94**2)
    np.testing.assert_allclose(np.abs(scenario.build().target_gain[0]) ** 2, expected, rtol=1e-12)


def test_default_element_gain_is_that_of_its_area():
    # Power that falls on the area of one element from an isotropic antenna, by an integral of the
    # density; and the echo: Kirchhoff's integral of a uniformly excited element at the target,
    # whose scattered density is integrated over the area again.
    size, section = (0.5, 0.7), 0.1
    straight = {
        "base_station.position": [46, 6, 3],
        "surfaces.0.spacing": size,
        "target.position": [26, 6, 3],
        "surfaces.0.position": [-4, 6, 3],
    }
    scenario = parse(SENSING, SPECULAR | straight)
    scene, wavelength = scenario.build(), scenario.wavelength
    points, patch = aperture(size, wavelength)

    def density(place):
        distance = np.linalg.norm(place - points, axis=1)
        return 1 / (4 * np.pi * distance**2)

    received = np.sum(density(np.array([50.0, 0, 0]))) * patch
    np.testing.assert_allclose(np.abs(scene.bs_to_irs[0]) ** 2, received, rtol=1e-4)
    target = np.array([30.0, 0, 0])
    field = 1 / np.sqrt(patch * len(points))  # one watt in total
    at_target = abs(radiated(points, patch, field, target, wavelength)) ** 2
    echo = at_target * section * np.sum(density(target)) * patch
    np.testing.assert_allclose(np.abs(scene.target_gain[0]) ** 2, echo, rtol=1e-4)


def test_product_law_is_what_the_area_of_an_element_scatters():
    # Kirchhoff's integral over an element with the field of an isotropic antenna on its axis,
    # received by another isotropic antenna on the axis.
    straight = {"base_station.position": [10, 0, 3], "user.position": [8, 0, 3]}
    scenario = parse(LOCALIZATION, straight | {"surface.spacing": [0.4, 0.8]})
    wavelength = scenario.wavelength
    points, patch = aperture((0.4, 0.8), wavelength)
    to_base_station = np.linalg.norm(points - [10.0, 0, 0], axis=1)
    phase = np.exp(2j * np.pi * to_base_station / wavelength)
    field = phase / (np.sqrt(4 * np.pi) * to_base_station)
    at_user = radiated(points, patch, field, np.array([8.0, 0, 0]), wavelength)
    received = abs(at_user) ** 2 * wavelength**2 / (4 * np.pi)
    amplitude = float(scenario.build().path_amplitude(jnp.asarray(8.0)))
    np.testing.assert_allclose(amplitude**2, received, rtol=1e-3)


def test_gains_of_antennas_and_elements_count_on_both_hops():
    gains = {
        "base_station.antenna_gain": "7 dBi",
        "user.antenna_gain": "2 dBi",
        "surface.element_gain": "3 dBi",
    }
    scenario = parse(LOCALIZATION, gains)
    first, second = np.sqrt(100 + 25 + 25), np.sqrt(64 + 36 + 4)
    expected = friis(first, scenario.wavelength, 10**0.7, 10**0.3)
    expected *= friis(second, scenario.wavelength, 10**0.3, 10**0.2)
    amplitude = float(scenario.build().path_amplitude(jnp.asarray(second)))
    np.testing.assert_allclose(amplitude**2, expected, rtol=1e-12)


BS_TO_FIRST = friis(np.sqrt(53), 299792458 / 3e9, np.pi)
BS_TO_SECOND = friis(np.sqrt(184), 299792458 / 3e9, np.pi)
FIRST_TO_TARGET = friis(1, 299792458 / 3e9) * np.pi**2 * 0.1 / (4 * np.pi * 94**2)
REFERENCE = 1e-3 / friis(1, 299792458 / 3e9)


@pytest.mark.parametrize(
    ("overrides", "path", "allowed", "excess"),
    [
        (
            {"link.reference_loss": "-30 dB"},
            "the path from the base station to surfaces.0",
            BS_TO_FIRST,
            REFERENCE,
        ),
        (
            {"link.reference_loss": "-30 dB"},
            "the path from surfaces.0 to the target and back",
            FIRST_TO_TARGET,
            REFERENCE,
        ),
        (
            {"link.exponent": 1.5},
            "the path from the base station to surfaces.1",
            BS_TO_SECOND,
            184**0.25,
        ),
    ],
)
def test_gain_over_free_space_is_a_warning_with_both_numbers(overrides, path, allowed, excess):
    assert parse(SENSING).notes == ()
    over, found, most = (
        f"{round(decibel(ratio), 1):.15g} dB" for ratio in (excess, excess * allowed, allowed)
    )
    start = f"Link budget: {path} gains {over} over free space: {found} where free space allows "
    warnings = parse(SENSING, overrides).notes
    assert any(warning.startswith(f"{start}{most}; ") for warning in warnings), warnings


def test_the_remedy_names_the_key_that_is_too_high():
    (warning,) = parse(SENSING, {"link.exponent": 1.5}).notes
    assert "write a link.exponent of at least 2." in warning
    both = {"link.exponent": 0.5, "link.reference_loss": "-45 dB"}
    (warning,) = parse(SENSING, both).notes
    assert "write a link.exponent of at least 2." in warning
    for warning in parse(SENSING, {"link.reference_loss": "-30 dB"}).notes:
        assert "remove link.reference_loss" in warning


def test_free_space_written_by_hand_is_no_warning():
    assert parse(SENSING, {"link.reference_loss": "-42 dB", "link.exponent": 2}).notes == ()
    assert parse(SENSING, {"link.reference_loss": "-41.8 dB"}).notes != ()
    assert parse(SENSING, {"surfaces.1.element_gain": "5 dBi"}).notes == ()


def test_imported_channels_over_free_space_are_a_warning(tmp_path):
    drawn = parse(SENSING).build()
    channels = np.zeros((2, 12, 3), complex)
    for i, channel in enumerate(drawn.bs_to_irs):
        channels[i, : len(channel)] = channel
    file = with_channels(tmp_path, SENSING, bs_to_irs=channels, target_gain=drawn.target_gain)
    assert load(file).notes == ()
    with_channels(tmp_path, SENSING, bs_to_irs=1.7 * channels, target_gain=drawn.target_gain)
    assert load(file).notes == ()  # 4.6 dB, as where reflections add up
    with_channels(tmp_path, SENSING, bs_to_irs=30 * channels, target_gain=drawn.target_gain)
    (warning,) = load(file).notes
    assert "from the base station to surfaces" in warning
    assert "check the scale of 'mine.npz'" in warning
    with_channels(tmp_path, SENSING, bs_to_irs=channels, target_gain=10 * drawn.target_gain)
    (warning,) = load(file).notes
    assert "to the target and back gains 20 dB over free space" in warning
    with_channels(tmp_path, SENSING, bs_to_irs=1e-6 * some_channels(2, 12, 3))
    assert load(file).notes == ()


@pytest.mark.parametrize(
    ("overrides", "excess"),
    [
        # Friis over the unfolded path against scattering by elements of the area lambda^2 / 4:
        # 4 d1 d2 / (lambda (d1 + d2)).
        (
            {"link.path_loss": "sum_distance"},
            2
            * decibel(4 * np.sqrt(150 * 104) / (np.sqrt(150) + np.sqrt(104)) / (299792458 / 30e9)),
        ),
        ({"link.attenuation": 2}, 2 * decibel(2)),
        ({"link.attenuation": 2, "surface.reflection": 0.6}, 2 * decibel(1.2)),
        ({"link.attenuation": 2, "surface.reflection": 0.5}, None),
        ({"base_station.antenna_gain": "20 dBi"}, None),
        ({"surface.element_gain": "3 dBi"}, None),
    ],
)
def test_more_power_than_elements_scatter_is_a_warning(overrides, excess):
    warnings = parse(LOCALIZATION, overrides).notes
    if excess is None:
        assert warnings == ()
    else:
        (warning,) = warnings
        start = "Link budget: the path through the 6 elements of the surface gains "
        assert warning.startswith(f"{start}{round(excess, 1):.15g} dB over free space: ")


@pytest.mark.parametrize(("text", "name"), [(LOCALIZATION, "surface"), (SENSING, "surfaces.1")])
def test_elements_with_more_gain_than_their_area_are_a_warning(text, name):
    warnings = parse(text, {f"{name}.element_gain": "8 dBi"}).notes
    assert f"Link budget: {name}.element_gain is 8 dBi, but the area" in warnings[0]
    assert "has a gain of 5 dBi" in warnings[0]
    assert len(warnings) == 1


def test_an_element_gain_without_effect_is_a_warning():
    budget = {"link.path_loss": "sum_distance", "surface.element_gain": "3 dBi"}
    assert any("has no effect" in warning for warning in parse(LOCALIZATION, budget).notes)
