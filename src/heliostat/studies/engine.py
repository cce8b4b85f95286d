"""Interface of the engines that compute a study's tasks, and the serial one.

An engine takes a function and tasks and yields each result with the number of its task, in any
order. Results do not depend on the engine, because a task is computed the same way everywhere.
Worker processes: `heliostat.batch.workers`; a cluster: `heliostat.batch.dask`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

Engine: TypeAlias = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]
"""Function of a function and tasks that yields pairs of a task number and its result or `Lost`.
Unless the engine is `serial`, function and tasks have to be picklable."""


class Lost(NamedTuple):
    """Placeholder for the result of a task that was given up."""

    reason: str


class EngineError(RuntimeError):
    """The engine cannot continue; the message states the reason and the remedy."""


def serial(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Compute tasks one after the other in this process.

    Args:
        function: Function of one task.
        tasks: Arguments of the function.
    """
    for number, task in enumerate(tasks):
        yield number, function(task)
