"""Truths: Friis' law and effective apertures by hand, through to bounds and rates."""

import jax.numpy as jnp
import numpy as np
import pytest

import heliostat as hs
from heliostat.channel.path_loss import product, sum_distance

WAVELENGTH = 299792458.0 / 60e9
D1, D2 = 30.0, np.sqrt(2900.0)


def test_sum_distance_is_friis_over_the_unfolded_path():
    received = (WAVELENGTH / (4 * np.pi * (D1 + D2))) ** 2
    amplitude = sum_distance(*(jnp.asarray(x) for x in (D1, D2, WAVELENGTH, 1.0)))
    np.testing.assert_allclose(amplitude**2, received, rtol=1e-12)


def test_product_is_scattering_by_an_aperture():
    # Truth: density at the element, taken by its area, sent on with the gain of that area,
    # received by an isotropic antenna's aperture.
    area = 0.3 * 0.7 * WAVELENGTH**2
    density = 1 / (4 * np.pi * D1**2)
    sent = density * area * 4 * np.pi * area / WAVELENGTH**2
    received = sent / (4 * np.pi * D2**2) * WAVELENGTH**2 / (4 * np.pi)
    amplitude = product(*(jnp.asarray(x) for x in (D1, D2, WAVELENGTH, area)))
    np.testing.assert_allclose(amplitude**2, received, rtol=1e-12)


@pytest.mark.parametrize("law", ["product", "sum_distance"])
def test_law_attenuation_and_element_area_reach_the_rate_and_the_bound(law):
    scenario = hs.load(
        "localization-table-1",
        {
            "link.path_loss": law,
            "link.attenuation": 0.3,
            "surface.spacing": [0.4, 0.6],
            "model.gain": "unknown",
            "surface.sweep": [[0.9, 0], [-0.9, 0], [0, 0.9], [0, -0.9]],
        },
    )
    area = 0.4 * 0.6 * WAVELENGTH**2
    by_hand = {
        "product": 0.3 * area / (4 * np.pi * D1 * D2),
        "sum_distance": 0.3 * WAVELENGTH / (4 * np.pi * (D1 + D2)),
    }[law]
    snr = 10**-0.3 * (by_hand * 64) ** 2 * 8 * 32 / 1e-11
    left = 1 - (8 * 32 * 67e-6 + 1e-3) / 69.608e-3
    np.testing.assert_allclose(
        hs.effective_rate(scenario, 8).eadr_closed_form, left * 1e8 * np.log2(1 + snr), rtol=1e-9
    )
    # With an unknown gain the bound goes as one over the amplitude and knows nothing else of it.
    plain = scenario.updated({"link.path_loss": "sum_distance", "link.attenuation": 1.0})
    ratio = WAVELENGTH / (4 * np.pi * (D1 + D2)) / by_hand
    np.testing.assert_allclose(
        hs.pose_bounds(scenario, 8).peb, ratio * hs.pose_bounds(plain, 8).peb, rtol=1e-8
    )
