"""Films and strips of imagination beside reality, and files of videos and images.

Rows are uint8 videos (T, 3, H, W) of equal size. The last row is the imagined one: before the frame
`mark_at` it sees the real frames, from there on it is imagined and its border has another colour.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import atomic_write

PAPER, INK, FAINT = (17, 19, 24), (222, 226, 232), (112, 120, 134)
SEEN, IMAGINED = (104, 140, 190), (255, 150, 40)  # border before and after `mark_at`
BORDER, GAP = 3, 5  # pixels
QUALITY = 8  # of 10: a constant rate factor of 10


def film(rows: Sequence[Tensor], captions: Sequence[str], mark_at: int, scale: int = 4) -> Tensor:
    """Return rows stacked above each other, frame by frame, with a bar that shows `mark_at`.

    Args:
        rows: videos (T, 3, H, W) uint8, the imagined one last.
        captions: one short word for each row.
        mark_at: first imagined frame, in 0..T.
        scale: screen pixels of a pixel.

    Returns:
        frames (T, height, width, 3) uint8.

    Raises:
        ValueError: rows and captions do not fit together.
    """
    videos = _enlarged(rows, captions, mark_at, scale)  # (R, T, h, w, 3)
    count, length, height, width = videos.shape[:4]
    font = load_font(max(11, height // 14))
    left, step = _caption_width(captions, font), height + 2 * BORDER + GAP
    size = (left + width + 2 * BORDER + GAP, GAP + count * step + 2 * font.size + GAP)
    paper = Image.new("RGB", (_even(size[0]), _even(size[1])), PAPER)
    _write_captions(
        paper, captions, font, [GAP + BORDER + height // 2 + i * step for i in range(count)]
    )
    frames = np.empty((length, paper.height, paper.width, 3), dtype=np.uint8)
    for t in range(length):
        image = paper.copy()
        for row in range(count):
            colour = IMAGINED if row == count - 1 and t >= mark_at else SEEN
            _paste(image, videos[row, t], (left, GAP + row * step), colour)
        _write_bar(image, (left, GAP + count * step, width + 2 * BORDER), t, length, mark_at, font)
        frames[t] = np.asarray(image)
    return torch.from_numpy(frames)


def strip(
    rows: Sequence[Tensor],
    captions: Sequence[str],
    mark_at: int,
    scale: int = 2,
    columns: int = 12,
) -> Tensor:
    """Return rows laid out along time, as one picture.

    Args:
        rows: videos (T, 3, H, W) uint8, the imagined one last.
        captions: one short word for each row.
        mark_at: first imagined frame, in 0..T; a line marks it.
        scale: screen pixels of a pixel.
        columns: largest number of frames, spread evenly over T.

    Returns:
        picture (height, width, 3) uint8.

    Raises:
        ValueError: rows and captions do not fit together.
    """
    videos = _enlarged(rows, captions, mark_at, scale)  # (R, T, h, w, 3)
    count, length, height, width = videos.shape[:4]
    font = load_font(max(11, height // 9))
    left, top = _caption_width(captions, font), font.size + 2 * GAP
    times = np.unique(np.linspace(0, length - 1, min(columns, length)).round().astype(int))
    x = [
        left + i * (width + 2 * BORDER + 2) + (3 * GAP if t >= mark_at else 0)
        for i, t in enumerate(times)
    ]
    y = [top + row * (height + 2 * BORDER + GAP) for row in range(count)]
    right, bottom = x[-1] + width + 2 * BORDER + GAP, y[-1] + height + 2 * BORDER
    image = Image.new("RGB", (right, bottom + font.size + 2 * GAP), PAPER)
    _write_captions(image, captions, font, [v + BORDER + height // 2 for v in y])
    for i, t in enumerate(times):
        for row in range(count):
            colour = IMAGINED if row == count - 1 and t >= mark_at else SEEN
            _paste(image, videos[row, t], (x[i], y[row]), colour)
    _write_times(image, times, x, width, bottom, mark_at, font)
    return torch.from_numpy(np.array(image))


def write_mp4(path: str | Path, frames: Tensor, fps: int = 25) -> None:
    """Write frames (T, H, W, 3) uint8 as H.264; odd sizes get one more row or column.

    Raises:
        ValueError: frames of another shape or type.
        UserError: imageio is not installed, or the file cannot be written; the path is then as it
            was.
    """
    array = _frames(frames)  # (T, H, W, 3)
    even = [(0, 0), *((0, size % 2) for size in array.shape[1:3]), (0, 0)]
    array = np.pad(array, even, mode="edge")
    with atomic_write(path, "wb") as file:
        file.write(_encode_mp4(array, fps))


def _encode_mp4(array: np.ndarray, fps: int) -> bytes:
    try:
        import imageio.v3 as imageio
    except ImportError as error:
        raise UserError(f"videos need imageio ({error}): pip install 'imageio[ffmpeg]'") from error
    options = {"codec": "libx264", "quality": QUALITY, "macro_block_size": 1}
    try:
        data = imageio.imwrite(
            "<bytes>", array, extension=".mp4", plugin="FFMPEG", fps=fps, **options
        )
    except (OSError, RuntimeError) as error:  # ffmpeg cannot start, or stops
        raise OSError((str(error).splitlines() or ["ffmpeg failed"])[0]) from error
    if b"moov" not in data:  # the index of the file, which ffmpeg writes last
        raise OSError("ffmpeg stopped before the end; is the temporary folder full?")
    return data


def write_gif(path: str | Path, frames: Tensor, fps: int = 25) -> None:
    """Write frames (T, H, W, 3) uint8 as an animated GIF that repeats.

    Raises:
        ValueError: frames of another shape or type.
        UserError: the file cannot be written; the path is then as it was.
    """
    data = encode_gif(frames, fps)
    with atomic_write(path, "wb") as file:
        file.write(data)


def encode_gif(frames: Tensor, fps: int) -> bytes:
    """Return frames (T, H, W, 3) uint8 as an animated GIF that repeats.

    A GIF counts hundredths of a second: the nearest such pause, and at least two, is taken.
    Raises ValueError for frames of another shape or type.
    """
    first, *others = [Image.fromarray(frame) for frame in _frames(frames)]
    file, pause = io.BytesIO(), 10 * max(2, round(100 / fps))  # milliseconds
    first.save(file, "GIF", save_all=True, append_images=others, duration=pause, loop=0)
    return file.getvalue()


def write_png(path: str | Path, picture: Tensor) -> None:
    """Write a picture (H, W, 3) uint8.

    Raises:
        ValueError: a picture of another shape or type.
        UserError: the file cannot be written; the path is then as it was.
    """
    image = Image.fromarray(_frames(picture[None])[0])
    with atomic_write(path, "wb") as file:
        image.save(file, "PNG")


def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font in a size of pixels."""
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=size))


