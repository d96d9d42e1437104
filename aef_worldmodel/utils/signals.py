"""Signals that ask a command to stop: Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130  # exit code of a command that was asked to stop
CLEANING_SECONDS = 20.0  # that an interrupted command has to undo what it began
Handler = Callable[[int, FrameType | None], None]


def _listen(handler: Handler | signal.Handlers) -> None:
    """Install a handler of all three; a command under `nohup` goes on to ignore SIGHUP."""
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def end_on_signals() -> None:
    """Let every signal end the process at once, without a traceback: there is nothing to keep."""
    _listen(signal.SIG_DFL)


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt at the first signal, so that what was begun is undone.

    Later signals change nothing, and `CLEANING_SECONDS` later the process ends in any case.
    """
    interrupted = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            end = threading.Timer(CLEANING_SECONDS, os._exit, (INTERRUPTED,))
            end.daemon = True
            end.start()
            raise KeyboardInterrupt

    _listen(handle)


def stop_on_signals(callback: Callable[[], None]) -> None:
    """Call `callback` at the first signal; end at once at the next Ctrl-C or SIGTERM.

    The callback notes that the command stops after its current step, and may say so. A second
    SIGINT or SIGTERM raises KeyboardInterrupt. SIGHUP, which a terminal that closes sends more
    than once, never does.

    Args:
        callback: takes nothing; that it cannot write (the terminal is gone, or it interrupts
            another line that is being written) is ignored.
    """
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping and number in (signal.SIGINT, signal.SIGTERM):
            raise KeyboardInterrupt
        if not stopping:
            stopping = True
            with contextlib.suppress(OSError, RuntimeError):
                callback()

    _listen(handle)
