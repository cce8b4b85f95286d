"""A study that real processes compute, as a user starts them."""

import pathlib
import subprocess
import sys
import time

import psutil
import xarray as xr

from tests.support import toy_sweep

CHUNKS = toy_sweep.POINTS * toy_sweep.TRIALS
"""Number of chunks, with one trial each."""

ROOT = pathlib.Path(__file__).parents[2]


def arguments(out: pathlib.Path, *options: str) -> list[str]:
    return ["sweep", toy_sweep.NAME, "--out", str(out), "--chunk", "1", *options]


def command(out: pathlib.Path, *options: str) -> list[str]:
    return [sys.executable, "-m", toy_sweep.__name__, *arguments(out, *options)]


def start(out: pathlib.Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(out, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=ROOT,
    )


def finish(run: subprocess.Popen[str], seconds: float = 180.0) -> tuple[int, str]:
    """Return the exit code and all output of a run."""
    printed, errors = run.communicate(timeout=seconds)
    assert "Traceback" not in printed + errors, errors
    return run.returncode, printed + errors


def chunks(out: pathlib.Path) -> list[pathlib.Path]:
    """Return the chunk files that are in place."""
    files = (out / "study.zarr" / "c").rglob("*")
    return [file for file in files if file.is_file() and file.suffix != ".partial"]


def wait_for_chunks(run: subprocess.Popen[str], out: pathlib.Path, count: int) -> int:
    """Wait for a number of chunks while the run goes on."""
    end = time.monotonic() + 120
    while (stored := len(chunks(out))) < count:
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    return stored


def workers_of(run: subprocess.Popen[str], word: str) -> list[psutil.Process]:
    """Return the descendants of a run whose command line contains a word."""
    below = psutil.Process(run.pid).children(recursive=True)
    return [process for process in below if word in " ".join(process.cmdline())]


def assert_complete(out: pathlib.Path, reference: xr.DataArray) -> None:
    """Every trial is stored once and equals the reference to the last bit."""
    assert len(chunks(out)) == CHUNKS
    with xr.open_dataset(out / "sum.nc", engine="h5netcdf") as dataset:
        xr.testing.assert_equal(dataset["total"].load(), reference)
        assert not dataset["failed"].any()
