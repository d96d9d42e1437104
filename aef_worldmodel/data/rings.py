"""Storage of a replay buffer: one ring of rows for each environment, in files and tensors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.data import memmap
from aef_worldmodel.data.checksums import RowChecksums
from aef_worldmodel.data.memmap import RingFile
from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import atomic_write, read_text

Fields = Mapping[str, tuple[tuple[int, ...], torch.dtype]]  # name -> shape, type of one row


class Rings:
    """Rings of rows of N environments, whose fields are files, tensors or both.

    Rows of a mutable field are a tensor alone. All others have a file, which is the tensor itself
    under "disk". A folder that exists keeps its rows. Its rings grow to a larger size as long as
    none has come round; otherwise they keep their size, of which at most half is slack.

    Args:
        directory: folder of the files; created if needed.
        fields: name -> (shape, dtype) of one row.
        num_envs: N.
        window: rows of one ring that are used.
        slack: further rows of one ring.
        storage: "disk", "memory" or a torch device.
        mutable: names of fields without a file.
        about: description that `layout.json` keeps from the beginning.

    Attributes:
        rows: rows of one ring.
        window: those of them that are used.
        data: name -> (rows * N, ...), row 0 of every environment, then row 1.
        written: rows ever written to each ring, in any life of the run, (N,) int64; from it an
            older state knows which of its rows are lost.

    Raises:
        UserError: the files there are damaged or hold other fields, or the disk is too small.
    """

    def __init__(
        self,
        directory: Path,
        fields: Fields,
        num_envs: int,
        window: int,
        slack: int,
        storage: str = "disk",
        mutable: tuple[str, ...] = (),
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.directory, self.fields, self.num_envs = directory, dict(fields), num_envs
        self.slack, self.mutable = slack, mutable
        self.rows, self.window = window + slack, window
        self.device = torch.device("cpu" if storage in ("disk", "memory") else storage)
        self.storage, self.about = storage, about
        self.files, self._marks, self.checksums = self._open()
        self.written = self._marks.tensor
        self._reserved = torch.zeros(-(-self.rows // memmap.BLOCK_ROWS), dtype=torch.bool)
        self.data = {name: self._column(name, storage) for name in self.fields}

    # -- opening -------------------------------------------------------------------------

    def _open(self) -> tuple[dict[str, RingFile], RingFile, RowChecksums]:
        """Open the files, or create them; `layout.json` is written last and makes them valid."""
        path = self.directory / "layout.json"
        found, marks = self._read_layout(path) if path.exists() else 0, None
        if found:
            marks = self._open_marks(kept=1)
            grows = self.rows > found and bool((marks.tensor <= found).all())
            self.rows = self.rows if grows else found
            self.window = max(self.rows - self.slack, (self.rows + 1) // 2)
        self._check_space(self._bytes(self.rows) - self._bytes(found))
        self.directory.mkdir(parents=True, exist_ok=True)
        marks = marks or self._open_marks(kept=0)
        files = {name: self._open_file(name, kept=found) for name in self._filed()}
        checksums = RowChecksums(self.directory, self.rows, self.num_envs)
        with atomic_write(path) as file:
            file.write(
                json.dumps(self._layout() | {"rows": self.rows, "about": self.about}, indent=1)
            )
        return files, marks, checksums

    def _open_marks(self, kept: int) -> RingFile:
        path = self.directory / "written.bin"
        return RingFile(path, 1, self.num_envs, (), torch.int64, kept=kept)

    def _open_file(self, name: str, kept: int) -> RingFile:
        path = self.directory / f"{name}.bin"
        return RingFile(path, self.rows, self.num_envs, *self.fields[name], kept=kept)

    def _filed(self) -> list[str]:
        return [name for name in self.fields if name not in self.mutable]

    def _layout(self) -> dict[str, Any]:
        fields = {n: [list(s), str(d).removeprefix("torch.")] for n, (s, d) in self.fields.items()}
        return {"order": "row, world", "worlds": self.num_envs, "fields": fields}

    def _read_layout(self, path: Path) -> int:
        """Return the rows of the rings in the folder. Raises UserError for other rings."""
        try:
            found = json.loads(read_text(path))
            rows, wanted = int(found["rows"]), self._layout()
            self.about = found.get("about") or self.about
            differing = [key for key in wanted if found[key] != wanted[key]]
            if rows < 1:
                raise ValueError(f"{rows} rows")
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise UserError(
                f"replay file {path} is damaged ({type(error).__name__}: {reason(error)}) or of "
                "another version: restore it, or delete the run's folder and start a new run"
            ) from error
        if differing:
            key = differing[0]
            shown = {"worlds": "environments"}.get(key, key)
            raise UserError(
                f"replay file {path} has {shown} {found[key]} but this run needs {wanted[key]}: "
                "resume with the run's own settings, or use another folder"
            )
        return rows

    def _check_space(self, needed: int) -> None:
        parent = next(p for p in self.directory.absolute().parents if p.exists())
        free = shutil.disk_usage(parent).free
        if needed > free:
            raise UserError(
                f"the replay needs {needed / 1e9:.3g} GB in {parent} but {free / 1e9:.3g} GB are "
                "free: free some space, or ask for a smaller replay capacity"
            )

    def _bytes(self, rows: int) -> int:
        """Return the size of all files of rings of so many rows."""
        specs = [self.fields[name] for name in self._filed()]
        each = sum(dtype.itemsize * torch.Size(shape).numel() for shape, dtype in specs)
        each += torch.int64.itemsize  # of the checksum
        return self.num_envs * rows * each

    def _column(self, name: str, storage: str) -> Tensor:
        if name in self.files and storage == "disk":
            return self.files[name].tensor
        shape, dtype = self.fields[name]
        rows = self.rows * self.num_envs
        try:
            return torch.zeros(rows, *shape, dtype=dtype, device=self.device)  # (rows * N, ...)
        except RuntimeError as error:
            raise UserError(
                f"the replay's field {name!r} does not fit into the memory of {self.device}: "
                "ask for a smaller replay capacity or for storage on disk"
            ) from error

    # -- rows ----------------------------------------------------------------------------

    def index(self, row: Tensor, env: Tensor) -> Tensor:
        """Return where in `data` the row-th row ever added to an environment is kept."""
        return row % self.rows * self.num_envs + env

    def by_row(self, name: str) -> Tensor:
        """Return a field as (rows, N, ...)."""
        return self.data[name].unflatten(0, (self.rows, self.num_envs))

    def prepare(self, row: Tensor, env: Tensor) -> None:
        """Reserve disk space for new rows, and mark them as written before they are.

        A mark is at most one lap ahead of the ring.

        Args:
            row: number of the row since the beginning of each environment, (n,).
            env: the environments, (n,).

        Raises:
            UserError: the disk is full.
        """
        blocks = row % self.rows // memmap.BLOCK_ROWS
        for block in blocks[~self._reserved[blocks]].unique().tolist():
            for file in (*self.files.values(), self.checksums.file):
                file.reserve(block)
            self._reserved[block] = True
        if self.storage == "disk":
            self._mark(row, env)

    def _mark(self, row: Tensor, env: Tensor) -> None:
        marks = torch.minimum(self.written[env], row + self.rows)
        self.written[env] = torch.maximum(marks, row + 1)

    def added(self, row: Tensor, env: Tensor) -> None:
        """Write the checksums of new rows, whose arguments `prepare` describes."""
        if self.storage == "disk":
            self.checksums.seal(self._bytes_of_fields(), row, env)

    def copy_to_files(self, row: Tensor, env: Tensor) -> None:
        """Copy rows (n,) of one environment () to the files, where tensors are not the files."""
        if self.storage == "disk" or not len(row):
            return
        self._mark(row[-1], env)
        index = self.index(row, env)
        for name, file in self.files.items():
            file.tensor[index] = self.data[name][index.to(self.device)].cpu()
        self.checksums.seal(self._bytes_of_fields(), row, env)

    def seal(self) -> None:
        """Write the checksums of all rows in the files, which an earlier version wrote."""
        for env, count in enumerate(self.written.tolist()):
            row = torch.arange(max(0, count - self.rows), count)
            self.checksums.seal(self._bytes_of_fields(), row, torch.tensor(env))

    def kept(self, count: Tensor) -> Tensor:
        """Return how many rows up to the `count` newest, (N,) each, were not overwritten since."""
        return (self.rows - (self.written - count)).clamp(min=0)

    def verified(self, count: Tensor, size: Tensor, digest: Tensor) -> Tensor:
        """Check the rows that a state could sample.

        Args:
            count: rows ever added to each environment, (N,).
            size: those that could be sampled, (N,).
            digest: `RowChecksums.digest` of these.

        Returns:
            those that can still be sampled, (N,): the others were overwritten since.

        Raises:
            UserError: a row has changed but was not overwritten.
        """
        found, kept, data = size.clone(), self.kept(count), self._bytes_of_fields()
        for env in range(self.num_envs):
            row = torch.arange(int(count[env] - size[env]), int(count[env]))
            bad = row[~self.checksums.intact(data, row, torch.tensor(env))]
            if len(bad) and bad[-1] >= count[env] - kept[env]:
                raise self._changed(f"{len(bad)} rows of environment {env}")
            if len(bad):
                found[env] = count[env] - 1 - bad[-1]
        whole = torch.equal(self.checksums.digest(count - size, count), digest)
        if torch.equal(found, size) and not whole:
            raise self._changed("its rows")
        return found.clamp(max=self.window)

    def _changed(self, what: str) -> UserError:
        return UserError(
            f"the replay in {self.directory} is damaged ({what} changed since the checkpoint): "
            "restore the folder that belongs to it, or start a new run"
        )

    def _bytes_of_fields(self) -> list[np.ndarray]:
        return [file.values for file in self.files.values()]

    def copy_from_files(self, rows: int) -> None:
        """Copy the first `rows` rows of every ring from files to tensors."""
        end = rows * self.num_envs
        for name, file in self.files.items():
            if self.data[name] is not file.tensor:
                self.data[name][:end] = file.tensor[:end].to(self.device)

    def flush(self) -> None:
        """Write every file to the disk."""
        for file in (*self.files.values(), self.checksums.file, self._marks):
            file.flush()
