"""Where points run: here, or on all cores.

An engine is called as the built-in `map` is: a function and tasks in, results out in the order of
the tasks, each as soon as it is there. The built-in `map` itself is the engine that computes here,
one after the other. What an engine is given must not depend on where it runs: that is all it takes
for results not to depend on how the work is split.
"""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

Engine: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Takes a function that other processes find by name, and tasks that can be pickled."""

_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_SINGLE_XLA = "--xla_cpu_multi_thread_eigen=false"
_CACHE = "JAX_COMPILATION_CACHE_DIR"
_CACHE_ALL = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


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
    others = set(multiprocessing.active_children())
    with tempfile.TemporaryDirectory(prefix="heliostat-") as folder:
        pool = ProcessPoolExecutor(
            workers or usable_cores(),
            mp_context=multiprocessing.get_context("spawn"),  # threads of XLA survive no fork
            initializer=_leave_interrupts,
        )

        def compute(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
            with _environment_of_workers(folder):
                return pool.map(function, tasks)  # submits all of them, which starts the workers

        try:
            yield compute
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
                worker.join()


def _leave_interrupts() -> None:
    """Ctrl-C is for the process that waits for the workers; it ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _environment_of_workers(folder: str) -> Iterator[None]:
    """What processes started meanwhile inherit, as libraries look at it when they are imported."""
    before = dict(os.environ)
    os.environ.update(_SINGLE)
    os.environ["XLA_FLAGS"] = f"{before.get('XLA_FLAGS', '')} {_SINGLE_XLA}".strip()
    if _CACHE not in before:
        os.environ.update({_CACHE: folder, _CACHE_ALL: "0"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
