"""`log=[wandb]`: Weights & Biases, an optional package (https://docs.wandb.ai)."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import atomic_write
from aef_worldmodel.viz.video import encode_gif
from agents.training.logging.base import LOG_WRITERS, LogWriter, require


@LOG_WRITERS.register("wandb")
class WandbWriter(LogWriter):
    """A run of the project WANDB_PROJECT; wandb's other environment variables apply as well.

    RUN/wandb_id.txt keeps the identity, so that a resumed run continues the same record.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], resumed_at: int | None) -> None:
        self.wandb = require("wandb", "wandb")
        project = os.environ.get("WANDB_PROJECT", "aef-world-model")
        file = run / "wandb_id.txt"
        known = resumed_at is not None and file.exists()
        identity = file.read_text(encoding="utf-8").strip() if known else None
        about = {"project": project, "name": run.name, "dir": str(run), "config": dict(config)}
        try:
            self.record = self.wandb.init(id=identity, resume="allow", **about)
        except self.wandb.Error as error:
            raise UserError(f"wandb cannot start ({error}): set WANDB_MODE=offline") from error
        self.record.define_metric("*", step_metric="frames")
        with atomic_write(file) as opened:
            opened.write(f"{self.record.id}\n")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers."""
        self.record.log({**values, "frames": step})

    def image(self, step: int, name: str, picture: Tensor) -> None:
        """Record an image."""
        self.record.log({name: self.wandb.Image(picture.cpu().numpy()), "frames": step})

    def video(self, step: int, name: str, film: Tensor, fps: int) -> None:
        """Record a video."""
        data = io.BytesIO(encode_gif(film, fps))
        self.record.log({name: self.wandb.Video(data, format="gif"), "frames": step})

    def close(self) -> None:
        """Upload what is queued."""
        self.record.finish()
