"""Study files: what they mean, by the public functions called by hand, and how they are refused."""

import pathlib
import re

import jax
import numpy as np
import pytest
import xarray as xr
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import heliostat as hs
from heliostat.batch.axes import read_axis
from heliostat.batch.quantities import read_options
from heliostat.batch.study_file import parse_study, read_study
from heliostat.scenario import ScenarioError
from heliostat.studies.study import Block
from tests.support.refusals import plain_data

SMALL = """
scenario: localization-table-1
set: {model.gain: unknown, surface.sweep: null, surface.rows: 4, surface.columns: 4}
axes:
  base_station.power: 10..40 dBm in 4
outputs: [pose_bounds.peb]
options: {pose_bounds: {active_antennas: 8}}
"""


def run(text, **options):
    plan = parse_study(text, "mine.yaml")
    return plan.study.run(trials=plan.trials, seed=plan.seed, **options)


def refusal(text):
    with pytest.raises(ScenarioError) as caught:
        parse_study(text, "mine.yaml")
    return str(caught.value)


# What studies mean


@pytest.mark.parametrize(
    ("key", "given_values", "name", "unit", "written", "coordinates"),
    [
        ("surface.rows", [4, 8], "surface.rows", "1", [4, 8], [4, 8]),
        ("a, b", "4..16 in 4", "a", "1", [4, 8, 12, 16], [4, 8, 12, 16]),
        ("p", "0.5..2 in 4", "p", "1", [0.5, 1.0, 1.5, 2.0], [0.5, 1.0, 1.5, 2.0]),
        ("p", "10..40 dBm in 3", "p_dbm", "dBm", ["10 dBm", "25 dBm", "40 dBm"], [10, 25, 40]),
        ("p", "1..100 mW in 3 log", "p_mw", "mW", ["1 mW", "10 mW", "100 mW"], [1, 10, 100]),
        ("p", "-5..-1 m in 2", "p", "m", ["-5 m", "-1 m"], [-5, -1]),
        ("p", ["0.1 linear", "1 linear"], "p", "1", ["0.1 linear", "1 linear"], [0.1, 1]),
        ("model.gain", ["known", "unknown"], "model.gain", "1", ["known", "unknown"], None),
        ("errors.on", [True, False], "errors.on", "1", [True, False], ["true", "false"]),
        ("p", [[0, 1], [2, 3]], "p", "1", [[0, 1], [2, 3]], ["[0, 1]", "[2, 3]"]),
    ],
)
def test_an_axis_is_what_was_written(key, given_values, name, unit, written, coordinates):
    axis = read_axis(key, given_values)
    assert (axis.name, axis.unit) == (name, unit)
    assert list(axis.written.values()) == written
    assert list(axis.written) == (written if coordinates is None else coordinates)


def test_points_are_what_the_public_functions_say():
    # Truth: the same functions, called by hand on scenarios loaded with overrides.
    text = SMALL.replace("[pose_bounds.peb]", "[pose_bounds.peb, effective_rate.eadr]").replace(
        "axes:", "axes:\n  surface.rows, surface.columns: [2, 4]\n  link.seed: [3]"
    )
    dataset = run(text)
    assert dataset["pose_bounds.peb"].attrs["units"] == "m"
    assert dataset["base_station.power_dbm"].attrs["units"] == "dBm"
    for rows in (2, 4):
        for power in (10.0, 20.0, 30.0, 40.0):
            overrides = {
                "model.gain": "unknown",
                "surface.rows": rows,
                "surface.columns": rows,
                "surface.sweep": None,
                "base_station.power": f"{power} dBm",
                "link.seed": 3,
            }
            scenario = hs.load("localization-table-1", overrides)
            at = dataset.sel({"surface.rows": rows, "base_station.power_dbm": power}).squeeze()
            bounds = hs.pose_bounds(scenario, active_antennas=8)
            np.testing.assert_allclose(at["pose_bounds.peb"], bounds.peb, rtol=1e-12)
            rate = hs.effective_rate(scenario)
            np.testing.assert_allclose(at["effective_rate.eadr"], rate.eadr, rtol=1e-12)


