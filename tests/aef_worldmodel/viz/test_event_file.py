"""Event files: TensorBoard reads them, they stay small, and a full disk is an OSError."""

import io

import pytest
import torch
from PIL import Image

from aef_worldmodel.viz import event_file
from aef_worldmodel.viz.event_file import LARGEST_FILM, EventFile

FILM = torch.randint(0, 256, (40, 120, 160, 3), dtype=torch.uint8)  # of noise: nothing compresses


def read(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


def test_what_was_recorded_is_read(tmp_path):
    first = EventFile(tmp_path)
    for step in (1, 2, 3):
        first.scalars(step, {"eval/return": 2.5 * step})
    first.image(2, "strip", FILM[0])
    first.close()
    second = EventFile(tmp_path, purge=3)
    second.film(3, "film", FILM[:3, :9, :12], fps=20)
    second.close()
    events = read(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("eval/return")] == [(1, 2.5), (2, 5.0)]
    picture = Image.open(io.BytesIO(events.Images("strip")[0].encoded_image_string))
    assert picture.size == (160, 120)
    assert Image.open(io.BytesIO(events.Images("film")[0].encoded_image_string)).n_frames == 3


def test_films_are_made_small_and_a_record_ends_growing(tmp_path, monkeypatch):
    monkeypatch.setattr(event_file, "LARGEST_RECORD", 2 * LARGEST_FILM)
    board = EventFile(tmp_path)
    for step in range(6):
        board.film(step, "film", FILM, fps=25)
    board.scalars(9, {"x": 1.0})
    board.close()
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert LARGEST_FILM / 3 < size < 2 * LARGEST_FILM + 1_000
    assert read(tmp_path).Scalars("x")[0].step == 9


def test_a_full_disk_is_an_error_of_the_call(tmp_path):
    board = EventFile(tmp_path)
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with full as board.records._writer, pytest.raises(OSError, match="No space left"):
        board.scalars(1, {"x": 1.0})
    board.close()
