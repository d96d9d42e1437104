"""Experience: one ring of rows per world, sampled as sequences."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.errors import UserError
from aef_worldmodel.ring_file import BLOCK_ROWS, RingFile

Fields = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
Batch = dict[str, Tensor]


class Replay:
    """A ring of rows for each world, from which sequences are drawn uniformly.

    A row holds one value of every field, for instance a frame (3, 64, 64) uint8, the action taken
    after it, the reward that came with it and the flags `first` and `terminal`. A sequence is
    `length` rows in the order they were added to one world; it may cross episodes (a flag among
    the fields marks where) but never the place where the ring is being written.

    Where rows live (`storage`):
        "disk": memory-mapped files in `directory/replay`. A million 64x64 frames are 12.3 GB, more
            than many machines have RAM, yet the page cache serves recent rows at RAM speed, and
            rows survive a killed process without any copying at a checkpoint.
        "memory", "cuda": tensors in RAM or on the GPU; `flush` appends what is new to the files.

    *Mutable* fields (the recurrent state that the learner refreshes) live in memory and travel
    inside `state_dict`, so that a resumed run sees exactly the values of its checkpoint. They
    cost `capacity * bytes` in every checkpoint: keep them in float16.

    Each ring has `slack` more rows than are sampled from. Rows written after a checkpoint land
    there first, so going back to that checkpoint loses nothing as long as at most `slack` rows a
    world were added since. Beyond that the oldest overwritten rows are left out on loading.

    A folder that exists already keeps its rows. Its rings grow to a larger capacity as long as
    they have not come round; otherwise they keep the size they have, of which at most half is
    slack.

    Args:
        directory: the run's folder; rows are kept in its subfolder `replay`.
        fields: name -> (shape, dtype) of one row.
        num_worlds: number of rings N.
        capacity: rows that can be sampled, over all worlds.
        slack: further rows a world, at least those added between two checkpoints.
        storage: "disk", "memory" or "cuda" (any torch device name of a GPU).
        mutable: names of the fields that `write` may change.

    Raises:
        UserError: the files there are damaged or hold other fields, or the disk is too small.
        ValueError: an argument is out of range.

    Example:
        >>> import tempfile
        >>> fields = {"frame": ((3, 8, 8), torch.uint8), "reward": ((), torch.float32)}
        >>> replay = Replay(tempfile.mkdtemp(), fields, num_worlds=2, capacity=100, slack=10)
        >>> frame = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        >>> for _ in range(5):
        ...     replay.add({"frame": frame, "reward": torch.zeros(2)})
        >>> len(replay), replay.sample(4, 3)["frame"].shape
        (10, torch.Size([4, 3, 3, 8, 8]))
    """

    def __init__(
        self,
        directory: str | Path,
        fields: Fields,
        num_worlds: int,
        capacity: int,
        slack: int,
        storage: str = "disk",
        mutable: tuple[str, ...] = (),
    ) -> None:
        self.directory = Path(directory) / "replay"
        self.fields = {name: (tuple(shape), dtype) for name, (shape, dtype) in fields.items()}
        self.num_worlds, self.slack, self.mutable = num_worlds, slack, tuple(mutable)
        self.window = capacity // max(num_worlds, 1)  # rows of one world that can be sampled
        self._check_arguments(capacity)
        self.rows = self.window + slack  # rows of one ring
        self.device = torch.device("cpu" if storage in ("disk", "memory") else storage)
        self.count = torch.zeros(num_worlds, dtype=torch.int64)  # rows ever added to each world
        self.size = torch.zeros(num_worlds, dtype=torch.int64)  # of these, can be sampled
        self._flushed = torch.zeros(num_worlds, dtype=torch.int64)
        self._open()
        self._reserved = torch.zeros(-(-self.rows // BLOCK_ROWS), dtype=torch.bool)
        self.data = {name: self._column(name, storage) for name in self.fields}

    # ---------------------------------------------------------------- opening

    def _check_arguments(self, capacity: int) -> None:
        if self.num_worlds < 1 or self.window < 1 or self.slack < 0:
            raise ValueError(
                "a replay needs at least one world, one row a world and slack >= 0; got "
                f"num_worlds={self.num_worlds}, capacity={capacity}, slack={self.slack}"
            )
        unknown = set(self.mutable) - set(self.fields)
        if unknown:
            raise ValueError(f"mutable fields {sorted(unknown)} are not among {list(self.fields)}")

    def _layout(self) -> dict:
        fields = {n: [list(s), str(d).removeprefix("torch.")] for n, (s, d) in self.fields.items()}
        return {"order": "row, world", "worlds": self.num_worlds, "fields": fields}

    def _open(self) -> None:
        """Open the files, or create them; `layout.json` comes last and makes them valid."""
        path = self.directory / "layout.json"
        found = self._read_layout(path) if path.exists() else 0
        if found:
            self._open_marks(kept=1)
            grows = self.rows > found and bool((self.written <= found).all())
            self.rows = self.rows if grows else found
            self.window = max(self.rows - self.slack, (self.rows + 1) // 2)
        self._check_space(self._bytes(self.rows) - self._bytes(found))
        self.directory.mkdir(parents=True, exist_ok=True)
        if not found:
            self._open_marks()
        self.files = {
            name: RingFile(
                self.directory / f"{name}.bin", self.rows, self.num_worlds, *spec,
                kept=found,
            )
            for name, spec in self.fields.items()
            if name not in self.mutable
        }  # fmt: skip
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"rows": self.rows, **self._layout()}, indent=1))
        os.replace(temporary, path)

    def _open_marks(self, kept: int = 0) -> None:
        """Rows ever written to each ring, in any life of the run: what older states have lost."""
        marks = RingFile(
            self.directory / "written.bin", 1, self.num_worlds, (), torch.int64, kept=kept
        )
        self._marks, self.written = marks, marks.tensor  # (N,)

    def _read_layout(self, path: Path) -> int:
        """Rows of the rings in the folder; raises UserError where they are not ours."""
        try:
            found = json.loads(path.read_text())
            rows, wanted = int(found["rows"]), self._layout()
            differing = [key for key in wanted if found[key] != wanted[key]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"replay file {path} is damaged ({type(error).__name__}) or of another version: "
                "restore it, or delete the run's folder and start a new run"
            ) from error
        if differing:
            key = differing[0]
            raise UserError(
                f"replay file {path} holds {key}={found[key]} but this run needs {wanted[key]}: "
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
        """Size of the files of rings of so many rows."""
        kept = [spec for name, spec in self.fields.items() if name not in self.mutable]
        each = sum(dtype.itemsize * torch.Size(shape).numel() for shape, dtype in kept)
        return self.num_worlds * rows * each

    def _column(self, name: str, storage: str) -> Tensor:
        if name in self.files and storage == "disk":
            return self.files[name].tensor
        shape, dtype = self.fields[name]
        rows = self.rows * self.num_worlds
        try:
            return torch.zeros(rows, *shape, dtype=dtype, device=self.device)  # (rows * N, ...)
        except RuntimeError as error:
            raise UserError(
                f"the replay's field {name!r} does not fit into the memory of {self.device}: "
                "ask for a smaller replay capacity or for storage on disk"
            ) from error

    # ---------------------------------------------------------------- rows in, sequences out

    def __len__(self) -> int:
        """Rows that can be sampled, over all worlds."""
        return int(self.size.sum())

    @property
    def rows_per_world(self) -> Tensor:
        """Rows that can be sampled from each world, (N,) int64."""
        return self.size.clone()

    def add(self, rows: Mapping[str, Tensor], worlds: Tensor | None = None) -> None:
        """Append one row to each world, or to each of `worlds`.

        Args:
            rows: name -> (N, ...) or (len(worlds), ...), for every field.
            worlds: distinct indices of worlds, (n,) int64; all of them if None.

        Raises:
            ValueError: a field is missing, unknown or of the wrong shape.
            UserError: the disk is full.
        """
        worlds = torch.arange(self.num_worlds) if worlds is None else worlds.cpu()
        self._check_rows(rows, len(worlds))
        index = self._index(self.count[worlds], worlds)  # (n,)
        self._reserve(worlds)
        self._mark_written(worlds)
        index = index.to(self.device)
        for name, column in self.data.items():
            column.index_copy_(0, index, rows[name].to(self.device, column.dtype))
        self.count[worlds] += 1
        self.size[worlds] = (self.size[worlds] + 1).clamp(max=self.window)

    def _check_rows(self, rows: Mapping[str, Tensor], number: int) -> None:
        if rows.keys() != self.fields.keys():
            raise ValueError(f"rows have fields {sorted(rows)}, expected {sorted(self.fields)}")
        for name, (shape, _) in self.fields.items():
            if rows[name].shape != (number, *shape):
                raise ValueError(
                    f"field {name!r} has shape {tuple(rows[name].shape)}, expected "
                    f"{(number, *shape)}"
                )

    def _reserve(self, worlds: Tensor) -> None:
        """Reserve disk space for the next row of each world, a block at a time."""
        blocks = self.count[worlds] % self.rows // BLOCK_ROWS
        for block in blocks[~self._reserved[blocks]].unique().tolist():
            for file in self.files.values():
                file.reserve(block)
            self._reserved[block] = True

    def _mark_written(self, worlds: Tensor) -> None:
        """Note, before it happens, that a row is written; a mark is at most one lap ahead."""
        count = self.count[worlds]
        marks = torch.minimum(self.written[worlds], count + self.rows)
        self.written[worlds] = torch.maximum(marks, count + 1)

    def sample(self, batch: int, length: int, generator: torch.Generator | None = None,
               recency: float = 1.0) -> Batch:
        """Draw sequences from all places where one can start.

        Worlds are drawn by how many places they have; of a world's s places, newest first, the one
        at `s u^recency` is taken, u uniform. So half of the draws begin in the newest
        `2^-recency` of the rows: all alike with 1, in the newest eighth with 3.

        Args:
            batch: number of sequences B, drawn with replacement.
            length: rows of a sequence T.
            generator: a CPU generator; torch's default if None.
            recency: at least 1.

        Returns:
            name -> (B, T, ...) for every field, and "index" (B, T) int64 on the CPU for
            `following` and `write`.

        Raises:
            ValueError: no world has `length` rows yet.
        """
        starts = (self.size - length + 1).clamp(min=0)  # (N,) places to start in each world
        ends = starts.cumsum(0)
        if length < 1 or not ends[-1]:
            raise ValueError(
                f"no world has {length} rows to sample: the longest has {int(self.size.max())}"
            )
        draw = torch.randint(int(ends[-1]), (batch,), generator=generator)  # (B,)
        world = torch.searchsorted(ends, draw, right=True)
        if recency != 1:
            u = torch.rand(batch, generator=generator, dtype=torch.float64)
            draw = (ends - 1)[world] - (starts[world] * u**recency).long()
        row = draw - (ends - starts)[world] + (self.count - self.size)[world]
        row = row[:, None] + torch.arange(length)  # (B, T)
        index = self._index(row, world[:, None])
        where = index.flatten().to(self.device)
        gathered = {
            name: column.index_select(0, where).unflatten(0, (batch, length))
            for name, column in self.data.items()
        }
        return {**gathered, "index": index}

    def following(self, index: Tensor, count: int, names: Sequence[str]) -> Batch:
        """The `count` rows K that were added after some rows, each to its world.

        Args:
            index: where `sample` found the rows, (B,) int64, on the CPU.
            count: K; what lies beyond a world's newest row is marked, as many as it may be.
            names: of fields.

        Returns:
            name -> (B, K, ...), and "there" (B, K) bool: false beyond a world's newest row, where
            what the fields hold means nothing.
        """
        place, world = index // self.num_worlds, index % self.num_worlds
        newer = (self.count[world] - 1 - place) % self.rows  # (B,) rows added since
        step = torch.arange(1, count + 1)  # (K,)
        where = self._index(place[:, None] + step, world[:, None]).to(self.device)  # (B, K)
        found = {
            name: self.data[name].index_select(0, where.flatten()).unflatten(0, where.shape)
            for name in names
        }
        return {**found, "there": (step <= newer[:, None]).to(self.device)}

    def write(self, name: str, index: Tensor, values: Tensor) -> None:
        """Replace a mutable field where `sample` found it.

        Args:
            name: a field named in `mutable`.
            index: "index" of a sample, (B, T); or any part of it.
            values: new values, (B, T, ...); where rows occur twice one of the values stays.

        Raises:
            ValueError: the field is not mutable.
        """
        if name not in self.mutable:
            raise ValueError(f"field {name!r} cannot be written; mutable are {self.mutable}")
        column = self.data[name]
        values = values.detach().to(self.device, column.dtype).reshape(-1, *column.shape[1:])
        column.index_copy_(0, index.flatten().to(self.device), values)

    # ---------------------------------------------------------------- checkpoints

    def flush(self) -> None:
        """Bring every row added so far to the disk."""
        for world in range(self.num_worlds):
            begin = max(int(self._flushed[world]), int(self.count[world]) - self.rows)
            row = torch.arange(begin, int(self.count[world]))
            self._copy_to_files(self._index(row, torch.tensor(world)))
        self._flushed = self.count.clone()
        for file in (*self.files.values(), self._marks):
            file.flush()

    def _copy_to_files(self, index: Tensor) -> None:
        for name, file in self.files.items():
            if self.data[name] is not file.tensor:
                file.tensor[index] = self.data[name][index.to(self.device)].cpu()

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold: pointers and mutable fields. Flushes the rows first."""
        self.flush()
        used = min(int(self.count.max()), self.rows)
        mutable = {n: self._by_row(n)[:used].cpu().clone() for n in self.mutable}
        return {"count": self.count.clone(), "size": self.size.clone(), **mutable}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to the rows that could be sampled when `state` was taken.

        Raises:
            UserError: the state is of another replay, or newer than the files.
        """
        self._check_state(state)
        self.count, size = state["count"].cpu().clone(), state["size"].cpu()
        kept = (self.rows - (self.written - self.count)).clamp(min=0)  # not overwritten since
        self.size = torch.minimum(size, kept).clamp(max=self.window)
        self._flushed = self.count.clone()
        used = min(int(self.count.max()), self.rows)
        for name in self.mutable:
            self._by_row(name)[:used] = state[name].to(self.device)
        for name, file in self.files.items():
            if self.data[name] is not file.tensor:
                end = used * self.num_worlds
                self.data[name][:end] = file.tensor[:end].to(self.device)

    def _check_state(self, state: Mapping[str, Tensor]) -> None:
        expected = {"count": (self.num_worlds,), "size": (self.num_worlds,)}
        used = min(int(state["count"].max()), self.rows) if "count" in state else 0
        for name in self.mutable:
            expected[name] = (used, self.num_worlds, *self.fields[name][0])
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if found != expected:
            raise UserError(
                f"the checkpoint's replay state does not fit {self.directory}: it has the shapes "
                f"{found}, expected {expected}; resume with the run's own settings"
            )
        if (self.written < state["count"].cpu()).any():
            raise UserError(
                f"the replay in {self.directory} is older than the checkpoint (rows are missing): "
                "restore the folder that belongs to it, or start a new run"
            )

    def _index(self, row: Tensor, world: Tensor) -> Tensor:
        """Where the row-th row ever added to a world is kept."""
        return row % self.rows * self.num_worlds + world

    def _by_row(self, name: str) -> Tensor:
        return self.data[name].unflatten(0, (self.rows, self.num_worlds))  # (rows, N, ...)
