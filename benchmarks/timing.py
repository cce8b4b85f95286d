"""Pairs of timings, taken in turn so that a drifting machine slows both."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table."""

    what: str
    figure: str
    aim: str
    met: bool


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes. [s]"""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired(
    slow: Callable[[], object], fast: Callable[[], object], rounds: int = 5
) -> tuple[float, float, float]:
    """Median time of each, and the median of their ratio round by round, after one warm-up.

    Args:
        slow: What a user would pick instead.
        fast: Ours.
        rounds: Counted rounds.
    """
    slow(), fast()
    times = [(seconds(slow), seconds(fast)) for _ in range(rounds)]
    ratio = statistics.median(a / b for a, b in times)
    return *(statistics.median(column) for column in zip(*times, strict=True)), ratio


def peak_memory(code: str) -> int:
    """Largest resident set of a fresh Python that runs the code; Linux. [bytes]

    Read from the process's own record: what `getrusage` tells holds the parent's peak too.
    """
    report = "\nprint(next(x for x in open('/proc/self/status') if x.startswith('VmHWM')))"
    out = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True
    )
    return int(out.stdout.split()[-2]) * 1024


def command_seconds(*command: str, rounds: int = 3) -> float:
    """Median wall time of a command. [s]"""

    def call() -> None:
        subprocess.run(command, capture_output=True, check=True)

    return statistics.median(seconds(call) for _ in range(rounds))
