"""The planner's server: who is answered, what is refused, and that its values are the API's."""

import json

import numpy as np
import pytest

import heliostat as hs
from heliostat.planner import handlers, requests, server
from heliostat.planner.cancellation import CancelledError
from heliostat.planner.requests import MapArguments
from heliostat.scenario import scenario_names
from heliostat.units import format_quantity
from tests.support.hall import HALL, hall
from tests.support.planner_client import asked, client, unpacked
from tests.support.sensing_designs import YARD, cheap_design, yard

AREA = [1.0, 13.0, -5.0, 7.0]
SMALL = {"area": AREA, "cells": 4}


@pytest.fixture(scope="module")
def page():
    return client(hall())


# Who is answered


def test_the_page_and_its_files_are_served_with_a_policy_against_foreign_content(page):
    for path in ("/", "/static/main.js", "/static/style.css"):
        answer = page.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert page.get("/static/server.py").status_code == 404
    assert page.get("/static/..%2fserver.py").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "planner.example"},
        {"Host": "127.0.0.1:9"},
        {"Host": "planner.example", "Origin": "http://planner.example"},
        {"Origin": "http://planner.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8000"},
    ],
)
def test_requests_of_other_pages_are_refused(page, headers):
    for send in (lambda **kw: page.get("/start", **kw), lambda **kw: page.post("/scene", **kw)):
        answer = send(headers=headers)
        assert answer.status_code == 403
        assert answer.text.startswith("This planner")


def test_requests_without_an_origin_are_refused():
    answer = client().send("POST", "/scene", json=asked(name="factory-hall"))
    assert answer.status_code == 403
    assert "no Origin" in answer.text


def test_another_address_needs_the_token():
    page = client(hall(), token="secret", host="192.168.0.10:8000")
    assert page.get("/").status_code == 403
    assert page.get("/?token=wrong").status_code == 403
    assert page.get("/?token=secret").status_code == 200
    assert page.post("/scene", json=asked()).status_code == 403
    answer = page.post("/scene", json=asked(), headers={"X-Token": "secret"})
    assert answer.json()["problems"] == []


def test_a_port_is_opened_on_loopback_by_default_and_with_a_token_elsewhere():
    with server.opened(None).socket as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
    # Any address other than the three names of loopback counts as reachable from the network.
    elsewhere = server.opened(None, "127.0.0.2")
    elsewhere.socket.close()
    assert "?token=" in elsewhere.address
    assert len(elsewhere.address.split("=")[1]) >= 32


# What is refused


@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [
        (b"{", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        (b"{}", 400, "name is not"),
        (b" " * (requests.LARGEST_BODY + 1), 413, "larger than 2 MiB"),
        (json.dumps(asked(overrides=[1])).encode(), 400, "overrides is not an object"),
        (json.dumps(asked(cells=10_000)).encode(), 400, "cells is not a whole number from 1"),
        (json.dumps(asked(area=[0, 1, "a", 2])).encode(), 400, "area is not a list of four"),
        (b'{"name": "scenario", "area": [0, 1, NaN, 2]}', 400, "area is not a list of four"),
        (json.dumps(asked(area=[1, 0, 0, 1])).encode(), 400, "has no extent"),
        (json.dumps(asked(quantity="pep")).encode(), 400, "quantity is 'pep'"),
        (json.dumps(asked(steering=["fixed"])).encode(), 400, "steering is neither"),
    ],
)
def test_bad_requests_get_one_sentence(page, content, code, sentence):
    answer = page.post("/map", content=content)
    assert answer.status_code == code
    assert sentence in answer.json()["refused"]


def test_places_are_limited(page):
    many = asked(places=[[8, 6, 1]] * (handlers.MOST_PLACES + 1))
    assert page.post("/numbers", json=many).status_code == 400
    assert page.post("/numbers", json=asked(places=[[1, 2]])).status_code == 400


def test_an_invalid_scenario_gets_the_checkers_sentence_at_its_field(page):
    overrides = {"user.position": [-3, 6, 1], "carrier.frequency": "30 km"}
    for path in ("/scene", "/map", "/numbers"):
        found = page.post(path, json=asked(overrides=overrides)).json()["problems"]
        with pytest.raises(hs.ScenarioError) as refusal:
            hall().updated(overrides)
        assert [(p["field"], p["sentence"]) for p in found] == [
            (p.field, p.sentence) for p in refusal.value.problems
        ]
    assert ["is behind" in found[0]["sentence"], "a length" in found[1]["sentence"]] == [True] * 2


