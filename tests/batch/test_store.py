"""The store. Truths: what was written, files damaged by hand, a run that was never stopped."""

import json

import numpy as np
import pytest
import xarray as xr
import zarr

from heliostat.batch import store as stores
from heliostat.batch.run import (
    matlab_arrays,
    run_blocks,
    stored_dataset,
    suggested_chunk,
    trial_table,
)
from heliostat.batch.store import StoreError, open_store
from heliostat.batch.study_file import Plan, parse_study
from heliostat.studies.engine import EngineError, Lost, serial
from heliostat.studies.study import FINE, Block, Outcome, Remark

TEXT = """
scenario: localization-table-1
set: {model.gain: unknown, surface.sweep: null, surface.rows: 4, surface.columns: 4}
axes:
  base_station.power: [10 dBm, 30 dBm]
  pose_bounds.active_antennas: [1, 8, 40]
outputs: [pose_bounds.peb, pose_bounds.reb]
trials: 5
"""


@pytest.fixture(scope="module")
def plan():
    return parse_study(TEXT, "mine.yaml")


@pytest.fixture(scope="module")
def undisturbed(plan):
    return plan.study.run(trials=plan.trials, seed=plan.seed)


def store_of(folder, plan, chunk=2, **options):
    arguments = {"trials": plan.trials, "chunk": lambda: chunk} | options
    return open_store(folder, plan.study, plan.identity(), **arguments)


def run(folder, plan, engine=serial, **options):
    with store_of(folder, plan) as store:
        progress = run_blocks(store, plan, engine, **options)
        return progress, stored_dataset(store, plan)


def test_what_is_stored_is_what_a_run_in_memory_gives(tmp_path, plan, undisturbed):
    progress, dataset = run(tmp_path, plan)
    assert (progress.points, progress.trials, progress.missing) == (6, 30, 0)
    for name in undisturbed.data_vars:
        xr.testing.assert_identical(dataset[name], undisturbed[name])
    # 40 antennas are more than there are: a failure with its reason, at these points alone.
    failed = dataset.failed.sel({"pose_bounds.active_antennas": 40})
    assert failed.all()
    assert int(dataset.failed.sum()) == dataset.attrs["failures"] == progress.failures == 10
    reason = str(dataset.remark.sel({"pose_bounds.active_antennas": 40}).values.flat[0])
    assert "active_antennas is 40" in reason
    assert json.loads(dataset.attrs["remarks"]) == {reason: 10}


def test_the_split_into_chunks_changes_nothing(tmp_path, plan):
    found = []
    for chunk in (1, 3, 5):
        with store_of(tmp_path / str(chunk), plan, chunk) as store:
            run_blocks(store, plan, serial)
            found.append(store.values())
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_one_chunk_is_one_file(tmp_path, plan):
    run(tmp_path, plan)
    files = [f for f in (tmp_path / "study.zarr" / "c").rglob("*") if f.is_file()]
    assert len(files) == 6 * 3


def test_provenance_is_in_the_store(tmp_path, plan):
    run(tmp_path, plan)
    run(tmp_path, plan)
    facts = zarr.open_array(tmp_path / "study.zarr", mode="r").attrs
    assert len(facts["runs"]) == 2
    assert {"begun", "heliostat_version", "commit"} <= set(facts["runs"][0])
    assert "power: 27 dBm" in facts["asked"]["scenario"]
    assert facts["asked"]["seed"] == "0"
    assert len(facts["hash"]) == 64
    assert facts["columns"][0] == "pose_bounds.peb [m]"


def test_an_engine_that_ends_half_way_leaves_what_was_done(tmp_path, plan, undisturbed):
    def ends(function, tasks):
        for number in (3, 1, 4):
            yield number, function(tasks[number])
        raise EngineError("the cluster is gone")

    with pytest.raises(EngineError, match="gone"):
        run(tmp_path, plan, ends)
    with store_of(tmp_path, plan) as store:
        dataset = stored_dataset(store, plan)
    assert dataset.attrs["trials_missing"] == 30 - 6
    assert dataset.attrs["failures"] == int(dataset.failed.sum())
    counts = []
    progress, dataset = run(tmp_path, plan, on_progress=lambda p: counts.append(p.trials_done))
    assert counts[0] == 2 + 2 + 2
    assert progress.computed == 30 - counts[0]
    xr.testing.assert_identical(dataset["pose_bounds.peb"], undisturbed["pose_bounds.peb"])


def test_a_lost_block_is_missing_and_computed_by_the_next_run(tmp_path, plan, undisturbed):
    def loses(function, tasks):
        for number, task in enumerate(tasks):
            yield number, Lost("it died") if number == 4 else function(task)

    progress, dataset = run(tmp_path, plan, loses)
    assert (progress.missing, progress.points_done) == (2, 5)
    assert "it died" in progress.lost[0]
    assert int(np.isnan(dataset["pose_bounds.peb"]).sum()) == dataset.attrs["trials_missing"] == 2
    progress, dataset = run(tmp_path, plan)
    assert (progress.computed, progress.missing) == (2, 0)
    xr.testing.assert_identical(dataset["pose_bounds.peb"], undisturbed["pose_bounds.peb"])


def test_a_strict_run_stops_at_the_first_failure(tmp_path, plan):
    progress, _ = run(tmp_path, plan, strict=True)
    assert "active_antennas is 40" in progress.stopped
    assert progress.trials_done == 5 + 5 + 2
    again, _ = run(tmp_path, plan, strict=True)
    assert again.stopped == progress.stopped
    assert again.computed == 0


