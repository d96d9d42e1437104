"""Replay buffer: one ring of rows for each environment, sampled as sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.data.rings import Fields, Rings
from aef_worldmodel.utils.errors import UserError

Rows = dict[str, Tensor]  # field -> values, and "index"
HELD_OUT = "held_out"  # the field of rows that are not sampled


class Replay:
    """Replay buffer of a batch of environments, from which sequences are drawn.

    A row holds one value of every field, for instance a frame (3, 64, 64) uint8, the action taken
    after it, the reward that arrived with it and the flags `first` and `terminal`. A sequence is
    `length` rows in the order they were added to one environment. It may cross episodes (`first`
    marks where) but never the place where the ring is being written.

    Where rows are kept (`storage`):
        "disk": memory-mapped files in `directory/replay`. A million 64x64 frames are 12.3 GB, more
            than the RAM of many machines, but the page cache serves recent rows at the speed of
            RAM, and rows survive a killed process without any copying at a checkpoint.
        "memory", "cuda": tensors in RAM or on the GPU; `flush` appends new rows to the files.

    *Mutable* fields (the recurrent state that the learner refreshes) are in memory and saved inside
    `state_dict`, so that a resumed run has exactly the values of its checkpoint. They add
    `capacity * bytes` to every checkpoint: keep them in float16.

    Each ring has `slack` more rows than are sampled from. Rows written after a checkpoint go there
    first, so going back to the checkpoint loses nothing as long as at most `slack` rows of each
    environment were added since. Beyond that, rows that were overwritten are left out on loading.

    Where a row's field `held_out` (bool, if there is one) is true, no sequence that is sampled has
    the row; `sample` with `held_out` draws from these rows alone.

    A folder that exists keeps its rows. Its rings grow to a larger capacity as long as none has
    come round; otherwise they keep their size, of which at most half is slack.

    Args:
        directory: the run's folder; rows are kept in its subfolder `replay`.
        fields: name -> (shape, dtype) of one row.
        num_envs: number of environments N.
        capacity: rows that can be sampled, over all environments.
        slack: further rows of each environment, at least those added between two checkpoints.
        storage: "disk", "memory" or "cuda" (any torch device name of a GPU).
        mutable: names of the fields that `write` may change.
        about: description of the rows that `layout.json` keeps from the beginning.

    Raises:
        UserError: the files there are damaged or hold other fields, or the disk is too small.
        ValueError: an argument is out of range.

    Example:
        >>> import tempfile
        >>> fields = {"frame": ((3, 8, 8), torch.uint8), "reward": ((), torch.float32)}
        >>> replay = Replay(tempfile.mkdtemp(), fields, num_envs=2, capacity=100, slack=10)
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
        num_envs: int,
        capacity: int,
        slack: int,
        storage: str = "disk",
        mutable: tuple[str, ...] = (),
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.fields = {name: (tuple(shape), dtype) for name, (shape, dtype) in fields.items()}
        self.num_envs, self.mutable = num_envs, tuple(mutable)
        self._check_arguments(capacity, slack)
        folder, window = Path(directory) / "replay", capacity // num_envs
        self.rings = Rings(
            folder, self.fields, num_envs, window, slack, storage, self.mutable, about
        )
        self.data, self.device = self.rings.data, self.rings.device
        self.count = torch.zeros(num_envs, dtype=torch.int64)  # rows ever added, by environment
        self.size = torch.zeros(num_envs, dtype=torch.int64)  # those that can be sampled
        self._flushed = torch.zeros(num_envs, dtype=torch.int64)

    def _check_arguments(self, capacity: int, slack: int) -> None:
        if self.num_envs < 1 or capacity < self.num_envs or slack < 0:
            raise ValueError(
                "a replay needs at least one environment, one row for each and slack >= 0; got "
                f"num_envs={self.num_envs}, capacity={capacity}, slack={slack}"
            )
        unknown = set(self.mutable) - set(self.fields)
        if unknown:
            raise ValueError(f"mutable fields {sorted(unknown)} are not among {list(self.fields)}")

    def __len__(self) -> int:
        """Return how many rows can be sampled, over all environments."""
        return int(self.size.sum())

    @property
    def rows_per_env(self) -> Tensor:
        """Rows that can be sampled from each environment, (N,) int64."""
        return self.size.clone()

    # -- rows in, sequences out ----------------------------------------------------------

    def add(self, rows: Mapping[str, Tensor], envs: Tensor | None = None) -> None:
        """Append one row to each environment, or to each of `envs`.

        Args:
            rows: name -> (N, ...) or (len(envs), ...), for every field.
            envs: distinct indices of environments, (n,) int64; None for all.

        Raises:
            ValueError: a field is missing, unknown or of the wrong shape.
            UserError: the disk is full.
        """
        envs = torch.arange(self.num_envs) if envs is None else envs.cpu()
        self._check_rows(rows, len(envs))
        number = self.count[envs]  # (n,)
        self.rings.prepare(number, envs)
        index = self.rings.index(number, envs).to(self.device)  # (n,)
        for name, column in self.data.items():
            column.index_copy_(0, index, rows[name].to(self.device, column.dtype))
        self.rings.added(number, envs)
        self.count[envs] += 1
        self.size[envs] = (self.size[envs] + 1).clamp(max=self.rings.window)

    def _check_rows(self, rows: Mapping[str, Tensor], number: int) -> None:
        if rows.keys() != self.fields.keys():
            raise ValueError(f"rows have fields {sorted(rows)}, expected {sorted(self.fields)}")
        for name, (shape, _) in self.fields.items():
            if rows[name].shape != (number, *shape):
                raise ValueError(
                    f"field {name!r} has shape {tuple(rows[name].shape)}, expected "
                    f"{(number, *shape)}"
                )

    def sample(
        self,
        batch: int,
        length: int,
        generator: torch.Generator | None = None,
        recency: float = 1.0,
        held_out: bool = False,
    ) -> Rows:
        """Draw sequences from all places where one can start.

        Environments are drawn in proportion to their places. Of the s places of an environment,
        newest first, place `s u^recency` is taken, with u uniform. So half of the draws start in
        the newest `2^-recency` of the rows: uniform with 1, in the newest eighth with 3.

        Args:
            batch: number of sequences B, drawn with replacement.
            length: rows of a sequence T.
            generator: a CPU generator; None for torch's default.
            recency: at least 1.
            held_out: draw sequences of rows that are held out; else of those that are not.

        Returns:
            name -> (B, T, ...) for every field, and "index" (B, T) int64 on the CPU for
            `future_rows` and `write`.

        Raises:
            ValueError: no environment has `length` rows yet.
        """
        starts, places = self._places(length, held_out)  # (N,), (S,)
        ends = starts.cumsum(0)
        if length < 1 or not ends[-1]:
            longest = int(self.size.max())
            kind = " that are held out" if held_out else ""
            raise ValueError(
                f"no environment has {length} rows{kind} to sample: the longest has {longest}"
            )
        draw = torch.randint(int(ends[-1]), (batch,), generator=generator)  # (B,)
        env = torch.searchsorted(ends, draw, right=True)
        if recency != 1:
            u = torch.rand(batch, generator=generator, dtype=torch.float64)
            draw = (ends - 1)[env] - (starts[env] * u**recency).long()
        row = draw - (ends - starts)[env] + (self.count - self.size)[env]
        row = row if places is None else places[draw]
        row = row[:, None] + torch.arange(length)  # (B, T)
        index = self.rings.index(row, env[:, None])
        return {**self._gather(index, self.data), "index": index}

    def can_sample(self, length: int, held_out: bool = False) -> bool:
        """Return whether `sample` finds a sequence of so many rows."""
        return bool(self._places(length, held_out)[0].any())

    def _places(self, length: int, held_out: bool) -> tuple[Tensor, Tensor | None]:
        """Return how many sequences can start in each environment (N,), and their rows (S,).

        The rows are in the order of the environments, oldest first; None for all there are.
        """
        starts = (self.size - length + 1).clamp(min=0)
        if HELD_OUT not in self.fields:
            return starts * (not held_out), None
        kept, places = self.rings.by_row(HELD_OUT), []  # (rows, N) bool
        for env, size in enumerate(self.size.tolist()):
            row = torch.arange(int(self.count[env]) - size, int(self.count[env]))
            flags = kept[(row % self.rings.rows).to(self.device), env].cpu() == held_out  # (size,)
            run = torch.nn.functional.pad(flags.cumsum(0), (1, 0))  # rows of this kind before
            fits = run[length:] - run[:-length] == length if length <= size else run[:0] > 0
            places.append(row[: len(fits)][fits])
        return torch.tensor([len(rows) for rows in places]), torch.cat(places)

    def newest(self, name: str) -> Tensor:
        """Return a field of each environment's newest row, (N, ...) on the CPU."""
        index = self.rings.index(self.count - 1, torch.arange(self.num_envs))
        return self.data[name].index_select(0, index.to(self.device)).cpu()

    def future_rows(self, index: Tensor, count: int, names: Sequence[str]) -> Rows:
        """Return the `count` rows K that were added after some rows, each of its environment.

        Args:
            index: "index" of sampled rows, (B,) int64, on the CPU.
            count: K.
            names: fields.

        Returns:
            name -> (B, K, ...), and "valid" (B, K) bool: false beyond the newest row of an
            environment, where the values are 0.
        """
        place, env = index // self.num_envs, index % self.num_envs
        newer = (self.count[env] - 1 - place) % self.rings.rows  # (B,) rows added since
        step = torch.arange(1, count + 1)  # (K,)
        where = self.rings.index(place[:, None] + step, env[:, None])  # (B, K)
        valid = (step <= newer[:, None]).to(self.device)
        rows = self._gather(where, names)
        # rows beyond the newest may hold what a killed run wrote there: never read it
        for name, values in rows.items():
            outside = ~valid.view(*valid.shape, *(1,) * (values.dim() - 2))
            rows[name] = values.masked_fill(outside, 0)
        return {**rows, "valid": valid}

    def _gather(self, index: Tensor, names: Sequence[str] | Mapping[str, Tensor]) -> Rows:
        where = index.flatten().to(self.device)
        return {
            name: self.data[name].index_select(0, where).unflatten(0, index.shape) for name in names
        }

    def write(self, name: str, index: Tensor, values: Tensor) -> None:
        """Replace values of a mutable field.

        Args:
            name: a field named in `mutable`.
            index: "index" of sampled rows, (B, T), or any part of it.
            values: new values, (B, T, ...); of rows that occur twice one value stays.

        Raises:
            ValueError: the field is not mutable.
        """
        if name not in self.mutable:
            raise ValueError(f"field {name!r} cannot be written; mutable are {self.mutable}")
        column = self.data[name]
        values = values.detach().to(self.device, column.dtype).reshape(-1, *column.shape[1:])
        column.index_copy_(0, index.flatten().to(self.device), values)

    # -- checkpoints ---------------------------------------------------------------------

    def flush(self) -> None:
        """Write every row added so far to the disk."""
        for env in range(self.num_envs):
            begin = max(int(self._flushed[env]), int(self.count[env]) - self.rings.rows)
            row = torch.arange(begin, int(self.count[env]))
            self.rings.copy_to_files(row, torch.tensor(env))
        self._flushed = self.count.clone()
        self.rings.flush()

    def state_dict(self) -> dict[str, Tensor]:
        """Return counts, mutable fields and a digest, after writing the rows to the disk."""
        self.flush()
        used = min(int(self.count.max()), self.rings.rows)
        mutable = {n: self.rings.by_row(n)[:used].cpu().clone() for n in self.mutable}
        digest = self.rings.checksums.digest(self.count - self.size, self.count)
        counts = {"count": self.count.clone(), "size": self.size.clone()}
        return counts | {"digest": digest} | mutable

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to the rows that could be sampled when `state` was taken.

        Raises:
            UserError: the state is of another replay or newer than the files, or a row is not
                what was written.
        """
        self._check_state(state)
        rings = self.rings
        self.count, size = state["count"].cpu().clone(), state["size"].cpu()
        if "digest" in state:
            self.size = rings.verified(self.count, size, state["digest"].cpu())
        else:  # of an earlier version, without checksums
            self.size = torch.minimum(size, rings.kept(self.count)).clamp(max=rings.window)
            rings.seal()
        self._flushed = self.count.clone()
        used = min(int(self.count.max()), rings.rows)
        for name in self.mutable:
            rings.by_row(name)[:used] = state[name].to(self.device)
        rings.copy_from_files(used)

    def _check_state(self, state: Mapping[str, Tensor]) -> None:
        expected: dict[str, tuple[int, ...]] = {"count": (self.num_envs,), "size": (self.num_envs,)}
        used = min(int(state["count"].max()), self.rings.rows) if "count" in state else 0
        if "digest" in state:
            expected["digest"] = (32,)
        for name in self.mutable:
            expected[name] = (used, self.num_envs, *self.fields[name][0])
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if found != expected:
            raise UserError(
                f"the checkpoint's replay state does not fit {self.rings.directory}: it has the "
                f"shapes {found}, expected {expected}; resume with the run's own settings"
            )
        if (self.rings.written < state["count"].cpu()).any():
            raise UserError(
                f"the replay in {self.rings.directory} is older than the checkpoint (rows are "
                "missing): restore the folder that belongs to it, or start a new run"
            )
