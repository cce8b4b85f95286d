"""Progress of a study: a bar on a terminal, plain lines elsewhere, JSON events for programs."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from heliostat.batch.run import Progress

ShowProgress: TypeAlias = "Callable[[Progress], None]"

EVENT_SECONDS, LINE_SECONDS = 1.0, 10.0
"""Shortest time between two events, and between two plain lines. [s]"""


def duration(seconds: float) -> str:
    """Return a time as text, e.g. 3 h 20 min.

    Args:
        seconds: The time. [s]
    """
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def summary(progress: "Progress") -> str:
    """Return the progress in one line.

    Args:
        progress: State of the run.
    """
    pace = f", {progress.rate:.3g} trials/s" if progress.rate else ""
    left = f", {duration(progress.seconds_left)} left" if progress.rate and progress.missing else ""
    failures = f", {progress.failures} failed" if progress.failures else ""
    points = f"{progress.points_done} of {progress.points} points"
    trials = f"{progress.trials_done} of {progress.trials} trials"
    return f"{points}, {trials}{pace}{left}{failures}"


def event_of(kind: str, progress: "Progress") -> dict[str, Any]:
    """Return an event of a study, ready for JSON.

    Args:
        kind: Kind of the event: begin, progress, end or stopped.
        progress: State of the run.
    """
    left = progress.seconds_left
    return {
        "event": kind,
        "points": progress.points,
        "points_done": progress.points_done,
        "trials": progress.trials,
        "trials_done": progress.trials_done,
        "trials_computed": progress.computed,
        "trials_per_second": progress.rate,
        "seconds_left": left if math.isfinite(left) else None,
        "failures": progress.failures,
        "chunks_damaged": progress.damaged,
    }


def event(kind: str, progress: "Progress", **more: Any) -> None:
    """Print one event as a line of JSON.

    Args:
        kind: See `event_of`.
        progress: State of the run.
        more: Further entries.
    """
    typer.echo(json.dumps(event_of(kind, progress) | more, allow_nan=False))


@contextmanager
def progress_display(name: str, as_json: bool) -> Iterator[ShowProgress]:
    """Provide a function that shows progress as a bar, as plain lines or as events.

    Args:
        name: Name of the study.
        as_json: Print events.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if as_json:
        yield _every(EVENT_SECONDS, lambda progress: event("progress", progress))
    elif not console.is_terminal:
        yield _every(
            LINE_SECONDS, lambda progress: print(summary(progress), file=sys.stderr, flush=True)
        )
    else:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as ProgressBar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
        )
        with ProgressBar(*columns, console=console, transient=True) as bar:
            line = bar.add_task(name, total=None, state="starting")

            def show(progress: "Progress") -> None:
                text = (
                    summary(progress) if progress.computed or not progress.missing else "starting"
                )
                bar.update(line, completed=progress.trials_done, total=progress.trials, state=text)

            yield show


def _every(seconds: float, show: ShowProgress) -> ShowProgress:
    """Limit how often progress is shown."""
    last = -math.inf

    def limited(progress: "Progress") -> None:
        nonlocal last
        if time.monotonic() - last >= seconds and progress.computed:
            last = time.monotonic()
            show(progress)

    return limited
