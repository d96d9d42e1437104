"""The rows a run has recorded, as data for other learners; the run's files stay untouched."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.errors import UserError


class Recording:
    """Read-only view of the replay in a run's folder, sampled as `Replay.sample` does.

    Recurrent states are kept here, in memory, from zeros on.

    Args:
        run: the run's folder.

    Raises:
        UserError: there is no replay, or it is damaged.
    """

    def __init__(self, run: str | Path):
        self.folder = Path(run) / "replay"
        try:
            layout = json.loads((self.folder / "layout.json").read_text())
            self.rows, self.worlds = int(layout["rows"]), int(layout["worlds"])
            fields = layout["fields"]
            recurrent_dim = fields.pop("recurrent")[0][0]
            self.data = {name: self._map(name, *spec) for name, spec in fields.items()}
            written = np.fromfile(self.folder / "written.bin", np.int64, self.worlds)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"cannot read the replay in {self.folder} ({error}): name the folder of a run that "
                "has recorded experience"
            ) from error
        self.count = torch.from_numpy(written) - 1  # the newest row may be unfinished
        self.reset(recurrent_dim)

    def _map(self, name: str, shape: list[int], dtype: str) -> Tensor:
        path, size = self.folder / f"{name}.bin", self.rows * self.worlds
        array = np.memmap(path, getattr(np, dtype.replace("bool", "bool_")), "c",
                          shape=(size, *shape))  # fmt: skip
        return torch.from_numpy(array)  # copy on write: nothing reaches the file

    def reset(self, recurrent_dim: int) -> None:
        """Forgets the recurrent states; from now on they are of H = `recurrent_dim` dimensions."""
        self.recurrent = torch.zeros(self.rows * self.worlds, recurrent_dim, dtype=torch.float16)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return tuple(self.data["frame"].shape[1:])

    @property
    def action_dim(self) -> int:
        """A."""
        return self.data["action"].shape[1]

    def __len__(self) -> int:
        """Rows that can be sampled, over all worlds."""
        return int(self.count.clamp(0, self.rows).sum())

    def sample(self, batch: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Sequences drawn uniformly over all places where one can start: name -> (B, T, ...),
        and "index" (B, T) for `write`. Raises UserError if no world has `length` rows."""
        size = self.count.clamp(0, self.rows)
        starts = (size - length + 1).clamp(min=0)  # (N,)
        ends = starts.cumsum(0)
        if not ends[-1]:
            raise UserError(f"no world in {self.folder} has {length} rows: let the run go on")
        draw = torch.randint(int(ends[-1]), (batch,), generator=generator)  # (B,)
        world = torch.searchsorted(ends, draw, right=True)
        row = draw - (ends - starts)[world] + (self.count - size)[world]
        row = row[:, None] + torch.arange(length)  # (B, T)
        index = row % self.rows * self.worlds + world[:, None]
        rows = {name: column[index] for name, column in self.data.items()}
        return {**rows, "recurrent": self.recurrent[index], "index": index}

    def write(self, index: Tensor, recurrent: Tensor) -> None:
        """Replaces the recurrent states (B, T, H) of rows `index` (B, T)."""
        self.recurrent[index] = recurrent.to(self.recurrent)
