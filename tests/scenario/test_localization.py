"""Scenario files: what they mean, and how they are refused."""

import json
import os
import pickle
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import model_validator

import heliostat as hs
from heliostat.channel.path_loss import LAWS
from heliostat.scenario import (
    SYSTEMS,
    LocalizationScenario,
    ScenarioError,
    load,
    parse,
    scenario_names,
    scenario_schema,
    scenario_text,
    template_text,
)
from heliostat.scenario.errors import Report
from heliostat.scenario.fields import Section
from heliostat.scenario.validation import check, dotted_keys, example, section_type
from heliostat.surface.passive import Phased, Steered, quantized, steered_phases
from tests.support.refusals import loads_or_is_refused, plain_data

TABLE_1 = "localization-table-1"
BARE = """\
system: localization
carrier: {frequency: 30 GHz, bandwidth: 10 MHz}
base_station: {position: [10, -5, 8], antennas: 4, power: 20 dBm}
surface: {position: [0, 0, 3], rows: 2, columns: 3}
user: {position: [8, 6, 1], heading: 30 deg, antennas: 2}
link: {noise: -90 dBm}
frame: {pilot: 10 us, optimization: 1 ms}
"""


def problems(text, overrides=None):
    with pytest.raises(ScenarioError) as caught:
        parse(text, overrides, name="hall.yaml")
    assert str(caught.value).count("\n") == len(caught.value.problems) - 1
    return caught.value.problems


def changed(old, new):
    assert old in BARE
    return BARE.replace(old, new, 1)


# What scenarios mean


def test_table_1_is_the_papers():
    scenario = load(TABLE_1)
    scene = scenario.build()
    assert scenario.name == TABLE_1
    assert scene.base_station.power == pytest.approx(0.501187233627272, rel=1e-14)
    assert scene.link.noise_density == pytest.approx(1e-11 / 1e8, rel=1e-14)
    assert scene.link.wavelength == pytest.approx(299792458 / 60e9, rel=1e-15)
    assert scene.frame.pilot == 67e-6
    assert scene.frame.period == pytest.approx(69.608e-3, rel=1e-12)  # as printed in Table I
    assert scene.user.heading == pytest.approx(np.pi / 4, rel=1e-15)
    np.testing.assert_array_equal(scene.surface.alignment.offset, [[0.0, 0.0]])
    assert scene.link.gain_known
    assert scene.link.clock_known
    assert scene.link.path_loss is LAWS["sum_distance"]
    assert abs(scene.surface.gain) == pytest.approx(1.0, rel=1e-15)
    # d_1,1 = 30 m and d_1,2 = 53.85 m in the text: the focus is the user, seen from the surface.
    expected = np.array([20.0, -30.0]) / np.sqrt(40**2 + 20**2 + 30**2)
    np.testing.assert_allclose(scene.surface.data.focus, expected, rtol=1e-14)


def test_every_number_of_a_scene_is_double_precision():
    scene = load(TABLE_1).build()
    kinds = {leaf.dtype for leaf in jax.tree.leaves(scene)}
    assert kinds == {jnp.dtype("float64"), jnp.dtype("complex128")}
    assert scene.surface.gain.dtype == jnp.dtype("complex128")


def test_defaults_are_the_honest_ones():
    scenario = parse(BARE)
    assert scenario.model.gain == "unknown"
    assert scenario.model.clock == "synchronized"
    assert scenario.link.path_loss == "product"
    assert scenario.sweep_of(scenario.panel) == ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.4), (0.0, -1.4))
    assert scenario.surface.facing == (1.0, 0.0, 0.0)
    assert scenario.period == pytest.approx(4 * 2 * 10e-6 + 1e-3, rel=1e-15)
    assert scenario.errors.position == 0.0
    offset = scenario.build().surface.alignment.offset
    np.testing.assert_allclose(offset, [[1 / 3, 0], [-1 / 3, 0], [0, 0.7], [0, -0.7]], rtol=1e-15)
    known = parse(BARE, {"model.gain": "known"})
    assert known.sweep_of(known.panel) == ((0.0, 0.0),)


def test_the_surface_may_face_elsewhere():
    turned = {"surface.horizontal": [1, 0, 0], "base_station.position": [10, -5, 8]}
    scene = parse(BARE, {**turned, "user.position": [8, -6, 1]}).build()
    np.testing.assert_array_equal(scene.surface.array.normal, [0.0, -1.0, 0.0])
    np.testing.assert_array_equal(scene.surface.array.horizontal, [1.0, 0.0, 0.0])


