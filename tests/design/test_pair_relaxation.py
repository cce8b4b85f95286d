"""Truths: the information of the best phases that descents by its definition find."""

import numpy as np
import pytest
from scipy.optimize import minimize

from heliostat.design import moment_relaxation
from heliostat.design.pair_relaxation import attained_pairs, pair_bound
from tests.support.panels import key, one_panel


def information(panel, phase):
    """J of unit power, amplification and noise: |v|^2 v_a^H v_b - v_a^H v v^H v_b."""
    u = np.exp(1j * phase)
    v = panel.channel.T @ u
    slopes = panel.channel.T @ (u[:, None] * panel.phase_slopes)
    across = np.conj(slopes).T @ v
    return np.real(np.vdot(v, v) * (np.conj(slopes).T @ slopes) - np.outer(across, np.conj(across)))


def reached(panel, phase):
    return 1 / np.trace(np.linalg.inv(information(panel, phase)))


def best_of_descents(panel, starts):
    rng, elements = np.random.default_rng(4), len(panel.phase_slopes)
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
    bound, best = pair_bound(*key(panel)), best_of_descents(panel, 6)
    assert best <= bound <= best * (1 + 2 * moment_relaxation.TOLERANCE)
    assert attained_pairs(*key(panel)) <= best * (1 + 1e-6)


def test_bound_stopped_early_is_looser_but_valid(monkeypatch):
    panel = one_panel(antennas=8, seed=5)
    full = pair_bound(*key(panel))
    for name in ("STEPS", "DESCENT_STEPS"):
        monkeypatch.setattr(moment_relaxation, name, 1)
    pair_bound.cache_clear()
    early = pair_bound(*key(panel))
    pair_bound.cache_clear()
    assert early > full
    assert best_of_descents(panel, 3) <= full


@pytest.mark.slow
@pytest.mark.parametrize(("side", "most"), [(6, 0.05), (8, 0.2)])
def test_bound_of_larger_panels_is_close_to_the_best_phases(side, most):
    panel = one_panel(side, side, antennas=16, seed=1)
    assert 1 - attained_pairs(*key(panel)) / pair_bound(*key(panel)) < most


def test_nothing_is_bounded_where_rounding_would_decide():
    assert pair_bound(*key(one_panel(rician_factor=1e15))) is None  # rank one
    assert pair_bound(*key(one_panel(rows=1))) is None  # on a line
    assert pair_bound(*key(one_panel(rows=12, columns=12))) is None  # too large
