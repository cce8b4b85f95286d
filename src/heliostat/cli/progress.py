"""Progress of a long study: a bar on a terminal, plain lines elsewhere, events for programs."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from heliostat.batch.run import Tally

Watch: TypeAlias = "Callable[[Tally], None]"

EVENT_SECONDS, LINE_SECONDS = 1.0, 10.0
"""Least time between two events, and between two plain lines. [s]"""


def duration(seconds: float) -> str:
    """A duration as text, e.g. 3 h 20 min.

    Args:
        seconds: Duration. [s]
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


def told(tally: "Tally") -> str:
    """Progress in one line.

    Args:
        tally: Progress so far.
    """
    pace = f", {tally.rate:.3g} trials/s" if tally.rate else ""
    left = f", {duration(tally.seconds_left)} left" if tally.rate and tally.missing else ""
    failures = f", {tally.failures} failed" if tally.failures else ""
    return (
        f"{tally.points_done} of {tally.points} points, {tally.trials_done} of {tally.trials} "
        f"trials{pace}{left}{failures}"
    )


def event_of(kind: str, tally: "Tally") -> dict[str, Any]:
    """An event of a study, ready for JSON.

    Args:
        kind: begin, progress, end or stopped.
        tally: Progress so far.
    """
    left = tally.seconds_left
    return {
        "event": kind,
        "points": tally.points,
        "points_done": tally.points_done,
        "trials": tally.trials,
        "trials_done": tally.trials_done,
        "trials_computed": tally.computed,
        "trials_per_second": tally.rate,
        "seconds_left": left if math.isfinite(left) else None,
        "failures": tally.failures,
        "chunks_damaged": tally.damaged,
    }


def event(kind: str, tally: "Tally", **more: Any) -> None:
    """Print one event as a line of JSON.

    Args:
        kind: See `event_of`.
        tally: Progress so far.
        more: Further entries.
    """
    typer.echo(json.dumps(event_of(kind, tally) | more, allow_nan=False))


@contextmanager
def watching(name: str, as_json: bool) -> Iterator[Watch]:
    """A function that shows the progress it is given, in the form that suits the output.

    Args:
        name: Name of the study.
        as_json: Print events as JSON.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if as_json:
        yield _every(EVENT_SECONDS, lambda tally: event("progress", tally))
    elif not console.is_terminal:
        yield _every(LINE_SECONDS, lambda tally: print(told(tally), file=sys.stderr, flush=True))
    else:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        with Progress(*columns, console=console, transient=True) as bar:
            line = bar.add_task(name, total=None, told="starting")

            def show(tally: "Tally") -> None:
                text = told(tally) if tally.computed or not tally.missing else "starting"
                bar.update(line, completed=tally.trials_done, total=tally.trials, told=text)

            yield show


def _every(seconds: float, tell: Watch) -> Watch:
    """The same function, called at most once in this time. [s]"""
    last = -math.inf

    def watch(tally: "Tally") -> None:
        nonlocal last
        if time.monotonic() - last >= seconds and tally.computed:
            last = time.monotonic()
            tell(tally)

    return watch
