"""What a study survives. Truth: a serial run that nothing disturbed, to the last bit."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from tests.support.processes import (
    CHUNKS,
    assert_whole,
    chunks,
    command,
    finish,
    start,
    values,
    wait_for_chunks,
    workers_of,
    written,
)

SPAWNED = "multiprocessing.spawn"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def undisturbed(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    code, printed = finish(start(file, out, "--engine", "serial"))
    assert code == 0, printed
    return out


@pytest.fixture(scope="module")
def reference(undisturbed):
    return values(undisturbed)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_a_second_run_computes_nothing(file, undisturbed):
    before = {path: path.stat().st_mtime_ns for path in chunks(undisturbed)}
    code, printed = finish(start(file, undisturbed))
    assert (code, "Nothing to do" in printed) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in chunks(undisturbed)} == before


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_a_killed_worker_costs_nothing_but_time(engine, file, out, reference):
    run = start(file, out, "--engine", engine, "--workers", "2")
    wait_for_chunks(run, out, 20)
    workers_of(run, SPAWNED)[-1].send_signal(signal.SIGKILL)
    code, printed = finish(run)
    assert code == 0, printed
    assert_whole(out, reference)


def test_a_killed_run_goes_on_where_it_was_and_leaves_no_process(file, out, reference):
    run = start(file, out, "--workers", "2")
    wait_for_chunks(run, out, 20)
    workers = workers_of(run, SPAWNED)
    assert workers
    run.send_signal(signal.SIGKILL)
    run.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    there = {path: path.stat().st_mtime_ns for path in chunks(out)}
    assert 20 <= len(there) < CHUNKS
    code, printed = finish(start(file, out, "--engine", "serial", "--json"))
    assert code == 0, printed
    events = [json.loads(line) for line in printed.splitlines()]
    assert events[0]["trials_done"] == len(there)
    assert events[-1]["trials_computed"] == CHUNKS - len(there)
    assert all(path.stat().st_mtime_ns == at for path, at in there.items())
    assert_whole(out, reference)


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_an_interrupt_ends_cleanly_and_says_how_to_go_on(engine, file, out, reference):
    run = start(file, out, "--engine", engine, "--workers", "2")
    wait_for_chunks(run, out, 20)
    below = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    code, printed = finish(run)
    assert code == 130
    assert f"of {CHUNKS} trials are stored" in printed
    assert "the same command goes on" in printed
    assert not psutil.wait_procs(below, timeout=30)[1]
    code, printed = finish(start(file, out, "--engine", "serial"))
    assert code == 0, printed
    assert_whole(out, reference)


def test_a_second_run_at_the_same_time_is_refused(file, out, reference):
    first = start(file, out, "--workers", "1")
    wait_for_chunks(first, out, 1)
    first.send_signal(signal.SIGSTOP)  # so that it is still there when the second comes
    code, printed = finish(start(file, out))
    first.send_signal(signal.SIGCONT)
    assert (code, "another run uses it" in printed) == (2, True), printed
    code, printed = finish(first)
    assert code == 0, printed
    assert_whole(out, reference)


def test_damaged_chunks_are_computed_again_and_told(file, undisturbed, out, reference):
    shutil.copytree(undisturbed, out)
    flipped, cut, *_ = sorted(chunks(out))
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 0xFF
    flipped.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:5])
    code, printed = finish(start(file, out, "--engine", "serial"))
    assert code == 0, printed
    assert "2 chunks are damaged and are computed again" in printed
    assert_whole(out, reference)


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def certified(folder: pathlib.Path) -> tuple[str, list[str]]:
    """How to address a scheduler, and options for everyone, with TLS where there is openssl."""
    if not shutil.which("openssl"):
        return "tcp", []
    words = "openssl req -x509 -nodes -newkey rsa:2048 -days 1 -subj /CN=heliostat -keyout key.pem"
    subprocess.run(
        [*words.split(), "-out", "cert.pem"], cwd=folder, capture_output=True, check=True
    )
    return "tls", ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]


def test_when_the_scheduler_dies_the_run_says_so_and_goes_on_without_it(
    file, out, reference, tmp_path
):
    protocol, tls = certified(tmp_path)
    authority = str(tmp_path / "cert.pem")
    address = f"{protocol}://127.0.0.1:{free_port()}"
    (host, _, port), dask = address.rpartition(":"), [sys.executable, "-m", "dask"]
    options = ["--no-dashboard", *tls, *(["--tls-ca-file", authority] if tls else [])]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", host, "--port", port, *options], **quiet
    )
    worker = subprocess.Popen([*dask, "worker", address, "--nthreads", "1", *options], **quiet)
    try:
        ours = [*tls, *(["--tls-ca", authority] if tls else [])]
        run = start(file, out, "--scheduler", address, *ours)
        wait_for_chunks(run, out, 20)
        scheduler.kill()
        code, printed = finish(run)
        assert code == 1
        assert "The connection to the scheduler is lost" in printed
        assert 20 <= len(chunks(out)) < CHUNKS
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    code, printed = finish(start(file, out, "--engine", "processes", "--workers", "1"))
    assert code == 0, printed
    assert_whole(out, reference)


def in_namespace(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount things; skips where the system does not let it."""
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
    )


def quoted(words: list[str]) -> str:
    import shlex

    return shlex.join(words)


def test_a_full_disk_loses_nothing(file, out, reference, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    sweep = quoted(command(file, disk / "out", "--engine", "serial"))
    done = in_namespace(
        f'mount -t tmpfs -o size=300k tmpfs "$1" && {{ {sweep}; echo "first: $?"; '
        f'mount -o remount,size=50m "$1"; {sweep}; echo "second: $?"; cp -r "$1/out" "$2"; }}',
        disk,
        out,
    )
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert "first: 2" in printed, printed
    assert "No space left on device" in printed
    assert "second: 0" in printed, printed
    assert_whole(out, reference)


def test_a_store_that_cannot_be_written_is_refused_and_left_alone(file, undisturbed):
    sweep = quoted(command(file, undisturbed, "--engine", "serial", "--fresh"))
    done = in_namespace(
        f'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && {sweep}', undisturbed
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(chunks(undisturbed)) == CHUNKS
