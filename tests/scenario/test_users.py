"""Localization scenarios with several users."""

import pytest

import heliostat as hs
from heliostat.scenario import ScenarioError, parse
from tests.support.hall import hall

NEAR = {"name": "near", "position": [8, 6, 1], "heading": "30 deg", "antennas": 2}
FAR = {"position": [9, -4, 2], "heading": "70 deg", "antennas": 4, "antenna_gain": "3 dBi"}


def crowd(*users, **overrides):
    return hall(user=None, users=list(users or (NEAR, FAR)), **overrides)


def test_the_first_user_is_that_of_functions_for_one_user():
    scenario = crowd()
    assert scenario.user_names == ("near", "user 2")
    assert hs.pose_bounds(scenario).peb == hs.pose_bounds(hall()).peb
    assert hs.pose_bounds(crowd(FAR, NEAR)).peb != hs.pose_bounds(hall()).peb


def test_each_user_alone_is_the_scenario_with_this_user():
    scenario = crowd()
    expected = [hall(user=user).dump() for user in (NEAR, FAR)]
    assert [scenario.for_user(i).dump() for i in range(2)] == expected
    assert hall().for_user(0).dump() == hall().dump()


def test_keys_of_each_user_can_be_overridden():
    turned = crowd().updated({"users.1.heading": "0.4 rad", "users.0.antennas": 3})
    assert (turned.users[1].heading, turned.user.antennas) == (0.4, 3)
    assert turned.users[1].antennas == 4
    assert hs.load(turned, {"users": None, "user": NEAR}).dump() == hall(user=NEAR).dump()


def test_dumping_and_reading_gives_the_same_users():
    scenario = crowd()
    assert parse(scenario.dump()).dump() == scenario.dump()
    assert "\nuser:" not in scenario.dump()


WALL = {"name": "wall", "footprint": [[8, -5], [10, -5], [10, -3], [8, -3]], "height": "5 m"}


@pytest.mark.parametrize(
    ("overrides", "field", "sentence"),
    [
        ({"user": FAR}, "users", "user and users are both given"),
        ({"users": None}, "user", "missing; add e.g. user: {antennas: 32"),
        ({"users": []}, "users", "has too few entries"),
        ({"users": 3}, "users", "is not a list"),
        ({"users.1.name": "near"}, "users", "has two users named near"),
        ({"users.1.name": "a b"}, "users.1.name", "is not a name"),
        ({"users.0.heading": "up"}, "users.0.heading", "write e.g. 45 deg"),
        ({"users.1.antenas": 2}, "users.1.antenas", "did you mean users.1.antennas"),
        ({"users.1.position": [-3, 1, 1]}, "users.1.position", "is behind the surface"),
        ({"users.1.position": [10, -5, 8]}, "users.1.position", "the position of the base station"),
        ({"users.1.antennas": 128}, "frame.period", "is too short for the pilots"),
        ({"obstacles": [WALL]}, "users.1.position", "is inside wall"),
    ],
)
def test_what_does_not_fit_is_refused_as_for_one_user(overrides, field, sentence):
    with pytest.raises(ScenarioError) as caught:
        hs.load(crowd(), overrides)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert sentence in problem.sentence


def test_what_is_wrong_for_all_users_is_reported_once():
    with pytest.raises(ScenarioError) as caught:
        crowd(base_station__position=[-3, 1, 6])
    (problem,) = caught.value.problems
    assert problem.field == "base_station.position"


def test_notes_name_the_users_that_they_concern():
    # One of the users is where the wave arrives along its array; the other is behind a wall.
    along = NEAR | {"name": "along", "position": [8, 0, 3], "heading": "0 deg"}
    wall = {"name": "wall", "footprint": [[6, -4], [7, -4], [7, -2], [6, -2]], "height": "5 m"}
    scenario = crowd(along, FAR, obstacles=[wall], link__direct="blocked")
    blocked, end_fire = sorted(scenario.notes)
    assert blocked == "Blocked for user 2: wall blocks the path through the surface."
    assert end_fire.startswith("End-fire:")
    assert "users.0.heading (along)." in end_fire
    both = crowd(along, along | {"name": "other"})
    assert len(both.notes) == 2
    shared = crowd(surface__element_gain="20 dBi").notes
    assert not any("(" in note for note in shared if note.startswith("Link budget"))
