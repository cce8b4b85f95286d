"""Interface of the engines that compute a study's tasks, and the serial one.

An engine takes a function and tasks and yields each result with the number of its task, in any
order. Results do not depend on the engine, because a task is computed the same way everywhere.
Worker processes: `heliostat.batch.workers`; a cluster: `heliostat.batch.dask`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

Engine: TypeAlias = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]
"""Takes a function and tasks, all of which can be pickled unless they are computed here; yields
results or `Lost`, each after the number of its task."""


class Lost(NamedTuple):
    """In place of a result that will not come."""

    reason: str


class EngineError(RuntimeError):
    """Nothing more can be computed; the message says why, and what to do."""


def serial(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """The engine that computes in this process, one task after the other.

    Args:
        function: What to compute.
        tasks: Of what.
    """
    for number, task in enumerate(tasks):
        yield number, function(task)
