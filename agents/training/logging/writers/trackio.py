"""`log=[trackio]`: Trackio, an optional package (https://huggingface.co/docs/trackio)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aef_worldmodel.viz.video import encode_gif
from agents.training.logging.base import LOG_WRITERS, LogWriter, require


@LOG_WRITERS.register("trackio")
class TrackioWriter(LogWriter):
    """A run of the project aef-world-model; `trackio show` opens the dashboard."""

    def __init__(self, run: Path, config: Mapping[str, Any], resumed_at: int | None) -> None:
        self.trackio = require("trackio", "trackio")
        resume = "never" if resumed_at is None else "allow"
        self.trackio.init("aef-world-model", name=run.name, config=dict(config), resume=resume)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers."""
        self.trackio.log(dict(values), step=step)

    def image(self, step: int, name: str, picture: Tensor) -> None:
        """Record an image."""
        self.trackio.log({name: self.trackio.Image(picture.cpu().numpy())}, step=step)

    def video(self, step: int, name: str, film: Tensor, fps: int) -> None:
        """Record a video; Trackio copies the file."""
        with tempfile.NamedTemporaryFile(suffix=".gif") as file:
            file.write(encode_gif(film, fps))
            file.flush()
            self.trackio.log({name: self.trackio.Video(file.name)}, step=step)

    def close(self) -> None:
        """Finish the run."""
        self.trackio.finish()
