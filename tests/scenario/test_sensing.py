"""Sensing scenarios: what they mean, and how they are refused."""

import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from heliostat.channel.fading import line_of_sight
from heliostat.observation.echoes import target_steering
from heliostat.scenario import (
    LocalizationScenario,
    ScenarioError,
    SensingScenario,
    load,
    of_system,
    parse,
    scenario_schema,
    scenario_text,
)
from heliostat.scenario.validation import dotted_keys, example
from heliostat.surface.active import reflected_power
from tests.support.refusals import loads_or_is_refused, plain_data
from tests.support.sensing_scenes import sensing_scene

PAPER = "sensing-two-surfaces"
SHIPPED = [PAPER, "drone-corridor", "indoor-three-surfaces"]
BARE = """\
system: sensing
carrier: {frequency: 3 GHz}
base_station: {position: [0, 0, 2], antennas: 3, power: 10 W, noise: -90 dBm}
surfaces:
  - {position: [-4, 6, 3], rows: 2, columns: 3, amplification: 5, power: 20 dBm, noise: -80 dBm}
  - position: [-6, 12, 4]
    rows: 3
    columns: 4
target: {position: [5, 9, 1], cross_section: -10 dBsm}
link: {rician: 3 dB}
dwell: {symbols: 50}
"""


SAME_SIZE = {
    "base_station.antennas": 3,
    "surfaces.0.columns": 3,
    "surfaces.1.columns": 3,
}


def problems(text, overrides=None):
    with pytest.raises(ScenarioError) as caught:
        parse(text, overrides, name="yard.yaml")
    assert str(caught.value).count("\n") == len(caught.value.problems) - 1
    return caught.value.problems


def changed(old, new):
    assert old in BARE
    return BARE.replace(old, new, 1)


def with_channels(folder, text, **arrays):
    np.savez(folder / "mine.npz", **arrays)
    (folder / "yard.yaml").write_text(text.replace("rician: 3 dB", "channels: mine.npz"))
    return folder / "yard.yaml"