def test_a_focus_steers_both_stages():
    scene = parse(BARE, {"surface.focus": [4, 0, 3]}).build()
    np.testing.assert_allclose(scene.surface.alignment.focus, [0.0, 0.0], atol=1e-16)
    np.testing.assert_allclose(scene.surface.data.focus, [0.0, 0.0], atol=1e-16)


def test_coarse_phases_respond_at_least_as_the_nearest_to_the_designed_ones():
    fine, coarse = parse(BARE).build(), parse(BARE, {"surface.bits": 1}).build()
    for stage in ("alignment", "data"):
        steered, phased = getattr(fine.surface, stage), getattr(coarse.surface, stage)
        assert isinstance(steered, Steered)
        assert isinstance(phased, Phased)
        exact = steered_phases(fine.surface.array, fine.arrival(), steered)
        found, nearest = (
            np.abs(np.exp(1j * (each - exact)).sum(axis=1))
            for each in (phased.phase, quantized(exact, 1))
        )
        assert (found >= nearest * (1 - 1e-12)).all()
        np.testing.assert_allclose(jnp.sin(phased.phase), 0.0, atol=1e-12)  # one bit: 0 or pi


def test_random_phases_come_from_the_seed_or_the_key():
    random = {"surface.phases": "random", "surface.sweep": [[0, 0], [0, 0], [0, 0]]}
    scenario = parse(BARE, random)
    one, again, other = scenario.build(), scenario.build(), scenario.build(jax.random.key(5))
    assert one.surface.alignment.phase.shape == (3, 6)
    assert one.surface.data.phase.shape == (1, 6)
    np.testing.assert_array_equal(one.surface.alignment.phase, again.surface.alignment.phase)
    assert not np.isin(one.surface.data.phase, one.surface.alignment.phase).any()
    assert not np.isin(other.surface.data.phase, one.surface.data.phase).any()
    assert one.surface.gain == again.surface.gain != other.surface.gain
    seeded = scenario.updated({"link.seed": 5}).build()
    np.testing.assert_array_equal(seeded.surface.data.phase, other.surface.data.phase)


def test_a_given_gain_phase_is_taken():
    scene = parse(BARE, {"link.gain_phase": "90 deg"}).build()
    np.testing.assert_allclose(scene.surface.gain, 1j, atol=1e-16)


@pytest.mark.parametrize("rows", [1, 2])
def test_phases_come_from_a_file_beside_the_scenario(tmp_path, rows):
    phases = np.arange(6.0 * rows).reshape(rows, 6)
    np.save(tmp_path / "mine.npy", phases[0] if rows == 1 else phases)
    (tmp_path / "hall.yaml").write_text(changed("columns: 3", "columns: 3, phases: mine.npy"))
    scene = load(tmp_path / "hall.yaml").updated({"user.antennas": 3}).build()
    np.testing.assert_array_equal(scene.surface.alignment.phase, phases)
    np.testing.assert_array_equal(scene.surface.data.phase, phases[:1])


def test_phases_for_a_shipped_scenario_come_from_the_working_folder(tmp_path, monkeypatch):
    np.save(tmp_path / "mine.npy", np.zeros(64))
    monkeypatch.chdir(tmp_path)
    scene = load(TABLE_1, {"surface.phases": "mine.npy"}).build()
    assert scene.surface.data.phase.shape == (1, 64)


