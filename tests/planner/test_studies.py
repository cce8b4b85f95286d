"""Placement and sweeps as the planner's page asks for them."""

import asyncio
import json
import threading
import time

import numpy as np
import pytest

import heliostat as hs
from heliostat.planner import handlers, studies
from heliostat.planner.cancellation import CancelledError
from tests.support.hall import HALL, hall
from tests.support.planner_client import asked, client
from tests.support.sensing_designs import YARD, yard

SITE = (
    HALL
    + "obstacles: [{name: block, footprint: [[-6, -6], [-2, -6], [-2, 8], [-6, 8]], height: 6 m}]\n"
)
AREA = [2.0, 9.0, 0.0, 7.0]


def lines(page, path, **more):
    answer = page.post(path, json=asked(name="site", text=SITE) | more)
    assert answer.headers["content-type"].startswith("application/x-ndjson"), answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def placed(page, **more):
    wanted = {"surface": "surface", "walls": ["block/east"], "goal": "peb below 1 m", "area": AREA}
    return lines(page, "/place", **wanted | more)


@pytest.fixture(scope="module")
def page():
    return client()


def test_ranked_places_are_those_of_the_api_and_can_be_adopted(page):
    *progress, last = placed(page)
    assert progress
    assert all(set(line) == {"stage", "done", "total"} for line in progress)
    found = last["result"]
    scenario = hs.scenario.parse(SITE)
    expected = hs.place(
        scenario, "peb below 1 m", candidates=["block/east"], heights=[3.0], area=AREA
    )
    best = found["ranked"][0]
    assert best["share"] == expected.share
    np.testing.assert_allclose(best["position"], expected.surfaces[0].position, atol=1e-6)
    shares = [each["share"] for each in found["ranked"]]
    assert shares[1:] == sorted(shares[1:], reverse=True)
    assert len(shares) <= studies.MOST_RANKED
    for each in found["ranked"][:2]:
        adopted = scenario.updated(each["overrides"])
        data = hs.coverage(adopted, "peb", positions=expected.positions)
        assert (data["peb"].values < 1.0).mean() == pytest.approx(each["share"], abs=1e-12)
    data = hs.coverage(scenario, "peb", positions=expected.positions)
    assert found["present"] == pytest.approx((data["peb"].values < 1.0).mean(), abs=1e-12)


def test_other_surfaces_stay(page):
    two = SITE.replace(
        "surface: {position: [0, 0, 3], rows: 8, columns: 6}",
        "surfaces: [{position: [0, 0, 3], rows: 8, columns: 6},"
        " {position: [-2, 5, 3], rows: 4, columns: 6, reflection: 0.5}]",
    )
    found = placed(page, text=two, surface="surfaces.1")[-1]["result"]
    scenario = hs.scenario.parse(two)
    best = found["ranked"][0]
    assert set(best["overrides"]) == {"surfaces.1.position", "surfaces.1.azimuth"}
    assert scenario.updated(best["overrides"]).surfaces[0] == scenario.surfaces[0]
    assert found["differs"].startswith("The candidates have the reflection")
    alone = hs.scenario.parse(SITE)
    kept = hs.coverage(alone, "peb", area=AREA, points=2000)
    assert found["without"] == pytest.approx((kept["peb"].values < 1.0).mean(), abs=0.01)


def test_a_new_surface_is_added_to_the_present_ones(page):
    found = placed(page, surface="new")[-1]["result"]
    scenario = hs.scenario.parse(SITE)
    expected = hs.place(
        scenario, "peb below 1 m", candidates=["block/east"], heights=[3.0], area=AREA, keep=True
    )
    shares = [each["share"] for each in found["ranked"]]
    assert shares[0] == expected.share
    assert shares[0] >= found["present"] == found["without"]
    for each in found["ranked"][:2]:
        adopted = scenario.updated(each["overrides"])
        assert len(adopted.surfaces) == 2
        assert adopted.surfaces[0].position == scenario.surface.position
        data = hs.coverage(adopted, "peb", positions=expected.positions)
        assert (data["peb"].values < 1.0).mean() == pytest.approx(each["share"], abs=1e-12)
    # A further one is added to both.
    more = placed(page, surface="new", overrides=found["ranked"][0]["overrides"])[-1]["result"]
    assert len(more["ranked"][0]["overrides"]["surfaces"]) == 3


def test_a_curve_has_the_bounds_at_its_values(page):
    *progress, last = lines(
        page,
        "/sweep",
        **{"field": "base_station.power", "from": "10 dBm", "to": "20 dBm", "count": 3},
        output="pose_bounds.peb",
    )
    assert [line["done"] for line in progress][-1] == 3
    found = last["result"]
    assert (found["x"], found["x_unit"], found["unit"]) == ([10, 15, 20], "dBm", "m")
    scenario = hs.scenario.parse(SITE)
    for value, bound in zip(found["x"], found["y"], strict=True):
        there = scenario.updated({"base_station.power": f"{value} dBm"})
        assert bound == pytest.approx(hs.pose_bounds(there).peb, rel=1e-9)
    names = {"hs": hs, "scenario": scenario}
    exec(found["python"], names)
    np.testing.assert_allclose(np.ravel(names["data"]["pose_bounds.peb"]), found["y"])


def test_a_curve_without_bounds_says_why(page):
    (*_, last) = lines(
        page,
        "/sweep",
        text=HALL,
        overrides={"surface.sweep": [[0, 0]]},
        **{"field": "base_station.power", "from": "10 dBm", "to": "20 dBm", "count": 2},
        output="pose_bounds.peb",
    )
    assert last["result"]["y"] == [None, None]
    assert "do not change the received pilots" in " ".join(last["result"]["reasons"])


