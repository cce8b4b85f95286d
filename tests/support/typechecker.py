"""Checks of shapes and types while the tests run.

Beartype follows PEP 484: an int is accepted where a float is annotated.
"""

import functools
import inspect
import threading
from collections import Counter
from types import CodeType

import jaxtyping
from beartype import BeartypeConf
from beartype import beartype as _beartype
from jaxtyping import _import_hook, install_import_hook

check = _beartype(conf=BeartypeConf(is_pep484_tower=True))

MOST_CALLS = 200
"""Number of calls of a function that are checked in one test module. A check takes about 0.1 ms,
which would be most of the time of iterations in NumPy."""
calls: Counter[CodeType] = Counter()
"""Number of checked calls by function, set to zero before each test module."""


def install() -> None:
    """Check the functions of all modules of heliostat that are imported from now on."""
    # CPython 3.11 may fail with a SystemError ("AST constructor recursion depth mismatch") when two
    # threads, e.g. of the planner, build syntax trees at once.
    lock, loader = threading.Lock(), _import_hook._JaxtypingLoader
    build = loader.source_to_code

    def build_alone(self, *arguments, **options):
        with lock:
            return build(self, *arguments, **options)

    loader.source_to_code = build_alone
    # The hook decorates each function and class with this name.
    jaxtyping.jaxtyped = functools.partial(_with_first_calls_checked, jaxtyping.jaxtyped)
    install_import_hook("heliostat", "tests.support.typechecker.check")


def _with_first_calls_checked(jaxtyped, *, typechecker):
    """The decorator ``jaxtyped``, for the first `MOST_CALLS` calls of a function."""
    decorate = jaxtyped(typechecker=typechecker)

    def limited(target):
        if not inspect.isfunction(target):
            return decorate(target)
        code = target.__code__
        if calls[code] >= MOST_CALLS:  # of a function that another one defines at each call
            return target
        checked = decorate(target)

        @functools.wraps(target)
        def call(*args, **kwargs):
            if calls[code] >= MOST_CALLS:
                return target(*args, **kwargs)
            calls[code] += 1
            return checked(*args, **kwargs)

        return call

    return limited