@pytest.mark.parametrize("path", ["/etc/passwd", "../hall", "hall.yaml", "template"])
def test_no_scenario_is_read_from_a_file(page, path):
    (problem,) = page.post("/scene", json=asked(name=path)).json()["problems"]
    assert problem["sentence"] == "there is no such scenario"


@pytest.mark.parametrize(
    "overrides",
    [
        {"surface.phases": "phases.npy"},
        {"surface.phases": '"phases\\u002enpy"'},
        {"surface": "{position: [0, 0, 3], phases: phases.npy}"},
        {"surface": {"position": [0, 0, 3], "phases": "phases.npy"}},
    ],
)
def test_no_file_is_read_for_the_page(page, tmp_path, monkeypatch, overrides):
    monkeypatch.chdir(tmp_path)
    np.save("phases.npy", np.zeros(48))
    (problem,) = page.post("/scene", json=asked(overrides=overrides)).json()["problems"]
    assert problem["field"] == "surface.phases"
    assert "reads no files" in problem["sentence"]
    text = HALL.replace("rows: 8,", "rows: 8, phases: phases.npy,")
    (problem,) = page.post("/scene", json=asked(text=text)).json()["problems"]
    assert "reads no files" in problem["sentence"]


def test_files_that_the_given_scenario_names_are_still_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("phases.npy", np.zeros(48))
    page = client(hall(surface__phases="phases.npy"))
    found = page.post("/scene", json=asked(overrides={"user.position": [8, 5, 1]})).json()
    assert found["problems"] == []


# Values


def test_the_map_equals_the_bounds_at_its_points(page):
    overrides = {"base_station.position": [11, -4, 7]}
    answer = page.post("/map", json=asked(overrides=overrides, quantity="peb", **SMALL))
    header, values, flags = unpacked(answer.content)
    scenario = hall().updated(overrides)
    assert (header["area"], header["unit"], header["height"]) == (AREA, "m", 1.0)
    assert (flags & 1).all()
    for row, y in enumerate(-5 + 12 * (np.arange(4) + 0.5) / 4):
        for column, x in enumerate(1 + 12 * (np.arange(4) + 0.5) / 4):
            there = scenario.updated({"user.position": [x, y, 1.0]})
            assert values[row, column] == pytest.approx(hs.pose_bounds(there).peb, rel=1e-6)


def test_numbers_are_those_of_the_api(page):
    place = [5.0, 4.0, 1.5]
    behind = [-5.0, 4.0, 1.5]
    found = page.post("/numbers", json=asked(places=[place, behind])).json()
    table = {row[0]: row[1] for row in found["tables"][0]["rows"]}
    bounds, rate = hs.pose_bounds(hall()), hs.effective_rate(hall())
    assert table["Position error bound (PEB)"] == format_quantity(bounds.peb, "length")
    rate_row = "Effective achievable data rate (EADR), DFT beams"
    assert table[rate_row] == f"{rate.eadr / 1e6:.4g} Mbit/s"
    assert found["tables"][1]["title"] == "Best time allocation"
    assert found["notes"] == list(hall().notes)
    first, second = found["places"]
    there = hs.pose_bounds(hall(user__position=place))
    assert dict(first["cells"])["PEB"] == format_quantity(there.peb, "length")
    assert second["cells"] == []
    assert "is behind the surface" in second["reason"]


def test_every_listed_user_has_its_numbers(page):
    same = {"heading": "30 deg", "antennas": 2}
    users = [
        {"name": "a", "position": [8, 6, 1]} | same,
        {"name": "b", "position": [6, 5, 1]} | same,
    ]
    text = HALL.replace("user: {position: [8, 6, 1], heading: 30 deg, antennas: 2}\n", "")
    text += f"users: {json.dumps(users)}\n"
    found = page.post("/numbers", json=asked(name="two", text=text)).json()
    tables = {table["title"]: dict(table["rows"]) for table in found["tables"]}
    for user in users:
        alone = hall(user__position=user["position"])
        shown = tables[f"Bounds and rate of {user['name']}"]["Position error bound (PEB)"]
        assert shown == format_quantity(hs.pose_bounds(alone).peb, "length")
        assert f"Best time allocation of {user['name']}" in tables


