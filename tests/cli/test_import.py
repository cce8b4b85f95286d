"""Truths: exit codes and messages, files written completely or not at all, the example's keys."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from heliostat.__main__ import answer
from heliostat.api import ray_tracing
from heliostat.api.ray_tracing import RayTracedChannels, RayTracingError, TracedPaths
from heliostat.scenario import load, scenario_text

EXAMPLE = Path(__file__).parents[2] / "examples" / "street-ray-traced.yaml"
IMPORT = ["import", "sionna", "--scene", "simple_street_canyon", "--out", "street.npz"]


def traced(scenario, scene, reflections):
    """Channels of rank one to surfaces.0, of full rank to surfaces.1."""
    rng = np.random.default_rng(0)
    shape = (2, 64, 16, 2)
    assert scene == "simple_street_canyon"
    channels = 1e-5 * (rng.normal(size=shape) @ [1, 1j])
    channels[0] = channels[0, :, :1] * np.exp(1j * np.arange(16))
    paths = TracedPaths(np.array([2e-9, 1e-10, 1e-10]), np.array([61.0, 62, 63]), (0, 1, 2), 2e-9)
    return RayTracedChannels(channels, (paths, paths), np.full(2, 1e-7 + 0j), None, None)


def test_the_command_writes_the_file_that_the_example_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_tracing, "trace_channels", traced)
    given = ["--set", "dwell.patterns=1"]
    assert answer([*IMPORT, str(EXAMPLE), *given]) == 0  # street.npz does not exist yet
    shown = capsys.readouterr().out
    assert re.search(r"surfaces\.0 +3 +yes +10\.0 dB +\+0\.4 dB", shown)
    assert "Note: Rank one: the channel between the base station and surfaces.0 has" in shown
    assert shown.endswith("Wrote street.npz.\n")
    assert [file.name for file in tmp_path.iterdir()] == ["street.npz"]
    loaded = load(EXAMPLE)
    np.testing.assert_array_equal(loaded.build().target_gain, 1e-7)
    assert answer(IMPORT) == 0  # the packaged scenario, whose channels are random


def test_what_cannot_be_done_is_one_line_and_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def refuse(*_, **__):
        raise RayTracingError("Sionna RT is not installed; install it.")

    monkeypatch.setattr(ray_tracing, "trace_channels", refuse)
    assert answer(IMPORT) == 2
    assert capsys.readouterr().err == "Sionna RT is not installed; install it.\n"
    assert answer(["import", "sionna", "--scene", "a", "--out", "street.txt"]) == 2
    assert "--out street.txt: is not a .npz file" in capsys.readouterr().err
    assert answer([*IMPORT, "--set", "surfaces.0.rows=0"]) == 2
    assert "surfaces.0.rows" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(ray_tracing, "trace_channels", traced)
    (tmp_path / "street.npz").mkdir()
    assert answer(IMPORT) == 2
    assert "--out street.npz: cannot be written" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["street.npz"]


def test_the_example_is_the_packaged_scenario_with_channels_of_a_file():
    example = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    packaged = yaml.safe_load(scenario_text("sensing-street"))
    assert example.pop("link") == {"channels": "street.npz"}
    assert packaged.pop("link") == {"rician": "9 dB"}
    assert example == packaged


@pytest.mark.parametrize("word", ["import", "sionna"])
def test_help_names_the_commands(word, capsys):
    assert answer(["import", "--help"]) == 0
    assert word in capsys.readouterr().out
