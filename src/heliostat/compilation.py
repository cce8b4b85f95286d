"""The persistent cache of compiled programs, so that each program is compiled once per machine."""

import os
import sys
from pathlib import Path

FOLDER, LEAST_SECONDS = (
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
)
"""Environment variables that JAX reads when it is imported."""


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in the user's cache folder.

    A folder that the user has set, by JAX's environment variable or in ``jax.config``, is left
    alone, and nothing is set where the cache folder cannot be written.
    """
    if FOLDER in os.environ:
        return
    folder = cache_folder() / "heliostat"
    if not _writable(folder):
        return
    if "jax" in sys.modules:
        config = sys.modules["jax"].config
        if config.jax_compilation_cache_dir is not None:
            return
        config.update("jax_compilation_cache_dir", str(folder))
        if LEAST_SECONDS not in os.environ:
            config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    os.environ[FOLDER] = str(folder)  # for worker processes too
    os.environ.setdefault(LEAST_SECONDS, "0")


def cache_folder() -> Path:
    """The folder for a user's caches on this system; not absolute if the user has no home."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser()
    if sys.platform == "darwin":
        return Path(os.path.expanduser("~/Library/Caches"))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


def _writable(folder: Path) -> bool:
    """Whether a folder can be written, or made in one that can."""
    if not folder.is_absolute():
        return False
    try:
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError:
        return False
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
