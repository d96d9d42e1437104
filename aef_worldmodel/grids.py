"""Pictures of many images with words beside them: samples, reconstructions, interpolations.

Images are uint8 (N, C, H, W) with 1 or 3 channels. The same images give the same picture, byte for
byte; `video.write_png` writes it.
"""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from aef_worldmodel.video import FAINT, INK, PAPER

GAP, MARGIN = 2, 10  # screen pixels between images, and around everything
TALL = 64  # screen pixels an image is at least high


def samples(images: Tensor, title: str, columns: int = 10) -> Tensor:
    """Images (N, C, H, W) in rows of `columns` below a title. Returns (height, width, 3) uint8."""
    return compose(list(_checked(images).split(columns)), title)


def reconstructions(
    data: Tensor, again: Tensor, title: str, columns: int = 10, captions=("data", "again")
) -> Tensor:
    """Rows of images and below each the row of what the code holds of them."""
    if data.shape != again.shape:
        raise ValueError(
            f"data of shape {tuple(data.shape)} and reconstructions of {tuple(again.shape)}; give "
            "pairs"
        )
    pairs = zip(_checked(data).split(columns), _checked(again).split(columns))
    rows = [row for pair in pairs for row in pair]
    return compose(rows, title, list(captions) * (len(rows) // 2))


def interpolations(paths: Tensor, title: str) -> Tensor:
    """Paths (R, S, C, H, W), one a row, from their first image to their last; above the columns
    stands how far along they are, from 0 to 1."""
    if paths.ndim != 5 or paths.shape[1] < 2:
        raise ValueError(
            f"paths of shape {tuple(paths.shape)}; expected (rows, steps, C, H, W), 2 steps or more"
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
    """Rows of images (K, C, H, W) under each other, small ones enlarged by whole factors.

    Args:
        rows: of one shape, but any number of images.
        title: above all.
        captions: to the left, one a row, or none.
        heads: above the columns, one each, or none.

    Returns:
        picture (height, width, 3) uint8.

    Raises:
        ValueError: no rows, images of different shapes, captions or heads of another number.
    """
    shapes, columns = (
        {tuple(_checked(row).shape[1:]) for row in rows},
        max(map(len, rows), default=0),
    )
    if len(shapes) != 1 or len(captions) not in (0, len(rows)) or len(heads) not in (0, columns):
        raise ValueError(
            f"rows of images of shapes {sorted(shapes)}, {len(captions)} captions for {len(rows)} "
            f"rows, {len(heads)} heads for {columns} columns: give one shape, and words for all"
        )
    _, height, width = shapes.pop()
    scale = max(1, -(-TALL // height))
    step = (width * scale + GAP, height * scale + GAP)
    font = ImageFont.load_default(size=14)
    line = font.size + MARGIN // 2
    left = MARGIN + (int(max(map(font.getlength, captions))) + MARGIN if captions else 0)
    top = MARGIN + line + (line if heads else 0)
    right = max(left + columns * step[0], MARGIN + int(font.getlength(title)))
    paper = Image.new("RGB", (right + MARGIN, top + len(rows) * step[1] + MARGIN), PAPER)
    draw = ImageDraw.Draw(paper)
    draw.text((MARGIN, MARGIN), title, INK, font, anchor="lt")
    for column, head in enumerate(heads):
        middle = left + column * step[0] + width * scale // 2
        draw.text((middle, MARGIN + line), head, FAINT, font, anchor="mt")
    for i, row in enumerate(rows):
        y = top + i * step[1]
        if captions:
            draw.text((MARGIN, y + height * scale // 2), captions[i], FAINT, font, anchor="lm")
        for column, image in enumerate(row):
            paper.paste(_enlarged(image, scale), (left + column * step[0], y))
    return torch.frombuffer(bytearray(paper.tobytes()), dtype=torch.uint8).view(
        paper.height, paper.width, 3
    )


def _enlarged(image: Tensor, scale: int) -> Image.Image:
    """Image (C, H, W) as a picture with every pixel `scale` times as large."""
    array = image.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()  # (H, W, 3)
    return Image.fromarray(array.repeat(scale, 0).repeat(scale, 1))


def _checked(images: Tensor) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images of shape {tuple(images.shape)} and dtype {images.dtype}; expected uint8 "
            "(N, C, H, W) with 1 or 3 channels"
        )
    if not len(images):
        raise ValueError("no image to show; give at least one")
    return images
