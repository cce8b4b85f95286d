"""Maps against the public functions at single points; beampatterns against a literal sum."""

import jax.numpy as jnp
import numpy as np
import pytest

import heliostat as hs
from heliostat.design.joint_descent import descend_jointly
from heliostat.maps import area
from heliostat.maps import sensing as sensing_maps
from heliostat.scenario.sensing.build import moved_target
from tests.support.sensing_designs import cheap_design, yard

X, Y = np.array([-7.0, -2.0, 5.0, 9.0]), np.array([8.0, 14.0, 25.0])


def as_tuples(design):
    covariance = [jnp.reshape(jnp.asarray(R), (-1, *R.shape[-2:])) for R in design.covariance]
    return tuple(covariance), tuple(jnp.atleast_2d(jnp.asarray(p)) for p in design.reflection)


@pytest.fixture(scope="module")
def two_patterns():
    scenario = yard(dwell__patterns=2)
    return scenario, cheap_design(scenario)


@pytest.fixture(autouse=True, scope="module")
def chunks_of_five():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensing_maps, "CHUNK", 5)
        yield


PLACES = np.array([[x, y, 1.0] for y in Y for x in X])


@pytest.fixture(scope="module")
def mapped(two_patterns):
    scenario, design = two_patterns
    return sensing_maps.bounds_at(scenario.build(), *as_tuples(design), PLACES)


def test_a_target_elsewhere_has_the_gain_that_the_scenario_gives_it():
    scenario, place = yard(dwell__patterns=2), [2.0, 30.0, 4.0]
    there = scenario.updated({"target.position": place}).build()
    moved = moved_target(scenario.build(), jnp.array(place))
    np.testing.assert_allclose(moved.target_gain, there.target_gain, rtol=1e-12)
    np.testing.assert_allclose(moved.angles(), there.angles(), rtol=1e-12)


def test_bounds_are_those_of_the_public_function_at_every_place(two_patterns, mapped):
    scenario, design = two_patterns
    seen = area.facing(scenario.build().surfaces, PLACES)
    for i, place in enumerate(PLACES):
        if place[0] < -5:
            assert not seen[i].any()
            assert np.isinf(mapped.direction_std[i]).all()
            assert mapped.position_bound[i] == np.inf
            continue
        there = scenario.updated({"target.position": [float(x) for x in place]})
        expected = hs.direction_bounds(there, design.covariance, design.reflection)
        np.testing.assert_allclose(mapped.direction_std[i], expected.direction_std, rtol=1e-7)
        np.testing.assert_allclose(mapped.position_bound[i], expected.position_bound, rtol=1e-7)
        np.testing.assert_allclose(mapped.crb[i], expected.crb.max(), rtol=1e-6)


def test_a_place_that_one_surface_alone_faces_has_its_direction_but_no_position():
    turned = yard(dwell__patterns=2).updated(
        {"surfaces.1.horizontal": [1, 0, 0], "surfaces.1.position": [0, 20, 2]}
    )  # faces -y
    scene, design = turned.build(), cheap_design(turned)
    places = np.array([[3.0, y, 1.0] for y in (12.0, 28.0, 13.0, 14.0, 15.0)])
    found = sensing_maps.bounds_at(scene, *as_tuples(design), places)
    facing = area.facing(scene.surfaces, places)
    assert facing[:2].tolist() == [[True, True], [True, False]]
    assert np.isfinite(found.position_bound[0])
    assert found.position_bound[1] == np.inf
    assert np.isfinite(found.direction_std[1, 0]).all()
    assert np.isinf(found.direction_std[1, 1]).all()


def test_a_place_on_a_surface_is_no_place_to_see(two_patterns):
    scenario, design = two_patterns
    progress, scene = [], scenario.build()
    places = np.array([[x, y, 2.0] for y in (10.0, 14.0) for x in (-5.0, 5.0, 6.0)])
    found = sensing_maps.bounds_at(
        scene, *as_tuples(design), places, on_progress=lambda *at: progress.append(at)
    )
    assert progress == [(0, 6), (5, 6), (6, 6)]
    assert not np.isnan(found.direction_std).any()
    assert found.position_bound[0] == np.inf
    assert np.isfinite(found.position_bound[4])


@pytest.fixture(scope="module")
def designed():
    """Bounds under a design for each place, and the calls of on_progress."""
    scenario, calls = yard(dwell__patterns=2), []
    found = sensing_maps.bounds_of_designs(
        scenario.build(),
        PLACES,
        patterns=2,
        min_snr=0.0,
        on_progress=lambda *at: calls.append(at),
    )
    return scenario, found, calls


def test_designs_for_each_place_are_as_good_as_separate_searches(designed):
    scenario, found, _ = designed
    for i in (1, 6, 11):  # in the first, second and third row
        there = scenario.updated({"target.position": [float(x) for x in PLACES[i]]})
        search = descend_jointly(
            (there.build(),), patterns=2, mean=False, min_snr=0.0, starts=3, seed=9
        )
        best = search.result()
        expected = hs.direction_bounds(there, best.covariance, best.reflection)
        assert found.crb[i] < expected.crb.max() * 10**0.02  # 0.2 dB
        assert np.isfinite(found.position_bound[i])


def test_designs_for_each_place_do_not_depend_on_the_order_of_the_places(designed):
    scenario, found, calls = designed
    order = np.random.default_rng(2).permutation(len(PLACES))
    again = sensing_maps.bounds_of_designs(scenario.build(), PLACES[order], patterns=2, min_snr=0.0)
    np.testing.assert_array_equal(again.direction_std, found.direction_std[order])
    np.testing.assert_array_equal(again.position_bound, found.position_bound[order])
    hidden = int(np.isinf(found.position_bound).sum())  # behind the surfaces
    assert hidden == 3
    assert calls == [(0, 12)] + [(done, 12) for done in range(hidden, 13)]


def test_designs_at_the_minimum_snr_are_at_least_those_of_random_starts():
    scenario = yard(dwell__patterns=2)
    scene, least = scenario.build(), 10**0.1
    found = sensing_maps.bounds_of_designs(
        scene, np.array([[4.0, 15.0, 1.0], [3.0, 14.0, 1.0]]), patterns=2, min_snr=least
    )
    there = moved_target(scene, jnp.array([4.0, 15.0, 1.0]))
    options = {"patterns": 2, "mean": False, "starts": sensing_maps.STARTS, "seed": 0}
    cold = descend_jointly((there,), min_snr=least, **options)
    assert cold.snr_limited
    assert found.crb[0] <= cold.result().worst * (1 + 1e-9)


def test_no_place_is_searched_that_is_farther_from_all_surfaces_than_one_searched_in_vain(
    monkeypatch,
):
    scenario, asked = yard(dwell__patterns=2), []

    def counted(scenes, **options):
        asked.append(scenes[0].target.position[1])
        return descend_jointly(scenes, **options)

    monkeypatch.setattr(sensing_maps, "descend_jointly", counted)
    places = np.array([[4.0, y, 1.0] for y in (45.0, 15.0, 30.0, 60.0)])
    # Both surfaces can have an SNR of 3 dB at the nearest place, of -1 dB at the second.
    found = sensing_maps.bounds_of_designs(scenario.build(), places, patterns=2, min_snr=10**0.27)
    assert np.isfinite(found.position_bound).tolist() == [False, True, False, False]
    # The minimum SNR is active at the nearest place.
    assert [float(y) for y in asked[sensing_maps.REFERENCES :]] == [15.0, 30.0]


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
