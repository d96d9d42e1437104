"""`log=[terminal]`: counters, returns and losses in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aef_worldmodel.utils.progress import Progress
from agents.training.logging.base import LOG_WRITERS, LiveWriter

COUNTERS = ("decisions", "updates")
RETURNS = {"train_return": "train", "eval_return": "eval"}


@LOG_WRITERS.register("terminal")
class TerminalWriter(LiveWriter):
    """A live panel in a terminal, a plain line now and then in a log file."""

    def __init__(self, run: Path, config: Mapping[str, Any], resumed_at: int | None) -> None:
        self.frames = resumed_at or 0
        self.progress: Progress | None = None

    def start(self, title: str, total_frames: int, elapsed: float) -> None:
        """Show the panel."""
        self.progress = Progress(title, total_frames, done=self.frames, elapsed=elapsed)
        self.progress.__enter__()

    def tick(self, values: Mapping[str, float]) -> None:
        """Show counters in one group, returns in another, all other numbers as losses."""
        if self.progress is None:
            return
        groups: dict[str, dict[str, float]] = {"done": {}, "return": {}, "loss": {}}
        for name, value in values.items():
            if name == "frames":
                self.frames = int(value)
            elif name in COUNTERS:
                groups["done"][name] = value
            elif name in RETURNS:
                groups["return"][RETURNS[name]] = value
            else:
                groups["loss"][name] = value
        self.progress.update(self.frames, **groups)

    def print(self, sentence: str) -> None:
        """Print a sentence above the panel."""
        if self.progress is None:
            print(sentence, flush=True)
        else:
            self.progress.print(sentence)

    def close(self) -> None:
        """Leave the terminal in order."""
        if self.progress is not None:
            self.progress.__exit__()
