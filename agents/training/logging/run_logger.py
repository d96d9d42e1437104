"""`RunLogger`: everything that a run says about itself, handed to its log writers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from aef_worldmodel.utils.errors import UserError, writing
from agents.training.logging.base import LOG_WRITERS, LiveWriter, LogWriter

WRITERS = ("csv", "files", "tensorboard", "terminal")


class RunLogger:
    """The record of a run. Use it as a context manager.

    Args:
        run: the run's folder; created if needed.
        title: name of the run for a person who watches.
        total_frames: frames of the whole run.
        writers: names of log writers (`LOG_WRITERS`).
        config: the run's settings as plain nested values.
        elapsed: seconds that earlier parts of a resumed run took.
        resumed_at: frames of the checkpoint that a resumed run continues from; records of later
            frames are dropped. None starts a new record.

    Raises:
        UserError: a name is unknown, a package is missing, or a file cannot be written. Every
            method raises it in the last case.
    """

    def __init__(
        self,
        run: str | Path,
        title: str,
        total_frames: int,
        writers: Sequence[str] = WRITERS,
        config: Mapping[str, Any] | None = None,
        elapsed: float = 0.0,
        resumed_at: int | None = None,
    ) -> None:
        self.run, self.title, self.total_frames = Path(run), title, total_frames
        self._begin = time.monotonic() - elapsed
        self.writers: list[LogWriter] = []
        kinds = [find_writer(name) for name in writers]
        with self._writing(), ExitStack() as opened:
            self.run.mkdir(parents=True, exist_ok=True)
            for kind in kinds:
                writer = kind(self.run, config or {}, resumed_at)
                opened.callback(writer.close)
                self.writers.append(writer)
            self._opened = opened.pop_all()
        self._live = [writer for writer in self.writers if isinstance(writer, LiveWriter)]

    def __enter__(self) -> RunLogger:
        """Begin to show the run."""
        for writer in self._live:
            writer.start(self.title, self.total_frames, self.elapsed)
        return self

    def __exit__(self, kind: type | None, *exception: object) -> None:
        """Close every writer; an exception that is on its way counts more than one of theirs."""
        try:
            with self._writing():
                self._opened.close()
        except UserError:
            if kind is None:
                raise

    @property
    def elapsed(self) -> float:
        """Seconds that the run has taken, earlier parts included."""
        return time.monotonic() - self._begin

    def scalars(self, row: Mapping[str, float]) -> None:
        """Record numbers by name; "minutes" of wall-clock time are added.

        Args:
            row: the numbers, with "frames", "decisions" and "updates" among them. A name may have
                a group before a slash ("eval/return").
        """
        row = {**row, "minutes": self.elapsed / 60}
        with self._writing():
            for writer in self.writers:
                writer.scalars(int(row["frames"]), row)

    def image(self, name: str, picture: Tensor, frames: int) -> None:
        """Record an image (H, W, 3) uint8."""
        with self._writing():
            for writer in self.writers:
                writer.image(frames, name, picture)

    def video(self, name: str, film: Tensor, frames: int, fps: int = 25) -> None:
        """Record a video (T, H, W, 3) uint8 of `fps` images a second."""
        with self._writing():
            for writer in self.writers:
                writer.video(frames, name, film, fps)

    def tick(self, **values: float) -> None:
        """Show counters and the latest numbers; cheap enough for every decision and update.

        Args:
            values: "frames", "decisions" and "updates" count; "train_return" and "eval_return" are
                returns; all others are losses. A value is shown until it is replaced.
        """
        for writer in self._live:
            writer.tick(values)

    def print(self, sentence: str) -> None:
        """Show a sentence that stays; it is printed if no writer shows it."""
        for writer in self._live:
            writer.print(sentence)
        if not self._live:
            print(sentence, flush=True)

    def _writing(self) -> AbstractContextManager[None]:
        return writing(f"the record of the run in {self.run}", ", then resume the run")


def find_writer(name: str) -> type[LogWriter]:
    """Return the log writer of that name. Raises UserError, with close matches, if unknown."""
    try:
        return LOG_WRITERS[name]
    except ValueError as error:
        raise UserError(f"log={name}: {error}") from error
