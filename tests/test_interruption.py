"""Ctrl-C at any moment, and output that cannot be written; with real signals, pipes and devices."""

import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.support.hall import HALL
from tests.support.sensing_designs import YARD

STUDY = """\
scenario: hall.yaml
axes: {surface.rows: [2, 4]}
outputs: [pose_bounds.peb]
"""
COMMANDS = {
    "run": ["run", "hall.yaml"],
    "run sensing": ["run", "yard.yaml"],
    "sdr": ["run", "yard.yaml", "--method", "sdr"],
    "map": ["map", "hall.yaml", "--out", "out/map.png"],
    "track": ["track", "hall.yaml", "--periods", "5"],
    "reproduce": ["reproduce", "localization", "fig5", "--trials", "2"],
    "sweep": ["sweep", "study.yaml", "--engine", "serial"],
    "list": ["list"],
}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def folder(tmp_path):
    for name, text in (("hall", HALL), ("yard", YARD), ("study", STUDY)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def start(arguments, folder, **options):
    command = [sys.executable, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, cwd=folder, text=True, **pipes)


def is_ready(running):
    """Whether the process handles SIGTERM, which Python by itself does not, or has ended."""
    if running.poll() is not None:
        return True
    lines = pathlib.Path(f"/proc/{running.pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def interrupt(arguments, folder, delay, signals=1):
    """Exit code and both outputs of a command that is interrupted after a delay. [s]"""
    with start(arguments, folder) as running:
        while not is_ready(running):
            time.sleep(0.005)
        time.sleep(delay)
        for _ in range(signals):
            running.send_signal(signal.SIGINT)
        printed, errors = running.communicate(timeout=120)
    return running.returncode, printed, errors


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def check_stopped(name, folder, delay, signals=1):
    """Interrupt a command; whether it had ended before."""
    before = files(folder)
    arguments = ["-m", "heliostat", *COMMANDS[name]]
    if name not in ("list", "map"):
        arguments += ["--out", "out"]
    code, _, errors = interrupt(arguments, folder, delay, signals)
    made = set(files(folder)) - set(before)
    assert not any(".heliostat-" in path for path in made), made
    if code == 0:
        assert errors == "" or name == "sweep", errors
        return True
    # A sweep without a terminal prints its progress as lines.
    lines = [line for line in errors.splitlines() if not re.match(r"\d+ of \d+ points", line)]
    assert (code, lines[0]) == (128 + signal.SIGINT, "Stopped."), errors
    if name == "sweep":
        assert "Traceback" not in errors
    else:
        assert errors == "Stopped.\n"
        # All files or none: what was in place before the signal stays.
        last = {"run": "report.html", "run sensing": "report.html", "sdr": "report.html"}
        assert not made or f"out/{last[name]}" in made if name in last else True
    return False


@LINUX
@pytest.mark.parametrize(
    ("name", "delay"), [("list", 0.0), ("list", 0.1), ("track", 1.5), ("run sensing", 2.5)]
)
def test_ctrl_c_ends_a_command_with_one_line(folder, name, delay):
    check_stopped(name, folder, delay)


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_random_moments(folder, name):
    command = ["-m", "heliostat", *COMMANDS[name]]
    start(command, folder).communicate(timeout=600)  # compiles
    begun = time.monotonic()
    start(command, folder).communicate(timeout=600)
    whole = time.monotonic() - begun
    rng = random.Random(name)
    for _ in range(50):
        check_stopped(name, folder, rng.uniform(0, whole), signals=rng.choice([1, 2]))


COMPILED = """
from heliostat import interruption
interruption.install()
import sys
import jax
spin = jax.jit(lambda x: jax.lax.fori_loop(0, 10**11, lambda i, y: y * 1.0000001, x))
print("ready", flush=True)
with interruption.on_interruption(lambda: interruption.write_line(1, "cleaned up")):
    spin(1.0).block_until_ready()
"""


def test_ctrl_c_ends_compiled_code_that_does_not_return(folder):
    with start(["-c", COMPILED], folder) as running:
        assert running.stdout.readline() == "ready\n"
        time.sleep(1.0)
        running.send_signal(signal.SIGINT)
        begun = time.monotonic()
        printed, errors = running.communicate(timeout=120)
        waited = time.monotonic() - begun
    assert (running.returncode, printed, errors) == (130, "cleaned up\n", "Stopped.\n")
    assert waited < 30  # the loop takes minutes


TOGETHER = """
import os, signal
from heliostat import interruption
interruption.install()
with interruption.uninterrupted():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    print("first", flush=True)
    print("second", flush=True)
print("third", flush=True)
"""


def test_steps_that_belong_together_are_not_interrupted(folder):
    with start(["-c", TOGETHER], folder) as running:
        printed, errors = running.communicate(timeout=120)
    assert (running.returncode, printed, errors) == (130, "first\nsecond\n", "Stopped.\n")


# output that cannot be written


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["list", "schema"])
def test_a_full_standard_output_is_reported_in_one_line(folder, command):
    with (
        open("/dev/full", "w") as full,
        start(["-m", "heliostat", command], folder, stdout=full) as running,
    ):
        _, errors = running.communicate(timeout=120)
    assert running.returncode == 1
    assert errors == "Standard output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("command", ["list", "schema"])
def test_a_closed_pipe_ends_the_command_quietly(folder, command):
    read, write = os.pipe()
    os.close(read)
    with start(["-m", "heliostat", command], folder, stdout=write) as running:
        os.close(write)
        _, errors = running.communicate(timeout=120)
    assert (running.returncode, errors) == (128 + 13, "")
