"""Quantities at many positions against the public functions at single ones."""

import numpy as np
import pytest

import heliostat as hs
from heliostat.maps.localization import Steering, quantity_at
from tests.support.hall import hall

SMALL = {"surface.rows": 4, "surface.columns": 4}
PLACES = np.array([[x, y, 0.0] for y in (10.0, 55.0) for x in (-30.0, 5.0, 33.0)])


@pytest.fixture(scope="module")
def fixed():
    return hs.load("localization-table-1", {**SMALL, "surface.focus": [20, 40, 0]})


def expected(scenario, quantity, place, **changes):
    alone = scenario.updated({"user.position": [float(x) for x in place], **changes})
    if quantity in ("peb", "reb"):
        return getattr(hs.pose_bounds(alone, 8), quantity)
    rate = hs.effective_rate(alone, 8)
    return rate.eadr if quantity == "rate" else rate.snr


@pytest.mark.parametrize("quantity", ["peb", "reb", "rate", "snr"])
@pytest.mark.parametrize("each", [True, False])
def test_values_are_those_of_the_public_function(fixed, quantity, each):
    found = quantity_at(fixed.build(), PLACES, quantity, 8, Steering(each))
    for place, value in zip(PLACES, found, strict=True):
        if place[0] < -20:  # behind the surface
            assert value == (0 if quantity in ("rate", "snr") else np.inf)
            continue
        focus = {"surface.focus": [float(x) for x in place]} if each else {}
        np.testing.assert_allclose(value, expected(fixed, quantity, place, **focus), rtol=1e-8)


@pytest.mark.parametrize("quantity", ["peb", "rate"])
def test_quantized_phases_at_each_point_are_those_of_a_focus_there(fixed, quantity):
    found = quantity_at(fixed.build(), PLACES, quantity, 8, Steering(True, (2,)))
    for place, value in zip(PLACES[1:3], found[1:3], strict=True):
        coarse = {"surface.focus": [float(x) for x in place], "surface.bits": 2}
        np.testing.assert_allclose(value, expected(fixed, quantity, place, **coarse), rtol=1e-8)


def test_quantized_phases_of_a_large_panel_are_those_of_a_focus_there(fixed):
    large = fixed.updated({"surface.rows": 40, "surface.columns": 30})
    found = quantity_at(large.build(), PLACES, "peb", 8, Steering(True, (2,)))
    focus = {"surface.focus": [float(x) for x in PLACES[1]], "surface.bits": 2}
    np.testing.assert_allclose(found[1], expected(large, "peb", PLACES[1], **focus), rtol=1e-8)


def test_headings_are_those_of_each_position(fixed):
    turned = np.linspace(0.1, 0.5, len(PLACES))
    found = quantity_at(fixed.build(), PLACES, "reb", 8, Steering(True), headings=turned)
    focus = {"surface.focus": [33, 55, 0], "user.heading": "0.5 rad"}
    np.testing.assert_allclose(found[-1], expected(fixed, "reb", PLACES[-1], **focus), rtol=1e-8)


@pytest.mark.parametrize("steering", [Steering(True), Steering(False), Steering(True, (1,))])
def test_chunks_change_nothing(fixed, monkeypatch, steering):
    rng, calls = np.random.default_rng(0), []
    places = np.column_stack([rng.uniform(0, 40, 43), rng.uniform(0, 80, 43), np.zeros(43)])
    scene = fixed.build()
    whole = quantity_at(scene, places, "peb", 4, steering)
    monkeypatch.setattr("heliostat.maps.localization.CHUNK", 10)
    parts = quantity_at(
        scene, places, "peb", 4, steering, on_progress=lambda *done: calls.append(done)
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert calls == [(0, 43), (10, 43), (20, 43), (30, 43), (40, 43), (43, 43)]


def test_a_model_that_sees_nothing_has_no_bound(fixed):
    blind = fixed.updated({"model.gain": "unknown", "surface.sweep": [[0, 0]]})
    assert np.all(np.isinf(quantity_at(blind.build(), PLACES, "peb", 8, Steering(True))))


def test_the_printed_bound_is_the_printed_one(fixed):
    printed = fixed.updated({"model.as_printed": True})
    place = np.array([[20.0, 40.0, 0.0]])
    found = quantity_at(fixed.build(), place, "peb", 8, Steering(False), as_printed=True)
    np.testing.assert_allclose(found[0], hs.pose_bounds(printed, 8).peb, rtol=1e-9)


def test_random_phases_in_chunks_are_the_same(monkeypatch):
    scene, places = hall(surface__phases="random").build(), np.abs(PLACES)
    whole = quantity_at(scene, places, "rate", 4, Steering(False))
    monkeypatch.setattr("heliostat.maps.localization.MOST_NUMBERS", 2 * 4 * 48)
    parts = quantity_at(scene, places, "rate", 4, Steering(False))
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