def some_channels(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


# What scenarios mean


def test_the_papers_set_up_is_the_one_built_by_hand():
    scenario, expected = load(PAPER), sensing_scene()
    scene = scenario.build()
    assert isinstance(scenario, SensingScenario)
    assert scenario.name == PAPER
    assert scenario.dwell.required_snr == 0.0
    assert scenario.dwell.patterns == 1
    # |beta|^2 = K0 sigma / (4 pi d^4), d^2 = 125 at both surfaces.
    np.testing.assert_allclose(np.abs(scene.target_gain), np.sqrt(1e-3 / 4 / np.pi) / 125)
    for built, by_hand in zip(scene.bs_to_irs, expected.bs_to_irs, strict=True):
        np.testing.assert_allclose(built, by_hand, rtol=1e-12)  # the same draws of the seed
    for leaf, hand in zip(
        jax.tree.leaves((scene.base_station, scene.surfaces, scene.target)),
        jax.tree.leaves((expected.base_station, expected.surfaces, expected.target)),
        strict=True,
    ):
        np.testing.assert_allclose(leaf, hand, rtol=1e-12)
    assert scene.noise == pytest.approx(1e-11, rel=1e-12)
    assert scene.symbols == 100.0


def test_quantities_become_si():
    scenario = parse(BARE)
    scene = scenario.build()
    assert scenario.wavelength == pytest.approx(0.0999308, rel=1e-6)
    assert scene.base_station.power == 10.0
    assert scene.noise == pytest.approx(1e-12, rel=1e-12)
    first, second = scene.surfaces
    assert first.power == pytest.approx(0.1, rel=1e-12)
    assert first.noise == pytest.approx(1e-11, rel=1e-12)
    assert first.amplification == 5.0
    assert (first.array.rows, first.array.columns) == (2, 3)
    # Radar equation with the gain pi of half a square wavelength, d^2 = 81 + 9 + 4.
    expected = np.pi**2 * scenario.wavelength**2 * 0.1 / ((4 * np.pi) ** 3 * 94**2)
    assert abs(scene.target_gain[0]) ** 2 == pytest.approx(expected, rel=1e-12)
    assert scenario.dwell.required_snr == pytest.approx(100.0)  # the default, 20 dB
    assert [g.shape for g in scene.bs_to_irs] == [(6, 3), (12, 3)]
    assert second.passive


def test_every_number_of_a_scene_is_double_precision():
    kinds = {leaf.dtype for leaf in jax.tree.leaves(parse(BARE).build())}
    assert kinds == {np.dtype("float64"), np.dtype("complex128")}


def test_axes_are_those_written():
    turned = {
        "surfaces.0.horizontal": [0, 0, 1],
        "surfaces.0.vertical": [0, -1, 0],
        "base_station.axis": [0.6, 0, 0.8],
        "surfaces.1.spacing": [0.4, 0.7],
    }
    scene = parse(BARE, turned).build()
    array = scene.surfaces[0].array
    np.testing.assert_array_equal(array.normal, [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(array.horizontal, [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(array.vertical, [0.0, -1.0, 0.0])
    np.testing.assert_array_equal(scene.base_station.array.axis, [0.6, 0.0, 0.8])
    np.testing.assert_array_equal(scene.surfaces[1].array.spacing, [0.4, 0.7])


def test_a_surface_without_power_and_noise_is_passive():
    scene = parse(BARE).build()
    passive = scene.surfaces[1]
    assert passive.passive
    assert (passive.amplification, passive.power, passive.noise) == (1.0, np.inf, 0.0)
    weak = {"surfaces.0.amplification": 1}  # with power and noise it is active all the same
    assert not parse(BARE, weak).build().surfaces[0].passive


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_surfaces(count):
    places = [[-4 - i, 6 + i, 3] for i in range(count)]
    surfaces = [{"position": place, "rows": 2, "columns": 2 + i} for i, place in enumerate(places)]
    scene = parse(BARE, {"surfaces": surfaces}).build()
    assert scene.n_surfaces == count
    assert scene.angles().shape == (count, 2)
    assert [g.shape[0] for g in scene.bs_to_irs] == [4 + 2 * i for i in range(count)]


def test_channels_come_from_the_seed_or_the_key():
    scenario = parse(BARE)
    one, again, other = scenario.build(), scenario.build(), scenario.build(jax.random.key(5))
    for a, b, c in zip(one.bs_to_irs, again.bs_to_irs, other.bs_to_irs, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.isin(c, a).any()
    np.testing.assert_array_equal(one.target_gain, again.target_gain)
    assert not np.isin(other.target_gain, one.target_gain).any()
    np.testing.assert_allclose(np.abs(one.target_gain), np.abs(other.target_gain), rtol=1e-12)
    seeded = scenario.updated({"link.seed": 5}).build()
    np.testing.assert_array_equal(seeded.bs_to_irs[1], other.bs_to_irs[1])


def test_a_strong_rician_factor_leaves_the_line_of_sight():
    budget = {"link.exponent": 3, "link.reference_loss": "-30 dB"}
    scene = parse(BARE, {"link.rician": "150 dB", "link.seed": 3, **budget}).build()
    station, surface = scene.base_station, scene.surfaces[0]
    specular = line_of_sight(station.position, station.array, surface.position, surface.array)
    distance = np.sqrt(16 + 36 + 1)
    amplitude = np.sqrt(np.pi * 1e-3 / distance**3)  # elements have the gain pi by default
    np.testing.assert_allclose(scene.bs_to_irs[0], amplitude * specular, rtol=1e-6)
    rayleigh = parse(BARE, {"link.rician": "0 linear"}).build()
    assert np.isfinite(rayleigh.bs_to_irs[0]).all()


@pytest.mark.parametrize("suffix", ["npz", "mat"])
def test_channels_come_from_a_file_beside_the_scenario(tmp_path, suffix):
    channels, gain = some_channels(2, 12, 3), some_channels(2, seed=1)
    if suffix == "npz":
        np.savez(tmp_path / "mine.npz", bs_to_irs=channels, target_gain=gain)
    else:
        savemat(tmp_path / "mine.mat", {"bs_to_irs": channels, "target_gain": gain})
    text = changed("rician: 3 dB", f"channels: mine.{suffix}")
    (tmp_path / "yard.yaml").write_text(text)
    # The gains are those of measured arrays: far above an element's own.
    scene = load(tmp_path / "yard.yaml", {"surfaces.0.power": "1 kW"}).build()
    np.testing.assert_array_equal(scene.bs_to_irs[0], channels[0, :6])
    np.testing.assert_array_equal(scene.bs_to_irs[1], channels[1])
    np.testing.assert_array_equal(scene.target_gain, gain)


def test_imported_channels_may_have_any_wavefront(tmp_path):
    near = {"base_station.position": [-3.98, 6, 3], "target.position": [-3.97, 6.01, 3]}

    def hops(scenario):
        return [w.split(" is ")[0] for w in scenario.notes if w.startswith("Far field")]

    to_target = ["Far field: surfaces.0 to target"]
    both_apertures = ["Far field: base station to surfaces.0"] * 2
    assert hops(parse(BARE, near)) == both_apertures + to_target
    file = with_channels(tmp_path, BARE, bs_to_irs=1e-5 * some_channels(2, 12, 3))
    assert hops(load(file, near)) == to_target


def test_keys_of_random_channels_beside_a_file_are_a_note(tmp_path):
    channels = 1e-5 * some_channels(2, 12, 3)
    file = with_channels(tmp_path, BARE, bs_to_irs=channels)
    assert load(file).notes == ()
    both = load(file, {"link.rician": "3 dB", "link.exponent": 3})
    np.testing.assert_array_equal(both.build().bs_to_irs[1], channels[1])
    (note,) = both.notes
    assert note == (
        "Channels: link.rician and link.exponent have no effect on the channels of 'mine.npz'."
    )
    packaged = load(PAPER, {"link.channels": str(tmp_path / "mine.npz")} | SAME_SIZE)
    assert "Channels: link.rician and link.exponent have no effect" in packaged.notes[-2]


def test_a_file_without_gains_leaves_them_to_the_radar_equation(tmp_path):
    file = with_channels(tmp_path, BARE, bs_to_irs=some_channels(2, 12, 3))
    drawn, imported = parse(BARE).build(), load(file).build()
    np.testing.assert_array_equal(imported.target_gain, drawn.target_gain)


@pytest.mark.parametrize("shape", [(2, 11, 3), (2, 12, 4), (3, 12, 3), (12, 3)])
def test_channels_of_another_shape_name_both_shapes(tmp_path, shape):
    with pytest.raises(ScenarioError) as caught:
        load(with_channels(tmp_path, BARE, bs_to_irs=some_channels(*shape)))
    (problem,) = caught.value.problems
    assert problem.field == "link.channels"
    assert problem.where.endswith("yard.yaml:10")
    assert str(shape) in problem.sentence
    assert "(2, 12, 3)" in problem.sentence


def test_channels_for_a_broken_scene_are_not_judged(tmp_path):
    text = BARE.replace("rows: 3", "rows: 0")
    with pytest.raises(ScenarioError) as caught:
        load(with_channels(tmp_path, text, bs_to_irs=some_channels(2, 12, 3)))
    assert [problem.field for problem in caught.value.problems] == ["surfaces.1.rows"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense", "cannot be read as arrays of numbers"),
        (b"PK\x03\x04nonsense", "cannot be read as arrays of numbers"),
        ({"gain": np.ones(2)}, "has no 'bs_to_irs'"),
        ({"bs_to_irs": np.full((2, 12, 3), np.nan)}, "not finite"),
        ({"bs_to_irs": np.ones((2, 12, 3)), "target_gain": np.ones(3)}, r"\(3,\), the scene"),
        ({"bs_to_irs": np.array([[["a"]]])}, "cannot be read as arrays of numbers"),
        (None, "neither next to the scenario file nor"),
    ],
)
def test_a_file_of_other_things_is_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / "mine.npz").write_bytes(content)
    elif content is not None:
        np.savez(tmp_path / "mine.npz", **content)
    (problem,) = problems(changed("rician: 3 dB", "channels: mine.npz"))
    assert problem.field == "link.channels"
    assert re.search(message, problem.sentence)


def test_a_file_of_channels_that_goes_away_is_told(tmp_path):
    file = with_channels(tmp_path, BARE, bs_to_irs=some_channels(2, 12, 3))
    scenario = load(file)
    (tmp_path / "mine.npz").unlink()
    with pytest.raises(ScenarioError, match=r"link\.channels"):
        scenario.build()


# What comes with the package


def test_checking_needs_no_jax():
    code = (
        "import sys, heliostat.scenario as s; s.load('sensing-two-surfaces').notes; "
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scenarios_say_why_each_number_is_there(name):
    assert isinstance(load(name), SensingScenario)
    assert scenario_text(name).startswith("# ")
    angles = np.asarray(load(name).build().angles())
    assert np.all(np.sin(angles) > 0.5)  # far from the axes, where an angle is lost


@pytest.mark.parametrize(("patterns", "decibels"), [(1, 20), (2, 23), (3, 23)])
def test_default_minimum_snr_depends_on_the_patterns(patterns, decibels):
    base = load("sensing-two-surfaces", {"dwell.patterns": patterns})
    default = base.updated({"dwell.min_snr": None})
    assert default.dwell.required_snr == pytest.approx(10 ** (decibels / 10))
    # A value that is written stays, whatever the number of patterns.
    assert base.updated({"dwell.min_snr": "20 dB"}).dwell.required_snr == pytest.approx(100)
    assert base.dwell.required_snr == 0


def test_the_schema_has_both_ways_to_say_a_link():
    sections = json.loads(json.dumps(scenario_schema()))["$defs"]
    assert set(sections["SensingScenario"]["required"]) >= {"surfaces", "target", "link", "dwell"}
    assert sections["SensingScenario"]["properties"]["surfaces"]["items"] == {
        "$ref": "#/$defs/ActiveSurfaceSpec"
    }
    snr = sections["DwellSpec"]["properties"]["min_snr"]["anyOf"][0]["pattern"]
    assert re.search(snr, "none")
    assert re.search(snr, "20 dB")
    assert not re.search(snr, "20")


def test_examples_of_lists_are_lists_and_sound():
    assert example(SensingScenario, ("surfaces", 1, "rows")) == 4
    assert isinstance(example(SensingScenario, ("surfaces",)), list)
    assert isinstance(example(SensingScenario, ("surfaces", 1)), dict)
    whole = {name: example(SensingScenario, (name,)) for name in SensingScenario.model_fields}
    assert isinstance(SensingScenario.model_validate(whole), SensingScenario)


# What is wrong, with its line


REFUSED = [
    ("3 GHz", "3", 2, "carrier.frequency", "3", "has no unit"),
    ("antennas: 3", "antennas: 0", 3, "base_station.antennas", "0", "is below 1"),
    ("10 W", "-10 W", 3, "base_station.power", "'-10 W'", "is not more than zero"),
    (", noise: -90 dBm", "", 3, "base_station.noise", "", "missing; add e.g. noise: -80 dBm"),
    ("antennas: 3", "axis: [0, 2, 0]", 3, "base_station.axis", "", "not of unit length; write [0"),
    ("rows: 2", "rows: two", 5, "surfaces.0.rows", "'two'", "is not a whole number; write e.g. 4"),
    ("    rows: 3", "    rows: 0", 7, "surfaces.1.rows", "0", "is below 1"),
    ("    rows: 3", "    row: 3", 7, "surfaces.1.row", "3", "did you mean surfaces.1.rows?"),
    ("    rows: 3", "    row: 3", 6, "surfaces.1.rows", "", "missing; add e.g. rows: 4"),
    ("    rows: 3", "    bits: 3", 7, "surfaces.1.bits", "3", "surfaces.1 has position, rows"),
    ("    rows: 3", "    power: 2 W\n    rows: 3", 6, "surfaces.1.noise", "", "missing; an active"),
    ("20 dBm, noise: -80 dBm", "1 W", 5, "surfaces.0.noise", "", "add e.g. noise: -80 dBm"),
    ("power: 20 dBm, ", "", 5, "surfaces.0.power", "", "add e.g. power: 0.1 W"),
    (
        "    rows: 3",
        "    amplification: 8\n    rows: 3",
        7,
        "surfaces.1.amplification",
        "8",
        "8 needs an active surface; add e.g. power: 0.1 W and noise: -80 dBm, or write 1",
    ),
    ("5, power", "0, power", 5, "surfaces.0.amplification", "0", "is not above 0"),
    ("20 dBm", "-60 dBm", 5, "surfaces.0.power", "'-60 dBm'", "write at least -55.2 dBm"),
    (
        "    rows: 3",
        "    vertical: [0, 0.6, 0.8]\n    rows: 3",
        7,
        "surfaces.1.vertical",
        "",
        "is not at a right angle to surfaces.1.horizontal; write [0, 0, 1]",
    ),
    (
        "    rows: 3",
        "    normal: [0, 1, 0]\n    rows: 3",
        7,
        "surfaces.1.normal",
        "",
        "is not at right angles; write [1, 0, 0] or [-1, 0, 0]",
    ),
    (
        "    rows: 3",
        "    horizontal: [0.8, -0.6, 0]\n    rows: 3",
        6,
        "surfaces.1.position",
        "[-6, 12, 4]",
        "faces away from the target at [5, 9, 1]; or turn it with surfaces.1.horizontal",
    ),
    (
        "position: [-6, 12, 4]",
        "position: [-4, 6, 3]",
        6,
        "surfaces.1.position",
        "[-4, 6, 3]",
        "is also the position of surfaces.0; move one of them",
    ),
    (
        "[-6, 12, 4]",
        "[0, 0, 2]",
        6,
        "surfaces.1.position",
        "",
        "also the position of the base station; m",
    ),
    (
        "[5, 9, 1]",
        "[-6, 12, 4]",
        6,
        "surfaces.1.position",
        "",
        "also the position of the target; move",
    ),
    ("[-6, 12, 4]", "[5, 9]", 6, "surfaces.1.position", "[5, 9]", "too few entries; write e.g. ["),
    (
        "position: [-6, 12, 4]",
        "position: [2, 12, 4]",
        6,
        "surfaces.1.position",
        "",
        "normal [1, 0, 0] faces away from the base station at [0, 0, 2]",
    ),
    ("[5, 9, 1]", "[0, 0, 2]", 9, "target.position", "[0, 0, 2]", "the position of the base"),
    ("-10 dBsm", "-10 dB", 9, "target.cross_section", "'-10 dB'", "a ratio of powers, not an ar"),
    ("-10 dBsm", "0 m2", 9, "target.cross_section", "'0 m2'", "is not more than zero"),
    ("rician: 3 dB", "", 10, "link.rician", "", "missing; add e.g. rician: 5 dB; or channels: fi"),
    ("rician: 3 dB", "channels: a.npy", 10, "link.channels", "'a.npy'", "is not a channel file"),
    ("3 dB}", "3 dB, exponent: -1}", 10, "link.exponent", "-1", "is below 0"),
    ("3 dB}", "3 dB, seed: 0.5}", 10, "link.seed", "0.5", "is not a whole number"),
    ("link: {rician: 3 dB}\n", "", 1, "link", "", "missing; add e.g. link: {rician: 5 dB}"),
    ("symbols: 50", "symbols: 1", 11, "dwell.symbols", "1", "too few for 2 surfaces; at least 2"),
    ("50}", "50, patterns: 26}", 11, "dwell.symbols", "50", "too few; write at least 52"),
    ("50}", "50, min_snr: 20}", 11, "dwell.min_snr", "20", "has no unit; write it with a unit"),
    ("50}", "50, min_snr: some}", 11, "dwell.min_snr", "'some'", "is not a number with a unit"),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "value", "sentence"),
    REFUSED,
    ids=[f"{case[3]}-{case[5][:20]}" for case in REFUSED],
)
def test_a_refusal_names_line_field_value_and_remedy(old, new, line, field, value, sentence):
    found = [p for p in problems(changed(old, new)) if p.field == field]
    assert len(found) == 1
    assert found[0].where == f"yard.yaml:{line}"
    assert value in ("", found[0].value)
    for part in sentence.split("; "):
        assert part in found[0].sentence


@pytest.mark.parametrize("end", ["target", "base_station"])
def test_an_end_on_a_surface_is_one_problem(end):
    # surfaces.1 has the same plane, and the radar equation of surfaces.0 is infinite there.
    level = BARE.replace("position: [-6, 12, 4]", "position: [-4, 12, 4]")
    (problem,) = problems(level, {f"{end}.position": [-4, 6, 3]})
    assert problem.field == "surfaces.0.position"
    assert "is also the position of the" in problem.sentence


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("base_station.noise", "-300 dBm", "is out of range; write e.g. -80 dBm"),
        ("base_station.noise", "-80", "has no unit; write it with a unit, e.g. -80 dBm"),
        ("base_station.power", "-3 W", "is not more than zero; write e.g. 20 W"),
        (
            "surfaces.1.element_gain",
            "5 dB",
            "is a ratio of powers, not an antenna gain; write e.g. 5",
        ),
        ("dwell.min_snr", "20 W", "is a power, not a ratio of powers; write e.g. 20 dB"),
    ],
)
def test_the_remedy_for_a_quantity_is_of_the_size_of_the_key(key, value, remedy):
    (problem,) = problems(BARE, {key: value})
    assert remedy in problem.sentence


def test_invalid_entries_of_a_list_do_not_make_it_short():
    (problem,) = problems(BARE, {"surfaces": [7]})
    assert "7 is not a group of keys" in problem.sentence
    (problem,) = problems(BARE, {"surfaces": []})
    assert "has too few entries" in problem.sentence


def test_too_many_channels_to_hold_are_refused():
    (problem,) = problems(BARE, {"base_station.antennas": 65536, "surfaces.1.columns": 500})
    assert problem.field == "surfaces.1.rows"
    assert "too many channels" in problem.sentence


@pytest.mark.parametrize(
    ("given_", "field", "message"),
    [
        ("[]", "surfaces", "has too few entries; write e.g. [{"),
        ("{rows: 3}", "surfaces", "is not a list; write e.g. [{"),
        ("[7]", "surfaces.0", "7 is not a group of keys; write e.g. {"),
    ],
)
def test_surfaces_are_a_list_of_groups(given_, field, message):
    found = problems(BARE[: BARE.index("surfaces")] + f"surfaces: {given_}\n" + tail())
    assert (found[0].field, found[0].where) == (field, "yard.yaml:4")
    assert message in found[0].sentence


def tail():
    return BARE[BARE.index("target") :]


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    text = BARE.replace("rows: 2", "rows: 0").replace("columns: 4", "columns: 4\n    noise: 1 pW")
    found = problems(text.replace("[5, 9, 1]", "[0, 0, 2]"), {"dwell.min_snr": 3})
    assert [problem.field for problem in found] == [
        "surfaces.0.rows",
        "surfaces.1.power",
        "target.position",
        "dwell.min_snr",
    ]
    assert found[-1].where == "override dwell.min_snr=3"


def test_overrides_reach_into_lists():
    scenario = parse(BARE, {"surfaces.1.rows": 5, "surfaces.0.power": "1 W"})
    assert scenario.elements == (6, 20)
    assert scenario.surfaces[0].power == 1.0
    (problem,) = problems(BARE, {"surfaces.1.rows": 0})
    assert problem.where == "override surfaces.1.rows=0"
    (problem,) = problems(BARE, {"surfaces.2.rows": 1})
    assert "no such entry" in problem.sentence


def test_the_least_power_that_is_told_is_enough():
    text = BARE.replace("20 dBm", "-90 dBm")
    (problem,) = problems(text)
    least = re.search(r"at least (\S+ dBm)", problem.sentence).group(1)
    scene = parse(text, {"surfaces.0.power": least}).build()
    surface = scene.surfaces[0]
    own = reflected_power(
        surface.amplification * jnp.ones(6, complex),
        scene.bs_to_irs[0],
        jnp.zeros((3, 3), complex),
        target_steering(surface.array, scene.angles()[0]),
        scene.target_gain[0],
        surface.noise,
    ).own_noise
    assert own < surface.power < 1.02 * own


# Warnings


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        ({"surfaces.1.rows": 40, "surfaces.1.columns": 40}, "Far field: surfaces.1 to target is"),
        ({"surfaces.0.rows": 40}, "Far field: base station to surfaces.0"),
        ({"base_station.antennas": 16}, "Far field: base station to surfaces.0 is 7.28 m, within"),
        ({"dwell.symbols": 51}, "Dwell: 51 symbols do not divide into 2 equal shares"),
        ({"dwell.min_snr": "none"}, "Minimum SNR: dwell.min_snr is none"),
    ],
)
def test_a_strained_assumption_is_told(overrides, start):
    assert parse(BARE).notes == ()
    assert any(warning.startswith(start) for warning in parse(BARE, overrides).notes)


