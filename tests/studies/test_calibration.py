"""Truths: Gaussian errors of known spread, binomial tail sums, the public bounds."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, chi2

import heliostat as hs
from heliostat.studies.estimators.calibration import (
    CASES,
    SNRS,
    STUDY,
    VALID,
    summary,
    table,
    verdicts,
)
from heliostat.studies.estimators.calibration_trials import covered
from heliostat.studies.estimators.setup import pose_setup
from heliostat.studies.intervals import proportion, upper_limit

COVARIANCE = np.array([[4.0, 1.0], [1.0, 2.0]])
NUMBERS = range(len(CASES))


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (3, 40), (38, 40), (50, 50)])
def test_intervals_leave_two_and_a_half_percent_on_either_side(successes, trials):
    found = proportion(successes, trials)
    assert found.value == successes / trials
    if successes:
        assert binom.sf(successes - 1, trials, found.low) == pytest.approx(0.025)
    else:
        assert found.low == 0.0
    if successes < trials:
        assert binom.cdf(successes, trials, found.high) == pytest.approx(0.025)
        assert binom.cdf(successes, trials, upper_limit(successes, trials)) == pytest.approx(0.05)
    else:
        assert found.high == 1.0


def test_the_upper_limit_of_no_success_is_three_over_the_trials():
    assert upper_limit(0, 1000) == pytest.approx(3e-3, rel=5e-3)


@pytest.mark.parametrize("reported", [0.25, 1.0, 4.0])
def test_coverage_of_gaussian_errors_is_that_of_chi_square(reported):
    trials = 4000
    factor = np.linalg.cholesky(COVARIANCE)
    errors = np.random.default_rng(0).normal(size=(trials, 2)) @ factor.T
    inside = jax.vmap(lambda e: covered(e, reported * jnp.asarray(COVARIANCE)))(jnp.asarray(errors))
    expected = chi2.cdf(reported * chi2.ppf(0.95, 2), 2)
    four = 4 * np.sqrt(expected * (1 - expected) / trials)
    assert abs(float(inside.mean()) - expected) < four


def test_an_infinite_region_covers_everything():
    assert covered(jnp.array([1e9, 1.0]), jnp.diag(jnp.array([jnp.inf, 1.0])))


def toy(trials=400, *, inflated=None, usable_when_violated=0.0, inside_when_violated=0.0):
    """A dataset of the study with Gaussian errors of the bound, at one case inflated."""
    shape = (len(CASES), len(SNRS), trials)
    dims = ("case", "snr_db", "trial")
    errors = np.random.default_rng(1).normal(size=(*shape, 2)) @ np.linalg.cholesky(COVARIANCE).T
    if inflated is not None:
        errors[inflated] *= 3.0
    distance = np.einsum("...i,ij,...j->...", errors, np.linalg.inv(COVARIANCE), errors)
    inside, usable = (distance < chi2.ppf(0.95, 2)).astype(float), np.ones(shape)
    for case in set(NUMBERS) - set(VALID):
        usable[case, :, int(usable_when_violated * trials) :] = 0
        inside[case] = inside_when_violated
    values = {
        "squared": np.sum(errors**2, axis=-1),
        "bound": np.full(shape, np.sqrt(np.trace(COVARIANCE))),
        "covered": inside,
        "usable": usable,
    }
    coordinates = {"case": list(NUMBERS), "snr_db": SNRS, "trial": range(trials)}
    return xr.Dataset({name: (dims, v) for name, v in values.items()}, coordinates)


def test_results_without_the_flags_are_left_out():
    at = toy(4000).isel(case=0, snr_db=0)
    wrong = at.trial < 1000
    mixed = at.assign(
        squared=xr.where(wrong, 1e6, at.squared),
        covered=xr.where(wrong, 0.0, at.covered),
        usable=xr.where(wrong, 0.0, 1.0),
    )
    found = summary(mixed)
    assert (found.trials, found.used, found.gross) == (4000, 3000, 0)
    assert float(found.ratio.low) < 1.0 < float(found.ratio.high)
    low, high = proportion(found.inside, found.used)[1:]
    assert low < 0.95 < high
    assert summary(mixed.assign(usable=xr.ones_like(at.usable))).gross == 1000


def test_verdicts_have_both_outcomes():
    # 2000 trials: the intervals of all points together are narrow enough to decide.
    assert [v.holds for v in verdicts(toy(2000))] == [True] * 6
    bad = toy(2000, usable_when_violated=1.0)
    assert [v.holds for v in verdicts(bad)] == [True, True, True, False, False, False]
    # The reported regions are right where the violated model does no harm.
    harmless = toy(2000, usable_when_violated=1.0, inside_when_violated=1.0)
    assert [v.holds for v in verdicts(harmless)] == [True] * 6
    assert verdicts(toy(2000, inflated=VALID[0]))[0].holds is False
    narrow = toy(2000)
    narrow.covered[VALID[0]] = np.arange(2000) % 10 < 8  # 80 %
    assert verdicts(narrow)[1].holds is False
    far = toy(2000)
    far.squared[VALID[0], -1, :300] = 1e6
    assert verdicts(far)[0].holds is False
    assert verdicts(far)[2].holds is False


def test_few_trials_leave_every_claim_about_valid_models_undecided():
    assert [v.holds for v in verdicts(toy(16))[:3]] == [None] * 3
    # No gross error among 32 trials: its share may still be above 2 %.
    assert verdicts(toy(32))[2].holds is None


def test_the_table_shows_no_errors_where_hardly_anything_is_usable():
    few = toy(usable_when_violated=0.01)
    rows = [line for line in table(few).splitlines() if line.startswith(f"| {CASES[-1].label}")]
    assert len(rows) == len(SNRS)
    assert all(row.endswith("| 1% |  |  |  |") for row in rows)


def test_the_documentation_has_the_rows_of_the_table():
    text = Path(__file__).parents[2].joinpath("docs/theory/estimation.md").read_text("utf-8")
    assert "heliostat reproduce estimators calibration" in text
    meanings, rows = table(toy()).strip().split("\n\n")
    assert meanings in text
    documented = text[text.index(rows.splitlines()[0]) :].partition("\n\n")[0]

    def labels(rows):
        return [line.split("|")[1:3] for line in rows.splitlines()]

    assert labels(documented) == labels(rows)


@pytest.mark.parametrize("patterns", [1, 2])
def test_the_designed_cases_have_rows_at_the_default_minimum_snr(patterns):
    changes = {"dwell.patterns": patterns, "dwell.min_snr": None}
    least = 10 * np.log10(hs.load("sensing-two-surfaces", changes).dwell.required_snr)
    assert np.min(np.abs(np.asarray(SNRS) - least)) < 0.05
    designed = [case for case in CASES if case.options == {"patterns": patterns, "designed": True}]
    assert f"{least:.0f} dB is the default" in designed[0].meaning


def few_trials(label, snr_db=40.0):
    number = [case.label for case in CASES].index(label)
    few = replace(STUDY, axes={"case": [number], "snr_db": [snr_db]}, trials=3).run()
    assert (few.usable == 1).all()
    assert (few.squared < (5 * few.bound) ** 2).all()
    assert np.ptp(few.squared.values) > 0
    assert few.covered.sum() >= 1  # three misses: once in 8000 times
    return few


def test_a_position_at_high_snr_errs_as_the_bound_allows():
    few_trials("position from two directions")


def test_a_pose_at_high_snr_errs_as_the_public_bound_allows():
    few = few_trials("pose, gain unknown")
    setup = pose_setup("unknown", "synchronized", None)
    density = float(np.sum(np.abs(np.asarray(setup.mean)) ** 2)) / 1e4
    changes = {
        "surface.rows": 8,
        "surface.columns": 8,
        "user.antennas": 16,
        "model.gain": "unknown",
        "surface.sweep": None,
        "link.noise": f"{density * float(setup.scene.link.bandwidth)!r} W",
    }
    public = hs.pose_bounds(hs.load("localization-table-1", changes), 4)
    # Sixteen bins show a delay a little less well than a flat band.
    np.testing.assert_allclose(few.bound, public.peb, rtol=0.01)
