"""Start and end of a command of this package, which stands alone: no traceback, whatever happens.

The same as `aef_worldmodel.utils.command`, for commands that leave nothing to be undone.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO


class LenientStream:
    """A stream that drops what it cannot write: to a closed pipe, a full disk, a lost terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the stream inside."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what was not written."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def prepare() -> None:
    """Let signals end a command of this package at once, from before its slow imports on."""
    words = sys.orig_argv
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    if sys.argv[:1] == ["-m"] and module.partition(".")[0] == "envs":
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(main: Callable[[list[str]], int | None]) -> None:
    """Run a command with its arguments and exit; ValueError ends it with its sentence."""
    for name in ("stdout", "stderr"):
        if stream := getattr(sys, name):
            with contextlib.suppress(AttributeError):
                stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, LenientStream(stream))
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        os._exit(130)
