"""Recorded episodes on disk: one NumPy archive an episode and one description for all.

    data/info.json                     format, task, policy, seed, versions
    data/episode_000000.npz            frame (T, C, H, W) uint8, action (T, A) float32,
                                       reward (T,) float32, first (T,) bool, terminal (T,) bool

Row t holds a frame, the reward that arrived with it and the action taken on seeing it, as in the
replay: the first row's reward and the last row's action are 0. An episode of 500 decisions has 501
rows. `terminal` is true in the last row of an episode that ended, and nowhere in one cut short.
"""

import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.errors import UserError, writing

FORMAT = 1
FIELDS = ("frame", "action", "reward", "first", "terminal")


def episode_path(folder: str | Path, number: int) -> Path:
    """The file of the number-th episode."""
    return Path(folder) / f"episode_{number:06d}.npz"


def write_episode(folder: str | Path, number: int, rows: Mapping[str, Tensor]) -> None:
    """Writes an episode, compressed; the file is whole or not there.

    Raises ValueError unless rows has the fields above, of one length, and UserError if the file
    cannot be written.
    """
    if set(rows) != set(FIELDS) or len({len(value) for value in rows.values()}) != 1:
        shapes = {name: tuple(value.shape) for name, value in rows.items()}
        raise ValueError(f"an episode has {', '.join(FIELDS)} of one length, not {shapes}")
    path = episode_path(folder, number)
    temporary = path.with_name(path.name + ".tmp")
    with writing(path):
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **{name: value.cpu().numpy() for name, value in rows.items()})
        os.replace(temporary, path)


def read_episode(path: str | Path) -> dict[str, Tensor]:
    """An episode's rows. Raises UserError, naming the file, if it is damaged."""
    return _read(path, FIELDS)


def count_rows(path: str | Path) -> int:
    """How many rows an episode has; its frames are not read. Raises UserError as above."""
    return len(_read(path, ("first",))["first"])


def _read(path: str | Path, names: Sequence[str]) -> dict[str, Tensor]:
    damages = (
        OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error,
        tokenize.TokenError, SyntaxError,
    )  # fmt: skip
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in names}
    except damages as error:
        raise UserError(
            f"{path} is not a recorded episode ({error}): delete it and collect it again"
        ) from error


def list_episodes(folder: str | Path) -> list[Path]:
    """Files of a folder's episodes, in order."""
    return sorted(Path(folder).glob("episode_*.npz"))


def read_episodes(folder: str | Path) -> Iterator[dict[str, Tensor]]:
    """The episodes of a folder, one at a time."""
    return map(read_episode, list_episodes(folder))


def write_info(folder: str | Path, info: Mapping[str, object]) -> None:
    """Writes the description of a folder's episodes."""
    path = Path(folder) / "info.json"
    temporary = path.with_suffix(".tmp")
    with writing(path):
        Path(folder).mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"format": FORMAT, **info}, indent=1) + "\n")
        os.replace(temporary, path)


def read_info(folder: str | Path) -> dict:
    """The description of a folder's episodes.

    Raises UserError if there is none, or it is of a newer format.
    """
    path = Path(folder) / "info.json"
    try:
        info = json.loads(path.read_text())
        version = int(info["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} holds no recorded episodes (info.json: {error}): make them with "
            "python -m agents.collect out=FOLDER"
        ) from error
    if version > FORMAT:
        raise UserError(f"{path} has format {version}, this version reads up to {FORMAT}: "
                        "install a newer aef-worldmodel")  # fmt: skip
    return info
