"""Run every benchmark, or those named, and print tables: ``python -m benchmarks pose_map``."""

import sys
import warnings
from importlib import import_module

from rich.console import Console
from rich.table import Table

import heliostat as hs

SUBJECTS = (
    "pose_map",
    "paths_map",
    "placement",
    "command_line",
    "planner",
    "transmit_design",
    "cooperative_design",
    "pose_estimate",
    "studies",
    "gpu",
)


def main(names: list[str]) -> int:
    """Print the tables; 1 where an aim is missed."""
    missed = 0
    warnings.simplefilter("ignore", hs.ModelWarning)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for name in names or SUBJECTS:
        table = Table("what", "measured", "aim", "met", title=f"{name}, in one run")
        with console.status(f"{name} ..."):
            for row in import_module(f"benchmarks.{name}").run():
                table.add_row(row.what, row.figure, row.aim, "yes" if row.met else "NO")
                missed += not row.met
        console.print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
