"""The record of an image model's training: terminal, metrics.csv, and TensorBoard if installed."""

from pathlib import Path
from types import TracebackType

from torch import Tensor

from aef_worldmodel.utils.errors import writing
from aef_worldmodel.utils.progress import Progress
from aef_worldmodel.utils.tables import open_metrics
from aef_worldmodel.viz.event_file import EventFile


class RunLog:
    """Record of a run. Use it as a context manager.

    Args:
        run: the run's folder, which exists.
        total: updates of the whole run.
        resumed_at: updates of the checkpoint that a resumed run continues from; later records are
            dropped. None for a new run.

    Raises:
        UserError: metrics.csv cannot be written, or is damaged. Every method raises it in the
            first case.
    """

    def __init__(self, run: Path, total: int, resumed_at: int | None) -> None:
        self.run, self.total = run, total
        self.metrics = open_metrics(run / "metrics.csv", "updates", resumed_at)
        self.progress = Progress(run.name, total, "updates", done=resumed_at or 0)
        self.board = open_board(run, resumed_at)

    def __enter__(self) -> "RunLog":
        """Start to show the run."""
        self.progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything."""
        self.progress.__exit__(kind, error, traceback)
        if self.board is not None:
            self.board.close()

    def update(self, updates: int, loss: float) -> None:
        """Show one update with its loss in bits a dimension."""
        self.progress.update(updates, training={"bits/dim": loss})

    def evaluation(
        self, updates: int, train: float, validation: float, is_best: bool, made: dict[str, Tensor]
    ) -> None:
        """Record an evaluation: losses in bits a dimension, and pictures (H, W, 3) uint8."""
        losses = {"train/loss": train, "validation/loss": validation}
        self.metrics.add({"updates": updates, **losses})
        if self.board is not None:
            with writing(self.run / "tensorboard"):
                self.board.scalars(updates, losses)
                for name, picture in made.items():
                    self.board.image(updates, name, picture)
        self.progress.print(
            f"update {updates:,} of {self.total:,}: {train:.3f} bits/dim, validation "
            f"{validation:.3f}{' (best)' if is_best else ''}, left {self.progress.left}"
        )

    def print(self, sentence: str) -> None:
        """Print a sentence that stays."""
        self.progress.print(sentence)


def open_board(run: Path, resumed_at: int | None) -> EventFile | None:
    """Return an event file in `run/tensorboard`; None if TensorBoard is not installed.

    Raises UserError if it cannot be written.
    """
    purge = None if resumed_at is None else resumed_at + 1
    try:
        with writing(run / "tensorboard"):
            return EventFile(run / "tensorboard", purge)
    except ImportError:
        return None
