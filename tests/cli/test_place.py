"""The command ``place``: output, files and error messages."""

import csv
import json

import numpy as np
import pytest
import xarray as xr
import yaml

import heliostat as hs
from heliostat.__main__ import answer
from heliostat.api import placement
from tests.support.corner import AREA, CORNER
from tests.support.sensing_designs import YARD

GOAL = "peb below 5 cm"
OPTIONS = ["--area", "0,6,-12,0", "--points", "30", "--spacing", "4 m", "--turns", "0"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "corner.yaml").write_text(yaml.safe_dump(CORNER), encoding="utf-8")
    (tmp_path / "yard.yaml").write_text(YARD, encoding="utf-8")
    (tmp_path / "open.yaml").write_text(
        yaml.safe_dump(CORNER | {"obstacles": []}), encoding="utf-8"
    )
    return tmp_path


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_place_writes_all_and_its_json_equals_the_api(folder, capsys):
    arguments = ["place", "corner.yaml", "--surfaces", "2", "--goal", GOAL, *OPTIONS]
    assert answer([*arguments, "--json", "--out", "new/place"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {path.name for path in (folder / "new/place").iterdir()} == {
        *("site.yaml", "placement.png", "placement.csv", "placement.nc")
    }
    found = hs.place("corner.yaml", GOAL, 2, area=AREA, points=30, spacing=4, turns=[0])
    assert document["goal"] == GOAL
    assert document["share"] == found.share
    assert document["peb_quantile_m"] == found.quantile
    assert (document["share_on_grid"], document["bound"], document["gap"]) == (
        *(found.share_on_grid, found.bound, found.gap),
    )
    assert document["share_by_number"] == found.share_by_number.tolist()
    assert document["dropped"] == found.candidates.dropped
    assert [each["wall"] for each in document["surfaces"]] == [each.wall for each in found.surfaces]
    assert document["surfaces"][0]["position_m"] == found.surfaces[0].position.tolist()
    assert document["provenance"]["scenario"] == "corner"
    # The written site is accepted and has the share that is document.
    site = hs.load(folder / "new/place/site.yaml")
    peb = hs.coverage(site, "peb", positions=found.positions).peb.values
    assert np.mean(peb < 0.05) == document["share"]
    with xr.open_dataset(folder / "new/place/placement.nc", engine="h5netcdf") as stored:
        np.testing.assert_array_equal(stored.met, found.met)
        np.testing.assert_allclose(stored.peb, found.values["peb"], rtol=1e-12)
        assert stored.candidate_share.sizes["candidate"] == document["candidates"]
    with (folder / "new/place/placement.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [float(row["share"]) for row in rows] == found.candidates.share.tolist()
    # It is never written over the scenario that is read.
    again = ["place", "new/place/site.yaml", "--goal", GOAL, "--out", "new/place"]
    before = (folder / "new/place/site.yaml").read_bytes()
    assert answer(again) == 2
    assert "its site.yaml is the given scenario" in capsys.readouterr().err
    assert (folder / "new/place/site.yaml").read_bytes() == before


def test_a_goal_that_no_position_meets_has_a_remedy(folder, capsys):
    arguments = ["place", "corner.yaml", "--goal", "peb below 1 um", *OPTIONS]
    assert answer([*arguments, "--out", "out"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    with xr.open_dataset(folder / "out/placement.nc", engine="h5netcdf") as stored:
        assert not stored.met.any()
        best = float(stored.peb.min())
    number, unit = printed.split("best value at any position is ")[1].split()[:2]
    assert float(number) * {"mm": 1e-3, "µm": 1e-6}[unit[:2]] == pytest.approx(best, rel=0.01)
    assert "Choose a weaker goal" in printed


def test_place_prints_the_surfaces_and_shares(folder, capsys):
    (folder / "users.csv").write_text("name,x,y,heading\nkiosk,3,-5,10\nbench,2,-3,40\n")
    arguments = ["--points-file", "users.csv", "--candidates", "east/west", "--keep"]
    goal = "rate above 1 Mbit/s"
    assert answer(["place", "corner.yaml", "--goal", goal, *arguments, "--sizes", "4x4,8x8"]) == 0
    printed = capsys.readouterr().out
    for words in ("east-west-1", "4 x 4: share", "8 x 8: share", "Rate, 10 % quantile", "100.0 %"):
        assert words in printed
    assert "no set of candidates on the grid has a larger share" in printed
    assert len(hs.load(folder / "results/corner-place/site.yaml").panels) == 2


PLACE = ["place", "corner.yaml", "--goal", GOAL]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["place", "corner.yaml", "--goal", "peb over 1 m"], ["goal: 'peb over 1 m'", "below"]),
        (["place", "corner.yaml", "--goal", "peb below 1"], ["goal: '1' has no unit"]),
        (["place", "yard.yaml", "--goal", GOAL], ["yard describes sensing"]),
        (["place", "open.yaml", "--goal", GOAL], ["open has no obstacles", "--wall"]),
        (
            [*PLACE, "--candidates", "facade"],
            ["facade is neither", "there are corner, east, north"],
        ),
        ([*PLACE, "--wall", "a=1,2"], ["--wall a=1,2", "NAME=X0,Y0,X1,Y1"]),
        ([*PLACE, "--wall", "a=1,2,1,2"], ["wall a has no length"]),
        ([*PLACE, "--wall", "a=0,0,1,2", "--wall", "a=0,0,1,2"], ["a is given twice"]),
        ([*PLACE, "--sizes", "8"], ["--sizes 8", "32x32"]),
        ([*PLACE, "--turns", "x"], ["--turns: x", "-30,0,30"]),
        ([*PLACE, "--turns", "90"], ["turns must be between"]),
        ([*PLACE, "--heights", "99"], ["above or below the wall"]),
        ([*PLACE, "--spacing", "2"], ["--spacing", "'2' has no unit"]),
        ([*PLACE, "--area", "1,2"], ["--area", "1,2"]),
        ([*PLACE, "--points-file", "no.csv"], ["no.csv", "cannot be read"]),
        ([*PLACE, "--points-file", "no.csv", "--points", "3"], ["leave them out"]),
        ([*PLACE, "--at", "users", "--points", "3"], ["--at users", "leave them out"]),
        ([*PLACE, "--antennas", "9"], ["--antennas: 9", "at most 4"]),
        ([*PLACE, "--set", "surface.phases=random"], ["surface.phases", "designed"]),
    ],
)
def test_a_bad_request_is_refused_in_one_sentence(folder, capsys, arguments, words):
    before = everything(folder)
    assert answer(arguments) == 2
    printed = capsys.readouterr()
    assert all(word in printed.err for word in words), printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert everything(folder) == before


def test_an_error_leaves_nothing(folder, monkeypatch, capsys):
    def fails(*_args, **_kwargs):
        raise RuntimeError("on the way")

    monkeypatch.setattr(placement, "greedy", fails)
    before = everything(folder)
    with pytest.raises(RuntimeError, match="on the way"):
        answer([*PLACE, *OPTIONS])
    capsys.readouterr()
    assert everything(folder) == before
