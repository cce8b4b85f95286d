"""Arguments that all public functions accept. Truth: a loaded scenario and an explicit key."""

import inspect
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest

import heliostat as hs
from heliostat.scenario import scenario_text

NAME = "localization-table-1"


@pytest.fixture(scope="module")
def loaded():
    return hs.load(NAME)


def test_a_scenario_may_be_a_name_a_path_or_a_dict(loaded, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(scenario_text(NAME), encoding="utf-8")
    expected = hs.pose_bounds(loaded, 8).peb
    for same in (NAME, path, str(path), loaded.model_dump(mode="json", exclude_none=True)):
        assert hs.pose_bounds(same, 8).peb == expected


def test_a_dict_is_checked_and_left_unchanged(loaded):
    sections = loaded.model_dump(mode="json", exclude_none=True)
    before = repr(sections)
    assert hs.load(sections, {"surface.rows": 2}).surface.rows == 2
    assert repr(sections) == before
    with pytest.raises(hs.ScenarioError, match=r"override surface\.rows=-1: -1 is below 1"):
        hs.load(sections, {"surface.rows": -1})


WRONG_TYPES = {
    "hs.load(name, path_loss='product')": "load: path_loss is 'product'; it must be a function.",
    "hs.pose_bounds(3)": "pose_bounds: scenario is of type int; it must be a scenario, the name of",
    "hs.load(3.0)": "load: source is of type float; it must be the name of",
    "hs.pose_bounds('sensing-two-surfaces')": "sensing-two-surfaces is a sensing scenario; pose_b",
    "hs.pose_bounds(name, key='one')": "pose_bounds: key is 'one' (str); it must be an integer",
    "hs.pose_bounds(name, '8')": "active_antennas is '8' (str); it must be a whole number from 1",
    "hs.pose_bounds(name, [8])": "active_antennas is [8] (list); it must be a whole number from 1",
    "hs.pose_bounds(name, 2.5)": "active_antennas is 2.5 (float); it must be a whole number from 1",
    "hs.simulate_pilots(name, bins='4')": "bins is '4' (str); it must be a whole number from 2",
    "hs.simulate_pilots(name, bins=10**9)": "bins is 1000000000 (int); it must be a whole number",
    "hs.under_errors(name, trials=0)": "trials is 0 (int); it must be a whole number, 1 or more.",
    "hs.run_protocol(name, 'two')": "periods is 'two' (str); it must be a whole number, 1 or more.",
    "hs.run_protocol(name, 2, bins=16.5)": "bins is 16.5 (float); it must be a whole number from 2",
    "hs.find_target(sensing, '2')": "dwells is '2' (str); it must be a whole number from 1 to 1000",
    "hs.find_target(sensing, accuracy='1 m')": "accuracy is '1 m' (str); it must be a finite",
    "hs.run_protocol(name, 2, mobility='7 m')": "mobility is '7 m' (str); it must be a finite",
    "hs.coverage(name, steering='user')": "steering is 'user' (str); it must be 'each point' or 'f",
    "hs.load(name, [1])": "overrides is [1]; it must be a dict of values by dotted key",
    "hs.allocate_time(name, weight='a')": "weight is 'a' (str); it must be a finite number, 0 or",
    "hs.allocate_time(name, balance=1j)": "balance is 1j (complex); it must be 0 (rate alone) or",
    "hs.coverage(name, points=float('nan'))": "points is nan (float); it must be a whole number",
    "hs.coverage(name, points=2.5)": "points is 2.5 (float); it must be a whole number, 1 or more",
    "hs.design_beamforming(sensing, seed=-1)": "seed is -1 (int); it must be a whole number, 0 or",
    "hs.design_beamforming(sensing, seed=1.5)": "seed is 1.5 (float); it must be a whole number,",
    "hs.report(sensing, '.', weight=0)": "weight is not for sensing scenarios such as sensing-two",
    "hs.report(name, '.', thorough=True)": "thorough is not for localization scenarios such as loc",
    "hs.certify(sensing, 3)": "design is 3 (int); it must be a result of design_beamforming.",
    "hs.estimate_direction(sensing, 3, [])": "echoes is 3 (int); it must be Echoes, e.g. from",
    "hs.sweep(name, {'surface.rows': [8]}, 'pose_bounds.peb')": "sweep: outputs: 'pose_bounds.peb'"
    " is not a list; write e.g. [pose_bounds.peb]",
    "hs.estimate_pose(name, 5)": "pilots.samples has the shape (); localization-table-1 needs (1 c",
}


def test_another_type_is_refused_with_what_may_come():
    # In a process of its own, where no type checks of the tests come first.
    lines = [
        "import heliostat as hs, warnings",
        "warnings.simplefilter('ignore', hs.ModelWarning)",
        f"name, sensing = {NAME!r}, 'sensing-two-surfaces'",
        f"for call in {list(WRONG_TYPES)!r}:",
        "    try: print(eval(call))",
        "    except (TypeError, ValueError) as error: print(error)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    for shown, sentence in zip(done.stdout.splitlines(), WRONG_TYPES.values(), strict=True):
        assert shown.startswith(sentence)


def test_an_integer_is_a_seed(loaded):
    small = loaded.updated({"surface.phases": "random", "surface.rows": 2})
    seeded = hs.pose_bounds(small, 4, key=7)
    assert seeded.peb == hs.pose_bounds(small, 4, key=jax.random.key(7)).peb
    assert seeded.peb != hs.pose_bounds(small, 4, key=8).peb


def test_pilots_may_be_an_array(loaded):
    small = loaded.updated({"surface.rows": 2, "surface.columns": 2, "user.antennas": 2})
    pilots = hs.simulate_pilots(small, 2, bins=4)
    np.testing.assert_array_equal(
        hs.estimate_pose(small, pilots.samples).position, hs.estimate_pose(small, pilots).position
    )


def test_notes_are_warnings_once_and_stay_with_the_result(loaded, monkeypatch):
    monkeypatch.setattr("heliostat.model_warning.ISSUED", set())
    with pytest.warns(hs.ModelWarning) as caught:
        results = [hs.pose_bounds(loaded), hs.effective_rate(loaded), hs.allocate_time(loaded)]
    texts = [str(warning.message) for warning in caught]
    assert sorted(texts) == sorted(set(loaded.notes))
    assert any("sum_distance" in text for text in texts)
    assert all(warning.category is hs.ModelWarning for warning in caught)
    assert all(result.notes == loaded.notes for result in results)


def test_notes_can_be_raised_every_time(loaded, monkeypatch):
    monkeypatch.setattr("heliostat.model_warning.ISSUED", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error", hs.ModelWarning)
        for _ in range(2):
            with pytest.raises(hs.ModelWarning):
                hs.pose_bounds(loaded)


def test_a_scenario_within_its_model_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hs.pose_bounds("factory-hall").notes == ()


def test_help_shows_what_a_scenario_may_be(loaded):
    assert "scenario, name, path or dict" in str(inspect.signature(hs.pose_bounds))
    assert not [name for name in dir(loaded) if name.startswith("model_")]
    assert repr(loaded) == "<localization scenario 'localization-table-1'>"
    assert "surface" in loaded._repr_html_()
