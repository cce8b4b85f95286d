"""Truths: the information of the best phases that descents by its definition find."""

import numpy as np
import pytest
from scipy.optimize import minimize

from heliostat.design import element_relaxation
from heliostat.design.element_relaxation import Form
from heliostat.design.scaled_panel import information, phase_slope
from heliostat.design.transmit_limit_bound import (
    SumForm,
    attained_transmit_limit,
    transmit_limit_bound,
)
from tests.support.panels import in_units, key, one_panel


def own_information(panel, phase):
    """J of unit power, amplification and noise: |v|^2 v_a^H v_b - v_a^H v v^H v_b."""
    u = np.exp(1j * phase)
    v = panel.channel.T @ u
    slopes = panel.channel.T @ (u[:, None] * panel.phase_slopes)
    across = np.conj(slopes).T @ v
    return np.real(np.vdot(v, v) * (np.conj(slopes).T @ slopes) - np.outer(across, np.conj(across)))


def reached(panel, phase):
    return 1 / np.trace(np.linalg.inv(own_information(panel, phase)))


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
    bound, best = transmit_limit_bound(*key(panel)), best_of_descents(panel, 6)
    assert best <= bound <= best * 1.02
    assert attained_transmit_limit(*key(panel)) <= best * (1 + 1e-6)


def test_bound_stopped_early_is_looser_but_valid(monkeypatch):
    panel = one_panel(antennas=8, seed=5)
    full = transmit_limit_bound(*key(panel))
    monkeypatch.setattr(element_relaxation, "STEPS", element_relaxation.STEPS_PER_PROOF)
    transmit_limit_bound.cache_clear()
    early = transmit_limit_bound(*key(panel))
    transmit_limit_bound.cache_clear()
    assert early > full
    assert best_of_descents(panel, 3) <= full


@pytest.mark.slow
@pytest.mark.parametrize(("side", "most"), [(6, 0.05), (8, 0.12), (16, 0.35)])
def test_bound_of_larger_panels_is_close_to_the_best_phases(side, most):
    panel = one_panel(side, side, antennas=16, seed=1)
    assert 1 - attained_transmit_limit(*key(panel)) / transmit_limit_bound(*key(panel)) < most


@pytest.mark.slow
def test_coefficients_drawn_with_the_moments_are_not_better():
    """What the bound leaves at 256 elements is the relaxation's, not that of a local optimum."""
    units = in_units(one_panel(16, 16, antennas=16, seed=1))
    form = SumForm(units)
    u = form.best_coefficients()
    root = form.root_at(np.real(information(units, u)[0]))[1]
    iteration = element_relaxation._Iteration(
        Form(units, root, np.zeros((1, 1))), u, np.ones(1) + 0j
    )
    for step in range(70):
        iteration.update_matrices()
        if step < 50:
            iteration.step_split(0.8 * (1 - step / 50))
        iteration.step(0.01 if step < 50 else 0.001)
    iteration.update_matrices()
    Q = iteration.zU @ np.conj(np.swapaxes(iteration.z, 1, 2))
    reached = np.sum(np.einsum("mij,mji->m", iteration.metric, Q)) - np.trace(iteration.Y)
    assert np.real(reached) <= iteration.bound() <= 1.01 * np.real(reached)
    rng = np.random.default_rng(0)
    drawn = np.linalg.cholesky(iteration.U) @ (rng.normal(size=(2, 256, 4)).T @ [1, 1j]).T
    assert form.value(form.best_coefficients(np.angle(drawn.T))) <= form.value(u) * (1 + 1e-6)


def test_nothing_is_bounded_where_rounding_would_decide():
    assert transmit_limit_bound(*key(one_panel(rician_factor=1e15))) is None  # rank one
    assert transmit_limit_bound(*key(one_panel(rows=1))) is None  # on a line
    assert transmit_limit_bound(*key(one_panel(rows=21, columns=21))) is None  # too large
    assert transmit_limit_bound(*key(one_panel(5, 5, antennas=25))) is None  # too many modes


def test_phases_have_the_slope_of_finite_differences():
    units, rng = in_units(one_panel(antennas=6)), np.random.default_rng(6)
    form = SumForm(units, 0.01 * SumForm(units).value(np.ones(units.elements) + 0j))
    phase, toward = rng.normal(size=(2, units.elements))
    omega, _ = information(units, np.exp(1j * phase))
    root = form.root_at(np.real(omega))[1][:, 0]
    slope = phase_slope(units, np.exp(1j * phase), root @ root.T, -form.price)
    at = [form.value(np.exp(1j * (phase + step * toward))) for step in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope @ toward, (at[0] - at[1]) / 2e-6, rtol=1e-6)
