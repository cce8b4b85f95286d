"""Maps against the public functions at single points, and the side of the surface."""

import numpy as np
import pytest

import heliostat as hs
from heliostat.maps.area import Area
from heliostat.maps.localization import (
    default_area,
    map_area,
    map_positions,
    steers_by_default,
)
from tests.support.hall import hall

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


def test_a_map_fills_its_area_and_is_the_bound_at_each_place():
    area = Area(1.0, 9.0, -4.0, 8.0)
    found = map_area(hall().build(), *area.cells(24), "peb", 2, follow=True)
    assert found.value.shape == (6, 4)
    np.testing.assert_allclose(found.x, [2, 4, 6, 8])
    np.testing.assert_allclose(found.y, [-3, -1, 1, 3, 5, 7])
    there = hs.pose_bounds(hall(user__position=[4, 5, 1]), 2)
    assert found.value[4, 1] == pytest.approx(there.peb, rel=1e-9)


@pytest.mark.parametrize("phases", ["designed", "random"])
def test_a_map_computed_in_strips_is_the_same(monkeypatch, phases):
    scene, told = hall(surface__phases=phases).build(), []
    cells = default_area(hall()).cells(35)
    follow = phases == "designed"
    whole = map_area(scene, *cells, "rate", 4, follow=follow)
    monkeypatch.setattr("heliostat.maps.localization._STRIP", 700)
    strips = map_area(
        scene,
        *cells,
        "rate",
        4,
        follow=follow,
        on_progress=lambda done, total: told.append((done, total)),
    )
    np.testing.assert_allclose(strips.value, whole.value, rtol=1e-12)
    np.testing.assert_array_equal(strips.served, whole.served)
    assert len(told) > 2
    assert told[-1] == (len(whole.y), len(whole.y))


def test_the_default_area_holds_everything_with_room_around():
    scenario = hall()
    area = default_area(scenario)
    for part in (scenario.base_station, scenario.surface, scenario.user):
        x, y, _ = part.position
        assert area.x0 < x < area.x1
        assert area.y0 < y < area.y1


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, True),
        ({"surface__focus": [5, 5, 1]}, False),
        ({"surface__phases": "random"}, False),
        ({"surface__bits": 2}, False),
    ],
)
def test_a_map_steers_the_surface_unless_focus_or_phases_are_given(overrides, expected):
    assert steers_by_default(hall(**overrides)) is expected
