"""Files that are whole or absent, and files of others that are read with care.

Every reader of the project opens its files here: a named pipe, a device or a file that is larger
than its kind can be is refused before it can block the process or fill its memory.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from aef_worldmodel.utils.errors import writing

UNFINISHED = "unfinished-"  # how the name of a temporary file begins
MEBI, GIBI = 2**20, 2**30
LARGEST_TEXT = 4 * MEBI  # bytes of settings and descriptions
LARGEST_TABLE = 256 * MEBI  # bytes of a table
LARGEST_ARRAYS = 4 * GIBI  # bytes of the arrays or images in a file, unpacked


@contextmanager
def atomic_write(
    path: str | Path, mode: str = "w", *, then: str = "", sync: bool = False
) -> Iterator[IO[Any]]:
    """Open a file for writing; it replaces `path` when the block ends without an exception.

    Args:
        path: the file; its folder is created if needed.
        mode: "w" for text, written as it is given, or "wb".
        then: see `atomic_path`.
        sync: see `atomic_path`.

    Raises:
        UserError: the file cannot be written; `path` is what it was.
    """
    text = ("utf-8", "surrogateescape", "")
    encoding, errors, newline = (None, None, None) if "b" in mode else text
    with (
        atomic_path(path, then=then, sync=sync) as temporary,
        open(temporary, mode, encoding=encoding, errors=errors, newline=newline) as file,
    ):
        yield file


@contextmanager
def atomic_path(path: str | Path, *, then: str = "", sync: bool = False) -> Iterator[Path]:
    """Give a path to write to; its file replaces `path` when the block ends without an exception.

    For writers that open files themselves. The temporary file has the same suffix and folder, and
    is removed if the block raises anything.

    Args:
        path: the file; its folder is created if needed.
        then: end of the sentence that a UserError has, for instance ", then resume the run".
        sync: whether to wait until the file and its name are on the disk, so that they outlast a
            crash of the machine as well as of the process.

    Raises:
        UserError: the file cannot be written; `path` is what it was.
    """
    path = Path(path)
    temporary = path.with_name(UNFINISHED + path.name)
    with writing(path, then):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.unlink(missing_ok=True)  # of a process that was killed
            temporary.touch()
            mode = stat.S_IMODE(temporary.stat().st_mode)  # as the umask says
            temporary.unlink()
            yield temporary
            os.chmod(temporary, mode)  # a writer may have made a file of its own
            if sync:
                _sync(temporary)
            os.replace(temporary, path)
            if sync:
                _sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def open_regular(path: str | Path, most: int) -> Iterator[IO[bytes]]:
    """Open a regular file of at most `most` bytes for reading.

    Raises:
        OSError: there is no such file, it is something else (a folder, a named pipe, a device) or
            too large, or it cannot be read; the text fits into a sentence.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)  # without O_NONBLOCK, a named pipe would block it for ever
    try:
        _check_regular(os.fstat(handle), most)
    except OSError:
        os.close(handle)
        raise
    with open(handle, "rb") as file:
        yield file


def as_utf8(text: str) -> str:
    """Return a text without the escapes that stand for other letters in an ASCII locale's words."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def exists(path: str | Path) -> bool:
    """Return whether there is a file or folder; no name is too long or too odd to ask about."""
    return os.path.exists(path)


def check_regular(path: str | Path, most: int) -> int:
    """Return the size of a file that a library opens by its name; raise as `open_regular` does."""
    return _check_regular(os.stat(path), most)


def _check_regular(found: os.stat_result, most: int) -> int:
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is not a regular file")
    if found.st_size > most:
        raise OSError(f"it has {found.st_size:,} bytes, more than the {most:,} that are read")
    return found.st_size


def read_bytes(path: str | Path, most: int) -> bytes:
    """Return the content of a regular file. Raises OSError as `open_regular` does."""
    with open_regular(path, most) as file:
        return file.read()


def read_text(path: str | Path, most: int = LARGEST_TEXT) -> str:
    """Return the text of a regular file.

    Raises OSError as `open_regular` does, and ValueError if it is not UTF-8.
    """
    return read_bytes(path, most).decode("utf-8")


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk; Windows syncs no folder, nor what it reads."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
