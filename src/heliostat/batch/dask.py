"""Workers of a Dask cluster, on this machine or elsewhere.

The main process submits a few tasks per worker and receives the results as they come. Workers need
heliostat and its dependencies but no shared disk.
"""

import functools
import itertools
import logging
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, Security, as_completed

from heliostat._version import __version__
from heliostat.batch.workers import (
    ATTEMPTS,
    SINGLE_THREAD,
    usable_cores,
    without_interrupts,
)
from heliostat.studies.engine import Engine, EngineError, Lost

TASKS_PER_THREAD = 3
"""Tasks submitted for each worker thread, so that no worker waits for its next task."""

WORKER_TIMEOUT = 60.0
"""Longest wait for a scheduler's first worker. [s]"""

SCHEDULER_TIMEOUT = 15.0
"""Longest wait for the scheduler. [s]"""

_SETTINGS = {
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    "distributed.nanny.pre-spawn-environ": SINGLE_THREAD,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.client.scheduler-info-interval": "2s",
}


_IGNORE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Run by every worker: a terminal sends Ctrl-C to all, but the main process handles it."""


def _disable_logging() -> None:
    """Disable the log messages of Dask; failures are reported by `EngineError` and `Lost`."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextmanager
def local_cluster(workers: int | None = None) -> Iterator[Engine]:
    """Provide an engine of Dask workers on this machine, each a process with one core.

    Args:
        workers: Number of processes; default the number of usable cores.
    """
    _disable_logging()
    # After an interruption the tracker of multiprocessing removes the semaphores of the workers, as
    # it should, and warns.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    with dask.config.set(_SETTINGS):
        with without_interrupts():
            local = LocalCluster(
                n_workers=workers or usable_cores(),
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                preload=[_IGNORE_INTERRUPTS],
            )
        with local as cluster, Client(cluster) as client:
            yield functools.partial(_compute, client)


@contextmanager
def existing_cluster(scheduler: str, security: Security | None = None) -> Iterator[Engine]:
    """Provide an engine of the workers of a running scheduler.

    Args:
        scheduler: Address of the scheduler, e.g. ``tcp://host:8786``.
        security: Certificate and keys for a ``tls://`` address.

    Raises:
        EngineError: The scheduler does not answer, has no workers, or its workers have another
            version of heliostat.
    """
    _disable_logging()
    with dask.config.set(_SETTINGS):
        try:
            client = Client(scheduler, security=security, timeout=SCHEDULER_TIMEOUT)
        except (OSError, ValueError, TypeError) as error:
            raise EngineError(
                f"--scheduler {scheduler}: does not answer ({str(error) or type(error).__name__}); "
                "check that it runs and that the address is right."
            ) from None
        with client:
            _check_workers(client, scheduler)
            yield functools.partial(_compute, client)


def _check_workers(client: Client, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_TIMEOUT)
    except TimeoutError:
        raise EngineError(
            f"--scheduler {scheduler}: no worker within {WORKER_TIMEOUT:g} s; start at least one."
        ) from None
    try:
        versions = set(client.run(_version).values())
    except (ImportError, AttributeError) as error:
        raise EngineError(
            f"--scheduler {scheduler}: its workers cannot import heliostat ({error}); install it "
            "there."
        ) from None
    if versions != {__version__}:
        raise EngineError(
            f"--scheduler {scheduler}: its workers have heliostat "
            f"{' and '.join(sorted(versions))}, here it is {__version__}; install the same version."
        )


def _version() -> str:
    return __version__


def _task_limit(client: Client) -> int:
    """Number of tasks that the present workers have at the same time."""
    return TASKS_PER_THREAD * max(sum(client.nthreads().values()), 1)


def _compute(
    client: Client, function: Callable[[Any], Any], tasks: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    """Submit tasks to all workers and yield their results, see `heliostat.studies.engine`."""
    run, waiting = uuid.uuid4().hex[:12], iter(enumerate(tasks))
    numbers: dict[str, int] = {}
    results = as_completed()

    def submit(count: int) -> None:
        for number, task in itertools.islice(waiting, max(count, 0)):
            key = f"heliostat-{run}-{number}"
            numbers[key] = number
            results.add(client.submit(function, task, key=key, pure=False))

    try:
        counted, limit = time.monotonic(), _task_limit(client)
        submit(limit)
        while numbers:
            future = next(results)
            number = numbers.pop(future.key)
            yield number, _result_of(future)
            if time.monotonic() - counted > 5.0:  # the number of workers may change
                counted, limit = time.monotonic(), _task_limit(client)
            submit(limit - len(numbers))
    except (OSError, TimeoutError, StopIteration) as error:
        raise _scheduler_lost(error) from None
    finally:
        results.clear()


def _result_of(future: "Future[Any]") -> Any:
    """Result of a future, or `Lost`."""
    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    if isinstance(error, KilledWorker):
        return Lost(f"its worker died {ATTEMPTS} times; it may need more memory than there is")
    if error is not None:
        raise error
    raise _scheduler_lost(future.status)  # canceled or lost, without an exception


def _scheduler_lost(reason: object) -> EngineError:
    return EngineError(
        f"The connection to the scheduler is lost ({reason}). Stored results are kept; repeat the "
        "command to continue, with any engine."
    )
