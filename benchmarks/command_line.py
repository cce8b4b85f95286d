"""Waiting times of commands, as ratios to the time that ``import jax`` takes in the same run."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Row, command_seconds, seconds
from heliostat.compilation import FOLDER, LEAST_SECONDS

HELIOSTAT = str(Path(sys.executable).parent / "heliostat")
PEB_OVER_SIZE = """
import heliostat as hs
for side in (8, 16, 32, 64):
    for power in ("20 dBm", "27 dBm", "34 dBm"):
        changes = {"surface.rows": side, "surface.columns": side, "base_station.power": power}
        hs.pose_bounds(hs.load("localization-table-1", changes))
"""


def run() -> list[Row]:
    """Commands with a warm compilation cache, and a first use from Python with an empty one."""
    unit = command_seconds(sys.executable, "-c", "import jax", rounds=5)

    def row(what: str, duration: float, most: float) -> Row:
        ratio = duration / unit
        figure = f"{ratio:.2g} ({duration:.2f} s)"
        return Row(f"{what} / import jax", figure, f"at most {most:g}", ratio <= most)

    with tempfile.TemporaryDirectory() as folder:
        # With a folder of its own JAX keeps by default only programs that take a second to compile.
        cache = {**os.environ, FOLDER: str(Path(folder) / "cache"), LEAST_SECONDS: "0"}

        def cold(*command: str) -> float:
            return seconds(
                lambda: subprocess.run(
                    command, env=cache, cwd=folder, capture_output=True, check=True
                )
            )

        def warm(*command: str) -> float:
            cold(*command)
            return min(cold(*command) for _ in range(3))

        first = cold(sys.executable, "-c", PEB_OVER_SIZE)
        return [
            row("heliostat --help", command_seconds(HELIOSTAT, "--help", rounds=5), 1),
            row("heliostat list", command_seconds(HELIOSTAT, "list", rounds=5), 1),
            row("map localization-table-1", warm(HELIOSTAT, "map", "localization-table-1"), 4.5),
            row("run localization-table-1", warm(HELIOSTAT, "run", "localization-table-1"), 7),
            row("run sensing-two-surfaces", warm(HELIOSTAT, "run", "sensing-two-surfaces"), 7),
            row("PEB of 4 sizes at 3 powers, nothing compiled yet", first, 7),
        ]
