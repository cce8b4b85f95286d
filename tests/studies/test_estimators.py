"""Truths: errors drawn with a known spread; the public functions, called directly."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import heliostat as hs
from heliostat.studies.estimators import direction, position
from heliostat.studies.estimators.attainment import attainment, reached, threshold

LEVEL = np.array([0.0, 10.0, 20.0, 30.0])


def drawn(excess, trials=4000):
    """Squared errors of a bound of two meters, too large by a factor at each level."""
    errors = np.random.default_rng(0).normal(size=(4, trials)) * 2.0 * np.asarray(excess)[:, None]
    squared = xr.DataArray(errors**2, dims=("snr_db", "trial"))
    return squared, xr.full_like(squared, 2.0)


def test_errors_at_the_bound_reach_it_and_larger_ones_do_not():
    found = attainment(*drawn([5.0, 1.5, 1.0, 1.0]))
    np.testing.assert_allclose(found.ratio, [5.0, 1.5, 1.0, 1.0], rtol=0.05)
    assert reached(found).tolist() == [False, False, True, True]
    assert threshold(LEVEL, found) == 20.0
    assert threshold(LEVEL, attainment(*drawn([1.0, 1.0, 1.0, 5.0]))) == np.inf


def test_one_error_far_off_is_above_the_threshold():
    # Its interval reaches down to the bound, as one trial of thirty decides about it.
    squared, bound = drawn([1.0, 1.0, 1.0, 1.0], trials=30)
    squared[1, 0] = 100.0**2
    assert attainment(squared, bound).low[1] < 1.1
    assert threshold(LEVEL, attainment(squared, bound)) == 20.0


def test_a_position_is_that_of_the_public_function():
    errors = position.sample(jax.random.key(3))
    found = position.point(errors, error_deg=jnp.asarray(1.0))
    scenario = hs.load("sensing-two-surfaces")
    scene = scenario.build()
    std = np.radians(1.0)
    angles = np.asarray(scene.angles() + std * errors)
    covariance = np.broadcast_to(np.eye(2) * std**2, (2, 2, 2))
    for name in ("stansfield", "least_squares"):
        direct = hs.triangulate(scenario, angles, covariance, name).position
        offset = direct - np.asarray(scenario.target.position)
        np.testing.assert_allclose(found[f"{name}_offset"], offset, rtol=1e-6, atol=1e-9)


def test_verdicts_tell_both_outcomes():
    levels = direction.SNRS
    rng = np.random.default_rng(1)
    unit = xr.DataArray(
        rng.normal(size=(levels.size, 2000)) ** 2,
        dims=("snr_db", "trial"),
        coords={"snr_db": levels},
    )
    bound = xr.ones_like(unit)
    early = xr.where(unit.snr_db < 15, 9.0, 1.0)
    good = xr.Dataset({"likeliest": unit * early, "music": 4 * unit, "bound": bound})
    assert [v.holds for v in direction.verdicts(good)] == [True, True, True]
    bad = xr.Dataset({"likeliest": 2 * unit, "music": unit, "bound": bound})
    assert [v.holds for v in direction.verdicts(bad)] == [False, False, False]
