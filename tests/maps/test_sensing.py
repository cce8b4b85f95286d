"""Maps against the public functions at single points; beampatterns against a literal sum."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import heliostat as hs
from heliostat.maps import sensing as sensing_maps
from heliostat.reports.export import patterned
from heliostat.scenario.sensing.build import moved_target
from tests.support.sensing_designs import cheap_design, yard

X, Y = np.array([-7.0, -2.0, 5.0, 9.0]), np.array([8.0, 14.0, 25.0])


def as_tuples(design):
    covariance, settings = patterned(design)
    return tuple(map(jnp.asarray, covariance)), tuple(map(jnp.asarray, settings))


@pytest.fixture(scope="module")
def two_patterns():
    scenario = yard(dwell__patterns=2)
    return scenario, cheap_design(scenario)


@pytest.fixture(autouse=True, scope="module")
def chunks_of_five():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensing_maps, "CHUNK", 5)
        yield


@pytest.fixture(scope="module")
def mapped(two_patterns):
    scenario, design = two_patterns
    return sensing_maps.map_design(scenario.build(), *as_tuples(design), X, Y)


def test_a_target_elsewhere_has_the_gain_that_the_scenario_gives_it():
    scenario, place = yard(dwell__patterns=2), [2.0, 30.0, 4.0]
    there = scenario.updated({"target.position": place}).build()
    moved = moved_target(scenario.build(), jnp.array(place))
    np.testing.assert_allclose(moved.target_gain, there.target_gain, rtol=1e-12)
    np.testing.assert_allclose(moved.angles(), there.angles(), rtol=1e-12)


def test_a_map_is_the_public_function_at_every_place(two_patterns, mapped):
    scenario, design = two_patterns
    for row, y in enumerate(Y):
        for column, x in enumerate(X):
            if x < -5:
                assert not mapped.facing[row, column].any()
                assert np.isinf(mapped.direction_std[row, column]).all()
                assert mapped.position_bound[row, column] == np.inf
                continue
            there = scenario.updated({"target.position": [float(x), float(y), 1.0]})
            expected = hs.direction_bounds(there, design.covariance, design.reflection)
            found = mapped.direction_std[row, column]
            np.testing.assert_allclose(found, expected.direction_std, rtol=1e-7)
            np.testing.assert_allclose(
                mapped.position_bound[row, column], expected.position_bound, rtol=1e-7
            )


def test_what_is_shown_and_where(mapped):
    worst = np.sqrt((mapped.direction_std**2).sum(axis=-1)).max(axis=-1)
    np.testing.assert_array_equal(mapped.value("direction"), worst)
    np.testing.assert_array_equal(mapped.value("position"), mapped.position_bound)
    np.testing.assert_array_equal(mapped.served("position"), np.tile(X > -5, (3, 1)))
    np.testing.assert_array_equal(mapped.served("direction"), np.tile(X > -5, (3, 1)))


def test_a_place_that_one_surface_alone_faces_has_its_direction_but_no_position():
    turned = yard(dwell__patterns=2).updated(
        {"surfaces.1.horizontal": [1, 0, 0], "surfaces.1.position": [0, 20, 2]}
    )  # faces -y
    design = cheap_design(turned)
    found = sensing_maps.map_design(
        turned.build(),
        *as_tuples(design),
        np.array([3.0]),
        np.array([12.0, 28.0, 13.0, 14.0, 15.0]),
    )
    assert found.facing[:2, 0].tolist() == [[True, True], [True, False]]
    assert np.isfinite(found.position_bound[0, 0])
    assert found.position_bound[1, 0] == np.inf
    assert np.isfinite(found.direction_std[1, 0, 0]).all()
    assert np.isinf(found.direction_std[1, 0, 1]).all()
    assert found.served("position")[:2, 0].tolist() == [True, False]


def test_a_place_on_a_surface_is_no_place_to_see(two_patterns):
    scenario, design = two_patterns
    flat = scenario.updated({"target.position": [5, 14, 2]})  # at the height of the surfaces
    told, x, y = [], np.array([-5.0, 5.0, 6.0]), np.array([10.0, 14.0])
    on = sensing_maps.map_design(
        flat.build(), *as_tuples(design), x, y, on_progress=lambda *at: told.append(at)
    )
    assert told == [(0, 6), (5, 6), (6, 6)]
    assert not np.isnan(on.direction_std).any()
    assert on.position_bound[0, 0] == np.inf
    assert np.isfinite(on.position_bound[1, 1])


def test_a_design_for_each_place_is_made_there(monkeypatch):
    scenario = yard(dwell__patterns=2)
    design, asked = cheap_design(scenario), []

    def designed(scenes, **options):
        asked.append((scenes[0], options))
        if len(asked) == 2:
            return SimpleNamespace(best=None)
        covariance, reflection = as_tuples(design)
        best = SimpleNamespace(covariance=jnp.stack(covariance), reflection=reflection)
        return SimpleNamespace(best=best)

    monkeypatch.setattr(sensing_maps, "descend_jointly", designed)
    scene = scenario.build()
    found = sensing_maps.map_each(scene, X[:3], Y[:1], patterns=2, min_snr=2.0)
    assert [options["min_snr"] for _, options in asked] == [2.0, 2.0]  # none behind the surfaces
    np.testing.assert_allclose(asked[0][0].target.position, [-2.0, 8.0, 1.0])
    fixed = sensing_maps.map_design(scene, *as_tuples(design), X, Y)
    assert found.each
    assert not fixed.each
    assert found.position_bound[0, 0] == found.position_bound[0, 2] == np.inf
    np.testing.assert_allclose(found.position_bound[0, 1], fixed.position_bound[0, 1], rtol=1e-7)


def test_a_beampattern_is_the_literal_sum_over_elements_and_antennas(two_patterns):
    scenario, design = two_patterns
    scene, (covariance, reflection) = scenario.build(), as_tuples(design)
    elevation, azimuth = np.array([0.4, 1.5, 2.0]), np.array([0.3, 2.5])
    found = sensing_maps.beampattern(
        scene, 1, covariance[1], reflection[1], jnp.array(elevation), jnp.array(azimuth)
    )
    channel = np.asarray(scene.bs_to_irs[1])  # two rows of three
    for row, theta in enumerate(elevation):
        for column, phi in enumerate(azimuth):
            steering = [
                np.exp(1j * np.pi * (h * np.sin(theta) * np.cos(phi) + v * np.cos(theta)))
                for v in range(2)
                for h in range(3)
            ]
            total = 0.0
            for psi, sent in zip(np.asarray(reflection[1]), np.asarray(covariance[1]), strict=True):
                way = [
                    sum(steering[n] * psi[n] * channel[n, m] for n in range(6)) for m in range(4)
                ]
                total += sum(
                    way[i] * sent[i, k] * np.conj(way[k]) for i in range(4) for k in range(4)
                ).real
            assert found[row, column] == pytest.approx(total / 2, rel=1e-9)


def test_the_default_area_holds_everything():
    area = sensing_maps.default_area(yard())
    for x, y in ((0, 0), (-5, 10), (-5, 20), (5, 14)):
        assert area.x0 < x < area.x1
        assert area.y0 < y < area.y1