def test_trials_draw_what_is_random_and_are_the_same_at_every_point():
    # Truth: a bound falls with the root of the power, whatever the heading of the trial is.
    text = SMALL + "random: {user.heading: 0..90 deg}\ntrials: 5\nseed: 7\n"
    reb = run(text.replace(".peb", ".reb"))["pose_bounds.reb"].values
    assert len(np.unique(reb[0])) == 5
    expected = np.broadcast_to(reb[:1] * 10 ** (-np.arange(4)[:, None] / 2), reb.shape)
    np.testing.assert_allclose(reb, expected, rtol=1e-9)


def test_random_values_are_uniform_over_their_range():
    text = SMALL + "random: {user.heading: 20..60 deg, user.position.0: 5..25}\n"
    study = parse_study(text, "mine.yaml").study
    draws = [study.sample(jax.random.key(i)).overrides for i in range(400)]
    for key, low, high in (("user.heading", 20.0, 60.0), ("user.position.0", 5.0, 25.0)):
        values = np.array([float(str(draw[key]).split()[0]) for draw in draws])
        assert low <= values.min()
        assert values.max() <= high
        off = abs(values.mean() - (low + high) / 2)
        assert off < 4 * (high - low) / np.sqrt(12 * len(draws))
    assert len({draw["link.seed"] for draw in draws}) == len(draws)


def test_a_seed_that_is_set_holds_for_all_trials():
    text = SMALL.replace("surface.sweep: null", "surface.sweep: null, link.seed: 3") + "trials: 2\n"
    study = parse_study(text, "mine.yaml").study
    assert "link.seed" not in study.sample(jax.random.key(0)).overrides


def test_files_that_set_names_are_beside_the_study(tmp_path):
    np.save(tmp_path / "p.npy", np.zeros(16))
    changes = "model.gain: known, surface.phases: p.npy, surface.rows"
    text = SMALL.replace("model.gain: unknown, surface.sweep: null, surface.rows", changes)
    (tmp_path / "mine.yaml").write_text(text)
    study = read_study(tmp_path / "mine.yaml").study
    assert study.compute(Block(0, 0, 1), 0).values.shape == (1, 1)


def test_an_undetected_user_has_no_error_to_tell():
    text = SMALL.replace("10..40 dBm in 4", "[-90 dBm, 30 dBm]").replace(
        "pose_bounds", "estimate_pose"
    )
    dataset = run(text.replace("estimate_pose.peb", "estimate_pose.position_error"))
    error = dataset["estimate_pose.position_error"].values.ravel()
    assert np.isinf(error[0])
    assert error[1] < 1.0
    assert "the pilots are not detected" in dataset.attrs["failure_reasons"]


def test_an_axis_may_be_an_option_of_a_function():
    dataset = run(SMALL.replace("axes:", "axes:\n  pose_bounds.active_antennas: [4, 16]"))
    peb = dataset["pose_bounds.peb"].squeeze()
    scenario = hs.load(
        "localization-table-1",
        {
            "model.gain": "unknown",
            "surface.sweep": None,
            "surface.rows": 4,
            "surface.columns": 4,
            "base_station.power": "10 dBm",
        },
    )
    for count in (4, 16):
        at = peb.sel({"pose_bounds.active_antennas": count, "base_station.power_dbm": 10})
        np.testing.assert_allclose(at, hs.pose_bounds(scenario, count).peb, rtol=1e-12)


def test_a_point_without_a_bound_is_infinite_with_its_reason():
    # One configuration and an unknown gain: the pose cannot be told, but the rate exists.
    text = SMALL.replace("surface.sweep: null", "surface.sweep: [[0, 0]]").replace(
        "[pose_bounds.peb]", "[pose_bounds.peb, effective_rate.eadr_closed_form]"
    )
    dataset = run(text)
    assert np.isinf(dataset["pose_bounds.peb"]).all()
    assert np.isfinite(dataset["effective_rate.eadr_closed_form"]).all()
    assert dataset.attrs["failures"] == 4
    assert "do not change the received pilots" in dataset.attrs["failure_reasons"]


def test_values_that_do_not_go_together_are_a_failure_with_its_reason():
    text = SMALL.replace(
        "axes:", "axes:\n  base_station.antennas: [4, 8]\n  pose_bounds.active_antennas: [2, 8]"
    )
    dataset = run(text)
    peb = dataset["pose_bounds.peb"]
    wrong = {"base_station.antennas": 4, "pose_bounds.active_antennas": 8}
    assert np.isinf(peb.sel(wrong)).all()
    assert int(np.isinf(peb).sum()) == dataset.attrs["failures"] == 4
    assert "active_antennas is 8" in dataset.attrs["failure_reasons"]


