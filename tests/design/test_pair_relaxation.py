"""Truths: the information of random phases by its definition, dense eigenvalues, differences."""

import numpy as np
import pytest
from scipy.optimize import minimize

from heliostat.design import pair_relaxation
from heliostat.design.cooperative_bound import panels_of
from heliostat.design.pair_relaxation import attained_reach, pair_reach
from tests.support.sensing_scenes import sensing_scene


def one_panel(rows=3, columns=3, antennas=4, seed=0, **changes):
    scene = sensing_scene(
        rows=(rows,), columns=(columns,), antennas=antennas, seed=seed,
        surfaces=((-5.0, 10.0, 0.0),), **changes
    )  # fmt: skip
    return panels_of(scene)[0]


def key(panel):
    return panel.channel.tobytes(), panel.spread.tobytes(), len(panel.spread)


def in_units(panel):
    found = pair_relaxation.pair_panel(panel.channel, panel.spread)
    assert found is not None
    return found


def information(panel, phase):
    """J of unit power, amplification and noise: |v|^2 v_a^H v_b - v_a^H v v^H v_b."""
    u = np.exp(1j * phase)
    v = panel.channel.T @ u
    slopes = panel.channel.T @ (u[:, None] * panel.spread)
    across = np.conj(slopes).T @ v
    return np.real(np.vdot(v, v) * (np.conj(slopes).T @ slopes) - np.outer(across, np.conj(across)))


def reached(panel, phase):
    return 1 / np.trace(np.linalg.inv(information(panel, phase)))


def random_dual(units, rng):
    shape = units.shared.shape
    raw = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    multipliers = pair_relaxation._differences(units, raw + np.conj(np.swapaxes(raw, 1, 2)))
    root = rng.normal(size=(2, 2))
    delta = rng.uniform(1, 2, size=units.off.shape)
    return pair_relaxation.PairDual(root @ root.T, (delta + delta.T) * units.off, multipliers)


def test_relaxed_form_is_the_information_and_multipliers_cost_nothing():
    panel, rng = one_panel(), np.random.default_rng(0)
    units = in_units(panel)
    dual = random_dual(units, rng)
    assert np.max(np.abs(np.sum(dual.multipliers, axis=0))) < 1e-12 * np.abs(dual.multipliers).max()
    phase = rng.uniform(0, 2 * np.pi, len(panel.spread))
    first, second = np.triu_indices(len(phase), 1)
    # Up to a unitary matrix, the modes are the columns of the channel in the units of the panel.
    t = np.exp(1j * (phase[first] + phase[second]))
    form = np.real(np.conj(t) @ pair_relaxation._matrix(units, dual) @ t)
    expected = information(panel, phase) / np.outer(units.scale, units.scale)
    value = np.sum(dual.delta[first, second]) - np.sum(dual.weight * expected)
    np.testing.assert_allclose(form, value, rtol=1e-10)


def test_map_of_the_violation_is_the_dense_matrix():
    units, rng = in_units(one_panel()), np.random.default_rng(1)
    dual = random_dual(units, rng)
    t = pair_relaxation.symmetric(rng.normal(size=(2, *units.off.shape)) + 0.5j, units.off)
    first, second = np.triu_indices(len(units.off), 1)
    kernel = pair_relaxation._kernel(units, pair_relaxation.wedge_sums(units, t), dual.weight)
    applied = dual.delta * t - kernel + pair_relaxation._times(dual.multipliers, t)
    expected = pair_relaxation._matrix(units, dual) @ t[:, first, second].T
    np.testing.assert_allclose(applied[:, first, second].T, expected, atol=1e-10)


def test_slope_of_the_lagrangian_equals_finite_differences():
    units, rng = in_units(one_panel()), np.random.default_rng(2)
    multipliers = random_dual(units, rng).multipliers / 100
    function = pair_relaxation._lagrangian(units, multipliers)
    at, toward = rng.normal(size=(2, 2 * 4 * units.off.size))
    differences = (function(at + 1e-6 * toward)[0] - function(at - 1e-6 * toward)[0]) / 2e-6
    np.testing.assert_allclose(function(at)[1] @ toward, differences, rtol=1e-5)


@pytest.mark.parametrize("guess", [-5.0, 0.0, 1e3])
def test_proven_excess_is_never_below_the_largest_eigenvalue(guess):
    units, rng = in_units(one_panel()), np.random.default_rng(3)
    dual = random_dual(units, rng)
    exact = -np.linalg.eigvalsh(pair_relaxation._matrix(units, dual))[0]
    assert exact > 0  # otherwise there would be nothing to repair
    found = pair_relaxation.proven_excess(pair_relaxation._matrix(units, dual), guess)
    assert exact <= found <= max(2 * exact + 1e-2, guess * (1 + 1e-9))


def best_of_descents(panel, starts):
    rng, elements = np.random.default_rng(4), len(panel.spread)
    results = [
        minimize(
            lambda x: -np.log(reached(panel, x)), rng.uniform(0, 2 * np.pi, elements), tol=1e-9
        ).fun
        for _ in range(starts)
    ]
    return np.exp(-min(results))


@pytest.mark.parametrize(("rows", "columns", "antennas"), [(2, 2, 2), (2, 3, 4), (3, 3, 8)])
def test_bound_is_within_a_percent_of_the_best_phases(rows, columns, antennas):
    panel = one_panel(rows, columns, antennas, seed=rows)
    bound, best = pair_reach(*key(panel)), best_of_descents(panel, 6)
    assert best <= bound <= best * (1 + 2 * pair_relaxation.TOLERANCE)
    assert attained_reach(*key(panel)) <= best * (1 + 1e-6)


def test_bound_stopped_early_is_looser_but_valid(monkeypatch):
    panel = one_panel(antennas=8, seed=5)
    full = pair_reach(*key(panel))
    for name in ("STEPS", "DESCENT_STEPS"):
        monkeypatch.setattr(pair_relaxation, name, 1)
    pair_reach.cache_clear()
    early = pair_reach(*key(panel))
    pair_reach.cache_clear()
    assert early > full
    assert best_of_descents(panel, 3) <= full


@pytest.mark.slow
@pytest.mark.parametrize(("side", "most"), [(6, 0.05), (8, 0.2)])
def test_bound_of_larger_panels_is_close_to_the_best_phases(side, most):
    panel = one_panel(side, side, antennas=16, seed=1)
    assert 1 - attained_reach(*key(panel)) / pair_reach(*key(panel)) < most


def test_nothing_is_bounded_where_rounding_would_decide():
    assert pair_reach(*key(one_panel(rician_factor=1e15))) is None  # rank one
    assert pair_reach(*key(one_panel(rows=1))) is None  # on a line
    assert pair_reach(*key(one_panel(rows=12, columns=12))) is None  # too large
