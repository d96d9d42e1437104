"""Event files for TensorBoard, written by this thread and of bounded size.

`torch.utils.tensorboard` writes in a thread of its own, where a full disk is a traceback and the
run goes on without its record. Here it is an OSError of the call that could not write.
"""

from __future__ import annotations

import importlib
import io
import itertools
import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from aef_worldmodel.viz.video import encode_gif

LARGEST_FILM = 400_000  # bytes of a film; a larger one loses pixels and frames
LARGEST_RECORD = 64 * 2**20  # bytes of a run's event files, beyond which only numbers are added
NUMBER = itertools.count()  # of files of this process


class EventFile:
    """A new event file in a folder.

    Args:
        folder: of the run's event files; created if needed.
        purge: records of this step and later ones are stale; None for a new run.

    Raises:
        ImportError: TensorBoard is not installed.
        OSError: the file cannot be written; also from every method.
    """

    def __init__(self, folder: Path, purge: int | None = None) -> None:
        self.event = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self.summary = importlib.import_module("tensorboard.compat.proto.summary_pb2").Summary
        writer = importlib.import_module("tensorboard.summary.writer.record_writer")
        folder.mkdir(parents=True, exist_ok=True)
        self.size = sum(path.stat().st_size for path in folder.glob("events.*"))
        parts = (int(time.time()), socket.gethostname(), os.getpid(), next(NUMBER))
        name = "events.out.tfevents." + ".".join(map(str, parts))
        self.file = open(folder / name, "wb", buffering=0)  # noqa: SIM115 - closed by `close`
        self.records = writer.RecordWriter(self.file)
        self._write(file_version="brain.Event:2")
        if purge is not None:
            start = self.event.SessionLog(status=self.event.SessionLog.START)
            self._write(step=purge, session_log=start)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers by name."""
        entries = [self.summary.Value(tag=name, simple_value=v) for name, v in values.items()]
        self._write(step=step, summary=self.summary(value=entries))

    def image(self, step: int, name: str, picture: Tensor) -> None:
        """Record an image (H, W, 3) uint8, while the record is not too large."""
        data = io.BytesIO()
        Image.fromarray(picture.cpu().numpy()).save(data, "PNG")
        self._add_image(step, name, picture.shape[0], picture.shape[1], data.getvalue())

    def film(self, step: int, name: str, film: Tensor, fps: int) -> None:
        """Record a film (T, H, W, 3) uint8 as an animated GIF, while the record is not too large.

        A film of more than `LARGEST_FILM` bytes has every second, third, ... pixel and frame.
        """
        for skip in itertools.count(1):
            part = film[::skip, ::skip, ::skip]
            data = encode_gif(part, max(1, fps // skip))
            if len(data) <= LARGEST_FILM or max(film.shape[:3]) <= skip:
                break
        self._add_image(step, name, part.shape[1], part.shape[2], data)

    def add(self, messages: Iterable[Any]) -> None:
        """Record summaries that are made already."""
        for message in messages:
            self._write(summary=message)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _add_image(self, step: int, name: str, height: int, width: int, data: bytes) -> None:
        if self.size + len(data) > LARGEST_RECORD:
            return
        image = self.summary.Image(height=height, width=width, colorspace=3)
        image.encoded_image_string = data
        value = self.summary.Value(tag=name, image=image)
        self._write(step=step, summary=self.summary(value=[value]))

    def _write(self, **content: Any) -> None:
        event = self.event.Event(wall_time=time.time(), **content).SerializeToString()
        self.records.write(event)
        self.size += len(event)
