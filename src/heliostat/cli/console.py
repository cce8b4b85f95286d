"""Terminal helpers: atomic output folders, tables, progress.

Slow imports are made by the functions that need them.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliostat.cli.progress import duration
from heliostat.interruption import on_interruption, uninterrupted

if TYPE_CHECKING:
    import heliostat.reports.report
    import heliostat.reports.tables


class UserError(ValueError):
    """Raised for a request that cannot be carried out; the message contains a remedy."""


# Writing -----------------------------------------------------------------------------------------


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files are moved into ``folder`` if the body succeeds.

    Missing folders are created. If the body fails or is interrupted, nothing is left behind.

    Args:
        folder: Output folder.

    Raises:
        UserError: The folder cannot be written; raised before the body runs if possible.
    """
    new_homes: list[Path] = []
    stage: Path | None = None

    def remove() -> None:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        for place in new_homes:
            with suppress(OSError):  # only empty folders can be removed
                place.rmdir()

    try:
        with on_interruption(remove):
            try:
                there = folder.is_dir()
                home = folder if there else folder.parent
                new_homes = [place for place in (home, *home.parents) if not place.exists()]
                for place in (folder, *folder.parents):
                    if place.exists() and not place.is_dir():
                        raise NotADirectoryError(None, f"{place} is a file")
                stage = home / f".heliostat-{os.urandom(4).hex()}"
                stage.mkdir(parents=True)
                yield stage
                with uninterrupted():
                    _move(stage, folder, there)
            finally:
                remove()
    except BrokenPipeError:  # standard output, not a file
        raise
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"--out {folder}: cannot be written ({reason}); give another folder."
        ) from None


def _move(stage: Path, folder: Path, there: bool) -> None:
    """Move all written files to the output folder, or none."""
    if not there:
        stage.rename(folder)
        return
    for file in stage.iterdir():
        if (folder / file.name).is_dir():
            raise IsADirectoryError(None, f"{folder / file.name} is a folder")
    for file in stage.iterdir():
        os.replace(file, folder / file.name)


# Showing -----------------------------------------------------------------------------------------


def present(report: "heliostat.reports.report.Report", folder: Path, as_json: bool) -> None:
    """Print a report as tables and notes, or as one JSON document.

    Args:
        report: The report.
        folder: Folder that it was written to.
        as_json: Print JSON.
    """
    if as_json:
        document = report.document() | {"folder": str(folder)}
        print(json.dumps(document, indent=2, allow_nan=False))
        return
    for table in report.tables:
        show(table)
    for note in report.notes:
        print(f"Note: {note}")
    first, *others = report.files
    print(f"Wrote {', '.join([str(folder / first), *others])}.")


def show(table: "heliostat.reports.tables.Table") -> None:
    """Print a table, or nothing if it has no lines."""
    if table.lines:
        title = f"{table.title}, {table.aside}" if table.aside else table.title
        print_table(title, list(table.heads), table.texts)


def print_table(title: str, heads: list[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, in color on a terminal.

    Args:
        title: Title above the table.
        heads: Column headings; none for a plain list.
        rows: Cells of each row.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=bool(heads), leading=len(heads) and 1)
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(Text(title, style="bold"), table)


_STYLES = {"yes": "green", "no": "red"}


@contextmanager
def waiting(message: str) -> Iterator[None]:
    """Show a spinner on a terminal while the body runs, and say so if JAX has to compile.

    Args:
        message: Text beside the spinner.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(message) as status:
        _when_compiling(lambda: status.update(f"{message} ({ONCE})"))
        yield


ONCE = "compiling once; later runs skip this"
COMPILING = 1.0
"""Compilation that takes longer than this is mentioned. [s]"""


def _when_compiling(announce: Callable[[], None]) -> None:
    """Call a function once JAX has compiled for more than `COMPILING`."""
    from jax import monitoring

    compiled = 0.0

    def count(event: str, duration_secs: float, **_: Any) -> None:
        nonlocal compiled
        if event == "/jax/compilation_cache/cache_retrieval_time_sec":
            compiled -= duration_secs  # which the next event contains
        elif event == "/jax/core/compile/backend_compile_duration":
            before, compiled = compiled, compiled + duration_secs
            if before <= COMPILING < compiled:
                announce()

    monitoring.register_event_duration_secs_listener(count)


@contextmanager
def progress(delay: float = 0.0) -> Iterator[Callable[[str, int, int], None]]:
    """A function (name, done, total) that shows the progress of each name.

    On a terminal it is a bar with the remaining time, elsewhere a line with an estimate of the time
    of a long computation, see `announcement`.

    Args:
        delay: Time before the bars appear. [s]
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield announcement(lambda line: print(line, file=sys.stderr, flush=True))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"))
    bar = Progress(*columns, *times, console=console, transient=True)
    tasks: dict[str, Any] = {}
    begun = time.monotonic()

    compiling = bar.add_task(ONCE, total=None, visible=False)

    def announce() -> None:
        bar.update(compiling, visible=True)
        bar.start()

    _when_compiling(announce)

    def advance(name: str, done: int, total: int) -> None:
        bar.update(compiling, visible=False)
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=total)
        bar.update(tasks[name], completed=done)
        if time.monotonic() - begun >= delay:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()


def announcement(
    write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[str, int, int], None]:
    """Return a function (name, done, total) that announces the time of a long computation.

    The estimate is from the calls after the third, because programs are compiled before. A name is
    announced once, and not if it takes less than `ANNOUNCED`.

    Args:
        write: Function that writes a line.
        clock: Function that returns the time. [s]
    """
    calls: dict[str, list[tuple[float, int]]] = {}

    def advance(name: str, done: int, total: int) -> None:
        past = calls.setdefault(name, [])
        if len(past) == MEASURED:
            return
        past.append((clock(), done))
        if len(past) < MEASURED:
            return
        (begun, _), (since, before), (now, _) = past[0], past[2], past[-1]
        left = (total - done) * (now - since) / max(done - before, 1)
        if now - begun + left >= ANNOUNCED:
            write(f"{name}: about {duration(now - begun + left)} in total, {done} of {total} done")

    return advance


MEASURED = 6
"""Number of calls after which the time of a computation is estimated."""
ANNOUNCED = 5.0
"""Shortest computation whose time is announced. [s]"""
