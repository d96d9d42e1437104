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

    The file holds `worlds * rows` rows of `dtype` and `shape`, world after world. It is created
    sparse; disk space is reserved a block at a time just before rows are written, because running
    out of space inside a memory map kills a process without a word.

    Args:
        path: the file; created if it does not exist.
        worlds: number of rings in the file.
        rows: rows of one ring.
        shape: shape of a row.
        dtype: element type of a row.

    Raises:
        UserError: the file exists with another size.
    """

    def __init__(
        self, path: Path, worlds: int, rows: int, shape: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        self.path, self.rows = path, rows
        self.row_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._open(worlds * rows * self.row_bytes)
        raw = torch.from_numpy(self.map)
        self.tensor: Tensor = raw.view(dtype).view(worlds * rows, *shape)  # (worlds * rows, ...)

    def _open(self, size: int) -> None:
        if not self.path.exists():
            with open(self.path, "wb") as file:
                file.truncate(size)
        found = self.path.stat().st_size
        if found != size:
            raise UserError(
                f"replay file {self.path} is damaged: it has {found} bytes where {size} are "
                "expected; restore it, or delete the run's replay folder and start a new run"
            )
        self.map = np.memmap(self.path, dtype=np.uint8, mode="r+", shape=(size,))

    def reserve(self, world: int, block: int) -> None:
        """Make sure that a block of `BLOCK_ROWS` rows of `world` has disk space.

        Raises:
            UserError: the disk is full.
        """
        begin = block * BLOCK_ROWS
        count = min(BLOCK_ROWS, self.rows - begin)
        self._allocate((world * self.rows + begin) * self.row_bytes, count * self.row_bytes)

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
