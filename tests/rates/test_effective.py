"""Truths: dense matrices and the search over every beam pair; limits on paper."""

import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.geometry.codebooks import dft_codebook
from heliostat.rates.effective import (
    available_ratio,
    codebook_snr,
    eadr,
    eadr_closed_form,
    single_antenna_snr,
    snr_slope,
    time_ratio,
)
from tests.observation.test_pilots import paper_mean
from tests.support.scenes import localization_scene


@pytest.mark.parametrize("active", [1, 3, 8])
@pytest.mark.parametrize("focus", [None, (20.5, 40.2, 0.0)])
def test_rate_is_that_of_the_best_beam_pair_found_by_search(active, focus):
    # Truth: received powers of all beam pairs from the paper's matrices; energy over noise is
    # SNR x B T_s, so that dividing by B T_s gives the SNR of (39).
    scene = localization_scene(columns=4, rows=3, user_antennas=7, focus=focus, antennas=8)
    mean = paper_mean(scene, active, np.array([0.0]))
    energy = np.max(np.abs(mean) ** 2)
    snr = energy / float(scene.link.noise_density) / (100e6 * 67e-6)
    np.testing.assert_allclose(codebook_snr(scene, active), snr, rtol=1e-9)
    period = float(scene.frame.period)
    expected = (1 - (active * 7 * 67e-6 + 1e-3) / period) * 100e6 * np.log2(1 + snr)
    np.testing.assert_allclose(eadr(scene, active), expected, rtol=1e-9)


def test_closed_form_is_the_rate_with_all_gains_full():
    # Truth: paper eq. (42) written out, N^2 N_M N_B and delta^2 by hand.
    scene = localization_scene(columns=8, rows=8, reflection=0.7)
    amplitude = 299792458.0 / 60e9 / (4 * np.pi * (30 + np.sqrt(2900)))
    for active in (1, 5, 32):
        snr = 10**-0.3 * amplitude**2 * 32 * (0.7 * 64) ** 2 * active / 1e-11
        expected = (1 - (active * 32 * 67e-6 + 1e-3) / 69.608e-3) * 1e8 * np.log2(1 + snr)
        ratio = time_ratio(scene, active)
        np.testing.assert_allclose(eadr_closed_form(scene, ratio), expected, rtol=1e-9, atol=1e-3)


def test_codebook_rate_never_exceeds_the_closed_form():
    scene = localization_scene()
    for active in range(1, 33):
        assert eadr(scene, active) <= eadr_closed_form(scene, time_ratio(scene, active)) + 1e-6


def test_rate_is_zero_when_pilots_take_the_whole_period():
    scene = localization_scene()
    np.testing.assert_allclose(eadr(scene, 32), 0.0, atol=1e-3)
    np.testing.assert_allclose(time_ratio(scene, 32), available_ratio(scene), rtol=1e-12)
    assert eadr(scene, 40) == 0.0


def test_a_weak_link_keeps_its_digits():
    # Truth: log2(1 + x) -> x / ln 2.
    scene = localization_scene(noise=1e10, antennas=1, user_antennas=1, period=1.0)
    snr = float(codebook_snr(scene, 1))
    assert snr < 1e-10
    left = float(available_ratio(scene) - time_ratio(scene, 1))
    np.testing.assert_allclose(eadr(scene, 1), left * 1e8 * snr / np.log(2), rtol=1e-9)


def test_slope_of_the_snr_is_eq_46():
    scene = localization_scene(columns=8, rows=8)
    ratio = time_ratio(scene, 4)
    np.testing.assert_allclose(
        snr_slope(scene) * ratio, single_antenna_snr(scene) * 4 * 32, rtol=1e-12
    )
    assert dft_codebook(4).shape == (4, 4)
    assert jnp.isfinite(ratio)
