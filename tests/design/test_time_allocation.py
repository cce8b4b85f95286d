"""Truths: SciPy's bounded minimizer, a dense grid, the conditions of Karush, Kuhn and Tucker."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from heliostat.design.time_allocation import (
    balanced_share,
    dominated,
    peak_rate_ratio,
    weighted_share,
)
from tests.support.scenes import real

ALL = real(1.0)  # enough antennas for any ratio
weighted = jax.jit(lambda *args: weighted_share(*args, ALL))
balanced = jax.jit(lambda *args: balanced_share(*args, ALL))
DECADES = st.floats(-3, 12)


def objective(ratio, error_scale, slope, available, bandwidth, weight):
    rate = (available - ratio) * bandwidth * np.log2(1 + slope * ratio)
    return error_scale / np.sqrt(ratio) - weight * rate


def slope_of_objective(ratio, error_scale, slope, available, bandwidth, weight):
    """Paper eq. (49a) without its multiplier."""
    rate_slope = slope * bandwidth * (available - ratio) / ((1 + slope * ratio) * np.log(2))
    rate_slope -= bandwidth * np.log2(1 + slope * ratio)
    return -0.5 * ratio**-1.5 * error_scale - weight * rate_slope


@given(st.floats(-8, 2), DECADES, st.floats(0.05, 0.999), st.floats(-16, -4))
def test_optimum_satisfies_the_kkt_conditions(scale, slope, available, weight):
    args = (10.0**scale, 10.0**slope, available, 1e8, 10.0**weight)
    share = weighted(*(real(a) for a in args))
    ratio, multiplier = float(share.ratio), float(share.multiplier)
    assert 0 < ratio <= available * (1 + 1e-12)
    assert multiplier >= 0
    assert multiplier == 0 or ratio == pytest.approx(available, rel=1e-12)
    terms = 0.5 * ratio**-1.5 * args[0] + args[4] * 1e8 * np.log2(1 + args[1] * ratio)
    left = slope_of_objective(ratio, *args) + multiplier
    assert abs(left) <= 1e-9 * max(terms, multiplier)
    assert float(share.residual) <= 1e-9
    grid = np.geomspace(available * 1e-9, available, 2001)
    best = objective(ratio, *args)
    assert best <= objective(grid, *args).min() + 1e-12 * np.abs(objective(grid, *args)).max()


@pytest.mark.parametrize("weight", [1e-12, 1e-10, 1e-8])
def test_optimum_is_what_scipy_finds(weight):
    args = (4e-5, 4.8e6, 0.9856, 1e8, weight)
    found = minimize_scalar(
        lambda t: objective(np.exp(t), *args),
        bounds=(np.log(1e-6), np.log(0.9856)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    np.testing.assert_allclose(weighted(*(real(a) for a in args)).ratio, np.exp(found.x), rtol=1e-4)


def test_the_optimum_stays_within_what_the_antennas_can_use():
    # Truth: a convex objective that still falls at the end of the interval is least there.
    args = (4e-5, 4.8e4, 0.9856, 1e8, 1e-10)
    free = float(weighted(*(real(a) for a in args)).ratio)
    held = weighted_share(*(real(a) for a in args), real(free / 3))
    np.testing.assert_allclose(held.ratio, free / 3, rtol=1e-12)
    slope = slope_of_objective(free / 3, *args)
    assert slope < 0
    np.testing.assert_allclose(held.multiplier, -slope, rtol=1e-9)
    balance = balanced_share(real(4.8e4), real(0.9856), real(0.5), real(0.01))
    np.testing.assert_allclose(balance.ratio, 0.01, rtol=1e-12)


@pytest.mark.parametrize("snr", [1e-20, 1e-12, 1e-6, 1e-4])
def test_the_peak_of_a_weak_link_is_in_the_middle(snr):
    # Truth: (c - w) ln(1 + Yw) -> (c - w) Yw, largest at c/2.
    np.testing.assert_allclose(peak_rate_ratio(snr / 0.9, 0.9), 0.45, rtol=max(snr, 1e-12))


def test_without_weight_on_the_rate_the_pilots_take_all():
    share = weighted(real(1.0), real(1e5), real(0.9), real(1e8), real(0.0))
    np.testing.assert_allclose(share.ratio, 0.9)
    # (48): lambda_1 = X c^(-3/2) / 2
    np.testing.assert_allclose(share.multiplier, 0.5 * 0.9**-1.5, rtol=1e-12)


@given(DECADES, st.floats(0.05, 0.999))
def test_lambert_w_gives_the_peak_of_the_rate(slope, available):
    y = 10.0**slope
    peak = float(peak_rate_ratio(np.array(y), np.array(available)))
    rate = lambda w: (available - w) * np.log1p(y * w)
    around = peak * np.array([1 - 1e-3, 1 + 1e-3])
    assert 0 < peak < available
    assert np.all(rate(around) <= rate(peak) * (1 + 1e-12))
    zero = balanced(real(y), real(available), real(0.0)).ratio
    np.testing.assert_allclose(zero, peak, rtol=1e-5 if y * available > 1e-3 else 1e-3)


@given(st.floats(0, 0.999), st.floats(0, 10), st.floats(0.1, 0.99))
def test_balanced_optimum_beats_every_other_ratio(balance, slope, available):
    y = 10.0**slope
    ratio = float(balanced(real(y), real(available), real(balance)).ratio)
    grid = np.geomspace(available * 1e-7, available * (1 - 1e-9), 4001)
    value = lambda w: (
        -0.5 * balance * np.log(w) - (1 - balance) * np.log((available - w) * np.log1p(y * w))
    )
    assert value(ratio) <= value(grid).min() + 1e-10


def test_balance_does_not_care_for_units():
    # Truth: 1 % of error is worth b/(1-b) % of rate: at the optimum the elasticities are equal.
    y, available, balance = 4.8e6, 0.9856, 0.3
    ratio = float(balanced(real(y), real(available), real(balance)).ratio)
    log_rate = lambda w: np.log((available - w) * np.log1p(y * w))
    step = 1e-5
    elasticity = (log_rate(ratio * (1 + step)) - log_rate(ratio * (1 - step))) / (2 * step)
    np.testing.assert_allclose(elasticity, -0.5 * balance / (1 - balance), rtol=1e-6)


def test_dominated_points_are_those_another_point_beats():
    error = np.array([3.0, 2.0, 1.0, 1.0, 5.0])
    rate = np.array([1.0, 2.0, 1.5, 1.0, 2.0])
    np.testing.assert_array_equal(dominated(error, rate), [True, False, False, True, True])
