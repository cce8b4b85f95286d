"""Where points run: here, or on all cores. On a cluster: `heliostat.batch.dask`.

An engine is given a function and tasks, and hands out each result with the number of its task, as
soon as it is there and in any order. What is computed must not depend on where: that is all it
takes for results not to depend on how the work is split.

The pools of the standard library and of joblib give up everything when one of their processes is
killed, which is what a machine short of memory does first. `all_cores` gives up nothing: the task
of the process that died is tried again by a new one, and only a task that takes `ATTEMPTS`
processes with it is given up, alone.
"""

import multiprocessing
import os
import signal
import tempfile
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from heliostat.compilation import FOLDER, LEAST_SECONDS
from heliostat.interruption import on_interruption
from heliostat.studies.engine import Engine, Lost

ATTEMPTS = 3
"""Processes that may die of a task before it is given up."""

SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
"""For a process that has one core: numerical libraries look at these when they are imported."""


def usable_cores() -> int:
    """How many cores this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def all_cores(workers: int | None = None) -> Iterator[Engine]:
    """An engine of worker processes, each on one core, that start with the first task.

    They keep what they have compiled in one folder, so that each program is compiled once and not
    once a worker. Leaving the context ends them, whatever they are at.

    Args:
        workers: How many; default one a core.
    """
    crew: list[_Worker] = []
    temporary = tempfile.TemporaryDirectory(prefix="heliostat-")
    with temporary as folder, on_interruption(temporary.cleanup):

        def compute(
            function: Callable[[Any], Any], tasks: Sequence[Any]
        ) -> Iterator[tuple[int, Any]]:
            return _shared_out(crew, workers or usable_cores(), folder, function, tasks)

        try:
            yield compute
        finally:
            for worker in crew:
                worker.end()


class _Worker:
    """A process, and the pipe by which it gets tasks."""

    def __init__(self, cache: str) -> None:
        context = multiprocessing.get_context("spawn")  # threads of XLA survive no fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        with _environment_of_workers(cache), without_interrupts():
            self.process.start()
        theirs.close()  # or its end would not be seen when the process dies
        self.task: int | None = None

    def give(self, number: int, function: Callable[[Any], Any], task: Any) -> None:
        """Set it to work; a process that is dead already shows when it is waited for."""
        self.task = number
        with suppress(OSError):
            self.pipe.send((function, task))

    def end(self) -> None:
        """End it, whatever it is at."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _shared_out(
    crew: list[_Worker], size: int, cache: str, function: Callable[[Any], Any], tasks: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    """Results from a crew, which is filled up to its size, and left as it is at the end."""
    waiting = deque(range(len(tasks)))
    deaths: Counter[int] = Counter()
    for worker in crew:  # of a caller that did not wait for all
        if worker.task is not None:
            worker.end()
    crew[:] = [worker for worker in crew if worker.task is None]
    while True:
        while waiting and (idle := _idle(crew, size, cache)):
            number = waiting.popleft()
            idle.give(number, function, tasks[number])
        busy = {worker.pipe: worker for worker in crew if worker.task is not None}
        if not busy:
            return
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]
            assert worker.task is not None
            number, worker.task = worker.task, None
            try:
                well, found = worker.pipe.recv()
            except (EOFError, OSError):
                crew.remove(worker)
                worker.end()
                deaths[number] += 1
                if deaths[number] < ATTEMPTS:
                    waiting.appendleft(number)
                else:
                    yield (
                        number,
                        Lost(
                            f"its process died {ATTEMPTS} times, the last with exit code "
                            f"{worker.process.exitcode}; it may need more memory than there is"
                        ),
                    )
                continue
            if not well:
                raise found
            yield number, found


def _idle(crew: list[_Worker], size: int, cache: str) -> _Worker | None:
    """A worker that has nothing to do, a new one if there may be more; None if all are busy."""
    for worker in crew:
        if worker.task is None:
            return worker
    if len(crew) < size:
        crew.append(_Worker(cache))
        return crew[-1]
    return None


def _work(pipe: Connection) -> None:
    """What a worker does until the pipe ends, which it does with the process at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    with suppress(EOFError, OSError):
        while True:
            function, task = pipe.recv()
            try:
                answer = True, function(task)
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = False, error
            pipe.send(answer)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Let processes started in the body never see Ctrl-C, which is for the process that waits.

    They inherit the mask, so that not even one that is still starting prints a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment_of_workers(folder: str) -> Iterator[None]:
    """What processes started meanwhile inherit, as libraries look at it when they are imported."""
    before = dict(os.environ)
    flags = f"{before.get('XLA_FLAGS', '')} {SINGLE_THREAD['XLA_FLAGS']}".strip()
    os.environ.update(SINGLE_THREAD, XLA_FLAGS=flags)
    if FOLDER not in before:
        os.environ.update({FOLDER: folder, LEAST_SECONDS: "0"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