def test_whole_fields_have_whole_values():
    assert studies.field_values("2", "4", 5, whole=True) == ([2, 3, 4], "")
    assert studies.field_values("1 cm", "2 cm", 3, whole=False) == (
        ["1 cm", "1.5 cm", "2 cm"],
        "cm",
    )
    assert studies.field_values("0", "1", 3, whole=False) == ([0.0, 0.5, 1.0], "")
    scene = client(hall()).post("/scene", json=asked()).json()
    fields = {field["key"]: field for group in scene["fields"] for field in group["fields"]}
    assert fields["surface.rows"]["whole"]
    assert not fields["base_station.power"]["whole"]


def test_designs_that_take_minutes_are_refused():
    page, large = client(), {"surfaces.0.columns": 1000}
    wanted = {"name": "yard", "text": YARD, "overrides": large, "count": 2, "whole": True}
    wanted |= {"field": "surfaces.0.rows", "from": "2", "to": "1000"}
    (*_, last) = lines(page, "/sweep", **wanted, output="design_beamforming.worst_crb")
    assert "designs up to" in last["problems"][0]["sentence"]
    body = asked(name="yard", text=YARD, overrides=large | {"surfaces.0.rows": 1000})
    assert "designs up to" in page.post("/report", json=body).json()["problems"][0]["sentence"]


@pytest.mark.parametrize(
    ("path", "more", "sentence"),
    [
        ("/place", {"surface": "user"}, "surface is not the key"),
        ("/place", {"goal": "peb below"}, "goal"),
        ("/place", {"walls": ["block/up"]}, "candidates"),
        ("/place", {"name": "sensing-two-surfaces", "text": None}, "for localization"),
        ("/sweep", {"from": "10 dBm", "to": "1 W"}, "different units"),
        ("/sweep", {"from": "low", "to": "high"}, "are not numbers"),
        ("/sweep", {"count": 1000}, "from 2 to 50"),
        ("/sweep", {"output": "run_protocol.eadr_mean"}, "not a quantity of the scenario"),
    ],
)
def test_bad_studies_get_one_sentence(page, path, more, sentence):
    wanted = {"surface": "surface", "walls": ["block/east"], "goal": "peb below 1 m"}
    wanted |= {"field": "base_station.power", "from": "1 W", "to": "2 W", "count": 2}
    wanted |= {"output": "pose_bounds.peb"}
    (*_, last) = lines(page, path, **wanted | more)
    assert sentence in last["refused"]


@pytest.mark.parametrize("more", [{"walls": []}, {"walls": [1]}, {"goal": ""}, {"goal": "x" * 300}])
def test_malformed_studies_are_refused(page, more):
    wanted = {"surface": "surface", "walls": ["block/east"], "goal": "peb below 1 m"}
    answer = page.post("/place", json=asked(name="site", text=SITE) | wanted | more)
    assert answer.status_code == 400


def test_problems_of_values_are_those_of_the_checker(page):
    (*_, last) = lines(
        page,
        "/sweep",
        **{"field": "base_station.power", "from": "1 m", "to": "2 m", "count": 2},
        output="pose_bounds.peb",
    )
    assert "is a length, not a power" in last["problems"][0]["sentence"]


def test_a_study_stops_when_its_progress_says_so():
    calls = []

    def advance(*_):
        calls.append(None)
        if len(calls) == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        studies.best_places(
            hs.scenario.parse(SITE), "surface", "peb below 1 m", ["block"], AREA, advance
        )
    assert len(calls) == 2


def test_a_study_stops_when_its_page_drops_the_request():
    ended = threading.Event()

    def work(advance):
        try:
            while True:
                advance("endless", 1, 2)
                time.sleep(0.01)
        finally:
            ended.set()

    async def dropped():
        lines = handlers.Planner()._streamed(work).body_iterator
        assert json.loads(await anext(lines)) == {"stage": "endless", "done": 1, "total": 2}
        assert not ended.is_set()
        await lines.aclose()
        assert await asyncio.to_thread(ended.wait, 5)

    asyncio.run(dropped())


def test_a_design_has_progress_and_is_kept_for_maps(monkeypatch):
    from heliostat.planner import results

    made = []
    kept = results.designed
    monkeypatch.setattr(results, "designed", lambda *a, **k: made.append(1) or kept(*a, **k))
    page = client()
    *progress, last = lines(page, "/design", name="yard", text=YARD)
    done = [line["done"] for line in progress]
    assert len(done) > 2
    assert done == sorted(done)
    assert last["result"]["status"] == hs.design_beamforming(yard()).status
    body = asked(name="yard", text=YARD, design={}, area=[2, 8, 11, 17], cells=2)
    assert page.post("/map", json=body).status_code == 200
    assert len(made) == 1


def test_a_design_is_canceled_between_its_steps():
    from heliostat.planner.results import Designs

    designs, calls = Designs(), []

    def check(done, total):
        calls.append(done)
        if done == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        designs.of("yard", yard(), check)
    assert calls == [0, 1, 2]
    # The next one is not kept waiting by the canceled one.
    assert designs.of("yard", yard(), lambda done, total: None).status


def test_a_study_takes_at_most_its_time(monkeypatch):
    monkeypatch.setattr(handlers, "LONGEST_STUDY", -1.0)
    assert placed(client())[-1]["refused"].startswith("the study takes longer than")


def test_only_a_few_studies_run_at_once(monkeypatch):
    page = client()
    monkeypatch.setattr(handlers, "WAIT", 0.01)
    monkeypatch.setattr(
        studies,
        "best_places",
        lambda *_: placed(page, surface="surface")[-1],  # a study within a study within ...
    )
    found = placed(page)[-1]
    while "result" in found:
        found = found["result"]
    assert found["refused"].startswith("Two other studies are running")
