"""Truths: both conditions by their definition at random coefficients, and dense matrices."""

import numpy as np

from heliostat.design import knee_relaxation
from heliostat.design.cooperative_bound import (
    knee_majorants,
    least_crb,
    panels_of,
    surface_majorants,
)
from heliostat.design.knee_relaxation import (
    amplitude_excess,
    best_direction,
    difference_form,
    knee_bounds,
)
from heliostat.design.moment_relaxation import Dual, best_dual
from heliostat.design.pair_relaxation import attained, pair_dual, pair_form, weight
from tests.support.adversary import random_scene
from tests.support.panels import in_units, key, one_panel, vectors, wedge


def test_both_conditions_hold_for_random_coefficients():
    """Amplitudes below the largest included, near the phases at which each condition is tight."""
    panel, rng = one_panel(antennas=6, seed=3), np.random.default_rng(2)
    priced = knee_relaxation._priced(*key(panel), 0.05)
    best = min(priced, key=lambda each: each.total)
    units, dual = best.form.panel, pair_dual(best.form)
    h, e = dual.bound + amplitude_excess(best.form, dual), best.price * len(best.form.panel.off)
    X = weight(dual)
    root = np.linalg.cholesky(X)
    aperture = root.T @ (units.slopes @ units.slopes.T) @ root
    form = difference_form(units, root, 0.49 / h, 0.09 / e)
    value, start = best_direction(form)
    largest = best_dual(form, start, value).bound
    assert value <= largest <= value * 1.05
    sums, differences = [], []
    for trial in range(400):
        u = np.exp(2j * np.pi * rng.random(len(units.off)) * (trial / 400) ** 2)
        u = u * (1 if trial % 2 else rng.uniform(0, 1, len(u)) ** rng.uniform(0, 1))
        v, _ = vectors(units, u)
        power = np.real(np.vdot(v, v))
        omega = wedge(units, u)
        sums.append((np.sum(X * np.real(omega)) - best.price * power) / h)
        one = root.T @ omega @ root / h + 1e-12 * np.eye(2)
        parallel = np.linalg.inv(np.linalg.inv(one) + np.linalg.inv(aperture * power / e))
        differences.append(np.linalg.eigvalsh(parallel)[-1] / largest)
    assert 0.9 < max(sums) <= 1
    assert max(differences) <= 1


def test_smaller_amplitudes_are_paid_for():
    """A price so large that no coefficients at all are best: the excess has to cover it."""
    units = in_units(one_panel(antennas=6, seed=3))
    form = pair_form(units, 1e3 * attained(pair_form(units)))
    gain, size = -form.gain_multipliers(), len(units.off)
    own = np.real(np.einsum("mknkn->mn", gain))

    def with_excess(delta):
        dual = Dual(1e-9 * np.eye(2)[:, None], delta, gain, 1.0, 0.0)
        return np.sum(delta) / 2, amplitude_excess(form, dual)

    # A valid dual point: the diagonal dominates everything.
    bound, excess = with_excess(1e4 * np.max(np.abs(gain)) * size * units.off)
    assert bound + excess >= 0  # the value without any amplitude
    bound, excess = with_excess(1e-6 * units.off - own - own.T)
    assert bound < 0
    assert bound + excess >= 0


def test_the_knee_is_bounded_tighter_than_by_either_limit():
    panel = one_panel(rows=4, columns=4, antennas=16, surface_power=0.1)
    knee = least_crb([knee_majorants(panel, 20.0)], 20.0)
    every = surface_majorants(panel, 1, 20.0, thorough=True)
    plain = least_crb([every[:-2]], 20.0)
    assert knee > 1.3 * plain
    assert least_crb([every], 20.0) >= knee * (1 - 1e-9)


def test_prices_that_no_coefficients_are_worth_are_left_out():
    # Here the value at high prices is negative, and the relaxation would change its sign.
    panel = panels_of(random_scene(0))[0]
    for ratio in (1e-4, 1.0):
        for each in knee_relaxation._priced(*key(panel), ratio):
            assert attained(each.form) > 0
        for bound in knee_bounds(*key(panel), ratio):
            assert bound.transmit > 0
            assert bound.radiated > 0


def test_no_knee_bound_for_large_panels():
    assert knee_bounds(*key(one_panel(rows=8, columns=8)), 1e-3) == ()