def test_a_file_of_phases_that_goes_away_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("mine.npy", np.zeros(6))
    scenario = parse(BARE, {"surface.phases": "mine.npy"})
    os.remove("mine.npy")
    with pytest.raises(ScenarioError, match=r"surface\.phases"):
        scenario.build()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5), r"has the shape \[5\]; store \[6\] phases"),
        (np.zeros((2, 5)), "has the shape"),
        (np.zeros((1, 1, 6)), "has the shape"),
        (np.zeros((0, 6)), "has the shape"),
        (np.full(6, np.nan), "nan or inf"),
        (np.ones(6, complex), "not an array of real numbers"),
        (np.array(["a"] * 6), "not an array of real numbers"),
        (np.array([{}] * 6), "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_other_things_is_refused(tmp_path, monkeypatch, array, message):
    monkeypatch.chdir(tmp_path)
    if array is None:
        (tmp_path / "mine.npy").write_bytes(b"\x93NUMPY\x01\x00nonsense")
    else:
        np.save("mine.npy", array, allow_pickle=True)
    (problem,) = problems(BARE, {"surface.phases": "mine.npy"})
    assert re.search(message, problem.sentence)


def test_checking_and_schema_need_no_jax():
    code = (
        "import sys, heliostat.scenario as s; s.load('localization-table-1').notes; "
        "s.scenario_schema(); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What comes with the package


def test_what_is_shipped():
    names = scenario_names()
    assert {TABLE_1, "factory-hall", "street-canyon", "sub-thz-room"} <= set(names)
    assert "template" not in names


@pytest.mark.parametrize("name", scenario_names())
def test_shipped_scenarios_build_and_strain_nothing(name):
    scenario = load(name)
    scenario.build()
    expected = {
        TABLE_1: ["Link budget", "Known gain:"],
        "sensing-two-surfaces": ["Link budget", "Link budget", "Minimum SNR"],
        "street-crossing": ["Blocked: so"],
        "factory-hall-racks": ["Blocked for"] * 5,
        "near-field-room": ["Blocked: wa"],
    }
    assert [warning[:11] for warning in scenario.notes] == expected.get(name, [])
    assert scenario_text(name).startswith("# ")


def test_the_template_shows_every_key_and_loads():
    parse(template_text()).build()
    written = yaml.safe_load(template_text())
    for section, info in LocalizationScenario.model_fields.items():
        assert section in written
        if isinstance(written[section], dict):
            assert set(written[section]) == set(section_type(info).model_fields)
    for line in template_text().splitlines():
        assert not re.match(r"  \w+:", line) or "#" in line


def test_the_template_writes_the_defaults():
    bare = parse(template_text()).dump()
    without = {
        section: keys
        if not isinstance(keys, dict)
        else {
            name: value
            for name, value in keys.items()
            if section_type(LocalizationScenario.model_fields[section])
            .model_fields[name]
            .is_required()
            or (section, name) == ("frame", "period")
        }
        for section, keys in yaml.safe_load(template_text()).items()
    }
    assert parse(yaml.safe_dump(without)).dump() == bare


@pytest.mark.parametrize("name", scenario_names())
def test_a_dump_reads_back_as_it_was(name):
    scenario = load(name, {"base_station.power": "0.123 W"})
    if isinstance(scenario, LocalizationScenario):
        scenario = scenario.updated({f"{scenario.user_keys[0]}.heading": "0.3 rad"})
    again = parse(scenario.dump())
    assert again.dump() == scenario.dump()
    assert again.base_station.power == 0.123
    if isinstance(again, LocalizationScenario):
        assert again.user.heading == 0.3


def test_the_schema_tells_units_and_examples_of_every_field():
    schema = json.loads(json.dumps(scenario_schema()))
    sections = schema["$defs"]
    assert schema["oneOf"] == [
        {"$ref": "#/$defs/LocalizationScenario"},
        {"$ref": "#/$defs/SensingScenario"},
    ]
    for name, section in sections.items():
        assert section["additionalProperties"] is False
        for info in section["properties"].values():
            described = sections[info["$ref"].rpartition("/")[2]] if "$ref" in info else info
            assert described["description"], name
            assert "$ref" in info or info["examples"], name
    power = sections["BaseStationSpec"]["properties"]["power"]
    assert re.search(power["pattern"], "27 dBm")
    assert not re.search(power["pattern"], "27")
    assert not re.search(power["pattern"], "27 GHz")
    assert sections["SurfaceSpec"]["properties"]["rows"]["minimum"] == 1
    written = {name: yaml.safe_load(scenario_text(name)) for name in scenario_names()}
    for scenario in written.values():
        _accepts(schema, schema["oneOf"][list(SYSTEMS).index(scenario["system"])], scenario)


def _accepts(schema, part, value):
    """As much of JSON Schema as our schema uses."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    if "anyOf" in part:
        part = part["anyOf"][0]
    if part.get("type") == "object":
        assert set(part.get("required", ())) <= set(value) <= set(part["properties"])
        for name, inner in value.items():
            _accepts(schema, part["properties"][name], inner)
    elif part.get("type") == "array":
        inners = part.get("prefixItems") or [part["items"]] * len(value)
        for inner, entry in zip(inners, value, strict=True):
            _accepts(schema, inner, entry)
    elif part.get("type") == "string":
        assert re.search(part.get("pattern", ""), value)
    elif part.get("type") in ("number", "integer"):
        assert part.get("minimum", value) <= value <= part.get("maximum", value)


def test_every_example_is_valid():
    for system in SYSTEMS.values():
        for key in dotted_keys(system):
            path = tuple(key.split("."))
            name = path[-1]
            section = system
            for part in path[:-1]:
                section = section_type(section.model_fields[part])
            whole = {n: example(section, (n,)) for n in section.model_fields}
            if section is not system:
                section.model_validate({**whole, name: example(system, path)})


# Overrides


def test_overrides_are_python_values_or_text():
    overrides = {
        "surface.rows": "16",
        "surface.columns": np.int64(4),
        "base_station.power": "30 dBm",
        "user.position": "[9, 1, 2]",
        "surface.focus": np.array([5.0, 0.0, 1.0]),
        "frame.period": "0.5 s",
        "errors.mobility": "2 m",
    }
    scenario = parse(BARE, overrides)
    assert (scenario.surface.rows, scenario.surface.columns) == (16, 4)
    assert scenario.base_station.power == pytest.approx(1.0)
    assert scenario.user.position == (9.0, 1.0, 2.0)
    assert scenario.surface.focus == (5.0, 0.0, 1.0)
    assert (scenario.period, scenario.errors.mobility) == (0.5, 2.0)
    assert scenario.updated({"frame.period": None}).period == parse(BARE).period
    assert parse(BARE, {"user.position.2": 2}).user.position == (8.0, 6.0, 2.0)


def test_a_copy_keeps_what_is_not_overridden():
    scenario = parse(BARE, name="hall")
    copy = scenario.updated({"surface.rows": 4})
    assert copy.surface.rows == 4
    assert scenario.surface.rows == 2
    assert copy.name == "hall"
    assert copy.updated({"surface.rows": 2}).dump() == scenario.dump()
    # What follows from other fields goes on following them.
    moved = scenario.updated({"user.position": [5, 0, 3]}).build()
    np.testing.assert_allclose(moved.surface.data.focus, [0.0, 0.0], atol=1e-16)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("surface.rows", 0, "override surface.rows=0: 0 is below 1; write e.g. 8"),
        ("surface.rows", "0", "override surface.rows=0: 0 is below 1; write e.g. 8"),
        ("surface.row", 1, "override surface.row=1: no such key; did you mean surface.rows?"),
        ("rows", 1, "override rows=1: no such key; did you mean surface.rows or surfaces.rows?"),
        ("bandwidt", 1, "override bandwidt=1: no such key; did you mean carrier.bandwidth?"),
        (
            "surfcae.rows",
            1,
            "override surfcae.rows=1: surfcae: no such key; did you mean surface or surfaces?",
        ),
        (
            "surface.rows.x",
            1,
            "override surface.rows.x=1: no such entry; surface.rows has no keys below it, "
            "override surface.rows itself",
        ),
        ("user.position.7", 1, "user.position has the entries 0 to 2"),
        ("carrier.frequency", 60e9, "has no unit; write it with a unit, e.g. 60 GHz"),
        ("carrier", None, "missing; add e.g. carrier: {"),
        ("user.position.0", -1, "override user.position.0=-1: user.position: [-1, 6, 1] is behind"),
        ("surface.position", "[1, 2", "'[1, 2' is not a list"),
        ("system", "sonar", "override system=sonar: 'sonar' is not a known system; write local"),
        ("", 1, "no such key; a scenario has system, carrier"),
        ("\ud800", "\ud800", "no such key"),
    ],
)
def test_wrong_overrides_are_named(key, value, message):
    (problem,) = problems(BARE, {key: value})
    assert message in str(problem)
    str(problem).encode()
    (again,) = problems_of_update({key: value})
    known = " or ".join(SYSTEMS)  # an update stays within its system
    sentence = problem.sentence.replace(known, "localization")
    assert (again.where, again.sentence) == (problem.where, sentence)


def problems_of_update(overrides):
    with pytest.raises(ScenarioError) as caught:
        parse(BARE).updated(overrides)
    return caught.value.problems


# What is refused


REFUSED = [
    ("rows: 2", "rows: 0", 4, "surface.rows", "0", "0 is below 1; write e.g. 8"),
    ("antennas: 4", "antennas: 0", 3, "base_station.antennas", "0", "0 is below 1; write e.g. 32"),
    ("rows: 2", "rows: 2.5", 4, "surface.rows", "2.5", "2.5 is not a whole number; write e.g. 8"),
    ("rows: 2", "rows: yes", 4, "surface.rows", "'yes'", "is not a whole number"),
    ("rows: 2", "rows: true", 4, "surface.rows", "True", "is not a whole number"),
    ("rows: 2", "rows: '2'", 4, "surface.rows", "'2'", "is not a whole number"),
    ("rows: 2", f"rows: {'9' * 5000}", 4, "surface.rows", "inf", "inf is not finite"),
    (
        "30 GHz",
        "30",
        2,
        "carrier.frequency",
        "30",
        "has no unit; write it with a unit, e.g. 60 GHz",
    ),
    ("30 GHz", "60e9", 2, "carrier.frequency", "60000000000.0", "has no unit; write it with"),
    ("30 GHz", "no", 2, "carrier.frequency", "'no'", "is not a number with a unit; write e.g."),
    ("30 GHz", "30 dBm", 2, "carrier.frequency", "'30 dBm'", "a power, not a frequency"),
    ("30 GHz", "30 ghz", 2, "carrier.frequency", "'30 ghz'", "did you mean GHz?"),
    ("30 GHz", "-30 GHz", 2, "carrier.frequency", "'-30 GHz'", "is not more than zero"),
    ("30 GHz", ".nan", 2, "carrier.frequency", "'.nan'", "is not finite"),
    ("30 GHz", "1e99 GHz", 2, "carrier.frequency", "'1e99 GHz'", "is out of range"),
    ("20 dBm", "0 W", 3, "base_station.power", "'0 W'", "is not more than zero"),
    ("20 dBm", "[20 dBm]", 3, "base_station.power", "['20 dBm']", "is not a power; write it"),
    ("10 MHz", "60 GHz", 2, "carrier.bandwidth", "'60 GHz'", "reaches below 0 Hz; lower the band"),
    ("10 us", "-1 us", 7, "frame.pilot", "'-1 us'", "is not more than zero; write e.g. 67 us"),
    ("[8, 6, 1]", "[8, 6]", 5, "user.position", "[8, 6]", "has too few entries; write e.g."),
    ("[8, 6, 1]", "[8, 6, 1, 1]", 5, "user.position", "[8, 6, 1, 1]", "has too many entries"),
    ("[8, 6, 1]", "[8, x, 1]", 5, "user.position", "[8, 'x', 1]", "entry 2, 'x', is not a plain"),
    ("[8, 6, 1]", "[8, .nan, 1]", 5, "user.position", "[8, '.nan', 1]", "is not a plain number"),
    (
        "[8, 6, 1]",
        "[8, 1e999, 1]",
        5,
        "user.position",
        "[8, inf, 1]",
        "entry 2, inf, is not finite",
    ),
    ("[8, 6, 1]", "8 m", 5, "user.position", "'8 m'", "is not a list; write e.g. [20, 40, 0]"),
    (
        "[8, 6, 1]",
        "[-8, 6, 1]",
        5,
        "user.position",
        "[-8, 6, 1]",
        "is behind the surface; move it",
    ),
    ("[8, 6, 1]", "[0, 6, 1]", 5, "user.position", "[0, 6, 1]", "is behind the surface"),
    (
        "[8, 6, 1]",
        "[0, 0, 3]",
        5,
        "user.position",
        "[0, 0, 3]",
        "is also the position of the surface; move one",
    ),
    (
        "[8, 6, 1]",
        "[10, -5, 8]",
        5,
        "user.position",
        "[10, -5, 8]",
        "also the position of the base station",
    ),
    (
        "[10, -5, 8]",
        "[-1, 0, 0]",
        3,
        "base_station.position",
        "[-1, 0, 0]",
        "is behind the surface",
    ),
    ("rows: 2", "rows: 2, focus: [-1, 0, 0]", 4, "surface.focus", "[-1, 0, 0]", "is behind"),
    ("rows: 2", "rows: 2, phases: no", 4, "surface.phases", "'no'", "is unknown; write designed"),
    ("rows: 2", "rows: 2, phases: a.npy", 4, "surface.phases", "'a.npy'", "is neither next to"),
    ("rows: 2", "rows: 2, bits: 9", 4, "surface.bits", "9", "is above 8; write e.g. 2"),
    ("rows: 2", "rows: 2, reflection: 1.1", 4, "surface.reflection", "1.1", "is above 1"),
    ("rows: 2", "rows: 2, reflection: 0", 4, "surface.reflection", "0", "is not above 0"),
    ("rows: 2", "rows: 2, sweep: []", 4, "surface.sweep", "[]", "has too few entries"),
    ("rows: 2", "rows: 2, sweep: [[1, a]]", 4, "surface.sweep", "[[1, 'a']]", "entry 1.2, 'a', is"),
    (
        "rows: 2",
        "rows: 2, vertical: [0, 0.6, 0.8]",
        4,
        "surface.vertical",
        "[0, 0.6, 0.8]",
        "is not at a right angle to surface.horizontal; write [0, 0, 1]",
    ),
    (
        "rows: 2",
        "rows: 2, vertical: [0, 1, 0]",
        4,
        "surface.vertical",
        "[0, 1, 0]",
        "is not at a right angle to surface.horizontal; turn one of them",
    ),
    (
        "rows: 2",
        "rows: 2, normal: [0, 0, 1]",
        4,
        "surface.normal",
        "[0, 0, 1]",
        "write [1, 0, 0] or [-1, 0, 0]",
    ),
    (
        "antennas: 4",
        "antennas: 4, axis: [3, 4, 0]",
        3,
        "base_station.axis",
        "[3, 4, 0]",
        "is not of unit length; write [0.6, 0.8, 0]",
    ),
    (
        "antennas: 4",
        "antennas: 4, axis: [0, 0, 0]",
        3,
        "base_station.axis",
        "[0, 0, 0]",
        "no direc",
    ),
    (
        "1 ms}",
        "1 ms, period: 1.01 ms}",
        7,
        "frame.period",
        "'1.01 ms'",
        "is too short for the pilots of one active antenna; write at least 1.02 ms",
    ),
    ("-90 dBm}", "-90 dBm, gain_phase: 3}", 6, "link.gain_phase", "3", "has no unit"),
    ("-90 dBm}", "-90 dBm, path_loss: free}", 6, "link.path_loss", "'free'", "is not one of"),
    ("-90 dBm}", "-90 dBm, seed: -1}", 6, "link.seed", "-1", "is below 0"),
    ("-90 dBm}", "-90 dBm, nois: 1}", 6, "link.nois", "1", "no such key; did you mean link.noise?"),
    ("-90 dBm}", "-90 dBm}\nerrorz: {}", 7, "errorz", "{}", "no such key; did you mean errors?"),
    ("-90 dBm}", "-90 dBm}\nmodel: {clock: no}", 7, "model.clock", "'no'", "is not one of"),
    ("-90 dBm}", "-90 dBm}\nmodel: {as_printed: 3}", 7, "model.as_printed", "3", "true nor false"),
    ("-90 dBm}", "-90 dBm}\nmodel: [1]", 7, "model", "[1]", "is not a group of keys"),
    ("-90 dBm}", "-90 dBm}\nerrors: {position: 7}", 7, "errors.position", "7", "has no unit"),
    (
        "-90 dBm}",
        "-90 dBm}\nerrors: {gain_variance: -1}",
        7,
        "errors.gain_variance",
        "-1",
        "below 0",
    ),
    (
        "-90 dBm}",
        "-90 dBm}\nlink: {noise: 3 W}",
        7,
        "link",
        "",
        "repeats line 6; keep one",
    ),
    ("link: {", "link: &a {", 6, "link", "", "an anchor or alias (& or *); write the value itself"),
    ("30 GHz", "!!str 30 GHz", 2, "carrier.frequency", "", "a tag (!); write the value alone"),
    ("{noise: -90 dBm}", "{}", 6, "link.noise", "", "missing; add e.g. noise: -80 dBm"),
    ("link: {noise: -90 dBm}\n", "", 1, "link", "", "missing; add e.g. link: {noise: -80 dBm}"),
    ("localization", "sonar", 1, "system", "'sonar'", "is not a known system; write localiz"),
    ("localization", "[3]", 1, "system", "[3]", "is not a known system; write localization"),
    ("system: localization\n", "", 1, "system", "", "missing; add system: localization"),
    ("link:", "\tlink:", 6, "", "", "cannot be read as YAML: found character '\\t'"),
    ("user: {", "user: [", 5, "", "", "cannot be read as YAML"),
    ("user:", "---\nuser:", 5, "", "", "a second document; write one scenario per file"),
    ("-90 dBm", "*nowhere", 6, "link.noise", "", "an anchor or alias"),
    ("-90 dBm", '"\\UFFFFFFFF"', 1, "", "", "cannot be read as YAML"),
    ("-90 dBm", "\x00", 6, "", "", "cannot be read as YAML: special characters are not allowed"),
    ("-90 dBm", "[" * 10**5, 6, "", "", "nested more than 16 levels deep"),
    ("{noise", "{? [a, {b: c}] : d, noise", 6, "link", "", "a key that is not a word"),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "value", "sentence"),
    REFUSED,
    ids=[f"{case[3] or 'file'}-{case[5][:20]}" for case in REFUSED],
)
def test_a_refusal_names_line_field_value_and_remedy(old, new, line, field, value, sentence):
    found = [p for p in problems(changed(old, new)) if p.field == field]
    assert len(found) == 1 or "anchor" in sentence
    assert found[0].where == f"hall.yaml:{line}"
    assert value in ("", found[0].value)
    for part in sentence.split("; "):
        assert part in found[0].sentence


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    text = BARE.replace("30 GHz", "30").replace("rows: 2", "rows: 0").replace("[8, 6", "[-8, 6")
    found = problems(text + "model: {gain: perhaps}\n", {"link.noise": "-90 dB"})
    assert [problem.field for problem in found] == [
        "carrier.frequency",
        "surface.rows",
        "user.position",  # geometry is judged although other fields are broken
        "model.gain",
        "link.noise",
    ]


def test_what_was_judged_by_a_broken_field_is_not_told():
    found = problems(changed("[0, 0, 3]", "[0, 0]").replace("[8, 6", "[-8, 6"))
    assert [problem.field for problem in found] == ["surface.position"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n---\n", "null"])
def test_an_empty_file_is_refused(text):
    (problem,) = problems(text)
    assert "the file is empty" in problem.sentence


@pytest.mark.parametrize("text", ["- a\n- b", "localization", "3"])
def test_a_file_without_keys_is_refused(text):
    (problem,) = problems(text)
    assert "is not a mapping of keys" in problem.sentence


class _Pair(Section):
    """Two numbers with a condition that names no field."""

    low: float
    high: float = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> "_Pair":
        if self.low > self.high:
            raise ValueError("low exceeds high; exchange them")
        return self


def test_a_condition_on_the_whole_file_needs_no_field():
    with pytest.raises(ScenarioError) as refused:
        check(_Pair, {"low": 2.0}, Report("pair.yaml"))
    assert str(refused.value) == "pair.yaml: low exceeds high; exchange them"


def test_no_power_of_an_amplitude_underflows():
    (problem,) = problems(BARE, {"link.attenuation": 1e-300})
    assert problem.sentence == "1e-300 is below 1e-30; write e.g. 1.0"
    faint = hs.simulate_pilots(parse(BARE, {"link.attenuation": 1e-30})).samples
    assert np.isfinite(faint).all()


def test_too_many_phases_to_list_are_refused():
    many = {"surface.rows": 60000, "surface.columns": 60000}
    parse(BARE, many)  # steered surfaces are never written out
    (problem,) = problems(BARE, {**many, "surface.bits": 2})
    assert "are too many to store" in problem.sentence


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("model.gain", "unknown", "model.gain: known"),
        ("model.clock", "unknown", "model.clock: synchronized"),
        ("user.position", [20, 40, 1], "user.position: [20, 40, 0]"),
        ("base_station.axis", [0, 1, 0], "base_station.axis: [1, 0, 0]"),
        ("surface.sweep", [[0, 0], [1, 0]], "surface.sweep: [[0, 0]]"),
        ("surface.phases", "random", "surface.phases: designed"),
        ("surface.bits", 2, "surface.bits: null"),
        ("surface.horizontal", [0, 0.6, 0.8], "surface.horizontal: [0, 1, 0]"),
        ("link.path_loss", "product", "link.path_loss: sum_distance"),
    ],
)
def test_printed_equations_are_for_the_papers_set_up_only(key, value, named):
    printed = {"model.as_printed": True, "surface.vertical": [0, 0, 1]}
    if key == "surface.horizontal":
        printed["surface.vertical"] = [0, -0.8, 0.6]
    with pytest.raises(ScenarioError, match=re.escape(named)) as caught:
        load(TABLE_1, {**printed, key: value})
    assert caught.value.problems[0].field == "model.as_printed"
    load(TABLE_1, {"model.as_printed": True})


def test_errors_survive_pickling():
    with pytest.raises(ScenarioError) as caught:
        parse("")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.problems, str(again)) == (caught.value.problems, str(caught.value))
    assert pickle.loads(pickle.dumps(parse(BARE))).dump() == parse(BARE).dump()


# Files that cannot be read


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.yaml", "neither a file nor a packaged scenario; packaged are"),
        ("localization-table", "did you mean localization-table-1?"),
        (".", "is a folder; give a scenario file in it"),
        ("", "neither a file nor a packaged scenario"),
        (os.devnull, "is not a scenario file"),
        ("a\0b", "cannot be read"),
        ("\ud800", "cannot be read"),
        pytest.param("x" * 5000, "cannot be read", id="long"),
    ],
)
def test_a_file_that_is_none_is_refused(name, message):
    with pytest.raises(ScenarioError, match=re.escape(message)) as caught:
        load(name)
    str(caught.value).encode()


def test_a_file_in_another_encoding_is_refused(tmp_path):
    file = tmp_path / "hall.yaml"
    file.write_bytes(b"system: localization\n# stra\xdfe\n")
    with pytest.raises(ScenarioError, match=r"hall\.yaml:2: is not UTF-8 text; save it as UTF-8"):
        load(file)


def test_a_file_is_read_from_disk_with_its_mark_and_line_ends(tmp_path):
    file = tmp_path / "my hall.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + BARE.replace("\n", "\r\n").encode())
    assert load(str(file)).name == "my hall"
    file.write_text(changed("rows: 2", "rows: 0"))
    with pytest.raises(ScenarioError, match=r"my hall\.yaml:4: surface\.rows: 0 is below 1"):
        load(file)


def test_a_huge_file_is_refused(tmp_path):
    file = tmp_path / "huge.yaml"
    file.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ScenarioError, match="at most 1 MiB"):
        load(file)


# Warnings


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        ({"surface.rows": 100, "surface.columns": 100}, "Far field: base station to surface is"),
        ({"user.antennas": 64}, "Far field: surface to user"),
        ({"base_station.antennas": 128}, "Far field: base station to surface"),
        ({"carrier.bandwidth": "20 GHz"}, "Narrow band: a wave takes"),
        ({"user.position": [10, 0, 3], "user.heading": "2 deg"}, "End-fire: the wave"),
        ({"user.position": [10, 0, 3], "user.heading": "182 deg"}, "End-fire: the wave"),
        ({"surface.phases": "random", "surface.focus": [1, 0, 3]}, "Surface: surface.focus has no"),
    ],
)
def test_a_strained_assumption_is_told(overrides, start):
    assert parse(BARE).notes == ()
    assert any(warning.startswith(start) for warning in parse(BARE, overrides).notes)


CROSS = [[0.9, 0], [-0.9, 0], [0, 0.9], [0, -0.9]]
PANEL = {"surface.rows": 8, "surface.columns": 8, "surface.position": [0, 0, 9]}


@pytest.mark.parametrize(
    ("sweep", "clock", "warned"),
    [
        (CROSS, "unknown", True),  # equal responses where both offsets are equal
        (CROSS, "synchronized", False),  # those places are at other distances
        ([[1, 0], [-1, 0], [0, 1.4], [0, -1.4]], "unknown", False),
        ([[0.9, 0], [-0.9, 0]], "synchronized", True),  # one ratio, the same in a side lobe
        ([[0, 0]], "synchronized", True),  # no ratio at all
        (None, "unknown", False),
    ],
)
def test_an_ambiguous_sweep_is_reported(sweep, clock, warned):
    scenario = parse(BARE, PANEL | {"model.clock": clock, "surface.sweep": sweep})
    found = [w for w in scenario.notes if w.startswith("Sweep: ")]
    assert bool(found) == warned


def test_no_sweep_is_ambiguous_for_a_known_gain_whose_reference_is_reported():
    told = parse(BARE, PANEL | {"model.gain": "known", "surface.sweep": CROSS}).notes
    assert [warning[:11] for warning in told] == ["Known gain:"]


def test_the_far_field_begins_at_fraunhofers_distance():
    # 2 D^2 / lambda with D = sqrt(2) n lambda / 2 is n^2 lambda: at 30 GHz, n = 40, 15.989 m.
    panel = {"surface.rows": 40, "surface.columns": 40, "base_station.position": [99, 0, 3]}
    near = parse(BARE, {**panel, "user.position": [15.98, 0, 3]})
    far = parse(BARE, {**panel, "user.position": [15.99, 0, 3]})
    assert any("Fraunhofer distance 16 m of the surface" in w for w in near.notes)
    assert far.notes == ()


# Whatever is read, it loads or is refused


fields = st.sampled_from(sorted(dotted_keys(LocalizationScenario)))
quantities = st.builds(
    "{}{}{}".format,
    st.floats() | st.integers(),
    st.sampled_from(["", " "]),
    st.sampled_from(["Hz", "GHz", "W", "dBm", "dB", "deg", "rad", "us", "s", "m", "km", "x"]),
)


@given(st.text() | st.text(alphabet="{}[]:,-?&*!|>'\"%@`# \n\ta1.~<=_", max_size=40))
def test_any_text(text):
    loads_or_is_refused(text)
    loads_or_is_refused(BARE + text)
    loads_or_is_refused(BARE, {"surface.sweep": text})


@given(st.binary(max_size=100))
def test_any_file(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "any.yaml"
    file.write_bytes(content)
    with pytest.raises(ScenarioError):
        load(file)


@given(plain_data)
def test_any_data(data):
    loads_or_is_refused(yaml.safe_dump(data, allow_unicode=True))


@given(st.dictionaries(fields | st.text(), plain_data | quantities, max_size=4))
def test_any_override_of_a_sound_scenario(overrides):
    loads_or_is_refused(BARE, overrides)


@given(st.integers(0, len(BARE)), st.integers(0, 12), st.text(max_size=5))
def test_any_damage_to_a_sound_scenario(start, length, patch):
    loads_or_is_refused(BARE[:start] + patch + BARE[start + length :])


def test_values_of_any_type_are_refused():
    endless = []
    endless.append(endless)
    for value in (object(), {1, 2}, b"16", endless, 10**5000, 1j, np.zeros((2, 2)), range(3)):
        loads_or_is_refused(BARE, {"surface.rows": value, "user.position": value, "errors": value})
