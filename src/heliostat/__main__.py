"""Where the command ``heliostat`` starts: set the stage, run it, tell in words what went wrong."""

import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType


def main() -> int:
    """Entry point of the command: `answer` to what was typed, after setting the stage."""
    _keep_compiled_programs()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its own cache is no user's worry
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    return answer(sys.argv[1:])


def answer(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0, or 2 if what was asked cannot be done.

    Args:
        arguments: What was typed after the command's name.
    """
    from heliostat.cli import app
    from heliostat.cli.console import UserError

    try:
        app(arguments, prog_name="heliostat")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else bool(end.code)
    except ValueError as error:
        from heliostat.scenario import ScenarioError

        if not isinstance(error, ScenarioError | UserError):
            raise
        print(error, file=sys.stderr)
        return 2
    return 0


def _stop(number: int, _frame: FrameType | None) -> None:
    """End in good order, so that what is half-written gets removed on the way out."""
    print("Stopped.", file=sys.stderr)
    raise SystemExit(128 + number)


def _keep_compiled_programs() -> None:
    """Let JAX keep what it compiles, for the next start; where it cannot, it works without."""
    folder = _cache_folder() / "heliostat"
    if folder.is_absolute():
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation")


def _cache_folder() -> Path:
    """Where this system keeps a user's caches; not absolute if the user has no home."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser()
    if sys.platform == "darwin":
        return Path(os.path.expanduser("~/Library/Caches"))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


if __name__ == "__main__":
    sys.exit(main())
