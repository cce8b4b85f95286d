"""Truths: Gaussian samples with a known mean, Student's t from its definition, cases by hand."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import t as student

from heliostat.studies.claims import judge
from heliostat.studies.statistics import (
    Estimate,
    every,
    mean_and_band,
    paired_change,
    unbounded,
)


def test_band_covers_the_mean_as_often_as_it_says():
    # Truth: Gaussian samples with a known mean; 95 % of the intervals contain it.
    rng = np.random.default_rng(0)
    samples = xr.DataArray(rng.normal(3.0, 1.0, (2000, 6)), dims=("case", "trial"))
    mean, half = mean_and_band(samples)
    covered = float((abs(mean - 3.0) <= half).mean())
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_unbounded_trials_are_left_out_and_counted():
    samples = xr.DataArray([1.0, np.inf, 3.0], dims="trial")
    mean, half = mean_and_band(samples)
    assert float(mean) == 2.0
    assert np.isfinite(float(half))
    assert unbounded(samples) == 1


def test_paired_change_is_exact_where_all_trials_change_alike():
    base = xr.DataArray(np.random.default_rng(0).normal(size=(5, 9)), dims=("n", "trial"))
    change = paired_change(base + 0.25, base)
    np.testing.assert_allclose([change.mean, change.half], [0.25, 0.0], atol=1e-12)


def test_paired_change_leaves_out_pairs_without_a_bound():
    base = xr.DataArray([0.0, 0.0, 0.0, np.inf], dims="trial")
    change = paired_change(xr.DataArray([1.0, 2.0, np.inf, 4.0], dims="trial"), base)
    half = student.ppf(0.975, 1) * np.std([1.0, 2.0], ddof=1) / math.sqrt(2)
    np.testing.assert_allclose([change.mean, change.half], [1.5, half])


def test_a_claim_is_decided_if_no_limit_is_in_the_interval():
    estimate = Estimate(2.0, 0.5)
    assert estimate.between(1.4, 2.6) is True
    assert estimate.between(low=1.4) is True
    assert estimate.between(low=1.6) is None
    assert estimate.between(high=2.4) is None
    assert estimate.between(low=2.6) is False
    assert estimate.between(high=1.4) is False
    assert Estimate(2.0, math.inf).between(low=0.0) is None


def test_every_case_counts():
    assert every([True, True]) is True
    assert every([True, None]) is None
    assert every([None, False]) is False


def lone_change(value):
    return paired_change(xr.DataArray([value], dims="trial"), xr.DataArray([0.0], dims="trial"))


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(1.25, 0.31), "+1.2 ± 0.3 dB"),
        (Estimate(-0.01, 0.2), "+0.0 ± 0.2 dB"),  # never "-0.0"
        (lone_change(3.0), "+3.0 dB (one trial, no interval)"),
        (lone_change(np.inf), "no trial with a value"),
    ],
)
def test_an_estimate_in_words(estimate, text):
    assert estimate.text(1, " dB") == text


def test_a_verdict_counts_the_interval_of_every_case():
    cases = {"N = 4": Estimate(2.0, 0.5), "N = 16": Estimate(3.0, 1.5)}
    verdict = judge("Fig. 1", "rises", cases, low=0.0, quantity="change", unit=" dB", note=" (a)")
    assert verdict.record() == {
        "figure": "Fig. 1",
        "claim": "rises",
        "holds": "yes",
        "finding": "change, N = 4: +2.0 ± 0.5 dB; N = 16: +3.0 ± 1.5 dB (a)",
    }
    assert judge("Fig. 1", "", cases, low=2.0, quantity="").answer == "undecided"
    assert judge("Fig. 1", "", cases, within=1.0, quantity="").answer == "no"
    assert judge("Fig. 1", "", cases, within=5.0, quantity="").answer == "yes"
