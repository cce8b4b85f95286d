"""Truths: both conditions by their definition at random coefficients; other bounds."""

import numpy as np

from heliostat.design import both_limits_bound
from heliostat.design.both_limits_bound import DifferenceForm, both_limits_bounds
from heliostat.design.cooperative_bound import (
    both_limits_majorants,
    least_crb,
    panels_of,
    surface_majorants,
)
from tests.support.adversary import random_scene
from tests.support.panels import key, one_panel, vectors, wedge


def test_both_conditions_hold_for_random_coefficients():
    """Amplitudes below the largest included, near the phases at which each condition is tight."""
    panel, rng = one_panel(antennas=6, seed=3), np.random.default_rng(2)
    priced = both_limits_bound._priced(*key(panel), 0.05)
    best = min(priced, key=lambda each: each.total)
    units, price = best.form.panel, best.form.price
    h, root = best.form.bound(best.u)
    e, X = price * units.elements, root[:, 0] @ root[:, 0].T
    root = np.linalg.cholesky(X)
    form = DifferenceForm(units, root, 0.49 / h, 0.09 / e)
    value = form.value(form.best_coefficients())[0]
    largest = form.bound(form.best_coefficients())
    assert value <= largest <= value * 1.05
    sums, differences = [], []
    for trial in range(400):
        u = best.u * np.exp(2j * np.pi * rng.random(units.elements) * (trial / 400) ** 2)
        u = u * (1 if trial % 2 else rng.uniform(0, 1, len(u)) ** rng.uniform(0, 1))
        v, _ = vectors(units, u)
        power = np.real(np.vdot(v, v))
        omega = wedge(units, u)
        sums.append((np.sum(X * np.real(omega)) - price * power) / h)
        one = root.T @ omega @ root / h + 1e-12 * np.eye(2)
        parallel = np.linalg.inv(np.linalg.inv(one) + np.linalg.inv(form.aperture * power / e))
        differences.append(np.linalg.eigvalsh(parallel)[-1] / largest)
    assert 0.9 < max(sums) <= 1
    assert max(differences) <= 1


def test_the_knee_is_bounded_tighter_than_by_either_limit():
    panel = one_panel(rows=4, columns=4, antennas=16, surface_power=0.1)
    knee = least_crb([both_limits_majorants(panel, 20.0)], 20.0)
    every = surface_majorants(panel, 1, 20.0, thorough=True)
    plain = least_crb([every[:-2]], 20.0)
    assert knee > 1.3 * plain
    assert least_crb([every], 20.0) >= knee * (1 - 1e-9)


def test_prices_that_no_coefficients_are_worth_are_left_out():
    # Here the value at high prices is negative.
    panel = panels_of(random_scene(0))[0]
    for ratio in (1e-4, 1.0):
        for each in both_limits_bound._priced(*key(panel), ratio):
            assert each.form.value(each.u) > 0
        for bound in both_limits_bounds(*key(panel), ratio):
            assert bound.transmit > 0
            assert bound.radiated > 0


def test_no_bound_for_large_panels():
    assert both_limits_bounds(*key(one_panel(rows=11, columns=11)), 1e-3) == ()
