"""One file of fixed-size rows, mapped into memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import check_regular

BLOCK_ROWS = 256  # rows whose disk space is reserved at once


class RingFile:
    """Rows of one field for every environment, in a sparse file that is read and written in place.

    The file holds `rows * num_envs` values of `dtype` and `shape`: row 0 of every environment, then
    row 1, so that a longer ring is the same file with more at its end. The file is created sparse.
    Disk space is reserved a block at a time just before rows are written, because a memory map
    that runs out of space kills the process without a message.

    Args:
        path: the file; created if it does not exist and `kept` is 0.
        rows: rows of one ring.
        num_envs: number of rings in the file.
        shape: shape of a value.
        dtype: element type of a value.
        kept: rows that the file holds already; it is lengthened to `rows`.

    Attributes:
        tensor: all values, (rows * num_envs, *shape).

    Raises:
        UserError: the file is missing or shorter than `kept` rows.
    """

    def __init__(
        self,
        path: Path,
        rows: int,
        num_envs: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        kept: int = 0,
    ) -> None:
        self.path, self.rows = path, rows
        self.row_bytes = num_envs * dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._open(rows * self.row_bytes, kept * self.row_bytes)
        raw = torch.from_numpy(self.map)
        self.tensor: Tensor = raw.view(dtype).view(rows * num_envs, *shape)

    def _open(self, size: int, least: int) -> None:
        found = self._size() if self.path.exists() else 0
        if found < least:
            raise UserError(
                f"replay file {self.path} is damaged: it has {found} bytes where {least} are "
                "expected; restore it, or delete the run's folder and start a new run"
            )
        try:
            with open(self.path, "ab") as file:
                file.truncate(max(size, found))
            self.map = np.memmap(self.path, dtype=np.uint8, mode="r+", shape=(size,))
        except OSError as error:
            raise UserError(
                f"replay file {self.path} cannot be opened ({reason(error)}): restore it, or "
                "delete the run's folder and start a new run"
            ) from error

    def _size(self) -> int:
        try:
            return check_regular(self.path, sys.maxsize)
        except OSError as error:
            raise UserError(
                f"replay file {self.path} is damaged: {reason(error)}; restore it, or delete the "
                "run's folder and start a new run"
            ) from error

    @property
    def values(self) -> np.ndarray:
        """The bytes of all values, uint8 (rows * num_envs, bytes of a value)."""
        flat = self.map.view(np.ndarray)
        return flat.reshape(self.tensor.shape[0], -1)

    def reserve(self, block: int) -> None:
        """Reserve disk space for a block of `BLOCK_ROWS` rows of every environment.

        Raises:
            UserError: the disk is full.
        """
        count = min(BLOCK_ROWS, self.rows - block * BLOCK_ROWS)
        self._allocate(block * BLOCK_ROWS * self.row_bytes, count * self.row_bytes)

    def _allocate(self, offset: int, length: int) -> None:
        if not hasattr(os, "posix_fallocate"):  # without it the file stays sparse
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
        """Write the mapped rows to the disk, so that they survive a loss of power."""
        self.map.flush()
