"""One file of fixed-size rows, mapped into memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.errors import UserError

BLOCK_ROWS = 256  # rows whose disk space is reserved at once


class RingFile:
    """Rows of one field for every world, in a sparse file that is read and written in place.

    The file holds `rows * worlds` values of `dtype` and `shape`: row 0 of every world, then row 1,
    so that a longer ring is the same file with more behind it. It is created sparse; disk space
    is reserved a block at a time just before rows are written, because running out of space
    inside a memory map kills a process without a word.

    Args:
        path: the file; created if it does not exist and need not.
        rows: rows of one ring.
        worlds: number of rings in the file.
        shape: shape of a value.
        dtype: element type of a value.
        kept: rows that it holds already; it is lengthened to `rows`.

    Raises:
        UserError: the file is too short for what it holds, or missing.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        worlds: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        kept: int = 0,
    ) -> None:
        self.path, self.rows = path, rows
        self.row_bytes = worlds * dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._open(rows * self.row_bytes, kept * self.row_bytes)
        raw = torch.from_numpy(self.map)
        self.tensor: Tensor = raw.view(dtype).view(rows * worlds, *shape)  # (rows * worlds, ...)

    def _open(self, size: int, least: int) -> None:
        found = self.path.stat().st_size if self.path.exists() else 0
        if found < least:
            raise UserError(
                f"replay file {self.path} is damaged: it has {found} bytes where {least} are "
                "expected; restore it, or delete the run's folder and start a new run"
            )
        with open(self.path, "ab") as file:
            file.truncate(max(size, found))
        self.map = np.memmap(self.path, dtype=np.uint8, mode="r+", shape=(size,))

    def reserve(self, block: int) -> None:
        """Make sure that a block of `BLOCK_ROWS` rows of every world has disk space.

        Raises:
            UserError: the disk is full.
        """
        count = min(BLOCK_ROWS, self.rows - block * BLOCK_ROWS)
        self._allocate(block * BLOCK_ROWS * self.row_bytes, count * self.row_bytes)

    def _allocate(self, offset: int, length: int) -> None:
        if not hasattr(os, "posix_fallocate"):  # not on every system; there the file stays sparse
            return
        handle = os.open(self.path, os.O_RDWR)
        try:
            os.posix_fallocate(handle, offset, length)
        except OSError as error:
            raise UserError(
                f"no disk space for the replay file {self.path} ({error.strerror}): free some "
                "space and resume the run, or start one with a smaller replay capacity"
            ) from error
        finally:
            os.close(handle)

    def flush(self) -> None:
        """Write what is mapped to the disk, so that it survives a loss of power."""
        self.map.flush()
