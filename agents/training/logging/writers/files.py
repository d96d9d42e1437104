"""`log=[files]`: images as PNG, videos as MP4."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aef_worldmodel.viz.video import write_mp4, write_png
from agents.training.logging.base import LOG_WRITERS, LogWriter


@LOG_WRITERS.register("files")
class FilesWriter(LogWriter):
    """RUN/pictures/<name>-<frames>.png and RUN/videos/<name>-<frames>.mp4."""

    def __init__(self, run: Path, config: Mapping[str, Any], resumed_at: int | None) -> None:
        self.run = run

    def image(self, step: int, name: str, picture: Tensor) -> None:
        """Write a PNG."""
        write_png(self.run / "pictures" / f"{name}-{step:09d}.png", picture)

    def video(self, step: int, name: str, film: Tensor, fps: int) -> None:
        """Write an MP4."""
        write_mp4(self.run / "videos" / f"{name}-{step:09d}.mp4", film, fps)
