"""Truths: made-up searches with known results; the surfaces' power limit."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from heliostat.observation.echoes import target_steering
from heliostat.studies.estimators.dwells import (
    DWELLS,
    LEVELS,
    REGION,
    SCANS,
    RandomScans,
    excess,
    needed,
    sample,
    verdicts,
)
from heliostat.surface.active import reflected_power
from tests.support.sensing_scenes import sensing_scene

TRIALS = 4


def searches(*, met_designed=2, met_random=5, loss=2.0, error=0.7):
    """Bounds of ``loss`` times those of a known target; the accuracy is met after given dwells."""
    number = np.arange(1, DWELLS + 1)
    shape = (len(LEVELS), len(SCANS), TRIALS, DWELLS)
    known = np.broadcast_to(0.1 / np.sqrt(number), shape)
    met = np.array([met_designed, met_random])[None, :, None, None] <= number
    columns = {
        "known": known,
        "bound": loss * known,
        "std": np.broadcast_to(np.where(met, 0.09, 0.5), shape),
        "error": error * loss * known,
        "found": np.broadcast_to(met.astype(float), shape),
        "confirmed": np.broadcast_to(met.astype(float), shape),
        "inconsistent": np.zeros(shape),
    }
    dims = ("cross_section_db", "scan", "trial", "dwell")
    coordinates = {"cross_section_db": LEVELS, "scan": SCANS, "dwell": number}
    return xr.Dataset({name: (dims, values) for name, values in columns.items()}, coordinates)


def test_dwells_and_excess_of_made_up_searches():
    data = searches(met_designed=3, met_random=DWELLS + 1)
    count = needed(data)
    assert (count.sel(scan=SCANS[0]) == 3).all()
    assert np.isinf(count.sel(scan=SCANS[1])).all()
    np.testing.assert_allclose(excess(data), 20 * np.log10(2.0))


def test_every_verdict_can_be_yes_and_no():
    assert [v.holds for v in verdicts(searches(loss=1.2))] == [True, True, True, True]
    bad = searches(met_designed=6, met_random=5, loss=2.0, error=6.0)
    assert [v.holds for v in verdicts(bad)] == [False, False, False, False]
    finding = verdicts(searches(met_random=DWELLS + 1))[2].finding
    assert f"of {TRIALS}, 0 dBsm: 0" in finding


def test_random_scans_keep_every_power():
    scene = sensing_scene(antennas=8, surface_power=0.02)
    design = RandomScans(scene, REGION, 2)[1]
    for i, surface in enumerate(scene.surfaces):
        steering = target_steering(surface.array, scene.angles()[i])
        assert not np.allclose(design.reflection[i][0], design.reflection[i][1])
        for psi, sent in zip(design.reflection[i], design.covariance[i], strict=True):
            power = reflected_power(
                psi, scene.bs_to_irs[i], sent, steering, scene.target_gain[i], surface.noise
            )
            # So little power that it binds.
            np.testing.assert_allclose(power.total, surface.power, rtol=1e-9)
            assert float(jnp.real(jnp.trace(sent))) < float(scene.base_station.power)


def test_a_trial_is_a_place_in_the_region():
    one, other = sample(jax.random.key(1)), sample(jax.random.key(2))
    assert not np.allclose(one.place, other.place)
    assert bool(REGION.contains(jnp.asarray(one.place)))
