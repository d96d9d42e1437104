"""Grids of images with captions: samples, reconstructions, interpolations.

Images are uint8 (N, C, H, W) with 1 or 3 channels. The same images give the same picture, byte for
byte; `video.write_png` writes it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aef_worldmodel.viz.video import FAINT, INK, PAPER, load_font

FONT = 14  # screen pixels
GAP, MARGIN = 2, 10  # screen pixels between images, and around everything
TALL = 64  # least height of an image in screen pixels


def samples(images: Tensor, title: str, columns: int = 10) -> Tensor:
    """Return images (N, C, H, W) in rows of `columns` below a title, (height, width, 3) uint8."""
    return compose(list(_checked(images).split(columns)), title)


def reconstructions(
    data: Tensor,
    again: Tensor,
    title: str,
    columns: int = 10,
    captions: tuple[str, str] = ("data", "again"),
) -> Tensor:
    """Return rows of images (N, C, H, W), and below each the row of their reconstructions.

    Returns (height, width, 3) uint8. Raises ValueError for other than pairs.
    """
    if data.shape != again.shape:
        raise ValueError(
            f"data of shape {tuple(data.shape)} and reconstructions of {tuple(again.shape)}: give "
            "pairs"
        )
    pairs = zip(_checked(data).split(columns), _checked(again).split(columns))
    rows = [row for pair in pairs for row in pair]
    return compose(rows, title, list(captions) * (len(rows) // 2))


def interpolations(paths: Tensor, title: str) -> Tensor:
    """Return paths (R, S, C, H, W) as rows, from their first image to their last.

    The head of a column is its place along the path, from 0 to 1. Returns (height, width, 3) uint8.
    """
    if paths.ndim != 5 or paths.shape[1] < 2:
        raise ValueError(
            f"paths of shape {tuple(paths.shape)}: expected (rows, steps, C, H, W), 2 steps or more"
        )
    steps = paths.shape[1]
    heads = [f"{step / (steps - 1):.2g}" for step in range(steps)]
    return compose([_checked(path) for path in paths], title, heads=heads)


def compose(
    rows: Sequence[Tensor],
    title: str,
    captions: Sequence[str] = (),
    heads: Sequence[str] = (),
) -> Tensor:
    """Return rows of images (K, C, H, W) below each other as a picture (height, width, 3) uint8.

    Small images are enlarged by whole factors.

    Args:
        rows: images of one shape; each row has any number of them.
        title: above everything.
        captions: to the left of the rows, one each or none.
        heads: above the columns, one each or none.

    Raises:
        ValueError: no rows, images of different shapes, captions or heads of another number.
    """
    height, width = _check_grid(rows, captions, heads)
    columns = max(map(len, rows))
    scale = max(1, -(-TALL // height))
    step = (width * scale + GAP, height * scale + GAP)
    font = load_font(FONT)
    line = FONT + MARGIN // 2
    left = MARGIN + (int(max(map(font.getlength, captions))) + MARGIN if captions else 0)
    top = MARGIN + line + (line if heads else 0)
    right = max(left + columns * step[0], MARGIN + int(font.getlength(title)))
    paper = Image.new("RGB", (right + MARGIN, top + len(rows) * step[1] + MARGIN), PAPER)
    draw = ImageDraw.Draw(paper)
    draw.text((MARGIN, MARGIN), title, INK, font, anchor="lt")
    for column, head in enumerate(heads):
        middle = left + column * step[0] + width * scale // 2
        draw.text((middle, MARGIN + line), head, FAINT, font, anchor="mt")
    for row, caption in enumerate(captions):
        middle = top + row * step[1] + height * scale // 2
        draw.text((MARGIN, middle), caption, FAINT, font, anchor="lm")
    for y, images in zip(range(top, paper.height, step[1]), rows):
        for column, image in enumerate(images):
            paper.paste(_enlarged(image, scale), (left + column * step[0], y))
    return torch.from_numpy(np.array(paper))


def _check_grid(
    rows: Sequence[Tensor], captions: Sequence[str], heads: Sequence[str]
) -> tuple[int, int]:
    """Return height and width of the images. Raises ValueError for a misfit."""
    shapes = {tuple(_checked(row).shape[1:]) for row in rows}
    columns = max(map(len, rows), default=0)
    if len(shapes) != 1 or len(captions) not in (0, len(rows)) or len(heads) not in (0, columns):
        raise ValueError(
            f"rows of images of shapes {sorted(shapes)}, {len(captions)} captions for {len(rows)} "
            f"rows, {len(heads)} heads for {columns} columns: give one shape, and a text for each"
        )
    _, height, width = shapes.pop()
    return height, width


def _enlarged(image: Tensor, scale: int) -> Image.Image:
    """Return an image (C, H, W) as a picture with every pixel `scale` times as large."""
    array = image.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()  # (H, W, 3)
    return Image.fromarray(array.repeat(scale, 0).repeat(scale, 1))


def _checked(images: Tensor) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images of shape {tuple(images.shape)} and dtype {images.dtype}: expected uint8 "
            "(N, C, H, W) with 1 or 3 channels"
        )
    if not len(images):
        raise ValueError("no image to show: give at least one")
    return images
