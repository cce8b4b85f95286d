"""Truths: both functions by their definition, dense matrices and eigenvalues, differences."""

import numpy as np
import pytest

from heliostat.design import moment_relaxation
from heliostat.design.knee_relaxation import difference_form
from heliostat.design.moment_relaxation import Dual, wedge_sums
from heliostat.design.pair_relaxation import attained, pair_form
from tests.support.panels import in_units, one_panel, wedge

TRANSMIT, RADIATED = 0.7, 0.3
ROOT = np.array([[1.3, 0.0], [0.4, 0.8]])


def price(units):
    return 0.01 * attained(pair_form(units))


def sum_beams(units):
    return pair_form(units, price(units))


def difference_beams(units):
    return difference_form(units, ROOT, TRANSMIT, RADIATED)


@pytest.fixture(params=[sum_beams, difference_beams])
def form(request):
    return request.param(in_units(one_panel()))


def random_dual(form, rng):
    elements, beams = len(form.panel.off), form.beams
    shape = (elements, beams * elements, beams * elements)
    raw = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    raw = (raw + np.conj(np.swapaxes(raw, 1, 2))).reshape(elements, beams, elements, beams, -1)
    multipliers = moment_relaxation._differences(raw, form.panel.off)
    root = rng.normal(size=(2, beams, 2))
    delta = rng.uniform(1, 2, size=form.panel.off.shape)
    return Dual(root, (delta + delta.T) * form.panel.off, multipliers, 1.7, 0.0)


def random_columns(form, rng, count):
    raw = rng.normal(size=(2, count, form.beams, *form.panel.off.shape))
    return moment_relaxation._symmetric(raw[0] + 1j * raw[1], form.panel.off)


def test_functions_are_their_definitions():
    units, rng = in_units(one_panel()), np.random.default_rng(0)
    u = np.exp(2j * np.pi * rng.random(len(units.off)))
    w = rng.normal(size=2) + 1j * rng.normal(size=2)
    t = np.outer(u, u) * units.off
    v = units.modes.T @ u
    gain, omega = np.real(np.vdot(v, v)), wedge(units, u)

    inverse = np.linalg.inv(np.real(omega) * np.outer(units.scale, units.scale))
    expected = 1 / np.trace(inverse) - price(units) * gain
    np.testing.assert_allclose(sum_beams(units).evaluate(t[None, None])[0], expected, rtol=1e-10)

    aperture = units.slopes @ units.slopes.T
    matrix = ROOT.T @ (TRANSMIT * omega + RADIATED * gain * aperture) @ ROOT
    found = difference_beams(units).evaluate((t * w[:, None, None])[None])[0]
    np.testing.assert_allclose(found, np.real(np.conj(w) @ matrix @ w), rtol=1e-10)


def test_multipliers_cost_nothing(form):
    multipliers = random_dual(form, np.random.default_rng(1)).multipliers
    elements = len(form.panel.off)
    apart = np.sum(multipliers, axis=0) * (1 - np.eye(elements))[None, :, None, :]
    assert np.max(np.abs(apart)) < 1e-12 * elements
    assert np.max(np.abs(np.einsum("mknln->kl", multipliers))) < 1e-12 * elements**2


def test_dense_matrix_is_the_maps(form):
    rng = np.random.default_rng(2)
    dual, t = random_dual(form, rng), random_columns(form, rng, 3)
    whole = dual._replace(multipliers=dual.multipliers - form.gain_multipliers() / dual.value)
    image = form.curvature(dual.root, wedge_sums(form.panel, t)) + form.gain(t)
    applied = dual.delta * t - image / dual.value
    applied = applied + moment_relaxation._multiplied(dual.multipliers, t)
    first, second = np.triu_indices(len(form.panel.off), 1)
    flat, found = (x[:, :, first, second].reshape(3, -1).T for x in (t, applied))
    np.testing.assert_allclose(
        found, moment_relaxation._slack_matrix(form.panel, whole) @ flat, atol=1e-10
    )


def test_slope_of_the_lagrangian_equals_finite_differences(form):
    rng = np.random.default_rng(3)
    function = moment_relaxation._lagrangian(form, random_dual(form, rng).multipliers / 100)
    at, toward = rng.normal(size=(2, 2 * 4 * form.beams * form.panel.off.size))
    differences = (function(at + 1e-6 * toward)[0] - function(at - 1e-6 * toward)[0]) / 2e-6
    np.testing.assert_allclose(function(at)[1] @ toward, differences, rtol=1e-5)


@pytest.mark.parametrize("guess", [-5.0, 0.0, 1e3])
def test_proven_excess_is_never_below_the_largest_eigenvalue(form, guess):
    matrix = moment_relaxation._slack_matrix(
        form.panel, random_dual(form, np.random.default_rng(4))
    )
    exact = -np.linalg.eigvalsh(matrix)[0]
    assert exact > 0  # otherwise there would be nothing to repair
    found = moment_relaxation.proven_excess(matrix, guess)
    assert exact <= found <= max(2 * exact + 1e-2, guess * (1 + 1e-9))
