"""End a command on Ctrl-C or SIGTERM: one line, no half-written files, no traceback.

The signal handler raises no exception. JAX and CVXPY swallow exceptions that surface in their
callbacks, and an exception that does reach the top makes the interpreter tear down the XLA runtime
while its threads still compute, which crashes. Instead the handler cleans up and leaves the process
with `os._exit`.

Python calls a handler only between two of its own instructions. If the main thread stays in
compiled code for longer than `PATIENCE`, a second thread cleans up and leaves in its place.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

PATIENCE = 1.0
"""Time that the main thread has to handle a signal itself. [s]"""
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_lock = threading.Lock()  # held while files are moved, and by the thread that leaves
_cleanups: list[Callable[[], None]] = []
_busy = False
_pending: int | None = None  # the first signal that came


def install() -> None:
    """Handle Ctrl-C and SIGTERM from here on; to be called in the main thread."""
    if os.name == "posix":  # elsewhere a wake-up pipe has to be a socket
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(read,), daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, _handle)


def uninstall() -> None:
    """Ignore Ctrl-C from here on: the command is done, and the interpreter is about to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def on_interruption(cleanup: Callable[[], None]) -> Iterator[None]:
    """Call a function if a signal ends the process while the body runs.

    Args:
        cleanup: Called once, in any thread, the latest registered first; its exceptions are
            ignored. It must not wait for other threads.
    """
    _cleanups.append(cleanup)
    try:
        yield
    finally:
        _cleanups.remove(cleanup)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay the end of the process until the body is done; for steps that belong together."""
    global _busy  # noqa: PLW0603
    _busy = True
    try:
        with _lock:
            yield
    finally:
        _busy = False
        if _pending is not None:
            _leave(_pending)


def write_line(descriptor: int, text: str) -> None:
    """Write a line to a file descriptor, which a signal handler may do at any time.

    Args:
        descriptor: 1 for standard output, 2 for standard error.
        text: The line, without its end.
    """
    with suppress(OSError):
        os.write(descriptor, f"{text}\n".encode())


def _handle(number: int, _frame: FrameType | None) -> None:
    global _pending  # noqa: PLW0603
    if _pending is None:  # later signals change nothing
        _pending = number
        if not _busy:
            _leave(number)


def _watch(read: int) -> None:
    """Wait for a signal; leave if the main thread does not."""
    while (number := os.read(read, 1)[0]) not in SIGNALS:
        pass
    time.sleep(PATIENCE)
    _leave(number)


def _leave(number: int) -> None:
    _lock.acquire()  # never released
    with suppress(OSError):
        if os.isatty(2):  # erase the progress display and show the cursor again
            os.write(2, b"\r\x1b[2K\x1b[?25h")
    write_line(2, "Stopped.")
    for cleanup in reversed(_cleanups):
        with suppress(Exception):
            cleanup()
    if "multiprocessing" in sys.modules:
        with suppress(Exception):
            for child in sys.modules["multiprocessing"].active_children():
                child.terminate()
    os._exit(128 + number)
