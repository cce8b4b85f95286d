"""What a study survives. Truth: the study computed in memory, to the last bit."""

import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from heliostat import studies
from heliostat.__main__ import answer
from tests.support import toy_sweep
from tests.support.processes import (
    CHUNKS,
    ROOT,
    arguments,
    assert_complete,
    chunks,
    command,
    finish,
    start,
    wait_for_chunks,
    workers_of,
)

SPAWNED = "multiprocessing.spawn"


@pytest.fixture(autouse=True)
def _toy_study(monkeypatch):
    names, modules = dict(studies.NAMES), {}
    toy_sweep.register(names, modules)
    monkeypatch.setattr(studies, "NAMES", names)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(scope="module")
def reference():
    return toy_sweep.STUDY.run()["total"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def resume(out, capsys, *options):
    """Repeat the command, in this process; returns its exit code and output."""
    code = answer(arguments(out, "--engine", "serial", *options))
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_after_a_killed_worker_and_a_killed_run_the_same_command_goes_on(out, reference, capsys):
    run = start(out, "--workers", "2")
    wait_for_chunks(run, out, 5)
    workers_of(run, SPAWNED)[-1].send_signal(signal.SIGKILL)
    wait_for_chunks(run, out, 12)  # more than the other worker can have had at hand
    run.send_signal(signal.SIGSTOP)  # so that it is still there when the second run comes
    code, printed = resume(out, capsys)
    assert (code, "another run uses it" in printed) == (2, True), printed
    workers = workers_of(run, SPAWNED)
    assert workers
    run.send_signal(signal.SIGKILL)
    run.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    stored = {path: path.stat().st_mtime_ns for path in chunks(out)}
    assert 12 <= len(stored) < CHUNKS
    code, printed = resume(out, capsys, "--json")
    assert code == 0, printed
    events = [json.loads(line) for line in printed.splitlines()]
    assert events[0]["trials_done"] == len(stored)
    assert events[-1]["trials_computed"] == CHUNKS - len(stored)
    assert all(path.stat().st_mtime_ns == written for path, written in stored.items())
    assert_complete(out, reference)


def test_a_killed_worker_of_dask_costs_nothing_but_time(out, reference):
    run = start(out, "--engine", "dask", "--workers", "2")
    wait_for_chunks(run, out, 5)
    workers_of(run, SPAWNED)[-1].send_signal(signal.SIGKILL)
    code, printed = finish(run)
    assert code == 0, printed
    assert_complete(out, reference)


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_an_interrupt_ends_cleanly_and_says_how_to_go_on(engine, out, reference, capsys):
    run = start(out, "--engine", engine, "--workers", "2")
    wait_for_chunks(run, out, 5)
    below = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    code, printed = finish(run)
    assert code == 130
    assert f"of {CHUNKS} trials are stored" in printed
    assert "the same command continues" in printed
    assert "Warning" not in printed
    assert not psutil.wait_procs(below, timeout=30)[1]
    assert 5 <= len(chunks(out)) < CHUNKS
    code, printed = resume(out, capsys)
    assert code == 0, printed
    assert_complete(out, reference)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def certified(folder: pathlib.Path) -> tuple[str, list[str]]:
    """Protocol of a scheduler and options of its clients, with TLS where openssl exists."""
    if not shutil.which("openssl"):
        return "tcp", []
    words = "openssl req -x509 -nodes -newkey rsa:2048 -days 1 -subj /CN=heliostat -keyout key.pem"
    subprocess.run(
        [*words.split(), "-out", "cert.pem"], cwd=folder, capture_output=True, check=True
    )
    return "tls", ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]


def test_when_the_scheduler_dies_the_run_says_so_and_goes_on_without_it(
    out, reference, tmp_path, capsys
):
    protocol, tls = certified(tmp_path)
    authority = str(tmp_path / "cert.pem")
    address = f"{protocol}://127.0.0.1:{free_port()}"
    (host, _, port), dask = address.rpartition(":"), [sys.executable, "-m", "dask"]
    options = ["--no-dashboard", *tls, *(["--tls-ca-file", authority] if tls else [])]
    preload = ["--nthreads", "1", "--preload", toy_sweep.__name__]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": tmp_path,
        "env": os.environ | {"PYTHONPATH": paths},
    }
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", host, "--port", port, *options], **quiet
    )
    worker = subprocess.Popen([*dask, "worker", address, *preload, *options], **quiet)
    try:
        ours = [*tls, *(["--tls-ca", authority] if tls else [])]
        run = start(out, "--scheduler", address, *ours)
        wait_for_chunks(run, out, 5)
        scheduler.kill()
        code, printed = finish(run)
        assert code == 1
        assert "The connection to the scheduler is lost" in printed
        assert 5 <= len(chunks(out)) < CHUNKS
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    code, printed = resume(out, capsys)
    assert code == 0, printed
    assert_complete(out, reference)


def in_namespace(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount file systems; skip where that is not allowed."""
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this system lets no user mount anything")
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )


def test_a_full_or_read_only_disk_loses_nothing(out, reference, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    sweep = shlex.join(command(disk / "out", "--engine", "serial"))
    done = in_namespace(
        f'mount -t tmpfs -o size=100k tmpfs "$1" && {{ {sweep}; echo "full: $?"; '
        f'cp -r "$1/out" "$2"; mount -o remount,ro "$1"; {sweep} --fresh; echo "read-only: $?"; '
        'diff -r "$1/out" "$2" && echo "unchanged"; }',
        disk,
        out,
    )
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert "full: 2" in printed, printed
    assert "No space left on device" in printed
    assert "read-only: 2" in printed, printed
    assert printed.count("cannot be written") == 2
    assert "unchanged" in printed
    assert 0 < len(chunks(out)) < CHUNKS
    code, printed = resume(out, capsys)
    assert code == 0, printed
    assert_complete(out, reference)
