"""Everything a run writes about itself: terminal, metrics.csv, TensorBoard, films."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from aef_worldmodel.errors import writing
from aef_worldmodel.video import write_mp4, write_png
from agents.metrics_file import MetricsFile
from agents.progress import Progress


class Logbook:
    """The record of a run in its folder.

        metrics.csv          one row a `write`
        tensorboard/         the same scalars, pictures and films as animated images
        videos/<name>-<frames>.mp4, pictures/<name>-<frames>.png

    Args:
        run: the run's folder.
        progress: the terminal; started and ended with the logbook.
        resumed_at: frames of the checkpoint a resumed run goes on from; what was recorded after
            them is dropped. None starts a new record.

    Raises:
        UserError: the disk is full or cannot be written.
    """

    def __init__(self, run: str | Path, progress: Progress, resumed_at: int | None = None) -> None:
        self.run, self.progress = Path(run), progress
        with self._writing():
            self.run.mkdir(parents=True, exist_ok=True)
            self.metrics = MetricsFile(self.run / "metrics.csv", "frames", resumed_at)
            purge = None if resumed_at is None else resumed_at + 1
            self.board = SummaryWriter(str(self.run / "tensorboard"), purge_step=purge)

    def __enter__(self) -> Logbook:
        """Start the terminal's panel."""
        self.progress.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Bring everything to the disk and end the panel."""
        self.progress.__exit__(*exception)
        with contextlib.suppress(OSError):
            self.board.close()

    def write(self, row: Mapping[str, float]) -> None:
        """Record numbers; "minutes" of wall-clock are added.

        Args:
            row: name -> number, with "frames", "decisions" and "updates" among them. A name may
                have a group before a slash ("eval/return").
        """
        row = {**row, "minutes": self.progress.elapsed / 60}
        with self._writing():
            self.metrics.write(row)
            for name, value in row.items():
                self.board.add_scalar(name, value, row["frames"])

    def picture(self, name: str, picture: Tensor, frames: int) -> Path:
        """Record a picture (H, W, 3) uint8; returns its file."""
        path = self.run / "pictures" / f"{name}-{frames:09d}.png"
        write_png(path, picture)
        with self._writing():
            self.board.add_image(name, picture, frames, dataformats="HWC")
        return path

    def film(self, name: str, film: Tensor, frames: int, fps: int = 25) -> Path:
        """Record a film (T, H, W, 3) uint8; returns its mp4."""
        path = self.run / "videos" / f"{name}-{frames:09d}.mp4"
        write_mp4(path, film, fps)
        with self._writing():
            self.board._get_file_writer().add_summary(_animated(name, film, fps), frames)
        return path

    def _writing(self) -> contextlib.AbstractContextManager:
        return writing(f"the record of the run in {self.run}", ", then resume the run")


def _animated(name: str, film: Tensor, fps: int) -> Summary:
    """A film as the animated GIF that TensorBoard shows among its images.

    SummaryWriter.add_video writes the same message, but needs moviepy 1.
    """
    first, *others = [Image.fromarray(frame.numpy()) for frame in film.cpu()]
    buffer = io.BytesIO()
    first.save(
        buffer, "GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0
    )
    _, height, width, _ = film.shape
    image = Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue()
    )
    return Summary(value=[Summary.Value(tag=name, image=image)])
