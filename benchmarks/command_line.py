"""How long a user waits for the command line."""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Row, command_seconds, seconds

HELIOSTAT = str(Path(sys.executable).parent / "heliostat")


def run() -> list[Row]:
    """Help, and a whole run with and without compilation."""
    shown = command_seconds(HELIOSTAT, "--help", rounds=5)
    with tempfile.TemporaryDirectory() as folder:
        import os

        cold_cache = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "cache")}
        command = [HELIOSTAT, "run", "localization-table-1", "--out", str(Path(folder) / "out")]

        def call() -> None:
            subprocess.run(command, env=cold_cache, capture_output=True, check=True)

        cold, warm = seconds(call), seconds(call)
    return [
        Row("heliostat --help", f"{shown:.2f} s", "under 0.4 s", shown < 0.4),
        Row(
            "heliostat run localization-table-1, compilation included",
            f"{cold:.1f} s (again: {warm:.1f} s)",
            "under 15 s",
            cold < 15,
        ),
    ]
