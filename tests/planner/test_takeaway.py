"""What the planner's page saves: the files of the command line, and code that gives its numbers."""

import contextlib
import csv
import functools
import io
import shlex

import numpy as np
import pytest
import xarray as xr

import heliostat as hs
from heliostat.__main__ import answer
from heliostat.units import format_quantity
from tests.support.hall import HALL
from tests.support.planner_client import asked, client, unpacked
from tests.support.sensing_designs import YARD, cheap_design

MAP = {"area": [1.0, 13.0, -5.0, 7.0], "cells": 4, "quantity": "peb", "threshold": 0.5}
MOVED = {"user.position": [7, 5.5, 1], "base_station.power": "23 dBm", "surface.azimuth": None}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("hall", HALL), ("yard", YARD)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def body(**more):
    return asked(name="hall", text=HALL, overrides=MOVED) | MAP | more


@pytest.mark.parametrize("steering", [None, "fixed"])
def test_python_and_the_command_line_give_the_numbers_of_the_page(folder, monkeypatch, steering):
    page = client()
    _, values, _ = unpacked(page.post("/map", json=body(steering=steering)).content)
    limit = float(np.median(values)) * 1.01
    wanted = body(steering=steering, threshold=limit)
    code = page.post("/snippets", json=wanted).json()
    numbers = page.post("/numbers", json=wanted).json()
    shown = dict(numbers["tables"][0]["rows"])
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        exec(code["python"], names)
    np.testing.assert_allclose(names["data"]["peb"].values, values, rtol=1e-6)
    peb = float(printed.getvalue().split()[0])
    assert format_quantity(peb, "length") == shown["Position error bound (PEB)"]

    lines = [shlex.split(line) for line in code["command"].splitlines()]
    assert [line[:2] for line in lines] == [["heliostat", "map"], ["heliostat", "run"]]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert answer(lines[0][1:]) == 0
    with xr.open_dataset(folder / "map.nc") as data:
        np.testing.assert_allclose(data["peb"].values, values, rtol=1e-6)
    below = (values < limit).mean()
    assert 0 < below < 1
    assert f"{below:.3g}" in printed.getvalue()
    monkeypatch.setattr("heliostat.plots.style.save_figures", lambda *_, **__: None)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert answer([*lines[1][1:], "--json"]) == 0
    assert f'"peb_m": {peb!r}' in printed.getvalue()


def test_python_computes_a_map_under_an_earlier_design(folder, monkeypatch):
    for module in ("heliostat.planner.results", "heliostat.api.sensing"):
        monkeypatch.setattr(f"{module}.designed", cheap_design)
    monkeypatch.setattr("heliostat.api.sensing.design_beamforming", cheap_design)
    monkeypatch.setattr(hs, "design_beamforming", cheap_design, raising=False)
    page = client()
    moved = {"target.position": [5, 15, 1]}
    wanted = asked(name="yard", text=YARD, overrides=moved)
    wanted |= {"design": {}, "area": [2, 8, 11, 17], "cells": 2, "quantity": "position"}
    code = page.post("/snippets", json=wanted).json()
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code["python"], names)
    _, values, _ = unpacked(page.post("/map", json=wanted).content)
    np.testing.assert_allclose(names["data"]["position_bound"], values, rtol=1e-6)
    assert code["command"].startswith("# The map on the page is for the design of earlier fields")


def test_files_of_the_map_are_those_of_the_command_line(folder):
    page, wanted = client(), functools.partial(body, steering="fixed")
    _, values, _ = unpacked(page.post("/map", json=wanted()).content)
    data = page.post("/export", json=wanted(format="csv"))
    assert data.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(data.text)))
    np.testing.assert_allclose([float(row["peb_m"]) for row in rows], values.ravel(), rtol=1e-6)
    features = page.post("/export", json=wanted(format="geojson")).json()["features"]
    found = [feature["properties"]["peb_m"] for feature in features]
    np.testing.assert_allclose(found, values.ravel(), rtol=1e-6)
    (folder / "page.nc").write_bytes(page.post("/export", json=wanted(format="nc")).content)
    with xr.open_dataset(folder / "page.nc") as opened:
        np.testing.assert_allclose(opened["peb"], values, rtol=1e-6)
        assert "23 dBm" in opened.attrs["scenario_text"]
    assert page.post("/export", json=wanted(format="png")).content.startswith(b"\x89PNG")
    assert b"<svg" in page.post("/export", json=wanted(format="svg")).content[:1000]


@pytest.mark.parametrize(
    ("path", "more", "sentence"),
    [
        ("/export", {"format": "pickle"}, "format is none of"),
        ("/export", {"format": "csv", "cells": 10_000}, "cells is not"),
        ("/export", {"format": "csv", "threshold": "1 m"}, "threshold is not a positive number"),
        ("/snippets", {"quantity": ["peb"]}, "quantity is not one of a map"),
        ("/snippets", {"quantity": "peb; rm"}, "quantity is not one of a map"),
    ],
)
def test_bad_requests_are_refused(path, more, sentence):
    answer = client().post(path, json=body(**more))
    assert answer.status_code == 400
    assert sentence in answer.json()["refused"]


def test_code_contains_only_quoted_text():
    evil = {"user.name": "'; import os #\n$(touch x)"}
    page = client()
    for path in ("/snippets",):
        found = page.post(path, json=body(overrides={"user.heading": "30 deg"} | {})).json()
        assert shlex.split(found["command"].splitlines()[0])[4] == "user.heading=30 deg"
    from heliostat.planner.requests import MapArguments
    from heliostat.planner.takeaway import Source, snippets
    from tests.support.hall import hall

    code = snippets(hall(), Source("it's.yaml", evil, evil), MapArguments("peb", None, 4), None)
    words = shlex.split(code["command"])
    assert f"user.name={evil['user.name']}" in words
    assert repr(evil["user.name"]) in code["python"]
    compile(code["python"], "snippet", "exec")


def test_the_report_is_that_of_the_command_line():
    page = client().post("/report", json=body())
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-disposition"].startswith("attachment")
    scenario = hs.scenario.parse(HALL, MOVED)
    assert format_quantity(hs.pose_bounds(scenario).peb, "length") in page.text
    assert "data:image/png;base64," in page.text