def _frames(frames: Tensor) -> np.ndarray:
    array = np.asarray(frames.cpu())
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        raise ValueError(
            f"expected uint8 pictures (..., H, W, 3), got {array.dtype} {tuple(array.shape)}"
        )
    return array


def _enlarged(
    rows: Sequence[Tensor], captions: Sequence[str], mark_at: int, scale: int
) -> np.ndarray:
    """Return rows as one array (R, T, H * scale, W * scale, 3)."""
    shapes = {tuple(row.shape) for row in rows}
    shape = next(iter(shapes), ())
    if len(shapes) != 1 or len(shape) != 4 or shape[1] != 3 or len(captions) != len(rows):
        raise ValueError(
            "expected rows of one shape (T, 3, H, W) and a caption for each, got rows "
            f"{[tuple(row.shape) for row in rows]} and {len(captions)} captions"
        )
    if not 0 <= mark_at <= shape[0] or scale < 1:
        raise ValueError(f"mark_at={mark_at} is outside 0..{shape[0]}, or scale={scale} below 1")
    videos = np.stack([np.asarray(row.cpu()) for row in rows]).transpose(0, 1, 3, 4, 2)
    return videos.repeat(scale, axis=2).repeat(scale, axis=3)


def _even(size: int) -> int:
    return size + size % 2


def _caption_width(captions: Sequence[str], font: ImageFont.FreeTypeFont) -> int:
    return int(max(font.getlength(caption) for caption in captions)) + 4 * GAP


def _write_captions(
    image: Image.Image, captions: Sequence[str], font: ImageFont.FreeTypeFont, heights: list[int]
) -> None:
    draw = ImageDraw.Draw(image)
    for caption, y in zip(captions, heights, strict=True):
        draw.text((2 * GAP, y), caption, INK, font, anchor="lm")


def _paste(
    image: Image.Image, picture: np.ndarray, corner: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """Draw a picture (h, w, 3) inside a border with that upper left corner."""
    (x, y), (height, width) = corner, picture.shape[:2]
    far = (x + width + 2 * BORDER - 1, y + height + 2 * BORDER - 1)
    ImageDraw.Draw(image).rectangle((corner, far), fill=colour)
    image.paste(Image.fromarray(picture), (x + BORDER, y + BORDER))


def _write_bar(
    image: Image.Image,
    place: tuple[int, int, int],
    t: int,
    length: int,
    mark_at: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    """Draw the bar of time below the rows: seen part, imagined part, and the current frame."""
    x, y, width = place
    draw = ImageDraw.Draw(image)
    at = [x + round(width * k / length) for k in (mark_at, t + 1)]
    draw.rectangle((x, y, x + width - 1, y + 3), fill=FAINT)
    draw.rectangle((x, y, max(x, min(at) - 1), y + 3), fill=SEEN)
    if at[1] > at[0]:
        draw.rectangle((at[0], y, at[1] - 1, y + 3), fill=IMAGINED)
    imagined = t >= mark_at
    text = f"imagined +{t - mark_at + 1}" if imagined else f"seen {t + 1} of {mark_at}"
    draw.text((x, y + 3 + GAP), text, IMAGINED if imagined else SEEN, font, anchor="lt")


def _write_times(
    image: Image.Image,
    times: np.ndarray,
    x: list[int],
    width: int,
    bottom: int,
    mark_at: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    """Draw frame numbers below the columns, and `seen` and `imagined` above them."""
    draw = ImageDraw.Draw(image)
    for t, left in zip(times, x, strict=True):
        colour = IMAGINED if t >= mark_at else SEEN
        draw.text((left + BORDER + width / 2, bottom + GAP), str(t), colour, font, anchor="mt")
    draw.text((2 * GAP, bottom + GAP), "frame", FAINT, font, anchor="lt")
    if times[0] < mark_at:
        draw.text((x[0] + BORDER, GAP + font.size), "seen", SEEN, font, anchor="ls")
    imagined = [left for t, left in zip(times, x, strict=True) if t >= mark_at]
    if imagined:
        draw.text((imagined[0] + BORDER, GAP + font.size), "imagined", IMAGINED, font, anchor="ls")
        line = imagined[0] - 2 * GAP + 2
        draw.line((line, GAP, line, bottom), fill=IMAGINED, width=2)
