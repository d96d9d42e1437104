"""`log=[tensorboard]`: event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aef_worldmodel.utils.files import as_utf8
from aef_worldmodel.viz.event_file import EventFile
from agents.training.logging.base import LOG_WRITERS, LogWriter, require

LONGEST = 100  # images of a video


@LOG_WRITERS.register("tensorboard")
class TensorBoardWriter(LogWriter):
    """RUN/tensorboard: scalars, images, films as animated GIFs, and the settings of a new run.

    Films are made small, and beyond 64 MiB a run's record takes numbers only: RUN/videos has them.
    Films of whole episodes are left to `files`.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], resumed_at: int | None) -> None:
        require("tensorboard", "tensorboard")
        self.board = EventFile(run / "tensorboard", None if resumed_at is None else resumed_at + 1)
        if resumed_at is None:
            hparams = require("torch.utils.tensorboard.summary", "tensorboard").hparams
            self.board.add(hparams(flatten(config), {"eval/return": 0.0}))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers."""
        self.board.scalars(step, values)

    def image(self, step: int, name: str, picture: Tensor) -> None:
        """Record an image."""
        self.board.image(step, name, picture)

    def video(self, step: int, name: str, film: Tensor, fps: int) -> None:
        """Record a video, unless it is so long that its GIF would take megabytes."""
        if len(film) <= LONGEST:
            self.board.film(step, name, film, fps)

    def close(self) -> None:
        """Close the file."""
        self.board.close()


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float]:
    """Return nested settings by dotted key, with values that TensorBoard takes."""
    flat: dict[str, str | int | float] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, int | float) else as_utf8(str(value))
    return flat
