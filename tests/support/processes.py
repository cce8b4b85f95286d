"""Studies carried out by real processes, as a user starts them."""

import pathlib
import subprocess
import sys
import time

import numpy as np
import psutil
import xarray as xr

TEXT = """
scenario: localization-table-1
set: {model.gain: unknown, surface.sweep: null, surface.rows: 4, surface.columns: 4}
axes:
  base_station.power: 10..40 dBm in 20
random: {user.heading: 0..90 deg}
outputs: [pose_bounds.peb, effective_rate.eadr]
options: {pose_bounds: {active_antennas: 8}, effective_rate: {active_antennas: 8}}
trials: 20
"""
CHUNKS = 20 * 20
"""With one trial a chunk."""


def written(folder: pathlib.Path) -> pathlib.Path:
    """A study file."""
    file = folder / "study.yaml"
    file.write_text(TEXT)
    return file


def command(file: pathlib.Path, out: pathlib.Path, *options: str) -> list[str]:
    start = [sys.executable, "-m", "heliostat", "sweep", str(file)]
    return [*start, "--out", str(out), "--chunk", "1", *options]


def start(file: pathlib.Path, out: pathlib.Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(file, out, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(run: subprocess.Popen[str], seconds: float = 180.0) -> tuple[int, str]:
    """Exit code, and all that was printed."""
    printed, errors = run.communicate(timeout=seconds)
    assert "Traceback" not in printed + errors, errors
    return run.returncode, printed + errors


def chunks(out: pathlib.Path) -> list[pathlib.Path]:
    """Chunk files that are in place."""
    files = (out / "study.zarr" / "c").rglob("*")
    return [file for file in files if file.is_file() and file.suffix != ".partial"]


def wait_for_chunks(run: subprocess.Popen[str], out: pathlib.Path, count: int) -> int:
    """Wait until so many chunks are there while the run goes on."""
    end = time.monotonic() + 120
    while (there := len(chunks(out))) < count:
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    return there


def workers_of(run: subprocess.Popen[str], word: str) -> list[psutil.Process]:
    """Processes below a run that are started with a word, each computing or about to."""
    below = psutil.Process(run.pid).children(recursive=True)
    return [process for process in below if word in " ".join(process.cmdline())]


def values(out: pathlib.Path) -> xr.Dataset:
    """What a run wrote, without what differs from run to run."""
    with xr.open_dataset(out / "study.nc", engine="h5netcdf") as dataset:
        return dataset.load().drop_attrs()


def assert_whole(out: pathlib.Path, reference: xr.Dataset) -> None:
    """Every point is present once, and equal to the serial run to the last bit."""
    assert len(chunks(out)) == CHUNKS
    found = values(out)
    xr.testing.assert_identical(found, reference)
    assert np.isfinite(found["pose_bounds.peb"]).all()
