"""The command ``plan``: how it starts, ends, and refuses."""

import signal
import socket
import subprocess
import sys

import pytest

from heliostat.__main__ import answer


def test_control_c_ends_it_with_one_line_and_code_130(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "heliostat", "plan", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=20)
    assert first.startswith("Planner at http://127.0.0.1:")
    assert (printed, errors, process.returncode) == ("", "Stopped.\n", 130)


def test_without_the_extra_it_names_it(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "heliostat.planner.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert answer(["plan", "--no-browser"]) == 2
    assert capsys.readouterr().err == (
        "The planner needs the extra plan: pip install 'heliostat[plan]'.\n"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["no-such"], "neither a file nor a packaged scenario"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0: give one address of this machine"),
        (["--host", "198.51.100.7"], "--host 198.51.100.7: cannot be opened"),
    ],
)
def test_what_it_cannot_do_is_refused(capsys, options, sentence):
    assert answer(["plan", "--no-browser", *options]) == 2
    assert sentence in capsys.readouterr().err


def test_a_port_in_use_is_refused(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert answer(["plan", "--no-browser", "--port", str(port)]) == 2
    assert f"--port {port}: cannot be opened" in capsys.readouterr().err
