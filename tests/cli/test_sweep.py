"""The command sweep. Truths: the public functions, what is on disk, exit codes."""

import json

import numpy as np
import pytest
import scipy.io
import xarray as xr

import heliostat as hs
from heliostat.__main__ import answer
from heliostat.batch.study_file import parse_study
from heliostat.cli.progress import duration
from heliostat.studies.engine import Lost

STUDY = """
# A small study.
scenario: localization-table-1
set: {model.gain: unknown, surface.sweep: null, surface.rows: 4, surface.columns: 4}
axes:
  base_station.power: [10 dBm, 30 dBm]
  pose_bounds.active_antennas: [8, 40]
outputs: [pose_bounds.peb]
trials: 2
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(STUDY)
    return tmp_path


def chunk_files(folder):
    return [file for file in (folder / "study.zarr" / "c").rglob("*") if file.is_file()]


def test_worker_processes_compute_the_same_as_this_process(study):
    # Truth: the study computed in memory.
    assert answer(["sweep", "mine.yaml", "--engine", "processes", "--workers", "1"]) == 0
    plan = parse_study(STUDY, "mine.yaml")
    reference = plan.study.run(trials=plan.trials, seed=plan.seed)
    with xr.open_dataset(study / "results" / "mine" / "mine.nc", engine="h5netcdf") as dataset:
        xr.testing.assert_equal(dataset["pose_bounds.peb"], reference["pose_bounds.peb"])


def test_sweep_writes_store_data_picture_and_tables(study, capsys):
    arguments = ["sweep", "mine.yaml", "--engine", "serial", "--json", "--csv", "--mat"]
    assert answer(arguments) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("begin", "end")
    assert (events[-1]["trials_done"], events[-1]["failures"]) == (8, 4)
    folder = study / "results" / "mine"
    names = {path.name for path in folder.iterdir()}
    data = {f"mine.{suffix}" for suffix in ("nc", "csv", "mat", "png", "pdf", "verdicts.json")}
    assert names == data | {"study.zarr", "remarks.jsonl", "lock"}
    overrides = {
        "model.gain": "unknown",
        "surface.sweep": None,
        "surface.rows": 4,
        "surface.columns": 4,
        "base_station.power": "30 dBm",
    }
    peb = hs.pose_bounds(hs.load("localization-table-1", overrides), 8).peb
    at = {"base_station.power_dbm": 30.0, "pose_bounds.active_antennas": 8}
    with xr.open_dataset(folder / "mine.nc", engine="h5netcdf") as dataset:
        np.testing.assert_allclose(dataset["pose_bounds.peb"].sel(at), peb, rtol=1e-12)
        assert "active_antennas is 40" in str(dataset.remark.values[0, 1, 0])
    np.testing.assert_allclose(
        scipy.io.loadmat(folder / "mine.mat")["pose_bounds_peb"][1, 0], peb, rtol=1e-12
    )
    assert (folder / "mine.csv").read_text().count("\n") == 1 + 8


def test_failures_are_told_and_a_second_run_has_nothing_to_do(study, capsys):
    assert answer(["sweep", "mine.yaml", "--engine", "serial", "--out", "here"]) == 0
    printed = capsys.readouterr().out
    assert "4 of 4 points, 8 of 8 trials" in printed
    assert "4 trials lack at least one result" in printed
    files = {file: file.stat().st_mtime_ns for file in chunk_files(study / "here")}
    assert len(files) == 4
    assert answer(["sweep", "mine.yaml", "--engine", "serial", "--out", "here"]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in files} == files


def test_damaged_chunks_are_computed_again_with_a_note(study, capsys):
    arguments = ["sweep", "mine.yaml", "--engine", "serial", "--chunk", "1", "--json"]
    assert answer(arguments) == 0
    capsys.readouterr()
    data = study / "results" / "mine" / "mine.nc"
    with xr.open_dataset(data, engine="h5netcdf") as dataset:
        before = dataset.load().drop_attrs()
    data.unlink()
    flipped, cut, *_ = sorted(chunk_files(data.parent))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 0xFF
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:5])
    assert answer(arguments[:-1]) == 0
    printed = capsys.readouterr()
    assert "2 chunks are damaged and are computed again" in printed.err
    with xr.open_dataset(data, engine="h5netcdf") as dataset:
        xr.testing.assert_identical(dataset.load().drop_attrs(), before)


def test_a_strict_run_ends_with_exit_code_1(study, capsys):
    assert answer(["sweep", "mine.yaml", "--engine", "serial", "--strict"]) == 1
    assert "stopped at the first failure: active_antennas is 40" in capsys.readouterr().err


def test_missing_points_end_with_exit_code_1(study, monkeypatch, capsys):
    def loses(function, tasks):
        for number, task in enumerate(tasks):
            yield number, Lost("it died") if number == 1 else function(task)

    monkeypatch.setattr("heliostat.studies.engine.serial", loses)
    assert answer(["sweep", "mine.yaml", "--engine", "serial"]) == 1
    printed = capsys.readouterr()
    assert "it died" in printed.out
    assert "trials are missing; the same command tries them again" in printed.err


def test_a_dry_run_tells_and_writes_nothing(study, capsys):
    assert answer(["sweep", "mine.yaml", "--dry-run", "--workers", "2"]) == 0
    printed = capsys.readouterr().out
    for words in ("points", "trials per point", "one trial", "with 2 at once", "MB"):
        assert words in printed
    assert [path.name for path in study.iterdir()] == ["mine.yaml"]


def test_a_built_in_study_can_be_swept(study, capsys):
    # Truth: the same study run in memory.
    from heliostat.studies import find

    arguments = ["--trials", "50", "--engine", "serial", "--chunk", "7"]
    assert answer(["sweep", "estimators/position", *arguments]) == 0
    reference = find("estimators/position").run(trials=50)
    file = study / "results" / "estimators" / "position" / "position.nc"
    with xr.open_dataset(file, engine="h5netcdf") as dataset:
        for name in reference.data_vars:
            np.testing.assert_allclose(dataset[name], reference[name], rtol=1e-12)
    assert json.loads(file.with_suffix("").with_suffix(".verdicts.json").read_text())


def test_what_is_stored_can_be_had_without_computing(study, monkeypatch, capsys):
    def stops(function, tasks):
        yield 0, function(tasks[0])
        raise SystemExit(130)

    with monkeypatch.context() as patch:
        patch.setattr("heliostat.studies.engine.serial", stops)
        assert answer(["sweep", "mine.yaml", "--engine", "serial", "--chunk", "1"]) == 130
    assert answer(["sweep", "mine.yaml", "--stored", "--csv"]) == 1
    printed = capsys.readouterr()
    assert "1 of 8 trials" in printed.out
    folder = study / "results" / "mine"
    with xr.open_dataset(folder / "mine.nc", engine="h5netcdf") as dataset:
        assert int(np.isnan(dataset["pose_bounds.peb"]).sum()) == 7
    assert not (folder / "mine.png").exists()
    assert answer(["sweep", "mine.yaml", "--engine", "serial"]) == 0
    assert (folder / "mine.png").exists()


def test_a_run_stopped_while_files_are_written_is_made_good_by_the_next(study, monkeypatch):
    def interrupted(*_, **__):
        raise SystemExit(130)

    assert answer(["sweep", "mine.yaml", "--engine", "serial", "--strict", "--chunk", "1"]) == 1
    with monkeypatch.context() as patch:
        patch.setattr("heliostat.batch.run.write_results", interrupted)
        assert answer(["sweep", "mine.yaml", "--engine", "serial"]) == 130
    assert answer(["sweep", "mine.yaml", "--engine", "serial"]) == 0
    with xr.open_dataset(study / "results/mine/mine.nc", engine="h5netcdf") as dataset:
        assert not np.isnan(dataset["pose_bounds.peb"]).any()
        assert dataset.attrs["trials_missing"] == 0
        assert dataset.attrs["failures"] == 4


def test_a_study_without_any_result_ends_with_exit_code_1(study, capsys):
    (study / "mine.yaml").write_text(STUDY.replace("[8, 40]", "[40, 50]"))
    assert answer(["sweep", "mine.yaml", "--engine", "serial"]) == 1
    assert "No trial has all results" in capsys.readouterr().err


@pytest.mark.parametrize("title", [r'"a\0b"', r'"\ud800"', '"$x"', r'"\U0001F600"'])
def test_any_title_can_be_drawn_and_kept(study, title):
    (study / "mine.yaml").write_text(STUDY + f"title: {title}\n")
    assert answer(["sweep", "mine.yaml", "--engine", "serial"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.yaml"], "nothing.yaml: neither a file nor a packaged study"),
        (["sensing/fig9"], "sensing/fig9: neither a file nor a packaged study"),
        (["mine.yaml", "--out", "mine.yaml"], "--out mine.yaml: cannot be written"),
        (
            ["mine.yaml", "--scheduler", "tcp://h:1", "--engine", "serial"],
            "is for --engine dask only",
        ),
        (
            ["mine.yaml", "--scheduler", "tcp://h:1", "--workers", "2"],
            "the scheduler has its own workers",
        ),
        (["mine.yaml", "--engine", "serial", "--workers", "2"], "--engine serial has none"),
        (["mine.yaml", "--tls-ca", "mine.yaml"], "are for --scheduler only"),
        (
            ["mine.yaml", "--scheduler", "tls://h:1", "--tls-key", "no.pem"],
            "no such file; give an existing one",
        ),
    ],
)
def test_a_bad_request_is_refused_in_one_sentence(study, capsys, arguments, words):
    assert answer(["sweep", *arguments]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert [path.name for path in study.iterdir()] == ["mine.yaml"]


def test_a_chunk_of_another_size_is_refused(study, capsys):
    assert answer(["sweep", "mine.yaml", "--engine", "serial", "--chunk", "1"]) == 0
    assert answer(["sweep", "mine.yaml", "--engine", "serial", "--chunk", "2"]) == 2
    assert "was begun with 1; leave it out" in capsys.readouterr().err


def test_a_scheduler_that_does_not_answer_is_told(study, capsys, monkeypatch):
    monkeypatch.setattr("heliostat.batch.dask.SCHEDULER_TIMEOUT", 1.0)
    assert answer(["sweep", "mine.yaml", "--scheduler", "tcp://127.0.0.1:9"]) == 1
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0513, "0.051 s"),
        (42.4, "42 s"),
        (130, "2 min"),
        (3600 * 3 + 1200, "3 h 20 min"),
        (86400 * 3, "3 d 0 h"),
        (float("inf"), "unknown"),
    ],
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text
