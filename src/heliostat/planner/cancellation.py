"""Computations that stop when their result is no longer wanted."""

from collections.abc import Callable
from typing import TypeAlias

Check: TypeAlias = Callable[[], None]
"""Function that raises `CancelledError` if the result is no longer wanted; called between two parts
of a computation."""


class CancelledError(Exception):
    """Raised within a computation whose result is no longer wanted."""
