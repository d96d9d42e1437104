"""Make the images shipped in aef_worldmodel/data/builtin: `python -m benchmarks.builtin_data`.

frames are 1,000 images of each task in `datasets.FRAMES` (40 environments, seed 0), a PNG for each
task. digits come from scikit-learn. Every byte of the images is the same when they are made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from aef_worldmodel.data.datasets import FRAMES, fold_frames
from aef_worldmodel.data.render_dataset import render_frames
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.errors import UserError
from agents.config import train as settings


@dataclass(frozen=True)
class BuiltinDataConfig:
    """Settings of `python -m benchmarks.builtin_data`."""

    make: tuple[Literal["digits", "frames"], ...] = ("digits", "frames")
    """Sets of images."""
    out: str = "aef_worldmodel/data/builtin"
    """Folder of the images."""


def digits(folder: Path) -> None:
    """Write 8x8 digits with levels 0..16. Raises UserError without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "make=[digits] takes them from scikit-learn: pip install -e '.[benchmarks]'"
        ) from error
    np.savez_compressed(folder / "digits.npz", digits=load_digits().images.astype(np.uint8))


def frames(folder: Path) -> None:
    """Write one sheet for each task, with one row for each environment."""
    for task in FRAMES:
        fold_frames(render_frames(task, 1000)[0]).save(folder / f"{task}.png", optimize=True)


def main(argv: Sequence[str]) -> None:
    """Make the images."""
    asked = settings.load(argv, BuiltinDataConfig, "benchmarks.builtin_data")
    folder = Path(asked.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in asked.make:
        {"digits": digits, "frames": frames}[name](folder)
        print(f"{name}: written to {folder}")


if __name__ == "__main__":
    run_command(main)