@pytest.mark.parametrize(
    ("overrides", "surfaces", "lost"),
    [
        ({"link.rician": "25 dB"}, "surfaces.0, surfaces.1", "have very large bounds"),
        ({"base_station.antennas": 1}, "surfaces.0, surfaces.1", "have no bound"),
        ({"link.rician": "15 dB"}, None, None),
        ({"link.rician": "25 dB", "dwell.patterns": 2}, None, None),
    ],
)
def test_one_pattern_over_a_channel_of_rank_one_is_a_warning(overrides, surfaces, lost):
    found = [w for w in parse(BARE, overrides).notes if w.startswith("Rank one: ")]
    if surfaces is None:
        assert found == []
    else:
        (warning,) = found
        assert f"the base station and {surfaces} has" in warning
        assert f"both elevation and azimuth {lost}" in warning


def test_the_rank_of_imported_channels_is_that_of_their_singular_values(tmp_path):
    one = np.einsum("se,sa->sea", some_channels(2, 12), some_channels(2, 3, seed=1))
    one /= np.linalg.norm(one, axis=(1, 2), keepdims=True)
    other = some_channels(2, 12, 3, seed=2)
    other /= np.linalg.norm(other, axis=(1, 2), keepdims=True)
    for share, expected in ((0.0, True), (0.05, True), (0.2, False)):
        channels = 1e-4 * (one + share * other)
        file = with_channels(tmp_path, BARE, bs_to_irs=channels)
        singular = np.linalg.svd(channels, compute_uv=False)
        outside = 1 - singular[:, 0] ** 2 / np.sum(singular**2, axis=1)
        assert bool(np.all(outside < 1e-2)) == expected
        found = any(w.startswith("Rank one: ") for w in load(file).notes)
        assert found == expected


