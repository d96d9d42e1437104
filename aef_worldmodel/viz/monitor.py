"""The film of an episode with what a monitor says of each frame (world_models/surprise.py)."""

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aef_worldmodel.viz.video import BORDER, FAINT, GAP, INK, PAPER, SEEN, load_font

ALARM = (226, 62, 60)
LANE = 22  # height of a part's lane, pixels
DEEPEST = 4.0  # -log10 of the p-value that fills a lane


def monitor_film(
    frames: Tensor, p_values: Mapping[str, Tensor], level: float, scale: int = 4
) -> Tensor:
    """Return the frames of an episode, framed in red where the monitor alarms, above its p-values.

    Each part of the likelihood has a lane in which time runs to the right; a column is the higher
    the less usual the frame is, and red below the level.

    Args:
        frames: (T, 3, H, W) uint8.
        p_values: part -> (T,), in the order of the lanes; "any" decides on the alarm.
        level: p-value at which a frame alarms.
        scale: screen pixels of a pixel.

    Returns:
        frames (T, height, width, 3) uint8, both sizes even.

    Raises:
        ValueError: frames and p-values do not fit together.
    """
    sizes = {name: tuple(values.shape) for name, values in p_values.items()}
    if frames.ndim != 4 or frames.shape[1] != 3 or set(sizes.values()) != {(len(frames),)}:
        raise ValueError(
            f"expected frames (T, 3, H, W) and p-values (T,), got {tuple(frames.shape)} and {sizes}"
        )
    pictures = frames.permute(0, 2, 3, 1).cpu().numpy()  # (T, H, W, 3)
    pictures = pictures.repeat(scale, axis=1).repeat(scale, axis=2)
    length, height, width, _ = pictures.shape
    lanes = [name for name in p_values if name != "any"]
    top = height + 2 * BORDER + GAP
    size = (width + 2 * BORDER, top + len(lanes) * (LANE + GAP))
    paper = Image.new("RGB", (size[0] + size[0] % 2, size[1] + size[1] % 2), PAPER)
    label = int(max(load_font(12).getlength(name) for name in lanes)) + 2 * GAP
    for lane, name in enumerate(lanes):
        place = (label, top + lane * (LANE + GAP), paper.width - GAP)
        _draw_lane(ImageDraw.Draw(paper), name, p_values[name].tolist(), level, place)
    made = np.empty((length, paper.height, paper.width, 3), dtype=np.uint8)
    for t, picture in enumerate(pictures):
        image = paper.copy()
        draw = ImageDraw.Draw(image)
        colour = ALARM if p_values["any"][t] <= level else SEEN
        draw.rectangle((0, 0, width + 2 * BORDER - 1, height + 2 * BORDER - 1), fill=colour)
        image.paste(Image.fromarray(picture), (BORDER, BORDER))
        now = label + (paper.width - GAP - label) * (t + 0.5) / length
        draw.line((now, top, now, paper.height), INK)
        made[t] = np.asarray(image)
    return torch.from_numpy(made)


def _draw_lane(
    draw: ImageDraw.ImageDraw,
    name: str,
    values: list[float],
    level: float,
    place: tuple[int, int, int],
) -> None:
    """Draw a part's p-values between left and right, from `top` down; place: left, top, right."""
    left, top, right = place
    draw.text((GAP, top + LANE // 2), name, FAINT, load_font(12), anchor="lm")
    draw.line((left, top + LANE, right, top + LANE), FAINT)
    for t, value in enumerate(values):
        depth = min(DEEPEST, -np.log10(max(value, 1e-12))) / DEEPEST
        x = left + (right - left) * np.array([t, t + 1]) / len(values)
        colour = ALARM if value <= level else SEEN
        draw.rectangle((x[0], top + LANE * (1 - depth), max(x[0], x[1] - 1), top + LANE), colour)
