"""Maps through the public function, against single evaluations and counting by hand."""

import numpy as np
import pytest
import yaml

import heliostat as hs
from tests.support.hall import hall
from tests.support.sensing_designs import cheap_design, yard


@pytest.fixture(scope="module")
def mapped():
    return hs.coverage(hall(), area=[1, 9, -4, 8], points=24, active_antennas=2)


def test_a_map_fills_its_area_and_is_the_bound_at_each_place(mapped):
    assert mapped.peb.shape == (6, 4)
    np.testing.assert_allclose(mapped.x, [2, 4, 6, 8])
    np.testing.assert_allclose(mapped.y, [-3, -1, 1, 3, 5, 7])
    there = hs.pose_bounds(hall(user__position=[4, 5, 1]), 2)
    assert float(mapped.peb.sel(x=4, y=5)) == pytest.approx(there.peb, rel=1e-9)
    assert mapped.peb.attrs["units"] == "m"
    assert mapped.attrs["steering"] == "each point"
    assert "active antennas: 2, surface steered at each point" in mapped.attrs["title"]
    assert hs.load(yaml.safe_load(mapped.attrs["scenario_text"])).dump() == hall().dump()


def test_the_default_area_holds_everything_with_room_around():
    data, scenario = hs.coverage(hall(), points=9), hall()
    step_x, step_y = float(data.x[1] - data.x[0]) / 2, float(data.y[1] - data.y[0]) / 2
    for part in (scenario.base_station, scenario.surface, scenario.user):
        x, y, _ = part.position
        assert data.x[0] - step_x < x < data.x[-1] + step_x
        assert data.y[0] - step_y < y < data.y[-1] + step_y


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, "each point"),
        ({"surface__bits": 2}, "each point"),
        ({"surface__focus": [5, 5, 1]}, "fixed"),
        ({"surface__phases": "random"}, "fixed"),
    ],
)
def test_a_surface_is_steered_to_each_point_unless_focus_or_phases_are_given(overrides, expected):
    data = hs.coverage(hall(**overrides), positions=[[5, 5]])
    assert data.attrs["steering"] == expected


def test_a_polygon_is_served_inside_only():
    corners = [(2.0, 0.0), (8.0, 0.0), (8.0, 5.0)]
    data = hs.coverage(hall(), area=corners, points=120)  # no point is on the diagonal
    inside = data.y < (data.x - 2) * 5 / 6
    np.testing.assert_array_equal(data.served, inside.transpose("y", "x"))


def test_the_near_field_ends_at_the_fraunhofer_distance():
    # Truth: 2 D^2 / wavelength with the diagonal D of 8 x 6 half wavelengths of 1 cm: 0.5 m.
    distance = 2 * ((8 * 0.5) ** 2 + (6 * 0.5) ** 2) * 299792458 / 30e9
    places = [[0.99 * distance, 0, 3], [1.01 * distance, 0, 3]]
    assert hs.coverage(hall(), positions=places).near_field.values.tolist() == [True, False]


def test_a_sensing_map_has_all_bounds_of_a_design():
    scenario = yard(dwell__patterns=2)
    design = cheap_design(scenario)
    places = [[5.0, 14.0, 1.0], [-7.0, 14.0, 1.0]]
    data = hs.coverage(scenario, "crb", positions=places, design=design)
    expected = hs.direction_bounds(
        scenario.updated({"target.position": places[0]}), design.covariance, design.reflection
    )
    assert float(data.crb[0]) == pytest.approx(expected.crb.max(), rel=1e-6)
    assert float(data.position_bound[0]) == pytest.approx(expected.position_bound, rel=1e-6)
    assert data.served.values.tolist() == [True, False]
    assert data.attrs["quantity"] == "crb"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"quantity": "crb"}, "quantity is 'crb' .* must be one of peb, reb, rate, snr"),
        ({"area": [1, 2, 3]}, r"area has the shape \(3,\)"),
        ({"area": [2, 1, 0, 1]}, "has no extent"),
        ({"positions": [1, 2]}, r"positions has the shape \(2,\)"),
        ({"positions": [[1, 2]], "points": 3}, "leave those out"),
        ({"positions": [[1, 2]], "names": ["a", "b"]}, "names has 2 entries for 1"),
        ({"positions": [[1, 2]], "headings": [0, 1]}, "headings needs 1"),
        ({"points": 0}, "points is 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        hs.coverage(hall(), **arguments)


def test_given_phases_cannot_be_steered():
    with pytest.raises(ValueError, match=r"surface\.phases of this scenario are not designed"):
        hs.coverage(hall(surface__phases="random"), steering="each point")


def test_a_map_at_the_users_is_the_bound_of_each_user_on_its_own():
    users = [
        {"name": "a", "position": [8, 6, 1], "heading": "30 deg", "antennas": 2},
        {"name": "b", "position": [9, -4, 2], "heading": "70 deg", "antennas": 4},
    ]
    scenario = hall(user=None, users=users)
    data = hs.coverage(scenario, at_users=True)
    expected = [hs.pose_bounds(hall(user=user)).peb for user in users]
    np.testing.assert_allclose(data.peb, expected, rtol=1e-9)
    assert list(data.place.values) == ["a", "b"]
    rate = hs.coverage(scenario, "rate", at_users=True, active_antennas=2)
    expected = [hs.effective_rate(hall(user=user), 2).eadr for user in users]
    np.testing.assert_allclose(rate.rate, expected, rtol=1e-9)
    cause = hs.coverage(scenario, "cause", at_users=True)
    assert cause.cause.attrs["flag_meanings"] == "surface"
    area = hs.coverage(scenario, points=4)
    np.testing.assert_array_equal(area.user, [[8, 6, 1], [9, -4, 2]])
    alone = hs.coverage(hall(), at_users=True)
    assert float(alone.peb[0]) == pytest.approx(hs.pose_bounds(hall()).peb, rel=1e-9)


def test_a_map_at_the_users_has_no_other_places():
    with pytest.raises(ValueError, match="at_users replaces area"):
        hs.coverage(hall(), at_users=True, points=4)
    with pytest.raises(ValueError, match="at_users is for localization"):
        hs.coverage(yard(), at_users=True)
