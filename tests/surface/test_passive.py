"""Truths: the sum over elements as the paper writes it, automatic differentiation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from heliostat.surface.passive import (
    SORTED,
    Phased,
    Steered,
    best_quantized,
    focused_phases,
    quantized,
    random_phases,
    rounded_responses,
    steered_phases,
    surface_response,
)
from tests.support.scenes import localization_scene, random_scenes


def literal_response(scene, departure):
    """a^H(departure) Theta a(arrival), element by element: paper eqs. (15), (16), (34), (35)."""
    array, alignment = scene.surface.array, scene.surface.alignment
    (dh, dv), (ah, av) = np.asarray(array.spacing), np.asarray(scene.arrival())
    total = []
    for offset in np.asarray(alignment.offset):
        fh, fv = np.asarray(alignment.focus) + offset
        element_sum = 0j
        for q in range(array.rows):
            for p in range(array.columns):
                arrive = np.exp(2j * np.pi * (dh * p * ah + dv * q * av))
                leave = np.exp(2j * np.pi * (dh * p * departure[0] + dv * q * departure[1]))
                focus = np.exp(2j * np.pi * (dh * p * fh + dv * q * fv))
                theta = float(scene.surface.reflection) * focus * np.conj(arrive)
                element_sum += np.conj(leave) * theta * arrive
        total.append(element_sum)
    return np.array(total)


@given(random_scenes())
def test_two_dirichlet_kernels_equal_the_sum_over_elements(scene):
    surface = scene.surface
    departure = scene.departure(scene.user.position)
    args = (surface.array, surface.reflection)
    steered, slope = surface_response(*args, surface.alignment, scene.arrival(), departure)
    np.testing.assert_allclose(steered, literal_response(scene, np.asarray(departure)), atol=1e-11)

    written_out = Phased(steered_phases(surface.array, scene.arrival(), surface.alignment))
    summed, summed_slope = surface_response(*args, written_out, scene.arrival(), departure)
    np.testing.assert_allclose(steered, summed, atol=1e-11)
    np.testing.assert_allclose(slope, summed_slope, atol=1e-9)


@given(random_scenes(steered=False))
def test_slopes_equal_the_differentiated_response(scene):
    surface = scene.surface
    departure = scene.departure(scene.user.position)

    def response(cosines):
        return surface_response(
            surface.array, surface.reflection, surface.alignment, scene.arrival(), cosines
        )[0]

    _, slope = surface_response(
        surface.array, surface.reflection, surface.alignment, scene.arrival(), departure
    )
    np.testing.assert_allclose(slope, jax.jacfwd(response)(departure), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("reflection", [1.0, 0.6])
def test_a_focused_surface_adds_up_all_its_elements(reflection):
    scene = localization_scene(reflection=reflection, columns=5, rows=7)
    response, _ = surface_response(
        scene.surface.array,
        scene.surface.reflection,
        scene.surface.data,
        scene.arrival(),
        scene.departure(scene.user.position),
    )
    np.testing.assert_allclose(np.abs(response), [35 * reflection], rtol=1e-12)


def test_one_bit_phases_lose_what_theory_says():
    # Truth: uniformly spread phases rounded to b bits keep sinc(2^-b)^2 of the power.
    scene = localization_scene(columns=40, rows=40)
    phase = focused_phases(
        scene.surface.array, scene.arrival(), scene.departure(scene.user.position)
    )
    for bits in (1, 2, 3):
        response, _ = surface_response(
            scene.surface.array,
            scene.surface.reflection,
            Phased(quantized(phase, bits)[None, :]),
            scene.arrival(),
            scene.departure(scene.user.position),
        )
        kept = float(np.abs(response[0])) / 1600
        assert abs(kept - np.sinc(2.0**-bits)) < 3 / np.sqrt(1600)
        levels = np.unique(np.round(np.asarray(quantized(phase, bits)) % (2 * np.pi), 9) % 6.283185)
        assert len(levels) <= 2**bits + 1


@pytest.mark.parametrize("bits", [1, 2])
def test_the_best_quantized_phases_are_the_best_of_all(bits):
    # Truth: all settings of four elements, one by one.
    levels = 2 * np.pi * np.arange(2**bits) / 2**bits
    settings = np.array(list(itertools.product(levels, repeat=4)))
    rng = np.random.default_rng(bits)
    for phase in rng.uniform(-10, 10, (20, 4)):
        response = np.abs(np.exp(1j * (settings - phase)).sum(axis=1))
        found = best_quantized(jnp.asarray(phase), bits)
        reached = np.abs(np.exp(1j * (np.asarray(found) - phase)).sum())
        assert reached == pytest.approx(response.max(), rel=1e-12)
        np.testing.assert_allclose(np.asarray(found) / levels[1] % 1, 0.0, atol=1e-9)


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_rounded_phases_respond_as_the_sum_over_elements(bits):
    scene = localization_scene(columns=7, rows=5, spacing=(0.5, 0.4), reflection=0.8)
    array, reflection = scene.surface.array, scene.surface.reflection

    @jax.jit
    @jax.vmap
    def summed(steered, arrival, departure):
        exact = steered_phases(array, arrival, steered)
        rounded = Phased(quantized(exact, bits))
        return surface_response(array, reflection, rounded, arrival, departure), exact

    rng = np.random.default_rng(bits)
    focus, arrival, departure = rng.uniform(-1, 1, (3, 150, 2))
    steered = jax.vmap(Steered)(focus, rng.uniform(-0.3, 0.3, (150, 3, 2)))
    (expected, expected_slope), exact = summed(steered, arrival, departure)
    steps = np.asarray(exact) / (2 * np.pi / 2**bits)
    assert np.min(np.abs(steps - np.floor(steps) - 0.5)) > 1e-9  # one level is the nearest
    found, slope = rounded_responses(array, float(reflection), steered, bits, arrival, departure)
    np.testing.assert_allclose(found, expected, atol=1e-11)
    np.testing.assert_allclose(slope, expected_slope, atol=1e-9)


def test_a_common_phase_is_worth_little_for_a_large_panel():
    # What the docstring of SORTED says, by a search over many common phases.
    rng, gains = np.random.default_rng(0), []
    for phase in rng.uniform(-np.pi, np.pi, (30, SORTED)):
        turned = phase + np.linspace(0, np.pi, 100)[:, None]
        response = np.abs(np.exp(1j * (np.round(turned / np.pi) * np.pi - turned)).sum(axis=1))
        gains.append(20 * np.log10(response.max() / response[0]))
    assert np.mean(gains) < 0.2


def test_random_phases_are_uniform_and_reproducible():
    phase = np.asarray(random_phases(jax.random.key(3), 4, 5000))
    np.testing.assert_array_equal(phase, random_phases(jax.random.key(3), 4, 5000))
    assert phase.min() >= -np.pi
    assert phase.max() < np.pi
    # Truth: the mean of n unit phasors has standard deviation 1/sqrt(n).
    assert abs(np.mean(np.exp(1j * phase))) < 4 / np.sqrt(phase.size)


def test_offsets_move_the_beam_where_they_say():
    scene = localization_scene(sweep=((0.9, 0.0), (0.0, -0.4)), columns=8, rows=4)
    steered = scene.surface.alignment
    assert isinstance(steered, Steered)
    for k, offset in enumerate(np.asarray(steered.offset)):
        response, _ = surface_response(
            scene.surface.array,
            scene.surface.reflection,
            steered,
            scene.arrival(),
            steered.focus + jnp.asarray(offset),
        )
        np.testing.assert_allclose(np.abs(response[k]), 32.0, rtol=1e-12)