def test_what_the_warnings_say_is_lost_is_lost():
    # The Fisher information by automatic differentiation of the mean echo, singular values relative
    # to those with two patterns.
    scenario = parse(BARE, {"link.rician": "150 dB"})
    scene = scenario.build()
    link, gain = scene.link(0), complex(scene.target_gain[0])
    patterns = np.exp(1j * np.random.default_rng(0).uniform(0, 6, (2, 6)))

    def mean(parameters, pattern):
        steering = target_steering(link.array, parameters[:2])
        through = link.bs_to_irs.T @ (pattern * steering)
        beta = gain * (parameters[2] + 1j * parameters[3])
        return beta * jnp.outer(through, through).ravel()

    point = jnp.concatenate([scene.angles()[0], jnp.asarray([1.0, 0.0])])
    slopes = [
        np.asarray(
            jax.jacfwd(lambda x, p=p: jnp.concatenate([mean(x, p).real, mean(x, p).imag]))(point)
        )
        for p in patterns
    ]
    ranks = [
        np.linalg.matrix_rank(s / np.linalg.norm(s, axis=0), tol=1e-5)
        for s in (slopes[0], np.vstack(slopes))
    ]
    assert ranks == [2, 4]  # only the gain, or all


@pytest.mark.parametrize("key", ["rows", "columns"])
def test_a_single_row_or_column_is_a_warning(key):
    (warning,) = parse(BARE, {f"surfaces.1.{key}": 1}).notes
    assert warning.startswith(f"Directions: surfaces.1 has a single {key[:-1]} of elements")