def test_a_map_is_steered_as_asked(page):
    found = {}
    for steering in (None, "each point", "fixed"):
        answer = page.post("/map", json=asked(quantity="peb", steering=steering, **SMALL))
        header, found[steering], _ = unpacked(answer.content)
        assert header["steerings"] == ["each point", "fixed"]
    expected = hs.coverage(hall(), "peb", area=AREA, points=16, steering="fixed")["peb"]
    np.testing.assert_allclose(found["fixed"], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[None], found["each point"])
    assert (found["each point"] != found["fixed"]).any()
    drawn = page.post("/map", json=asked(overrides={"surface.phases": "random"}, **SMALL))
    assert unpacked(drawn.content)[0]["steerings"] == ["fixed"]


def test_a_missing_bound_has_its_reason(page):
    overrides = {"surface.sweep": [[0, 0]]}
    answer = page.post("/map", json=asked(overrides=overrides, **SMALL))
    _, values, flags = unpacked(answer.content)
    assert np.isposinf(values[(flags & 1) == 1]).all()
    found = page.post("/numbers", json=asked(overrides=overrides, places=[[5, 4, 1]])).json()
    reason = hs.pose_bounds(hall(surface__sweep=[[0, 0]], user__position=[5, 4, 1])).reason
    assert found["places"][0]["reason"] == reason
    assert "do not change the received pilots" in reason


def test_fields_have_values_units_and_choices(page):
    scene = page.post("/scene", json=asked(overrides={"base_station.power": "23 dBm"})).json()
    fields = {field["key"]: field for group in scene["fields"] for field in group["fields"]}
    assert fields["base_station.power"]["value"] == "23 dBm"
    assert fields["surface.rows"]["value"] == "8"
    assert fields["surface.azimuth"]["value"] == ""
    assert fields["model.gain"]["choices"] == ["known", "unknown"]
    assert fields["user.position"]["value"] == "[8.0, 6.0, 1.0]"
    assert {obj["key"] for obj in scene["objects"]} == {"base_station", "surface", "user"}
    again = hs.scenario.parse(scene["yaml"])
    assert again == hall(base_station__power="23 dBm")


def test_every_packaged_scenario_has_a_picture_and_every_field(page):
    start = page.get("/start").json()
    assert start["own"] == "scenario"
    assert [scene["name"] for scene in start["packaged"]] == scenario_names()
    for name in scenario_names():
        scene = page.post("/scene", json=asked(name=name)).json()
        keys = {field["key"] for group in scene["fields"] for field in group["fields"]}
        for obj in scene["objects"]:
            assert f"{obj['key']}.position" in keys


def test_walls_face_away_from_their_obstacle(page):
    scene = page.post("/scene", json=asked(name="street-crossing")).json()
    walls = {wall["name"]: wall for wall in scene["walls"]}
    assert walls["south-east/west"]["azimuth_deg"] == pytest.approx(180)
    assert {walls["south-east/west"]["start"][0], walls["south-east/west"]["end"][0]} == {10.0}


def test_a_sensing_map_keeps_the_held_design(monkeypatch):
    from heliostat.planner import results

    made = []
    monkeypatch.setattr(results, "designed", lambda s, **_: made.append(s) or cheap_design(s))
    page = client()
    moved = {"target.position": [5, 15, 1]}
    body = {"name": "yard", "text": YARD, "area": [2, 8, 11, 17], "cells": 2}
    for overrides in ({}, moved):
        answer = page.post("/map", json=body | {"overrides": overrides, "design": {}})
        header, values, _ = unpacked(answer.content)
        expected = hs.coverage(
            yard().updated(overrides),
            area=body["area"],
            points=4,
            design=cheap_design(yard()),
        )
        np.testing.assert_allclose(values, expected["position_bound"], rtol=1e-6)
        assert not header["redesigned"]
    assert len(made) == 1
    assert results.same_sizes(yard(), yard().updated(moved))
    assert not results.same_sizes(yard(), yard(surfaces__0__rows=3))


def test_a_computation_stops_when_its_request_is_dropped():
    from heliostat.planner import results

    calls = []

    def check():
        calls.append(None)
        if len(calls) == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        results.compute_map(hall(), check, MapArguments("peb", AREA, 4), design=None)
    assert len(calls) == 2