def test_a_damaged_file_of_remarks_costs_what_points_to_it(tmp_path, plan, undisturbed):
    run(tmp_path, plan)
    remarks = tmp_path / "remarks.jsonl"
    remarks.write_text(remarks.read_text()[:-9])  # as a killed process would leave it
    progress, dataset = run(tmp_path, plan)
    assert (progress.damaged, progress.computed) == (6, 10)
    xr.testing.assert_identical(dataset["pose_bounds.peb"], undisturbed["pose_bounds.peb"])
    assert int(dataset.failed.sum()) == 10
    remarks.write_bytes(b"\xff" + remarks.read_bytes())
    progress, dataset = run(tmp_path, plan)
    assert (progress.damaged, progress.computed) == (6, 10)
    assert int(dataset.failed.sum()) == dataset.attrs["failures"] == 10


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[10 dBm, 30 dBm]", "[10 dBm, 20 dBm]", "in the study, .* became .*20 dBm"),
        ("trials: 5", "trials: 4", "trials was 5 and is 4"),
        ("trials: 5", "trials: 5\nseed: 3", "seed was 0 and is 3"),
        ("surface.rows: 4", "surface.rows: 8", "in the scenario, .*rows: 4.* became .*rows: 8"),
        (".reb", ".rank", "reb.* became .*rank"),
    ],
)
def test_another_study_is_refused_with_what_differs(tmp_path, plan, old, new, told):
    run(tmp_path, plan)
    assert old in TEXT
    other = parse_study(TEXT.replace(old, new), "mine.yaml")
    with pytest.raises(StoreError, match=told) as caught:
        run(tmp_path, other)
    assert "--fresh" in str(caught.value)
    with store_of(tmp_path, other, fresh=True) as store:
        assert len(store.status(other.study.blocks(other.trials, 2)).missing) == len(
            other.study.blocks(other.trials, 2)
        )


def test_more_trials_are_added_to_those_that_are_there(tmp_path, plan):
    run(tmp_path, plan)
    more = Plan(plan.source, 8, plan.seed)
    progress, dataset = run(tmp_path, more)
    # Of five trials in chunks of two the last has one; it is the only one to be computed again.
    assert (progress.computed, progress.damaged) == (6 * 4, 0)
    reference = plan.study.run(trials=8, seed=plan.seed)
    xr.testing.assert_identical(dataset["pose_bounds.peb"], reference["pose_bounds.peb"])
    assert run(tmp_path, more)[0].computed == 0
    with pytest.raises(StoreError, match="trials was 8 and is 5"):
        run(tmp_path, plan)


def test_a_comment_or_another_title_is_no_other_study(tmp_path, plan):
    run(tmp_path, plan)
    progress, _ = run(tmp_path, parse_study("# A comment.\ntitle: Mine\n" + TEXT, "mine.yaml"))
    assert progress.computed == 0


def test_another_format_or_no_store_at_all_is_refused(tmp_path, plan, monkeypatch):
    run(tmp_path, plan)
    monkeypatch.setattr(stores, "FORMAT", 99)
    with pytest.raises(StoreError, match="its format is 1, this heliostat writes 99"):
        run(tmp_path, plan)
    (tmp_path / "study.zarr" / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"study\.zarr cannot be read"):
        run(tmp_path, plan)


def test_a_changed_file_that_the_scenario_names_is_another_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("mine.npy", np.zeros(16))
    text = TEXT.replace("surface.sweep: null", "surface.phases: mine.npy").replace(
        "model.gain: unknown", "model.gain: known"
    )
    plan = parse_study(text, "mine.yaml")
    before = plan.identity()
    np.save("mine.npy", np.ones(16))
    assert plan.identity()["files"] != before["files"]
    assert plan.identity()["scenario"] == before["scenario"]
    axis = text.replace("surface.phases: mine.npy, ", "").replace(
        "axes:", "axes:\n  surface.phases: [my file.npy]"
    )
    np.save("my file.npy", np.zeros(16))
    plan = parse_study(axis, "mine.yaml")
    before = plan.identity()
    np.save("my file.npy", np.ones(16))
    assert plan.identity()["files"] != before["files"]


def test_a_store_that_is_in_use_is_refused(tmp_path, plan):
    with (
        store_of(tmp_path, plan),
        pytest.raises(StoreError, match="another run uses it"),
        store_of(tmp_path, plan),
    ):
        pass


def test_a_full_disk_is_told_in_words(tmp_path, plan, monkeypatch):
    with store_of(tmp_path, plan) as store:

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\)"):
            store.write(Block(0, 0, 2), Outcome(np.zeros((2, 2)), (FINE, Remark(True, "x"))))


def test_a_table_has_a_row_a_trial_and_a_column_an_output(tmp_path, plan):
    _, dataset = run(tmp_path, plan)
    frame = trial_table(dataset)
    assert len(frame) == 30
    assert "pose_bounds.peb [m]" in frame.columns
    value = frame.loc[(30.0, 8, 2), "pose_bounds.peb [m]"]
    at = {"base_station.power_dbm": 30.0, "pose_bounds.active_antennas": 8, "trial": 2}
    assert value == float(dataset["pose_bounds.peb"].sel(at))
    names = matlab_arrays(dataset)
    assert all(name.isidentifier() for name in names)
    np.testing.assert_array_equal(names["pose_bounds_peb"], dataset["pose_bounds.peb"])


@pytest.mark.parametrize(
    ("trial", "workers", "chunk"), [(10.0, 2, 1), (0.1, 1, 7), (1e-6, 1, 7), (0.5, 1, 2)]
)
def test_a_chunk_takes_a_second_but_leaves_some_for_everyone(plan, trial, workers, chunk):
    # 30 trials of 6 points; four blocks a worker at least, so 30 / 4 = 7 trials at most.
    assert suggested_chunk(Plan(plan.source, 5, 0), trial, workers) == min(chunk, 5)
