"""Truths: both conditions by their definition at random coefficients, and dense matrices."""

import numpy as np
import pytest

from heliostat.design import knee_relaxation, pair_relaxation
from heliostat.design.cooperative_bound import (
    knee_majorants,
    least_crb,
    panels_of,
    surface_majorants,
)
from heliostat.design.knee_relaxation import amplitude_excess, knee_reaches
from tests.design.test_pair_relaxation import in_units, key, one_panel
from tests.support.adversary import random_scene


def vectors(units, u):
    return units.modes.T @ u, units.modes.T @ (u[:, None] * units.slopes.T)


def wedge(units, u):
    """Omega = A_00 [A/A_00]."""
    v, across = vectors(units, u)
    along = np.conj(across).T @ v
    return np.vdot(v, v) * (np.conj(across).T @ across) - np.outer(along, np.conj(along))


@pytest.fixture
def form():
    units = in_units(one_panel())
    root = np.array([[1.3, 0.0], [0.4, 0.8]])
    spread = root.T @ (units.slopes @ units.slopes.T) @ root
    return knee_relaxation._Difference(units, root, spread, 0.7, 0.02)


def test_form_of_difference_beams_is_its_definition(form):
    units, rng = form.panel, np.random.default_rng(0)
    u = np.exp(2j * np.pi * rng.random(len(units.off)))
    w = rng.normal(size=2) + 1j * rng.normal(size=2)
    t = (np.outer(u, u) * units.off * w[:, None, None])[None]
    v, _ = vectors(units, u)
    weight = form.radiated * (len(u) - 2) * np.real(np.vdot(v, v))
    expected = form.transmit * form.root.T @ wedge(units, u) @ form.root + weight * form.spread
    found = np.vdot(t, form.times(t)) / 2
    np.testing.assert_allclose(found, np.conj(w) @ expected @ w, rtol=1e-10)


def test_dense_matrix_and_multipliers_are_the_maps(form):
    off, rng = form.panel.off, np.random.default_rng(1)
    elements = len(off)
    t = pair_relaxation.symmetric(rng.normal(size=(3, 2, *off.shape)) + 0.5j, off)
    raw = rng.normal(size=(elements, 2 * elements, 2 * elements)) + 0j
    raw = (raw + np.swapaxes(raw, 1, 2)).reshape(elements, 2, elements, 2, elements)
    multipliers = knee_relaxation._differences(raw, off)
    # They cost nothing: no sum over m, and none over pairs within the blocks.
    apart = np.sum(multipliers, axis=0) * (1 - np.eye(elements))[None, :, None, :]
    assert np.max(np.abs(apart)) < 1e-12 * elements
    assert np.max(np.abs(np.einsum("mknln->kl", multipliers))) < 1e-12 * elements**2
    first, second = np.triu_indices(elements, 1)
    flat = t[:, :, first, second].reshape(3, -1).T
    dense = form.matrix() + knee_relaxation._over_pairs(multipliers)
    applied = form.times(t) + knee_relaxation._multiplied(multipliers, t)
    found = applied[:, :, first, second].reshape(3, -1).T
    np.testing.assert_allclose(found, dense @ flat, atol=1e-9)


def test_both_conditions_hold_for_random_coefficients():
    """Amplitudes below the largest included, near the phases at which each condition is tight."""
    panel, rng = one_panel(antennas=6, seed=3), np.random.default_rng(2)
    priced = knee_relaxation._priced(*key(panel), 0.05)
    units = min(priced, key=lambda each: each.total).panel
    dual, bound = pair_relaxation.best_dual(units)
    h, e = bound + amplitude_excess(units, dual), units.price * len(units.off)
    weight = dual.weight * dual.value
    root = np.linalg.cholesky(weight)
    spread = root.T @ (units.slopes @ units.slopes.T) @ root
    shares = (0.49 / h, 0.09 / e / (len(units.off) - 2))
    form = knee_relaxation._Difference(units, root, spread, *shares)
    value, start = knee_relaxation._start(form)
    largest = knee_relaxation._largest_difference(form, value, start)
    assert value <= largest <= value * 1.05
    sums, differences = [], []
    for trial in range(400):
        u = np.exp(2j * np.pi * rng.random(len(units.off)) * (trial / 400) ** 2)
        u = u * (1 if trial % 2 else rng.uniform(0, 1, len(u)) ** rng.uniform(0, 1))
        v, _ = vectors(units, u)
        power = np.real(np.vdot(v, v))
        omega = wedge(units, u)
        sums.append((np.sum(weight * np.real(omega)) - units.price * power) / h)
        one = root.T @ omega @ root / h + 1e-12 * np.eye(2)
        parallel = np.linalg.inv(np.linalg.inv(one) + np.linalg.inv(spread * power / e))
        differences.append(np.linalg.eigvalsh(parallel)[-1] / largest)
    assert 0.9 < max(sums) <= 1
    assert max(differences) <= 1


def test_smaller_amplitudes_are_paid_for():
    """A price so large that no coefficients at all are best: the excess has to cover it."""
    units = in_units(one_panel(antennas=6, seed=3))
    units = units._replace(price=1e3 * pair_relaxation.attained(units))
    size = len(units.off)
    # A valid dual point: the diagonal dominates everything.
    toll = units.toll()
    delta = 1e4 * np.max(np.abs(toll)) * size * units.off
    dual = pair_relaxation.PairDual(1e-9 * np.eye(2), delta, toll.astype(complex))
    bound = np.sum(delta) / 2 + units.refund + amplitude_excess(units, dual)
    assert bound >= 0  # the value without any amplitude
    own = np.real(np.einsum("mnn->mn", toll))
    low = pair_relaxation.PairDual(1e-9 * np.eye(2), 1e-6 * units.off - own - own.T, toll + 0j)
    assert np.sum(low.delta) / 2 + units.refund < 0
    assert np.sum(low.delta) / 2 + units.refund + amplitude_excess(units, low) >= 0


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
            assert pair_relaxation.attained(each.panel) > 0
        for reach in knee_reaches(*key(panel), ratio):
            assert reach.transmit > 0
            assert reach.radiated > 0


def test_no_knee_bound_for_large_panels():
    assert knee_reaches(*key(one_panel(rows=8, columns=8)), 1e-3) == ()
