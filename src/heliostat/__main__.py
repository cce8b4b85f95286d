"""Entry point of the command ``heliostat``."""

import gc
import sys

from heliostat import interruption

CLOSED_PIPE = 128 + 13
"""Exit code if the reader of standard output has ended (SIGPIPE)."""


def main() -> int:
    """Run the command given by the arguments and return its exit code."""
    interruption.install()  # before anything that takes long to import
    # Imports and JAX's traces make a million objects that stay: looking through them for cycles
    # after each 700 new ones, Python's default, takes a sixth of a short command.
    gc.set_threshold(100_000, 20)

    import logging
    import warnings

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # the state of its own cache
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation")
    code = answer(sys.argv[1:])
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        code = _unwritable(error)
    interruption.uninstall()
    return code


def answer(arguments: list[str]) -> int:
    """Run one command.

    Args:
        arguments: Command-line arguments without the program's name.

    Returns:
        The exit code: 0, 1 if results are missing or cannot be printed, 2 if the request cannot be
        carried out, `CLOSED_PIPE` if standard output is a closed pipe.
    """
    from heliostat.cli import app
    from heliostat.cli.console import UserError

    try:
        app(arguments, prog_name="heliostat")
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer and Rich turn it into code 1
            return _unwritable(end.__context__)
        return end.code if isinstance(end.code, int) else bool(end.code)
    except OSError as error:
        if error.filename is not None:  # not standard output
            raise
        return _unwritable(error)
    except ValueError as error:
        from heliostat.scenario import ScenarioError

        if not isinstance(error, ScenarioError | UserError):
            raise
        print(error, file=sys.stderr)
        return 2
    return 0


def _unwritable(error: OSError) -> int:
    """Exit code when standard output cannot be written; says why unless its reader has gone."""
    import os

    # What is left in the buffer goes nowhere: writing it would fail again when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return CLOSED_PIPE
    interruption.write_line(2, f"Standard output cannot be written: {error.strerror}.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