@pytest.mark.slow
def test_sensing_quantities_are_those_of_the_public_functions():
    text = """
scenario: sensing-two-surfaces
axes: {base_station.power: [20 W], link.seed: [0]}
outputs: [design_beamforming.worst_crb, design_beamforming.crb, direction_bounds.direction_std,
          direction_bounds.position_bound, estimate_direction.angle_error,
          triangulate.position_error]
"""
    dataset = run(text).squeeze()
    scenario = hs.load("sensing-two-surfaces")
    made = hs.design_beamforming(scenario)
    bounds = hs.direction_bounds(scenario, made.covariance, made.reflection)
    np.testing.assert_allclose(dataset["design_beamforming.crb"], made.crb, rtol=1e-9)
    np.testing.assert_allclose(
        dataset["direction_bounds.direction_std"], bounds.direction_std, rtol=1e-9
    )
    assert dataset["direction_bounds.direction_std"].dims == ("surface", "angle")
    off = dataset["estimate_direction.angle_error"].values / bounds.direction_std
    assert (off < 5).all()
    assert dataset["triangulate.position_error"] < 5 * bounds.position_bound


def test_studies_that_are_shown_can_be_read():
    root = pathlib.Path(__file__).parents[2]
    page = (root / "docs" / "studies.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    shipped = [file.read_text(encoding="utf-8") for file in (root / "examples").glob("*.yaml")]
    shipped = [text for text in shipped if "\naxes:" in text]  # the others are scenarios
    assert shown
    assert shipped
    for text in shown + shipped:
        assert len(parse_study(text, "mine.yaml").study.grid) == 21


# How they are refused


REFUSED = [
    ("scenario: localization-table-1\n", "", "scenario: missing"),
    ("localization-table-1", "nowhere.yaml", "neither a file nor a packaged scenario"),
    ("localization-table-1", "[3]", "mine.yaml:2: scenario: [3] is not a word"),
    ("outputs: [pose_bounds.peb]", "outputs: peb", "mine.yaml:6: outputs: 'peb' is not a list"),
    ("pose_bounds.peb", "pose_bounds.pbe", "mine.yaml:6: outputs: 'pose_bounds.pbe' is not an"),
    ("pose_bounds.peb", "pose_bounds.pbe", "did you mean pose_bounds.peb or pose_bounds.reb"),
    ("pose_bounds.peb", "speed", "'speed' is not an output; write pose_bounds.peb, "),
    ("pose_bounds.peb", "design_beamforming.crb", "design_beamforming needs a sensing scenario"),
    (
        "[pose_bounds.peb]",
        "[pose_bounds.peb, pose_bounds.peb]",
        "pose_bounds.peb is given more than once",
    ),
    ("base_station.power", "base_station.powr", "mine.yaml:5: axes.base_station.powr: "),
    ("base_station.power", "surfaces", "cannot replace all surfaces"),
    ("base_station.power", "pose_bounds.antennas", "no such key; pose_bounds has active_antennas"),
    ("10..40 dBm in 4", "10..40 dBm", "is not a range"),
    ("10..40 dBm in 4", "10..40 dBm in 1", "needs two different ends"),
    ("10..40 dBm in 4", "-10..40 dBm in 4 log", "has no logarithm"),
    ("10..40 dBm in 4", "10..40 dBm in 999999999", "is not a range"),
    ("10..40 dBm in 4", "10..40 GHz in 4", "is a frequency, not a power"),
    ("10..40 dBm in 4", "[10 dBm, 1 W]", "mixes the units W and dBm"),
    ("10..40 dBm in 4", "[10 dBm, 10 dBm]", "has a value twice"),
    ("10..40 dBm in 4", "[]", "is not a list of values"),
    ("10..40 dBm in 4", "[1e999 dBm]", "is not finite"),
    (
        "active_antennas: 8",
        "active_antennas: eight",
        "active_antennas: 'eight' is not a whole number; write e.g. 8",
    ),
    ("active_antennas: 8", "active: 8", "no such key; options.pose_bounds has active_antennas"),
    ("{pose_bounds: {", "{pose_bound: {", "no such key; did you mean options.pose_bounds?"),
    ("set: {", "trials: 0\nset: {", "mine.yaml:3: trials: 0 is below 1"),
    ("set: {", "seed: -1\nset: {", "mine.yaml:3: seed: -1 is below 0"),
    ("set: {", "seeds: 1\nset: {", "seeds: no such key; did you mean seed?"),
    ("set: {", "columns: 1\nset: {", "no such key; a study file has title, scenario, set, axes"),
    ("active_antennas: 8", "active_antennas: true", "True is not a whole number"),
    ("active_antennas: 8", "active_antennas: 0", "active_antennas: 0 is below 1"),
    ("set: {", "random: {user.heading: 7 deg}\nset: {", "is not a range; write e.g. 0..90 deg"),
    ("set: {", "random: {link.seed: 0..9}\nset: {", "each trial draws it already"),
    ("set: {", "random: {base_station.power: 1..2 W}\nset: {", "given more than once"),
    ("set: {", "random: {user.height: 1..2 m}\nset: {", "random.user.height"),
    ("set: {", "random: {surface.rows: 4..16}\nset: {", "is not a whole number"),
    ("set: {", "random: {user: 4..16}\nset: {", "random.user: 4.0 is not valid"),
    ("set: {", "random: {base_station: 1..2}\nset: {", "base_station.power, and again as base"),
    ("surface.rows: 4", "surface.row: 4", "mine.yaml:3: set.surface.row: no such key"),
    (
        "  base_station.power: 10..40 dBm in 4\n",
        "  {}\n",
        "mine.yaml:4: axes: {} has too few entries",
    ),
    ("{pose_bounds: {", "{effective_rate: {", "options.effective_rate: no output needs it"),
    ("base_station.power: 10..40 dBm in 4", "allocate_time.balance: [0.5]", "no output needs it"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), REFUSED)
def test_a_refusal_tells_what_is_wrong(old, new, sentence):
    assert old in SMALL
    assert sentence in refusal(SMALL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("function", "option", "value", "result"),
    [
        ("run_protocol", "mobility", "50 cm", 0.5),
        ("run_protocol", "mobility", 0.5, "has no unit"),
        ("run_protocol", "mobility", "-1 m", "is negative"),
        ("run_protocol", "assumed_errors", True, True),
        ("run_protocol", "assumed_errors", 1, "is neither true nor false"),
        ("allocate_time", "balance", 1, 1.0),
        ("allocate_time", "balance", "1", "is not a plain number"),
        ("estimate_pose", "bins", 24, 24),
        ("design_beamforming", "method", "sdr", "sdr"),
        ("design_beamforming", "method", "fast", "is not one of 'direct' or 'sdr'"),
        ("design_beamforming", "key", 1, "no such key"),
        ("triangulate", "method", "stansfield", "stansfield"),
        ("find_target", "accuracy", "2 m", 2.0),
        ("find_target", "dwells", 2.5, "is not a whole number"),
    ],
)
def test_options_have_the_types_of_the_functions_arguments(function, option, value, result):
    # Truth: the arguments of the public functions; lengths have a unit, as in scenarios.
    if not isinstance(result, str) or value == result:
        assert read_options({function: {option: value}}) == {function: {option: result}}
    else:
        with pytest.raises(ScenarioError, match=result):
            read_options({function: {option: value}})


keys = st.sampled_from(["title", "scenario", "set", "axes", "random", "outputs", "options", "seed"])
words = st.sampled_from(
    [
        *("localization-table-1", "sensing-two-surfaces", "base_station.power", "surface.rows"),
        *(
            "pose_bounds",
            "pose_bounds.peb",
            "10..40 dBm in 3",
            "0..1 in 2 log",
            "1..2",
            "$",
            "a, b",
        ),
    ]
)
values = st.recursive(
    words | plain_data,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(keys | st.text(), values, max_size=8))
def test_any_study_file_is_read_or_refused(changes):
    text = yaml.safe_dump(yaml.safe_load(SMALL) | changes, allow_unicode=True)
    try:
        plan, refused = parse_study(text, "mine.yaml"), None
    except ScenarioError as error:
        plan, refused = None, error
    if plan is None:
        assert refused.problems
        assert str(refused)
        return
    study = plan.study
    assert len(study.grid) >= 1
    assert isinstance(study.dataset(np.zeros((len(study.grid), 1, study.n_columns)), 0), xr.Dataset)
