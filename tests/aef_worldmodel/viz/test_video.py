"""Films and strips: right sizes, the horizon visible, files that play."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.viz import video
from aef_worldmodel.viz.video import (
    IMAGINED,
    SEEN,
    film,
    strip,
    write_gif,
    write_mp4,
    write_png,
)

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
    imagined = [count(frame, IMAGINED) for frame in frames]
    border = 4 * video.BORDER * (16 * 3 + video.BORDER)  # pixels of one border
    assert imagined[:4] == [0] * 4 and min(imagined[4:]) > border
    assert imagined == sorted(imagined) or imagined[8] > imagined[4]
    assert all(count(frame, SEEN) >= 2 * border for frame in frames)


def test_pictures_are_shown_unchanged():
    frames = film(rows(), CAPTIONS, mark_at=4, scale=2)
    bright = [count(frame, (200, 200, 200)) for frame in frames]
    assert min(bright) >= 3 * 16 * 4 and max(bright) < 3 * 16 * 4 + 40  # rows, pixels, scale^2


@pytest.mark.parametrize("mark_at, seen, imagined", [(0, False, True), (4, True, True)])
def test_strip(mark_at, seen, imagined):
    picture = strip(rows(), CAPTIONS, mark_at=mark_at, scale=2, columns=5)
    assert picture.dtype == torch.uint8 and picture.ndim == 3
    assert (count(picture, SEEN) > 0, count(picture, IMAGINED) > 0) == (True, imagined)
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


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_gif_plays(tmp_path, size):
    frames = torch.zeros(5, *size, 3, dtype=torch.uint8)
    frames[:, :8] = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1) * 50
    write_gif(tmp_path / "deep" / "a.gif", frames, fps=25)
    read = Image.open(tmp_path / "deep" / "a.gif")
    assert (read.n_frames, read.size, read.info["loop"]) == (5, size[::-1], 0)
    for number, expected in enumerate(frames.numpy()):
        read.seek(number)
        assert read.info["duration"] == 40  # milliseconds
        assert np.abs(np.asarray(read.convert("RGB")).astype(int) - expected).max() <= 4


def stub_of_ffmpeg(monkeypatch, folder, script):
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))


@pytest.mark.parametrize(
    "script", ['for last; do :; done; cat > /dev/null; printf half > "$last"; exit 1', "exit 1"]
)
def test_a_video_that_ffmpeg_does_not_finish_leaves_nothing(tmp_path, monkeypatch, script):
    programs, out = tmp_path / "programs", tmp_path / "out"
    programs.mkdir()
    stub_of_ffmpeg(monkeypatch, programs, script)
    with pytest.raises(UserError, match=r"could not write .*a\.mp4 \("):
        write_mp4(out / "a.mp4", torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("write", "name"), [(write_mp4, "a.mp4"), (write_gif, "a.gif")])
def test_a_full_disk_keeps_the_file_that_was_there(tmp_path, monkeypatch, write, name):
    path = tmp_path / name
    path.write_bytes(b"before")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UserError, match=rf"could not write .*{name} \(No space left on device\)"):
        write(path, torch.zeros(2, 4, 4, 3, dtype=torch.uint8))
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


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
