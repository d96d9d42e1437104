"""Recorded episodes on disk: one NumPy archive for each and one description for all.

    data/info.json                     format, task, policy, seed, versions
    data/episode_000000.npz            frame (T, C, H, W) uint8, action (T, A) float32,
                                       reward (T,) float32, first (T,) bool, terminal (T,) bool

Row t holds a frame, the reward that arrived with it and the action taken on seeing it, as in the
replay buffer: the first row's reward and the last row's action are 0. An episode of 500 decisions
has 501 rows. `terminal` is true in the last row of an episode that ended, and nowhere in one that
was cut short.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.data.arrays import DAMAGE, read_arrays
from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import atomic_write, read_text

FORMAT = 1
FIELDS = ("frame", "action", "reward", "first", "terminal")


def episode_path(folder: str | Path, number: int) -> Path:
    """Return the file of the number-th episode."""
    return Path(folder) / f"episode_{number:06d}.npz"


def write_episode(folder: str | Path, number: int, rows: Mapping[str, Tensor]) -> None:
    """Write an episode, compressed; the file is whole or absent.

    Args:
        folder: folder of the episodes.
        number: of this episode.
        rows: name -> (T, ...) for each of `FIELDS`.

    Raises:
        ValueError: the rows have other fields, or fields of different lengths.
        UserError: the file cannot be written.
    """
    if set(rows) != set(FIELDS) or len({len(value) for value in rows.values()}) != 1:
        shapes = {name: tuple(value.shape) for name, value in rows.items()}
        raise ValueError(f"an episode needs {', '.join(FIELDS)} of one length, not {shapes}")
    arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in rows.items()}
    with atomic_write(episode_path(folder, number), "wb") as file:
        np.savez_compressed(file, **arrays)


def read_episode(path: str | Path) -> dict[str, Tensor]:
    """Return the rows of an episode. Raises UserError, naming the file, if it is damaged."""
    return _read(path, FIELDS)


def count_rows(path: str | Path) -> int:
    """Return how many rows an episode has, without reading its frames. Raises as above."""
    return len(_read(path, ("first",))["first"])


def _read(path: str | Path, names: Sequence[str]) -> dict[str, Tensor]:
    try:
        arrays = read_arrays(path, names)
        return {name: torch.from_numpy(arrays[name]) for name in names}
    except DAMAGE as error:
        raise UserError(
            f"{path} is not a recorded episode ({reason(error)}): delete it and collect it again"
        ) from error


def list_episodes(folder: str | Path) -> list[Path]:
    """Return the files of a folder's episodes, in order."""
    return sorted(Path(folder).glob("episode_*.npz"))


def read_episodes(folder: str | Path) -> Iterator[dict[str, Tensor]]:
    """Yield the episodes of a folder, one at a time."""
    return map(read_episode, list_episodes(folder))


def write_info(folder: str | Path, info: Mapping[str, object]) -> None:
    """Write the description of a folder's episodes. Raises UserError if it cannot be written."""
    with atomic_write(Path(folder) / "info.json") as file:
        file.write(json.dumps({"format": FORMAT, **info}, indent=1) + "\n")


def read_info(folder: str | Path) -> dict:
    """Return the description of a folder's episodes.

    Raises UserError if it is missing, damaged, or of a newer format.
    """
    path = Path(folder) / "info.json"
    try:
        info = json.loads(read_text(path))
        version = int(info["format"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{folder} holds no recorded episodes (info.json: {reason(error)}): make them with "
            "python -m agents.collect out=FOLDER"
        ) from error
    if version > FORMAT:
        raise UserError(
            f"{path} has format {version}, this version reads up to {FORMAT}: "
            "install a newer aef-worldmodel"
        )
    return info
