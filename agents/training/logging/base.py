"""The interface of log writers, and the registry that `log=[csv,terminal]` chooses from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.registry import Registry


class LogWriter:
    """One place where a run is recorded; a writer overrides the methods it has a use for.

    Register a class with `@LOG_WRITERS.register("mine")` and name it: `log=[csv,mine]`. A method
    may raise OSError or UserError, which ends the run with one sentence.

    Args:
        run: the run's folder, which exists.
        config: the run's settings as plain nested values.
        resumed_at: frames of the checkpoint that a resumed run continues from; records of later
            frames are stale. None for a new run.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], resumed_at: int | None) -> None:
        """Open the record."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers by name at `step` frames; a name may have a group ("eval/return")."""

    def image(self, step: int, name: str, picture: Tensor) -> None:
        """Record an image (H, W, 3) uint8 at `step` frames."""

    def video(self, step: int, name: str, film: Tensor, fps: int) -> None:
        """Record a video (T, H, W, 3) uint8 of `fps` images a second at `step` frames."""

    def close(self) -> None:
        """Finish the record; called once, also after an error."""


class LiveWriter(LogWriter):
    """A writer that somebody watches while the run lasts: it also receives every step."""

    def start(self, title: str, total_frames: int, elapsed: float) -> None:
        """Begin to show the run, of which earlier parts took `elapsed` seconds."""

    def tick(self, values: Mapping[str, float]) -> None:
        """Show counters and the latest numbers; called at every decision and update."""

    def print(self, sentence: str) -> None:
        """Show a sentence that stays."""


LOG_WRITERS: Registry[type[LogWriter]] = Registry("log writer", "agents.training.logging.writers")


def require(module: str, package: str) -> ModuleType:
    """Import a module of an optional package. Raises UserError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"log=[{package}] needs the package {package} ({error}): pip install {package}, or "
            f"leave {package} out of log"
        ) from error