# Two systems


def test_a_function_of_one_system_says_so():
    sensing, localization = load(PAPER), load("localization-table-1")
    assert of_system(sensing, SensingScenario, "f") is sensing
    with pytest.raises(TypeError) as caught:
        of_system(sensing, LocalizationScenario, "pose_bounds")
    told = "sensing-two-surfaces is a sensing scenario; pose_bounds needs a localization scenario."
    assert str(caught.value) == told
    with pytest.raises(TypeError, match="f needs a sensing scenario"):
        of_system(localization, SensingScenario, "f")


# Whatever is read, it loads or is refused


bare_fields = sorted(dotted_keys(SensingScenario))
fields = st.sampled_from(bare_fields) | st.sampled_from(bare_fields).map(
    lambda name: name.replace("surfaces.", "surfaces.1.")
)
quantities = st.builds(
    "{}{}{}".format,
    st.floats() | st.integers(),
    st.sampled_from(["", " "]),
    st.sampled_from(["GHz", "W", "dBm", "dB", "linear", "m2", "dBsm", "x"]),
)
surfaces = st.fixed_dictionaries(
    {},
    optional={
        name.removeprefix("surfaces."): plain_data | quantities | st.integers(1, 9)
        for name in bare_fields
        if name.startswith("surfaces.")
    },
)


@given(st.dictionaries(fields | st.text(), plain_data | quantities, max_size=4))
def test_any_override_of_a_sound_scenario(overrides):
    loads_or_is_refused(BARE, overrides)


@given(st.lists(surfaces | plain_data, max_size=3))
def test_any_list_of_surfaces(entries):
    loads_or_is_refused(BARE, {"surfaces": entries})


@given(st.integers(0, len(BARE)), st.integers(0, 12), st.text(max_size=5))
def test_any_damage_to_a_sound_scenario(start, length, patch):
    loads_or_is_refused(BARE[:start] + patch + BARE[start + length :])


@given(st.binary(max_size=60))
def test_any_file_of_channels(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    for name in ("any.npz", "any.mat"):
        (folder / name).write_bytes(content)
        (folder / "yard.yaml").write_text(changed("rician: 3 dB", f"channels: {name}"))
        with pytest.raises(ScenarioError):
            load(folder / "yard.yaml")
