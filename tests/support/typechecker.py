"""Checks of shapes and types while the tests run.

Beartype follows PEP 484: an int is accepted where a float is annotated.
"""

import threading

from beartype import BeartypeConf
from beartype import beartype as _beartype
from jaxtyping import _import_hook, install_import_hook

check = _beartype(conf=BeartypeConf(is_pep484_tower=True))


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
    install_import_hook("heliostat", "tests.support.typechecker.check")
