"""Points on a Dask cluster: one of this machine's own, or one that is there already.

The process that writes hands out a few blocks for each worker and takes in results as they come.
Workers need heliostat and its libraries, but no common disk: what they compute travels back.
"""

import itertools
import logging
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
from heliostat.studies.engine import EngineError, Lost

AHEAD = 3
"""Blocks handed out for each worker thread, so that none waits for the next."""

PATIENCE = 60.0
"""How long to wait for a scheduler's first worker. [s]"""

ANSWER = 15.0
"""How long to wait for the scheduler itself. [s]"""

_SETTINGS = {
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    "distributed.nanny.pre-spawn-environ": SINGLE_THREAD,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.client.scheduler-info-interval": "2s",
}


_LEAVE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""What workers begin with: Ctrl-C, which a terminal sends to all, is for the process that waits."""


def _silence() -> None:
    """Let Dask say nothing of what is told here in words."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextmanager
def own_cluster(workers: int | None = None) -> Iterator["DaskEngine"]:
    """An engine of Dask workers on this machine, each a process with one core.

    Args:
        workers: How many; default one a core.
    """
    _silence()
    with dask.config.set(_SETTINGS):
        with without_interrupts():
            local = LocalCluster(
                n_workers=workers or usable_cores(),
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                preload=[_LEAVE_INTERRUPTS],
            )
        with local as cluster, Client(cluster) as client:
            yield DaskEngine(client)


@contextmanager
def existing_cluster(scheduler: str, security: Security | None = None) -> Iterator["DaskEngine"]:
    """An engine of the workers of a scheduler that runs already.

    Args:
        scheduler: Its address, e.g. ``tcp://host:8786``.
        security: Certificate and keys of a ``tls://`` address.

    Raises:
        EngineError: There is no scheduler, it has no workers, or they have another heliostat.
    """
    _silence()
    with dask.config.set(_SETTINGS):
        try:
            client = Client(scheduler, security=security, timeout=ANSWER)
        except (OSError, ValueError, TypeError) as error:
            raise EngineError(
                f"--scheduler {scheduler}: does not answer ({str(error) or type(error).__name__}); "
                "look whether it runs, and whether its address is right."
            ) from None
        with client:
            _check_workers(client, scheduler)
            yield DaskEngine(client)


def _check_workers(client: Client, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise EngineError(
            f"--scheduler {scheduler}: no worker came within {PATIENCE:g} s; start some."
        ) from None
    try:
        versions = set(client.run(_version).values())
    except (ImportError, AttributeError) as error:
        raise EngineError(
            f"--scheduler {scheduler}: its workers cannot load heliostat ({error}); install it "
            "there."
        ) from None
    if versions != {__version__}:
        raise EngineError(
            f"--scheduler {scheduler}: its workers have heliostat "
            f"{' and '.join(sorted(versions))}, this is {__version__}; install the same."
        )


def _version() -> str:
    return __version__


class DaskEngine:
    """An `heliostat.batch.workers.Engine` of a client's workers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def workers(self) -> int:
        """Threads of all workers that are there now."""
        return sum(self._client.nthreads().values())

    def __call__(
        self, function: Callable[[Any], Any], tasks: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        """Hand out tasks and yield what comes back, see `heliostat.batch.workers`.

        Args:
            function: What to compute.
            tasks: Of what.

        Raises:
            EngineError: The scheduler is gone.
        """
        run, waiting = uuid.uuid4().hex[:12], iter(enumerate(tasks))
        numbers: dict[str, int] = {}
        coming = as_completed()

        def hand_out(count: int) -> None:
            for number, task in itertools.islice(waiting, max(count, 0)):
                key = f"heliostat-{run}-{number}"
                numbers[key] = number
                coming.add(self._client.submit(function, task, key=key, pure=False))

        try:
            looked, ahead = time.monotonic(), AHEAD * max(self.workers, 1)
            hand_out(ahead)
            while numbers:
                future = next(coming)
                number = numbers.pop(future.key)
                yield number, _came_of(future)
                if time.monotonic() - looked > 5.0:  # workers come and go
                    looked, ahead = time.monotonic(), AHEAD * max(self.workers, 1)
                hand_out(ahead - len(numbers))
        except (OSError, TimeoutError, StopIteration) as error:
            raise _gone(error) from None
        finally:
            coming.clear()


def _came_of(future: "Future[Any]") -> Any:
    """A result, or `Lost`."""
    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    if isinstance(error, KilledWorker):
        return Lost(f"its worker died {ATTEMPTS} times; it may need more memory than there is")
    if error is not None:
        raise error
    raise _gone(future.status)  # cancelled or lost, without an exception


def _gone(reason: object) -> EngineError:
    return EngineError(
        f"The scheduler is gone ({reason}). What is stored is safe; the same command goes on from "
        "there, also with --engine processes."
    )
