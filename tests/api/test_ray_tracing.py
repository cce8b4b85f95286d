"""Truths: channels in free space and beside a mirror, literally; designs checked by hand.

The tests marked raytrace run Sionna RT and compare with its own tracing of every pair of elements.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import heliostat as hs
from heliostat.api import ray_tracing
from heliostat.api.ray_tracing import RayTracingError, trace_channels
from heliostat.channel.specular import Plane, SpecularPath, specular_channel
from heliostat.scenario import parse
from tests.support.ray_traced import (
    ANTENNAS,
    ELEMENTS,
    EMPTY,
    GAINS,
    MIRROR,
    SPEED_OF_LIGHT,
    TURNED,
    WAVELENGTH,
    check_constraints,
    free_space,
    turned,
)

LACKING = pytest.mark.skipif(
    find_spec("sionna") is None, reason="needs Sionna RT: make test-raytrace"
)


def with_sionna(test):
    """Mark a test that runs Sionna RT."""
    return pytest.mark.raytrace(LACKING(test))


def answered(request):
    """Answer of Sionna RT in free space with one more path from behind both surfaces."""
    source, found = np.array(request["source"]), []
    for receiver in request["receivers"]:
        distance = np.linalg.norm(np.subtract(receiver, source))
        direct = {"coefficient": [WAVELENGTH / (4 * np.pi * distance), 0.0], "triangles": []}
        wall = [[-50.0, 0, 0], [-50.0, 1, 0], [-50.0, 0, 1]]
        below = [[0.0, -50, 0], [1.0, -50, 0], [0.0, -50, 1]]
        found.append([direct, {"coefficient": [1e-3, 1e-3], "triangles": [below, wall]}])
    return {"paths": found, "echoes": [3e-6, 2e-6]}


def test_channels_have_the_gains_and_the_order_of_the_scenario(monkeypatch):
    monkeypatch.setattr(ray_tracing, "_run", answered)
    scenario = turned()
    found = trace_channels(scenario, "any")
    for i, elements in enumerate(ELEMENTS):
        expected = np.sqrt(GAINS[i]) * free_space(elements, ANTENNAS)
        np.testing.assert_allclose(found.bs_to_irs[i, : len(elements)], expected, rtol=1e-9)
        assert found.paths[i].n_reflections == (0,)  # none from behind
        np.testing.assert_allclose(found.paths[i].power, found.paths[i].free_space, rtol=1e-12)
    np.testing.assert_array_equal(found.bs_to_irs[0, 4:], 0)
    expected = [3e-6 * np.pi, 2e-6 * np.pi / 2]
    np.testing.assert_allclose(abs(found.target_gain), expected, rtol=1e-12)
    assert found.irs_to_user is None


def test_the_file_is_read_as_it_was_traced(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_tracing, "_run", answered)
    scenario = turned()
    found = trace_channels(scenario, "any")
    found.save(tmp_path / "traced.npz")
    scene = scenario.updated(
        {"link.channels": str(tmp_path / "traced.npz"), "link.rician": None}
    ).build()
    np.testing.assert_array_equal(scene.bs_to_irs[0], found.bs_to_irs[0, :4])
    np.testing.assert_array_equal(scene.bs_to_irs[1], found.bs_to_irs[1])
    np.testing.assert_array_equal(scene.target_gain, found.target_gain)


@pytest.mark.parametrize("echoes", [[1e-6, 0.0]])
def test_a_hidden_target_and_a_surface_without_paths_are_refused(monkeypatch, echoes):
    monkeypatch.setattr(ray_tracing, "_run", lambda r: answered(r) | {"echoes": echoes})
    with pytest.raises(RayTracingError, match=r"^surfaces\.1: the target is hidden"):
        trace_channels(turned(), "any")
    monkeypatch.setattr(ray_tracing, "_run", lambda _: {"paths": [[], []], "echoes": echoes})
    with pytest.raises(RayTracingError, match=r"^surfaces\.0: no path from the base station"):
        trace_channels(turned(), "any")


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(ray_tracing, "find_spec", lambda _: None)
    with pytest.raises(RayTracingError, match=r"pip install 'heliostat\[raytrace\]'"):
        trace_channels(turned(), "any")
    monkeypatch.setattr(ray_tracing, "find_spec", lambda _: "there")

    def process(stderr):
        ended = subprocess.CompletedProcess([], -6, "", stderr)
        monkeypatch.setattr(ray_tracing.subprocess, "run", lambda *_, **__: ended)

    process("LLVM ERROR: Cannot select: 0x55: f32 = fmaximum\nIn function: drjit_fe")
    with pytest.raises(RayTracingError, match="apt-get install libllvm19"):
        trace_channels(turned(), "any")
    process("Segmentation fault")
    with pytest.raises(RayTracingError, match="exit code -6: Segmentation fault"):
        trace_channels(turned(), "any")


def test_designs_for_reflected_paths_satisfy_all_constraints(tmp_path):
    # The ground and a wall beside both surfaces, and a path over both.
    ground = Plane(np.array([0.0, 0, 0]), np.array([0.0, 0, 1]))
    wall = Plane(np.array([9.0, 0, 0]), np.array([1.0, 0, 0]))
    paths = [
        SpecularPath(1, []),
        SpecularPath(-0.6 + 0.2j, [ground]),
        SpecularPath(-0.8, [wall]),
        SpecularPath(0.5j, [ground, wall]),
    ]
    channels = np.zeros((2, 6, 3), complex)
    for i, elements in enumerate(ELEMENTS):
        channel = specular_channel(paths, ANTENNAS, elements, WAVELENGTH)
        channels[i, : len(elements)] = np.sqrt(GAINS[i]) * channel
    np.savez(tmp_path / "yard.npz", bs_to_irs=channels)
    for patterns in (1, 2):
        scenario = parse(
            TURNED,
            {
                "link": {"channels": str(tmp_path / "yard.npz")},
                "dwell.patterns": patterns,
                "dwell.min_snr": "14 dB",
            },
        )
        design = hs.design_beamforming(scenario)
        assert np.all(np.isfinite(design.crb))
        check_constraints(scenario, design.covariance, design.reflection)


# With Sionna RT


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    file = tmp_path_factory.mktemp("scenes") / "empty.xml"
    file.write_text(EMPTY)
    return file


@with_sionna
def test_free_space_is_exact_at_every_element(empty):
    found = trace_channels(turned(), empty)
    for i, elements in enumerate(ELEMENTS):
        expected = np.sqrt(GAINS[i]) * free_space(elements, ANTENNAS)
        np.testing.assert_allclose(found.bs_to_irs[i, : len(elements)], expected, rtol=1e-6)
    # The radar equation with the gain of an element in both directions.
    distance = [np.linalg.norm(np.mean(e, axis=0) - [5, 14, 1]) for e in ELEMENTS]
    gain = np.array([np.pi, np.pi / 2]) * WAVELENGTH / (4 * np.pi) ** 1.5
    np.testing.assert_allclose(abs(found.target_gain), gain / np.square(distance), rtol=1e-6)


@with_sionna
def test_a_mirror_adds_a_path_of_known_length_with_the_opposite_sign(tmp_path):
    (tmp_path / "mirror.xml").write_text(MIRROR)
    found = trace_channels(turned(), tmp_path / "mirror.xml")
    image = ANTENNAS * [-1, 1, 1] + [18, 0, 0]
    for i, elements in enumerate(ELEMENTS):
        expected = free_space(elements, ANTENNAS) - free_space(elements, image)
        expected = np.sqrt(GAINS[i]) * expected
        # The wall is a good conductor: its reflection coefficient is -1 within 1e-3.
        error = found.bs_to_irs[i, : len(elements)] - expected
        assert np.max(np.abs(error)) < 2e-3 * np.max(np.abs(expected))
        assert sorted(found.paths[i].n_reflections) == [0, 1]
        lengths = [
            np.linalg.norm(elements.mean(axis=0) - a.mean(axis=0)) for a in (ANTENNAS, image)
        ]
        np.testing.assert_allclose(np.sort(found.paths[i].length), lengths, rtol=1e-6)


# Traces every pair of elements, in the order of the docstring of `channel.imported`. Paths that
# arrive from behind the panel, which faces +y, are left out.
ELEMENT_WISE = """
import sys
import numpy as np
from sionna import rt
scene = rt.load_scene(rt.scene.simple_street_canyon)
scene.frequency = 28e9
scene.tx_array = rt.PlanarArray(num_rows=1, num_cols=3, vertical_spacing=0.5,
                                horizontal_spacing=0.5, pattern="iso", polarization="V")
