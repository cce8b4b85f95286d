"""Orientation of panels; truths are rotation matrices of SciPy and orthogonality."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from heliostat.scenario import ScenarioError, parse
from heliostat.scenario.localization.nodes import SurfaceSpec
from tests.scenario.test_localization import BARE as LOCALIZATION
from tests.scenario.test_sensing import BARE as SENSING

PANEL = {"position": [0, 0, 3], "rows": 2, "columns": 3}


def refused(text, overrides):
    with pytest.raises(ScenarioError) as caught:
        parse(text, overrides, name="hall.yaml")
    (problem,) = caught.value.problems
    return problem


@given(st.floats(-720, 720), st.floats(-90, 90))
def test_azimuth_and_tilt_rotate_the_default_panel(azimuth, tilt):
    panel = SurfaceSpec(**PANEL, azimuth=f"{azimuth} deg", tilt=f"{tilt} deg")
    # A positive rotation about y turns x downwards; then anticlockwise about z.
    turned = Rotation.from_euler("ZY", [azimuth, tilt], degrees=True)
    default = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # rows, columns, normal
    np.testing.assert_allclose(panel.axes, turned.apply(default), atol=1e-12)
    np.testing.assert_allclose(panel.facing, panel.axes[2], atol=1e-15)


@pytest.mark.parametrize(
    ("text", "name"), [(LOCALIZATION, "surface"), (SENSING, "surfaces.0")], ids=["loc", "sensing"]
)
def test_scenes_have_the_written_orientation(text, name):
    scene = parse(text, {f"{name}.azimuth": "30 deg", f"{name}.tilt": "10 deg"}).build()
    panel = (scene.surface if name == "surface" else scene.surfaces[0]).array
    cos_tilt = np.cos(np.deg2rad(10))
    normal = [cos_tilt * np.sqrt(3) / 2, cos_tilt / 2, -np.sin(np.deg2rad(10))]
    np.testing.assert_allclose(panel.normal, normal, atol=1e-15)
    np.testing.assert_allclose(panel.horizontal, [-0.5, np.sqrt(3) / 2, 0], atol=1e-15)
    assert panel.vertical[2] == pytest.approx(cos_tilt)  # the upper edge stays above


def test_one_angle_alone_is_enough():
    panel = SurfaceSpec(**PANEL, azimuth="90 deg")
    np.testing.assert_array_equal(panel.axes, [[-1, 0, 0], [0, 0, 1], [0, 1, 0]])
    panel = SurfaceSpec(**PANEL, tilt="90 deg")  # on the ceiling
    np.testing.assert_array_equal(panel.facing, [0, 0, -1])


def test_angles_survive_a_dump_and_an_override():
    scenario = parse(LOCALIZATION, {"surface.azimuth": "30 deg", "surface.tilt": "0.1 rad"})
    again = parse(scenario.dump())
    np.testing.assert_array_equal(again.surface.axes, scenario.surface.axes)
    turned = parse(LOCALIZATION).updated({"surface.azimuth": "20 deg"})
    assert turned.surface.azimuth == pytest.approx(np.deg2rad(20))


@pytest.mark.parametrize("key", ["horizontal", "vertical", "normal"])
def test_angles_and_vectors_together_are_refused(key):
    vectors = {"horizontal": [0, 1, 0], "vertical": [0, 0, 1], "normal": [1, 0, 0]}
    given_ = {f"surface.{key}": vectors[key], "surface.tilt": "0 deg"}
    problem = refused(LOCALIZATION, given_)
    assert problem.field == "surface.tilt"
    assert f"the orientation is also given by surface.{key}; remove one" in problem.sentence
    parse(LOCALIZATION, given_ | {f"surface.{key}": None})


@pytest.mark.parametrize("tilt", ["90.1 deg", "-91 deg"])
def test_tilts_beyond_the_vertical_are_refused(tilt):
    problem = refused(LOCALIZATION, {"surface.tilt": tilt})
    assert "is beyond the vertical; write -90 deg to 90 deg" in problem.sentence


def test_a_panel_that_faces_away_is_to_be_turned_by_the_key_that_is_written():
    problem = refused(LOCALIZATION, {"surface.azimuth": "90 deg"})
    assert problem.field == "base_station.position"
    assert "turn the surface with surface.azimuth" in problem.sentence


def test_rounded_vectors_become_an_exact_frame():
    rounded = {
        "surface.horizontal": [-0.7071, 0.7071, 0],
        "surface.vertical": [0.0009, 0, 1],
        "surface.normal": [0.7071, 0.7071, -0.0009],
        "base_station.axis": [0.707, 0.707, 0],
    }
    scene = parse(LOCALIZATION, rounded).build()
    array = scene.surface.array
    axes = np.stack([array.horizontal, array.vertical, array.normal])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-15)
    root = np.sqrt(0.5)
    np.testing.assert_allclose(axes[0], [-root, root, 0], atol=1e-15)
    np.testing.assert_allclose(axes, list(rounded.values())[:3], atol=1e-3)
    np.testing.assert_allclose(scene.base_station.array.axis, [root, root, 0], atol=1e-15)


@pytest.mark.parametrize(
    ("key", "vector", "remedy"),
    [
        ("base_station.axis", [0.7, 0.7, 0], "not of unit length; write [0.707106781,"),
        ("surface.horizontal", [0, 1.0011, 0], "not of unit length; write [0, 1, 0]"),
        ("surface.vertical", [0, 0.0011, 1], "not at a right angle to surface.horizontal; write ["),
        ("surface.normal", [0.99, 0.14107, 0], "not at right angles to"),
    ],
)
def test_more_than_rounding_is_refused(key, vector, remedy):
    problem = refused(LOCALIZATION, {key: vector})
    assert problem.field == key
    assert problem.where == f"override {key}={vector}"
    assert remedy in problem.sentence


def test_a_refused_orientation_names_its_line():
    text = LOCALIZATION.replace("rows: 2", "azimuth: 90, rows: 2")
    problem = refused(text, {})
    assert (problem.where, problem.field) == ("hall.yaml:4", "surface.azimuth")
    assert "90 has no unit; write it with a unit, e.g." in problem.sentence
