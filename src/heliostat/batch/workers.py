"""Worker processes on this machine; for a cluster see `heliostat.batch.dask`.

The pools of the standard library and of joblib fail as a whole when one of their processes is
killed, for example because memory runs out. `local_workers` loses nothing: the task of a process
that died is tried again by a new process, and only a task that has ended `ATTEMPTS` processes is
given up.
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
"""Number of processes that may die during a task before it is given up."""

SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
"""Environment that limits numerical libraries to one thread; they read it on import."""


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def local_workers(workers: int | None = None) -> Iterator[Engine]:
    """Provide an engine of worker processes with one core each; they start with the first task.

    All workers share one folder of compiled programs, so that each program is compiled once. They
    are terminated when the context ends.

    Args:
        workers: Number of processes; default the number of usable cores.
    """
    pool: list[_Worker] = []
    temporary = tempfile.TemporaryDirectory(prefix="heliostat-")
    with temporary as cache, on_interruption(temporary.cleanup):

        def compute(
            function: Callable[[Any], Any], tasks: Sequence[Any]
        ) -> Iterator[tuple[int, Any]]:
            return _results(pool, workers or usable_cores(), cache, function, tasks)

        try:
            yield compute
        finally:
            for worker in pool:
                worker.stop()


class _Worker:
    """A worker process and the pipe that carries its tasks and results."""

    def __init__(self, cache: str) -> None:
        context = multiprocessing.get_context("spawn")  # XLA's threads do not survive a fork
        self.pipe, other_end = context.Pipe()
        self.process = context.Process(target=_work, args=(other_end,), daemon=True)
        with _worker_environment(cache), without_interrupts():
            self.process.start()
        other_end.close()  # otherwise the death of the process would not close the pipe
        self.task: int | None = None

    def send(self, number: int, function: Callable[[Any], Any], task: Any) -> None:
        """Start a task. If the process has died, this is detected while waiting for the result."""
        self.task = number
        with suppress(OSError):
            self.pipe.send((function, task))

    def stop(self) -> None:
        """Terminate the process, even during a task."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _results(
    pool: list[_Worker], size: int, cache: str, function: Callable[[Any], Any], tasks: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    """Results of a pool that grows up to its size and is kept for the next call."""
    waiting = deque(range(len(tasks)))
    deaths: Counter[int] = Counter()
    for worker in pool:
        if worker.task is not None:  # the last caller did not wait for all results
            worker.stop()
    pool[:] = [worker for worker in pool if worker.task is None]
    while True:
        while waiting and (idle := _idle_worker(pool, size, cache)):
            number = waiting.popleft()
            idle.send(number, function, tasks[number])
        busy = {worker.pipe: worker for worker in pool if worker.task is not None}
        if not busy:
            return
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]
            assert worker.task is not None
            number, worker.task = worker.task, None
            try:
                succeeded, result = worker.pipe.recv()
            except (EOFError, OSError):
                pool.remove(worker)
                worker.stop()
                deaths[number] += 1
                if deaths[number] < ATTEMPTS:
                    waiting.appendleft(number)
                    continue
                code = worker.process.exitcode
                reason = f"its process died {ATTEMPTS} times, the last with exit code {code}"
                yield number, Lost(f"{reason}; it may need more memory than there is")
                continue
            if not succeeded:
                raise result
            yield number, result


def _idle_worker(pool: list[_Worker], size: int, cache: str) -> _Worker | None:
    """An idle worker, a new one if the pool may grow, None if all are busy."""
    for worker in pool:
        if worker.task is None:
            return worker
    if len(pool) < size:
        pool.append(_Worker(cache))
        return pool[-1]
    return None


def _work(pipe: Connection) -> None:
    """Compute tasks until the pipe closes, which it does when the other process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the main process
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
    """Block Ctrl-C in processes that start in this context; it is for the main process.

    They inherit the signal mask, so that a process that is still starting prints no traceback.
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
def _worker_environment(cache: str) -> Iterator[None]:
    """Environment inherited by processes that start in this context."""
    before = dict(os.environ)
    flags = f"{before.get('XLA_FLAGS', '')} {SINGLE_THREAD['XLA_FLAGS']}".strip()
    os.environ.update(SINGLE_THREAD, XLA_FLAGS=flags)
    if FOLDER not in before:
        os.environ.update({FOLDER: cache, LEAST_SECONDS: "0"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
