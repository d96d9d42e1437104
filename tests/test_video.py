"""Films and strips: right sizes, the horizon visible, files that play."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from aef_worldmodel import video
from aef_worldmodel.errors import UserError
from aef_worldmodel.video import DREAMT, SEEN, film, strip, write_mp4, write_png

CAPTIONS = ["reality", "seen again", "imagined"]


def rows(length=9, size=16):
    """A bright square that moves over a dark ground, the same in three rows."""
    frames = torch.full((length, 3, size, size), 40, dtype=torch.uint8)
    for t in range(length):
        frames[t, :, 4:8, t : t + 4] = 200
    return [frames, frames.clone(), frames.clone()]


def count(picture, colour):
    return int((picture == torch.tensor(colour, dtype=torch.uint8)).all(-1).sum())


def test_film_marks_the_horizon():
    frames = film(rows(), CAPTIONS, mark_at=4, scale=3)
    assert frames.dtype == torch.uint8 and frames.shape[0] == 9 and frames.shape[3] == 3
    dreamt = [count(frame, DREAMT) for frame in frames]
    border = 4 * video.BORDER * (16 * 3 + video.BORDER)  # pixels of one border
    assert dreamt[:4] == [0] * 4 and min(dreamt[4:]) > border
    assert dreamt == sorted(dreamt) or dreamt[8] > dreamt[4]
    assert all(count(frame, SEEN) >= 2 * border for frame in frames)


def test_pictures_are_shown_unchanged():
    frames = film(rows(), CAPTIONS, mark_at=4, scale=2)
    bright = [count(frame, (200, 200, 200)) for frame in frames]
    assert min(bright) >= 3 * 16 * 4 and max(bright) < 3 * 16 * 4 + 40  # rows, pixels, scale^2


@pytest.mark.parametrize("mark_at, seen, dreamt", [(0, False, True), (4, True, True)])
def test_strip(mark_at, seen, dreamt):
    picture = strip(rows(), CAPTIONS, mark_at=mark_at, scale=2, columns=5)
    assert picture.dtype == torch.uint8 and picture.ndim == 3
    assert (count(picture, SEEN) > 0, count(picture, DREAMT) > 0) == (True, dreamt)
    assert count(picture, (200, 200, 200)) >= 5 * 3 * 16 * 4
    wider = strip(rows(), CAPTIONS, mark_at=mark_at, scale=2, columns=9)
    assert wider.shape[1] > picture.shape[1]


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_mp4_plays(tmp_path, size):
    height, width = size
    frames = torch.zeros(7, height, width, 3, dtype=torch.uint8)
    frames[:, : height // 2] = torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1) * 30
    write_mp4(tmp_path / "deep" / "a.mp4", frames, fps=10)
    about, *film = imageio_ffmpeg.read_frames(tmp_path / "deep" / "a.mp4")
    width, height = about["size"]
    read = np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in film])
    height, width = size
    assert read.shape == (7, height + height % 2, width + width % 2, 3)
    difference = read[:, : height // 2 - 2].astype(int).mean((1, 2, 3)) - np.arange(7) * 30
    assert np.abs(difference).max() < 8
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.mp4"]


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("exp:1", "-x"):
        write_mp4(Path(name) / "a.mp4", torch.zeros(2, 4, 4, 3, dtype=torch.uint8))
        assert (tmp_path / name / "a.mp4").stat().st_size > 0


def test_png_is_exact(tmp_path):
    picture = strip(rows(), CAPTIONS, mark_at=2)
    write_png(tmp_path / "a.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture.numpy())


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nfor last; do :; done\nprintf half > $last\n"
        "echo '[out#0] Error closing file: No space left on device' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))
    with pytest.raises(UserError, match=r"could not write .*a\.mp4 \(No space left on device\)"):
        write_mp4(tmp_path / "a.mp4", torch.zeros(2, 4, 4, 3, dtype=torch.uint8))
    assert list(tmp_path.iterdir()) == [program.parent]


def test_a_file_in_the_folders_place_is_named(tmp_path):
    (tmp_path / "film").write_text("")
    with pytest.raises(UserError, match=r"could not write .*a\.mp4 \((File|Not)"):
        write_mp4(tmp_path / "film" / "a.mp4", torch.zeros(2, 4, 4, 3, dtype=torch.uint8))


@pytest.mark.parametrize(
    "frames", [torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, 4, 4, 3)]
)
def test_wrong_frames_are_refused(tmp_path, frames):
    with pytest.raises(ValueError, match="expected uint8 pictures"):
        write_mp4(tmp_path / "a.mp4", frames)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [film, strip])
def test_wrong_rows_are_refused(make):
    with pytest.raises(ValueError, match="expected rows of one shape"):
        make([*rows()[:2], rows(length=8)[0]], CAPTIONS, 4)
    with pytest.raises(ValueError, match="2 captions"):
        make(rows(), CAPTIONS[:2], 4)
    with pytest.raises(ValueError, match="mark_at=10 is outside"):
        make(rows(), CAPTIONS, 10)
