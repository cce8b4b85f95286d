"""Truth: the README's own code and commands, run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = {
    language: "\n".join(re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL))
    for language in ("python", "")
}


def test_the_minute_in_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # a picture is written
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(compile(BLOCKS["python"], "README.md", "exec"), {})
    peb, blind, best, rate, study, placed, crb, position = capsys.readouterr().out.splitlines()
    assert " m " in peb
    assert peb.endswith("rad")
    assert "do not change the received pilots" in blind
    assert best.endswith("Mbit/s")
    assert rate.endswith("Mbit/s")
    assert (tmp_path / "rate.png").stat().st_size > 0
    smaller = [float(x) for x in study.removesuffix(" m").strip("[]").split()]
    assert smaller == sorted(smaller, reverse=True)  # a larger surface has a smaller PEB
    assert float(placed.split()[0]) > 0.5
    assert float(placed.split()[-1]) == 0
    assert 0 < float(crb.split()[0]) < 1e-3
    assert 0 < float(crb.split("within ")[1].split()[0]) < 10
    # The scenario's target; the design's bound is a few centimeters.
    found = [float(x) for x in position.removesuffix(" m").strip("[]").split()]
    assert all(abs(a - b) < 1 for a, b in zip(found, (5, 15, 0), strict=True))


@pytest.mark.parametrize("command", ["list", "cite", "schema"])
def test_the_quick_commands_run(command):
    assert f"heliostat {command}" in README
    done = subprocess.run(
        [sys.executable, "-m", "heliostat", command], capture_output=True, text=True, check=True
    )
    assert done.stdout
    assert not done.stderr


def test_every_command_it_shows_exists():
    shown = set(re.findall(r"^heliostat (\w+)", BLOCKS[""], flags=re.MULTILINE))
    listed = subprocess.run(
        [sys.executable, "-m", "heliostat", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert shown
    assert all(re.search(rf"\b{name}\b", listed) for name in shown)


def test_every_file_it_points_to_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
