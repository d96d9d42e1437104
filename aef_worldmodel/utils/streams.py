"""Output that never ends a command, wherever it goes."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO

FAILURES = (OSError, ValueError, RuntimeError)  # of a stream: broken, closed, written to already


class LenientStream:
    """A stream that drops what it cannot write: to a closed pipe, a full disk, a lost terminal.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream inside."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        with contextlib.suppress(*FAILURES):
            return self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write the lines, or drop them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or drop what was not written."""
        with contextlib.suppress(*FAILURES):
            self._stream.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal that still exists."""
        with contextlib.suppress(*FAILURES):
            return self._stream.isatty()
        return False


def open_standard_streams() -> None:
    """Give closed standard streams a file, so that no file of the command takes their place.

    A file that is opened while standard output is closed gets its number, and then everything
    that a library prints.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def make_output_lenient() -> None:
    """Let standard output and error drop what they cannot write, and spell what they cannot encode.

    In a terminal or file that takes ASCII alone, other characters are printed as escapes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, LenientStream):
            continue
        with contextlib.suppress(AttributeError, *FAILURES):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, LenientStream(stream))