scene.rx_array = rt.PlanarArray(num_rows=2, num_cols=4, vertical_spacing=0.5,
                                horizontal_spacing=0.5, pattern="iso", polarization="V")
scene.add(rt.Transmitter("tx", position=[-20, -5, 8]))
scene.add(rt.Receiver("rx", position=[10, -6, 6], orientation=[np.pi / 2, 0, 0]))
paths = rt.PathSolver(deterministic=True)(scene, max_depth=3, refraction=False,
                                          synthetic_array=False)
arriving = np.sin(np.array(paths.theta_r)) * np.sin(np.array(paths.phi_r))
a = (np.array(paths.a[0]) + 1j * np.array(paths.a[1])) * (arriving > 0)
h = np.sum(a * np.exp(-2j * np.pi * 28e9 * np.array(paths.tau).astype(float)), axis=-1)
panel = h[:, :, 0, :].reshape(1, 4, 2, 3)
np.save(sys.argv[1], panel.swapaxes(1, 2)[:, ::-1].reshape(1, 8, 3))
"""


@with_sionna
def test_a_turned_panel_in_a_street_has_the_channel_of_tracing_each_element(tmp_path):
    file = tmp_path / "element-wise.npy"
    subprocess.run([sys.executable, "-c", ELEMENT_WISE, str(file)], check=True)
    expected = np.load(file)[0]
    half = SPEED_OF_LIGHT / 28e9 / 2
    # Faces +y, and its rows run along -x: the corners where both arrays start.
    corner = [10 + 1.5 * half, -6, 6 - 0.5 * half]
    scenario = parse(
        TURNED,
        {
            "carrier.frequency": "28 GHz",
            "base_station.position": [-20, -5 - half, 8],
            "base_station.axis": [0, 1, 0],
            "base_station.antenna_gain": "0 dBi",
            "surfaces": [
                {"position": corner, "azimuth": "90 deg", "rows": 2, "columns": 4,
                 "element_gain": "0 dBi"}
            ],
            "target.position": [8, 2, 1],
        },
    )  # fmt: skip
    found = trace_channels(scenario, "simple_street_canyon").bs_to_irs[0]
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 0.003  # the delays in single precision are wrong by some 1e-3 rad
    other = np.linalg.norm(found[::-1] - expected) / np.linalg.norm(expected)
    assert other > 0.1  # the test tells orders apart


@with_sionna
def test_the_users_channels_are_reciprocal(empty):
    scenario = hs.load("street-crossing", {"base_station.antennas": 3, "user.antennas": 2})
    scenario = scenario.updated(
        {f"surfaces.{i}.{key}": 2 for i in (0, 1) for key in ("rows", "columns")}
    )
    found = trace_channels(scenario, empty)
    wavelength = scenario.wavelength
    user = np.array(scenario.user.position)
    heading = scenario.user.heading
    along = wavelength / 2 * np.outer([0, 1], [np.cos(heading), -np.sin(heading), 0])
    panel = scenario.surfaces[1]
    expected = free_space(user + along, panel.element_positions(wavelength), wavelength)
    np.testing.assert_allclose(found.irs_to_user[1], np.sqrt(np.pi) * expected, rtol=1e-6)
    antennas = np.array(scenario.base_station.position)
    antennas = antennas + wavelength / 2 * np.outer(range(3), [0, 1, 0])
    expected = free_space(user + along, antennas, wavelength)
    np.testing.assert_allclose(found.bs_to_user, expected, rtol=1e-6)


@with_sionna
def test_the_example_runs_as_written(tmp_path):
    example = Path(__file__).parents[2] / "examples" / "street-ray-traced.yaml"
    heliostat = [sys.executable, "-m", "heliostat"]
    options = ["--scene", "simple_street_canyon", "--out", "street.npz"]
    subprocess.run([*heliostat, "import", "sionna", *options], cwd=tmp_path, check=True)
    subprocess.run([*heliostat, "run", str(example)], cwd=tmp_path, check=True)
    scenario = hs.load(example, {"link.channels": str(tmp_path / "street.npz")})
    design = np.load(tmp_path / "results" / "street-ray-traced" / "design.npz")
    check_constraints(scenario, design["covariance"], design["reflection"])


@with_sionna
def test_the_page_shows_what_the_comparison_prints(tmp_path):
    root = Path(__file__).parents[2]
    script = root / "examples" / "street_ray_traced.py"
    printed = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    page = (root / "docs" / "how-to" / "ray-traced-street.md").read_text(encoding="utf-8")
    shown = page[page.index("surfaces.0: K-factor") :]
    shown = shown[: shown.index("```")]
    number = r"-?\d+\.?\d*"
    assert re.sub(number, "#", re.sub(" +", " ", shown)) == re.sub(
        number, "#", re.sub(" +", " ", printed)
    )
    expected, actual = (np.array(re.findall(number, t), float) for t in (shown, printed))
    np.testing.assert_allclose(actual, expected, rtol=0.15)
