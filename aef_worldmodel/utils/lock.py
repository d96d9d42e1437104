"""The lock of a folder: one process writes into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import exists

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def hold(run: str | Path) -> Iterator[None]:
    """Keep a second process from writing into the same run; a refused start leaves no folder.

    The operating system releases the lock when the process ends, however it ends.

    Args:
        run: the run's folder; created if needed, and removed if no `config.yaml` came into it.

    Raises:
        UserError: another process holds the run, or the folder cannot be made or written.
    """
    run = Path(run)
    new, held = not exists(run), False
    try:
        with locked(run, f"{run} is being trained by another process: end that one first"):
            held = True
            yield
    finally:
        if new and held and not (run / "config.yaml").exists():
            shutil.rmtree(run, ignore_errors=True)
        elif new:
            with suppress(OSError):
                run.rmdir()  # empty: interrupted before the lock was taken


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Hold the lock of a folder, which is created if needed.

    Raises:
        UserError: another process holds it (the sentence is `busy`), or it cannot be made.
    """
    with _open(folder) as file:
        _acquire(file, busy)
        yield


def is_held(folder: Path) -> bool:
    """Return whether a process holds the lock of a folder right now."""
    if not exists(folder / "lock"):
        return False
    try:
        with locked(folder, "held"):
            return False
    except UserError:
        return True


def _open(run: Path) -> IO[bytes]:
    """Make the folder and open its lock, without waiting for anyone (it may be a pipe)."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
    try:
        run.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(run / "lock", flags, 0o666), "r+b", buffering=0)
    except OSError as error:
        raise UserError(f"cannot write into the folder {run}: {reason(error)}") from error


def _acquire(file: IO[bytes], busy: str) -> None:
    """Lock a file until it is closed."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    except OSError as error:
        raise UserError(f"{busy} ({reason(error)})") from error
