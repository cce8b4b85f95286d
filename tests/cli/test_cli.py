"""The command line: output, files and error messages."""

import json
import os
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import heliostat as hs
from heliostat import studies
from heliostat.__main__ import answer
from heliostat.api import sensing as sensing_api
from heliostat.api import target_search as target_search_api
from heliostat.design.result import patterned
from heliostat.maps import sensing as sensing_maps
from heliostat.plots import style
from heliostat.reports.export import NAMES
from heliostat.reports.report import Report
from heliostat.scenario import load, scenario_names, scenario_schema, template_text
from tests.support.cheap_search import cheap_search
from tests.support.hall import HALL
from tests.support.sensing_designs import YARD, cheap_design

WRITTEN = {
    *(f"{name}.png" for name in ("scene", "peb-map", "trade-off")),
    *("results.nc", "design.npz", "design.mat", "report.html"),
}


@pytest.fixture
def hall(tmp_path, monkeypatch):
    """A working folder with a small scenario and a file that no folder can be under."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "hall.yaml").write_text(HALL, encoding="utf-8")
    (tmp_path / "yard.yaml").write_text(YARD, encoding="utf-8")
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "long.csv").write_text("x,y,name\n1,2," + 200_000 * "a", encoding="utf-8")
    (tmp_path / "bad.csv").write_text("x,y\n1,2\n3,z\n", encoding="utf-8")
    (tmp_path / "back.csv").write_text("x,y\n1,2\n-1,2\n", encoding="utf-8")
    return tmp_path


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# run


def test_run_writes_all_and_its_json_equals_the_api(hall, capsys):
    assert answer(["run", "hall.yaml", "--json", "--antennas", "2", "--set", "link.seed=4"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    scenario = load("hall.yaml", {"link.seed": 4})
    bounds, rate = hs.pose_bounds(scenario, 2), hs.effective_rate(scenario, 2)
    best = hs.allocate_time(scenario)
    assert told["active_antennas"] == 2
    assert told["peb_m"] == bounds.peb
    assert told["reb_rad"] == bounds.reb
    assert told["information"] == bounds.information.tolist()
    assert told["eadr_bit_per_s"] == rate.eadr
    assert told["eadr_closed_form_bit_per_s"] == rate.eadr_closed_form
    assert told["snr_db"] == pytest.approx(10 * np.log10(rate.snr), rel=1e-12)
    assert told["reason"] is None
    assert told["allocation"]["ratio"] == best.ratio
    assert told["allocation"]["active_antennas"] == best.active_antennas
    assert told["allocation"]["objective"] == best.objective
    assert told["trade_off"]["peb_m"] == best.trade_off.peb.tolist()
    assert told["trade_off"]["dominated"] == best.trade_off.dominated.tolist()
    assert told["warnings"] == list(scenario.notes)
    origin = told["provenance"]
    assert origin["heliostat_version"] == hs.__version__
    assert (origin["scenario"], origin["seed"]) == ("hall", 4)
    assert origin["overrides"] == {"link.seed": "4"}
    assert origin["scenario_text"] == scenario.dump()

    folder = hall / "results" / "hall"
    assert told["folder"] == str(folder.relative_to(hall))
    assert {path.name for path in folder.iterdir()} == WRITTEN
    with xr.open_dataset(folder / "results.nc", engine="h5netcdf") as stored:
        assert stored.peb.item() == bounds.peb
        assert stored.peb.attrs["units"] == "m"
        assert stored.best_active_antennas.item() == best.active_antennas
        np.testing.assert_array_equal(stored.choice_eadr, best.trade_off.eadr)
        assert stored.attrs["scenario_text"] == scenario.dump()


def test_run_prints_units_and_strained_assumptions_and_replaces_old_results(hall, capsys):
    (hall / "out").mkdir()
    (hall / "out" / "notes.txt").write_text("mine")
    (hall / "out" / "report.html").write_text("old")
    options = ["--pdf", "--balance", "0.5", "--set", "surface.spacing=[9,9]", "--out", "out"]
    assert answer(["run", "hall.yaml", *options]) == 0
    printed = capsys.readouterr().out
    rows = {line.split("  ")[1].strip(): line for line in printed.splitlines() if "   " in line}
    assert rows["Position error bound (PEB)"].rstrip().endswith("m")
    assert " deg = " in rows["Heading error bound (REB)"]
    assert rows["Effective achievable data rate (EADR), DFT beams"].rstrip().endswith("Mbit/s")
    assert rows["SNR, DFT beams"].rstrip().endswith("dB")
    assert "Best time allocation, balance 0.5" in printed
    assert "Note: Far field: " in printed
    pdfs = {f"{name}.pdf" for name in ("scene", "peb-map", "trade-off")}
    assert {path.name for path in (hall / "out").iterdir()} == WRITTEN | pdfs | {"notes.txt"}
    assert (hall / "out" / "notes.txt").read_text() == "mine"
    assert "Far field" in (hall / "out" / "report.html").read_text()


def test_a_missing_bound_is_null_with_its_reason_and_all_else_stands(hall, capsys):
    sets = ["--set", "surface.sweep=[[0,0]]", "--set", "model.gain=unknown"]
    assert answer(["run", "hall.yaml", "--json", "--out", "none", *sets]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["peb_m"] is None
    assert "do not change the received pilots" in told["reason"]
    assert told["allocation"] is None
    assert told["reason"] in told["allocation_reason"]
    assert told["trade_off"]["peb_m"] == [None] * 4
    assert told["eadr_bit_per_s"] > 0
    assert {path.name for path in (hall / "none").iterdir()} == WRITTEN


@pytest.mark.parametrize("folder", ["new/deep/out", "."])
def test_what_fails_on_the_way_leaves_nothing(hall, monkeypatch, folder):
    def fail(*_):
        raise RuntimeError("halfway")

    monkeypatch.setattr(Report, "html", fail)
    before = everything(hall)
    with pytest.raises(RuntimeError, match="halfway"):
        answer(["run", "hall.yaml", "--out", folder])
    assert everything(hall) == before


def test_a_full_disk_is_told_in_a_sentence(hall, monkeypatch, capsys):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(style, "save_figure", fail)
    before = everything(hall)
    assert answer(["map", "hall.yaml", "--points", "4"]) == 2
    assert "cannot be written (No space left on device)" in capsys.readouterr().err
    assert everything(hall) == before


# map


def test_map_writes_picture_and_data_and_prints_quantiles(hall, capsys):
    arguments = [
        "--area",
        "0,10,-5,10",
        "--points",
        "600",
        "--antennas",
        "3",
        "--steering",
        "fixed",
    ]
    assert answer(["map", "hall.yaml", "--quantity", "reb", "--out", "a.svg", *arguments]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("minimum", "median", "90 % quantile", "rad"))
    assert (hall / "a.svg").read_text().startswith("<?xml")
    with xr.open_dataset(hall / "a.nc", engine="h5netcdf") as stored:
        expected = hs.coverage(
            "hall.yaml",
            "reb",
            area=[0, 10, -5, 10],
            points=600,
            active_antennas=3,
            steering="fixed",
        )
        np.testing.assert_array_equal(stored.reb, expected.reb)
        assert stored.reb.attrs["units"] == "rad"
        assert stored.attrs["title"].startswith("hall: heading error bound (REB); active")


def test_map_of_listed_places_with_a_threshold(hall, capsys):
    (hall / "users.csv").write_text("name,x,y,heading\ndesk,8,6,30\ndoor,4,-3,90\n")
    arguments = ["--points-file", "users.csv", "--below", "1 m", "--out", "seats.png"]
    assert answer(["map", "hall.yaml", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "share of the served places below 1 m" in printed
    headings = np.radians([30, 90])
    expected = hs.coverage("hall.yaml", positions=[[8, 6], [4, -3]], headings=headings)
    table = (hall / "seats.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == ["desk", "door"]
    with xr.open_dataset(hall / "seats.nc", engine="h5netcdf") as stored:
        np.testing.assert_allclose(stored.peb, expected.peb, rtol=1e-12)
    assert json.loads((hall / "seats.geojson").read_text())["features"][1]["properties"]["served"]


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [("hall.yaml", "no path reaches any"), ("yard.yaml", "in front of enough surfaces")],
)
def test_a_map_without_bounds_gives_the_reason(hall, capsys, scenario, reason):
    # Far behind the surfaces of both scenarios.
    arguments = ["--area", "-900,-800,-900,-800", "--points", "4", "--out", "behind.png"]
    assert answer(["map", scenario, *arguments]) == 0
    assert reason in capsys.readouterr().out
    assert set((hall / "behind.csv").read_text().splitlines()[1].split(",")) >= {"inf", "False"}


def test_map_at_the_users_of_the_scenario(hall, capsys):
    assert answer(["map", "hall.yaml", "--at", "users", "--out", "users.png"]) == 0
    assert "median over the served places" in capsys.readouterr().out
    (row,) = (hall / "users.csv").read_text().splitlines()[1:]
    place, *numbers = row.split(",")
    assert place == "the user"
    assert float(numbers[3]) == pytest.approx(hs.pose_bounds("hall.yaml").peb, rel=1e-6)


def test_compare_evaluates_variants_of_a_scenario(hall, capsys):
    sets = ["--set", "surface.bits=1", "--set", "surface.bits=2; surface.rows=4"]
    assert answer(["compare", "hall.yaml", *sets, "--points", "4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    variants = document["scenarios"]
    assert list(variants) == ["surface.bits=1", "surface.bits=2; surface.rows=4"]
    second = hs.load("hall.yaml", {"surface.bits": 2, "surface.rows": 4})
    assert variants["surface.bits=2; surface.rows=4"]["peb_m"] == hs.pose_bounds(second).peb
    pictures = {"distribution.png", "difference.png", "trade-off.png"}
    written = {path.name for path in (hall / "results" / "compare").iterdir()}
    assert written == {"compare.nc", "report.html", *pictures}


# track


def test_a_track_without_any_found_period_has_a_remedy(hall, capsys):
    options = ["--periods", "2", "--set", "user.antennas=4", "--set", "base_station.power=-120 dBm"]
    assert answer(["track", "hall.yaml", "--out", "lost", *options]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Lost periods 2 of 2" in printed
    assert "found in no period" in printed
    assert "increase base_station.power" in printed


def test_track_writes_all_and_its_json_equals_the_api(hall, capsys):
    lines = ["x,y,heading_deg", "8,6,30", "8.5,6.2,35", "9,6.4,"]
    (hall / "walk.csv").write_text("\n".join(lines), encoding="utf-8")
    sets = ["--set", "link.noise=-120 dBm", "--set", "user.antennas=4", "--set", "link.seed=4"]
    options = ["--track", "walk.csv", "--balance", "0.5", *sets]
    assert answer(["track", "hall.yaml", "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    folder = hall / "results" / "hall-track"
    assert told["folder"] == str(folder.relative_to(hall))
    pictures = {"path.png", "periods.png"}
    assert {path.name for path in folder.iterdir()} == {"track.nc", "track.csv", *pictures}
    overrides = {"link.noise": "-120 dBm", "user.antennas": 4, "link.seed": 4}
    scenario = load("hall.yaml", overrides)
    walk = np.array([[8, 6, np.radians(30)], [8.5, 6.2, np.radians(35)], [9, 6.4, np.nan]])
    run = hs.run_protocol(scenario, 3, track=walk, balance=0.5)
    each = told["each_period"]
    assert each["x_estimate_m"] == run.x_estimate.values.tolist()
    assert each["eadr_bit_per_s"] == run.eadr.values.tolist()
    assert told["periods"] == 3
    assert told["lost_periods"] == run.attrs["lost_periods"] == 0
    assert told["position_error_median_m"] == float(np.median(run.position_error))
    assert told["eadr_mean_bit_per_s"] == float(run.eadr.mean())
    ratio = run.position_error / run.peb
    assert told["position_error_to_bound_90"] == float(ratio.max())  # of three
    assert told["gross_errors"] == 0
    assert told["provenance"]["seed"] == 4
    assert told["provenance"]["overrides"] == {k: str(v) for k, v in overrides.items()}
    with xr.open_dataset(folder / "track.nc", engine="h5netcdf") as stored:
        np.testing.assert_array_equal(stored.x_estimate, run.x_estimate)
        assert stored.peb.attrs["units"] == "m"
        assert stored.attrs["scenario_text"] == scenario.dump()
    # What it wrote is a walk again, and the table for people says the same.
    again = [*options, "--out", "b"]
    again[1] = str(folder / "track.csv")
    assert answer(["track", "hall.yaml", *again]) == 0
    printed = capsys.readouterr().out
    assert "Lost periods" in printed
    assert "0 of 3" in printed
    assert "Position error, 90 % quantile" in printed
    assert "balance 0.5" in printed
    with xr.open_dataset(hall / "b" / "track.nc", engine="h5netcdf") as stored:
        np.testing.assert_allclose(stored.heading, run.heading, rtol=1e-12)
        np.testing.assert_allclose(stored.x, run.x, rtol=1e-15)


def test_track_looks_for_a_target_and_its_json_equals_the_api(hall, capsys, monkeypatch):
    monkeypatch.setattr(target_search_api, "find", cheap_search)
    sets = ["--set", "base_station.noise=-110 dBm"]
    options = ["--region", "0,10,10,20,-1,3", "--dwells", "3", "--accuracy", "0 m", *sets]
    assert answer(["track", "yard.yaml", "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    folder = hall / "results" / "yard-track"
    pictures = {"search.png", "dwells.png"}
    assert {path.name for path in folder.iterdir()} == {"dwells.nc", "dwells.csv", *pictures}
    scenario = load("yard.yaml", {"base_station.noise": "-110 dBm"})
    box = [[0, 10], [10, 20], [-1, 3]]
    run = hs.find_target(scenario, 3, accuracy=0.0, region=box)
    assert told["region_m"] == box
    assert told["dwells"] == 3
    assert told["dwells_needed"] == 0
    assert told["each_dwell"]["bound_m"] == run.bound.values.tolist()
    assert told["each_dwell"]["kind"] == run.kind.values.tolist()
    assert told["position_error_m"] == float(run.position_error[-1])
    assert told["excess_db"] == float(run.excess_db[-1])
    assert told["provenance"]["overrides"] == {"base_station.noise": "-110 dBm"}
    with xr.open_dataset(folder / "dwells.nc", engine="h5netcdf") as stored:
        np.testing.assert_array_equal(stored.x_estimate, run.x_estimate)
        assert stored.kind.values.tolist() == run.kind.values.tolist()
        assert stored.attrs["scenario_text"] == scenario.dump()
    lines = (folder / "dwells.csv").read_text().splitlines()
    assert len(lines) == 4
    first = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert first["kind"] == "scan"
    assert float(first["bound_m"]) == float(run.bound[0])
    assert float(first["snr_1"]) == float(run.snr[0, 1])
    # The table for people says the same, and when it was not enough.
    options[5] = "1 um"
    assert answer(["track", "yard.yaml", "--out", "b", *options]) == 0
    printed = capsys.readouterr().out
    assert "not within 3" in printed
    assert "Accuracy: not reached within 3 dwells" in printed
    assert "scan" in printed


# sensing

SENSED = {
    *(f"{name}.png" for name in ("scene", "beampattern", "crb", "convergence")),
    *("results.nc", "design.npz", "design.mat", "report.html"),
}


@pytest.fixture
def sensed(hall, monkeypatch):
    """The working folder, and designs that cost nothing."""
    monkeypatch.setattr(sensing_api, "design_beamforming", cheap_design)
    return hall


def test_run_of_a_sensing_scenario_writes_all_and_its_json_equals_the_api(sensed, capsys):
    assert answer(["run", "yard.yaml", "--json", "--set", "dwell.patterns=2"]) == 0
    told = json.loads(capsys.readouterr().out)
    folder = sensed / "results" / "yard"
    assert {path.name for path in folder.iterdir()} == SENSED
    assert told["folder"] == str(folder.relative_to(sensed))
    scenario = load("yard.yaml", {"dwell.patterns": 2})
    design = np.load(folder / "design.npz")
    assert set(design.files) == set(NAMES)
    sizes = design["rows"] * design["columns"]
    reflection = [psi[:, :n] for psi, n in zip(design["reflection"], sizes, strict=True)]
    bounds = hs.direction_bounds(scenario, design["covariance"], reflection)
    assert told["position_bound_m"] == pytest.approx(bounds.position_bound, rel=1e-9)
    for i, surface in enumerate(told["surfaces"]):
        assert surface["azimuth_std_rad"] == pytest.approx(bounds.direction_std[i, 1], rel=1e-9)
        assert surface["snr_db"] == pytest.approx(10 * np.log10(bounds.snr[i]), rel=1e-9)
    assert told["method"] == "direct"
    assert told["provenance"]["overrides"] == {"dwell.patterns": "2"}
    with xr.open_dataset(folder / "results.nc", engine="h5netcdf") as stored:
        np.testing.assert_allclose(stored.crb, bounds.crb, rtol=1e-9)
        assert stored.direction_std.attrs["units"] == "rad"


def test_run_of_a_sensing_scenario_prints_bounds_powers_and_slack(sensed, capsys):
    options = ["--set", "dwell.patterns=2", "--out", "out"]
    assert answer(["run", "yard.yaml", *options]) == 0
    printed = capsys.readouterr().out
    words = (
        "Position error bound",
        "Gap",
        "Status",
        "elevation",
        "own noise",
        "echo of noise",
        "surface",
        "above 1 rad",  # the cheap design is that bad
    )
    assert all(word in printed for word in words)
    assert "Note: Minimum SNR: dwell.min_snr is none" in printed
    assert "Powers by surface, in dBm, pattern of largest radiated power" in printed
    assert "Wrote out/report.html" in printed


@pytest.mark.parametrize("steering", ["fixed", "each point"])
def test_a_sensing_map_writes_picture_and_data(sensed, monkeypatch, capsys, steering):
    asked = []

    def mapped(scene, positions, *, patterns, min_snr, on_progress):
        asked.append((len(positions), patterns, min_snr))
        design = cheap_design(load("yard.yaml"))
        covariance, reflection = patterned(design)
        as_arrays = tuple(map(jnp.array, covariance)), tuple(map(jnp.array, reflection))
        return sensing_maps.bounds_at(scene, *as_arrays, positions)

    monkeypatch.setattr(sensing_maps, "bounds_of_designs", mapped)
    arguments = ["--points", "12", "--steering", steering, "--quantity", "direction"]
    assert answer(["map", "yard.yaml", *arguments, "--out", "a.svg"]) == 0
    printed = capsys.readouterr().out
    assert "direction error bound of the worst surface" in printed
    each = steering == "each point"
    assert ("a design for each point, from the best of 4 reference designs" in printed) == each
    assert asked == ([(12, 1, 0.0)] if each else [])
    assert (sensed / "a.svg").read_text().startswith("<?xml")
    with xr.open_dataset(sensed / "a.nc", engine="h5netcdf") as stored:
        assert stored.position_bound.shape == (4, 3)
        std = np.sqrt((stored.direction_std.values**2).sum(axis=-1)).max(axis=-1)
        np.testing.assert_array_equal(stored.direction_bound, std)
        assert stored.attrs["scenario"] == "yard"


def test_help_tells_which_system_an_option_is_for(capsys):
    for command, ours, theirs in (("run", ["--method"], ["--antennas", "--weight", "--balance"]),):
        assert answer([command, "--help"]) == 0
        _, after = capsys.readouterr().out.split("Options for localization scenarios", 1)
        localization, sensing = after.split("Options for sensing scenarios", 1)
        assert all(option in localization for option in theirs)
        assert all(option in sensing for option in ours)


# error messages


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("antennas: 4", "antenna: 4", ["hall.yaml:3", "antenna: no such key", "did you mean"]),
        ("20 dBm", "20 GHz", ["hall.yaml:3", "base_station.power", "20 GHz", "write e.g."]),
        ("30 deg", ".nan deg", ["hall.yaml:5", "user.heading", ".nan deg", "write"]),
        ("20 dBm", "-1 W", ["hall.yaml:3", "base_station.power", "-1 W", "write e.g."]),
        ("[8, 6, 1]", "[-8, 6, 1]", ["hall.yaml:5", "user.position", "[-8, 6, 1]", "move it"]),
        ("[8, 6, 1]", "[0, 0, 3]", ["hall.yaml:5", "user.position", "[0, 0, 3]", "move one"]),
        ("antennas: 4", "antennas: 0", ["hall.yaml:3", "base_station.antennas", "0", "write e.g."]),
        ("period: 2 ms", "period: 1 ms", ["hall.yaml:7", "frame.period", "1 ms", "write at least"]),
    ],
)
@pytest.mark.parametrize("command", ["run", "map"])
def test_a_bad_scenario_is_refused_in_one_sentence(hall, capsys, command, old, new, words):
    assert old in HALL
    (hall / "hall.yaml").write_text(HALL.replace(old, new, 1))
    before = everything(hall)
    assert answer([command, "hall.yaml"]) == 2
    printed = capsys.readouterr()
    assert all(word in printed.err for word in words)
    if new != "antenna: 4":  # a misspelt key is also missing
        assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert everything(hall) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "hall.yaml", "--out", "file.txt/out"], ["file.txt/out", "file.txt is a file"]),
        (["run", "hall.yaml", "--out", "file.txt"], ["file.txt is a file", "another folder"]),
        (["map", "hall.yaml", "--out", "file.txt/a.png"], ["file.txt is a file"]),
        (["run", "nowhere.yaml"], ["nowhere.yaml", "neither a file nor a packaged scenario"]),
        (["run", "hall.yaml", "--set", "surface.rows"], ["--set", "KEY=VALUE", "surface.rows=16"]),
        (["run", "hall.yaml", "--set", "=3"], ["--set =3: is not KEY=VALUE", "surface.rows=16"]),
        (
            ["run", "hall.yaml", "--set", "surface.rows=0"],
            ["override surface.rows=0", "write e.g. 8"],
        ),
        (["run", "hall.yaml", "--antennas", "5"], ["--antennas", "5", "at most 4"]),
        (["run", "hall.yaml", "--weight", "inf"], ["--weight", "inf", "1e-10"]),
        (["run", "hall.yaml", "--balance", "1"], ["--balance", "1", "0.5"]),
        (["run", "hall.yaml", "--balance", "nan"], ["--balance", "nan", "0.5"]),
        (["run", "hall.yaml", "--weight", "1", "--balance", "0"], ["--weight", "leave one out"]),
        (["map", "hall.yaml", "--out", "map.jpg"], ["map.jpg", ".png, .pdf or .svg"]),
        (["map", "hall.yaml", "--area", "1,2,3"], ["--area", "1,2,3", "x0,x1,y0,y1"]),
        (["map", "hall.yaml", "--area", "1,2,3,nan"], ["--area", "1,2,3,nan", "x0,x1,y0,y1"]),
        (["map", "hall.yaml", "--area", "2,1,3,4"], ["--area", "2,1,3,4", "x0,x1,y0,y1"]),
        (
            ["map", "hall.yaml", "--steering", "each point", "--set", "surface.phases=random"],
            ["--steering", "surface.phases", "'fixed'"],
        ),
        (["map", "hall.yaml", "--area", "0,0 1,x 2,2"], ["--area", "0,0 1,x 2,2", "X,Y"]),
        (["map", "hall.yaml", "--below", "10 s"], ["--below 10 s", "write e.g."]),
        (["map", "hall.yaml", "--below", "-10 cm"], ["--below -10 cm", "not more than zero"]),
        (["map", "yard.yaml", "--quantity", "crb", "--below", "nan"], ["--below nan", "not more"]),
        (
            ["map", "hall.yaml", "--points-file", "bad.csv", "--out", "bad.png"],
            ["--out bad.png", "would replace bad.csv"],
        ),
        (["map", "hall.yaml", "--at", "users", "--points", "9"], ["--at users", "leave them out"]),
        (["map", "yard.yaml", "--at", "users"], ["--at users", "yard describes sensing"]),
        (["compare", "hall.yaml"], ["two scenarios or more", "--set"]),
        (["compare", "hall.yaml", "yard.yaml"], ["hall is localization", "yard is sensing"]),
        (["compare", "hall.yaml", "hall.yaml"], ["given twice"]),
        (["map", "hall.yaml", "--points-file", "no.csv"], ["no.csv", "cannot be read"]),
        (["map", "hall.yaml", "--points-file", "long.csv"], ["long.csv", "it is not CSV text"]),
        (["map", "hall.yaml", "--points-file", "file.txt"], ["file.txt", "name,x,y"]),
        (["map", "hall.yaml", "--points-file", "bad.csv"], ["bad.csv: line 3", "y is 'z'", "12.5"]),
        (["run", "yard.yaml", "--antennas", "2"], ["--antennas 2", "yard describes sensing"]),
        (["run", "yard.yaml", "--weight", "1"], ["--weight 1.0", "is for localization"]),
        (["run", "factory-hall", "--thorough"], ["--thorough: is for sensing scenarios"]),
        (["run", "yard.yaml", "--balance", "0"], ["--balance 0.0", "leave it out"]),
        (["run", "hall.yaml", "--method", "sdr"], ["--method sdr", "is for sensing", "hall"]),
        (
            ["run", "yard.yaml", "--method", "sdr", "--set", "dwell.patterns=2"],
            ["--method sdr", "designs 1 pattern", "dwell.patterns=1"],
        ),
        (
            ["map", "yard.yaml", "--quantity", "peb"],
            ["position, direction or crb"],
        ),
        (
            ["map", "hall.yaml", "--quantity", "position"],
            ["peb, reb, rate, snr or cause"],
        ),
        (
            ["run", "yard.yaml", "--set", "surfaces.0.power=1 pW"],
            ["surfaces.0.power", "1 pW", "own noise", "write at least"],
        ),
        (["track", "yard.yaml", "--periods", "3"], ["--periods 3", "is for localization"]),
        (["track", "yard.yaml", "--balance", "0"], ["--balance 0.0", "yard describes sensing"]),
        (["track", "yard.yaml", "--assumed-errors"], ["--assumed-errors", "is for localization"]),
        (["track", "hall.yaml", "--dwells", "3"], ["--dwells 3", "is for sensing", "hall"]),
        (["track", "hall.yaml", "--region", "0,1,0,1,0,1"], ["--region", "is for sensing"]),
        (["track", "yard.yaml", "--accuracy", "2"], ["--accuracy", "'2' has no unit"]),
        (["track", "yard.yaml", "--region", "0,1"], ["--region", "0,1 is not six finite numbers"]),
        (["track", "yard.yaml", "--region", "0,1,2,1,0,1"], ["--region", "before its beginning"]),
        (["track", "yard.yaml", "--region", "-9,-6,8,20,0,3"], ["yard", "behind a surface"]),
        (["track", "hall.yaml", "--mobility", "7"], ["--mobility", "'7' has no unit", "7 m"]),
        (["track", "hall.yaml", "--mobility", "-1 m"], ["--mobility", "-1 m is negative"]),
        (["track", "hall.yaml", "--mobility", "7 s"], ["--mobility", "'7 s' is a time"]),
        (["track", "hall.yaml", "--weight", "1", "--balance", "0"], ["--weight", "leave one out"]),
        (["track", "hall.yaml", "--balance", "1"], ["--balance", "1", "0.5"]),
        (["track", "hall.yaml", "--track", "none.csv"], ["none.csv", "cannot be read"]),
        (["track", "hall.yaml", "--track", "hall.yaml"], ["hall.yaml", "name columns x and y"]),
        (
            ["track", "hall.yaml", "--track", "back.csv"],
            ["position 2, (-1, 2)", "behind the surface"],
        ),
        (
            ["track", "hall.yaml", "--track", "back.csv", "--mobility", "1 m"],
            ["--track and --mobility", "leave one out"],
        ),
        (["track", "hall.yaml", "--set", "surface.bits=1"], ["surface.bits", "set phases"]),
        (["track", "hall.yaml", "--out", "file.txt"], ["file.txt is a file"]),
        (["new", "hall.yaml"], ["hall.yaml", "exists already", "another name"]),
        (["new", "file.txt/a.yaml"], ["file.txt/a.yaml", "cannot be written", "another name"]),
        (["reproduce", "localization", "fig3"], ["fig3", "fig4"]),
        (["reproduce", "localization", "--out", "file.txt"], ["file.txt is a file"]),
    ],
)
def test_a_bad_request_is_refused_in_one_sentence(hall, capsys, arguments, words):
    before = everything(hall)
    assert answer(arguments) == 2
    printed = capsys.readouterr()
    assert all(word in printed.err for word in words)
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert everything(hall) == before


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_a_wrong_number_of_antennas_is_refused(hall, capsys, value):
    assert answer(["run", "hall.yaml", "--antennas", value]) == 2
    assert "--antennas" in capsys.readouterr().err


# the small commands


def test_new_writes_a_scenario_that_runs(hall, capsys):
    assert answer(["new", "mine.yaml"]) == 0
    assert (hall / "mine.yaml").read_text() == template_text()
    assert load("mine.yaml").system == "localization"
    assert answer(["new", "deep/er/hall.yaml"]) == 0  # missing folders are created
    assert load("deep/er/hall.yaml").system == "localization"
    assert answer(["new", "--system", "sensing", "echo.yaml"]) == 0
    assert (hall / "echo.yaml").read_text() == template_text("sensing")
    assert load("echo.yaml").system == "sensing"


def test_schema_list_cite_and_version(capsys):
    assert answer(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == scenario_schema()
    assert answer(["list"]) == 0
    listed = capsys.readouterr().out
    names = [name for figures in studies.NAMES.values() for name in figures]
    assert all(name in listed for name in [*scenario_names(), *names])
    assert "A factory hall of 30 m x 20 m at 28 GHz." in listed
    assert answer(["cite"]) == 0
    assert capsys.readouterr().out.count("@") == 3
    assert answer(["--version"]) == 0
    assert capsys.readouterr().out == f"heliostat {hs.__version__}\n"


def test_reproduce_shows_each_verdict_and_where_files_are(hall, capsys):
    assert answer(["reproduce", "localization", "fig5", "--trials", "2", "--out", "five"]) == 0
    printed = capsys.readouterr().out
    verdicts = json.loads((hall / "five" / "fig5.verdicts.json").read_text())
    words = printed.split()
    assert sum(words.count(w) for w in ("yes", "no", "undecided")) >= len(verdicts)
    # With two trials each "holds" is a word, never null.
    assert {v["holds"] for v in verdicts} <= {"yes", "no", "undecided"}
    assert "Wrote data, pictures and verdicts to five." in printed


# whole processes


def test_help_is_quick_because_it_imports_nothing_heavy():
    code = (
        "import sys; from heliostat.__main__ import answer; code = answer(['--help']); "
        "heavy = {'jax', 'matplotlib', 'xarray', 'pydantic', 'scipy', 'numpy'} & set(sys.modules); "
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "reproduce" in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_one_line_and_no_files(hall, number):
    before = everything(hall)
    command = [sys.executable, "-m", "heliostat", "run", "hall.yaml", "--out", "new/out"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        begun = time.monotonic()
        while not (hall / "new").exists() and time.monotonic() - begun < 60:
            time.sleep(0.02)
        running.send_signal(number)
        told = running.communicate(timeout=60)[1]
    assert (running.returncode, told) == (128 + number, "Stopped.\n")
    assert everything(hall) == before


def test_a_cache_that_cannot_be_written_is_no_matter(hall):
    environment = os.environ | {
        "XDG_CACHE_HOME": "file.txt",
        "JAX_COMPILATION_CACHE_DIR": "file.txt/a",
    }
    command = [sys.executable, "-m", "heliostat", "map", "hall.yaml", "--quantity", "rate"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_cannot_be_looked_at_is_refused_too(hall, capsys):
    # Truth: the operating system's own limit on a name's length.
    for command in (["run", "hall.yaml"], ["reproduce", "localization", "fig5", "--trials", "2"]):
        assert answer([*command, "--out", "x" * 300]) == 2
        told = capsys.readouterr().err
        assert "cannot be written" in told
        assert "Traceback" not in told


def test_a_folder_in_the_way_of_a_file_leaves_all_as_it_was(hall, capsys):
    (hall / "r" / "fig5.png").mkdir(parents=True)
    answered = answer(["reproduce", "localization", "fig5", "--trials", "2", "--out", "r"])
    assert answered == 2
    assert "fig5.png is a folder" in capsys.readouterr().err
    assert [p.name for p in (hall / "r").iterdir()] == ["fig5.png"]
