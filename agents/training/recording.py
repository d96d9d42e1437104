"""The rows a run has recorded, as data for other learners; the run's files stay untouched."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.data.checksums import RowChecksums
from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import check_regular, read_bytes, read_text

FAULTS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class Recording:
    """A read-only view of the replay buffer in a run's folder, sampled as `Replay.sample` does.

    Recurrent states are kept here, in memory, and begin at zero.

    Args:
        run: the run's folder.

    Raises:
        UserError: there is no replay buffer, or it is damaged.
    """

    def __init__(self, run: str | Path) -> None:
        self.folder = Path(run) / "replay"
        try:
            layout = json.loads(read_text(self.folder / "layout.json"))
            self.rows, self.rings = int(layout["rows"]), int(layout["worlds"])
            fields = layout["fields"]
            recurrent_dim = fields.pop("recurrent")[0][0]
            maps = {name: self._map(name, *spec) for name, spec in fields.items()}
            written = read_bytes(self.folder / "written.bin", 8 * self.rings)
            self.count = torch.frombuffer(bytearray(written), dtype=torch.int64) - 1
            self._check(maps)
        except FAULTS as error:
            raise UserError(
                f"cannot read the replay buffer in {self.folder} ({reason(error)}): give the "
                "folder of a run that has recorded experience"
            ) from error
        self.data = {name: torch.from_numpy(values) for name, values in maps.items()}
        self.reset(recurrent_dim)

    def _map(self, name: str, shape: list[int], dtype: str) -> np.ndarray:
        path, size = self.folder / f"{name}.bin", self.rows * self.rings
        check_regular(path, sys.maxsize)
        kind = getattr(np, dtype.replace("bool", "bool_"))
        # copy on write: nothing reaches the file
        return np.memmap(path, kind, "c", shape=(size, *shape)).view(np.ndarray)

    def _check(self, maps: dict[str, np.ndarray]) -> None:
        """Raise ValueError for a row that is not what was written, where rows have checksums."""
        if len(self.count) != self.rings or (self.size < 0).any():
            raise ValueError("written.bin does not fit")
        if not (self.folder / "checksum.bin").exists():  # of an earlier version
            return
        checksums = RowChecksums(self.folder, self.rows, self.rings)
        data = [values.reshape(len(values), -1).view(np.uint8) for values in maps.values()]
        for env, (count, size) in enumerate(zip(self.count.tolist(), self.size.tolist())):
            bad = ~checksums.intact(data, torch.arange(count - size, count), torch.tensor(env))
            if bad.any():
                raise ValueError(f"{int(bad.sum())} rows changed after they were written")
            if checksums.beyond(count, env):
                raise ValueError("written.bin is older than the rows")

    @property
    def size(self) -> Tensor:
        """Rows of each ring that can be sampled, (N,): not the newest, which may be unfinished."""
        return self.count.clamp(0, self.rows - 1)

    def reset(self, recurrent_dim: int) -> None:
        """Forget the recurrent states; new ones have H = `recurrent_dim` dimensions."""
        self.recurrent = torch.zeros(self.rows * self.rings, recurrent_dim, dtype=torch.float16)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """(C, H, W), or (P,) of states."""
        return tuple(self.data["frame"].shape[1:])

    @property
    def action_dim(self) -> int:
        """A."""
        return self.data["action"].shape[1]

    def __len__(self) -> int:
        """Return how many rows can be sampled, over all environments."""
        return int(self.size.sum())

    def sample(self, batch: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw sequences uniformly over all places where one can start.

        Returns name -> (B, T, ...), and "index" (B, T) for `write`. Raises UserError if no
        environment has `length` rows.
        """
        size = self.size
        starts = (size - length + 1).clamp(min=0)  # (N,)
        ends = starts.cumsum(0)
        if not ends[-1]:
            raise UserError(f"no environment in {self.folder} has {length} rows: let the run go on")
        draw = torch.randint(int(ends[-1]), (batch,), generator=generator)  # (B,)
        ring = torch.searchsorted(ends, draw, right=True)
        row = draw - (ends - starts)[ring] + (self.count - size)[ring]
        row = row[:, None] + torch.arange(length)  # (B, T)
        index = row % self.rows * self.rings + ring[:, None]
        rows = {name: column[index] for name, column in self.data.items()}
        return {**rows, "recurrent": self.recurrent[index], "index": index}

    def write(self, index: Tensor, recurrent: Tensor) -> None:
        """Replace the recurrent states (B, T, H) of rows `index` (B, T)."""
        self.recurrent[index] = recurrent.to(self.recurrent)
