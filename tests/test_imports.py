"""What the package imports, and when: no function waits for a library that it does not use."""

import subprocess
import sys

import pytest

from tests.support.sensing_designs import YARD

LOCALIZATION = """
scenario = hs.load("localization-table-1", {"base_station.antennas": 2, "user.antennas": 2})
hs.pose_bounds(scenario), hs.effective_rate(scenario), hs.allocate_time(scenario)
"""
SENSING = f"""
import numpy as np
from heliostat.scenario import parse
scenario = parse({YARD!r})
reflection = [np.ones((1, 4)), np.ones((1, 6))]
hs.direction_bounds(scenario, np.tile(np.eye(4), (2, 1, 1)) / 4, reflection)
hs.design_transmit(scenario, reflection)
hs.design_reflection(scenario, np.tile(np.eye(4), (2, 1, 1)) / 4)
hs.design_beamforming(scenario)
"""
LIST = """
from heliostat.__main__ import answer
answer(["list"])
"""
DATA = {"pandas", "xarray", "matplotlib"}
SOLVERS = {"cvxpy", "scipy.stats"}


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        (LOCALIZATION, DATA | SOLVERS | {"scipy.optimize", "optimistix"}),
        (SENSING, DATA | SOLVERS | {"optimistix"}),
        (LIST, DATA | SOLVERS | {"jax", "scipy"}),
    ],
    ids=["localization", "sensing", "list"],
)
def test_heavy_libraries_are_imported_only_when_used(code, unused):
    # In a process of its own: this one has imported everything already.
    program = f"import sys\nimport heliostat as hs\n{code}\nprint(*sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    imported = set(ended.stderr.splitlines()[-1].split())
    assert "heliostat" in imported
    assert not unused & imported
