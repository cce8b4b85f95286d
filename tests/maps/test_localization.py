"""Truths: the public function at each place by itself, and the side of the surface."""

import numpy as np
import pytest

import heliostat as hs
from heliostat.maps.localization import map_area, map_positions

SMALL = {"surface.rows": 4, "surface.columns": 4}
X, Y = np.array([-30.0, 5.0, 20.0, 33.0]), np.array([10.0, 40.0, 55.0])


@pytest.fixture(scope="module")
def fixed():
    return hs.load("localization-table-1", {**SMALL, "surface.focus": [20, 40, 0]})


@pytest.mark.parametrize("quantity", ["peb", "reb", "rate"])
@pytest.mark.parametrize("follow", [True, False])
def test_a_map_is_the_public_function_at_every_place(fixed, quantity, follow):
    area = map_area(fixed.build(), X, Y, quantity, 8, follow=follow)
    for row, y in enumerate(Y):
        for column, x in enumerate(X):
            if x < -20:  # behind the surface
                assert not area.served[row, column]
                assert area.value[row, column] == (0 if quantity == "rate" else np.inf)
                continue
            there = {"user.position": [float(x), float(y), 0.0]}
            if follow:
                there["surface.focus"] = there["user.position"]
            alone = fixed.updated(there)
            if quantity == "rate":
                expected = hs.effective_rate(alone, 8).eadr
            else:
                expected = getattr(hs.pose_bounds(alone, 8), quantity)
            np.testing.assert_allclose(area.value[row, column], expected, rtol=1e-8)


def test_chunks_change_nothing(fixed, monkeypatch):
    rng = np.random.default_rng(0)
    places = np.column_stack([rng.uniform(0, 40, 103), rng.uniform(0, 80, 103), np.zeros(103)])
    scene = fixed.build()
    whole = map_positions(scene, places, "peb", 4, follow=False)
    monkeypatch.setattr("heliostat.maps.localization.CHUNK", 10)
    parts = map_positions(scene, places, "peb", 4, follow=False)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


def test_a_model_that_sees_nothing_maps_to_inf(fixed):
    blind = fixed.updated({"model.gain": "unknown", "surface.sweep": [[0, 0]]})
    area = map_area(blind.build(), X[1:], Y, "peb", 8, follow=True)
    assert np.all(np.isinf(area.value))


def test_the_printed_map_is_the_printed_bound(fixed):
    printed = fixed.updated({"model.as_printed": True})
    area = map_area(fixed.build(), X[2:3], Y[1:2], "peb", 8, follow=False, as_printed=True)
    np.testing.assert_allclose(area.value[0, 0], hs.pose_bounds(printed, 8).peb, rtol=1e-9)
