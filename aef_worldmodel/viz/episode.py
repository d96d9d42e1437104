"""The film of a whole episode: what the agent saw, and the reward it has collected so far."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aef_worldmodel.viz.video import BORDER, FAINT, GAP, INK, PAPER, SEEN, load_font


def episode_film(frames: Tensor, rewards: Tensor, scale: int = 4) -> Tensor:
    """Return the frames of an episode, enlarged, above a bar of time and the return so far.

    Args:
        frames: (T, 3, H, W) uint8.
        rewards: (T,) of the actions taken on them.
        scale: screen pixels of a pixel.

    Returns:
        frames (T, height, width, 3) uint8, both sizes even.

    Raises:
        ValueError: frames and rewards do not fit together.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or len(frames) != len(rewards):
        raise ValueError(
            f"expected frames (T, 3, H, W) and rewards (T,), got {tuple(frames.shape)} and "
            f"{tuple(rewards.shape)}"
        )
    pictures = frames.permute(0, 2, 3, 1).cpu().numpy()  # (T, H, W, 3)
    pictures = pictures.repeat(scale, axis=1).repeat(scale, axis=2)
    length, height, width, _ = pictures.shape
    font = load_font(max(11, height // 16))
    top = height + 2 * BORDER
    paper = Image.new("RGB", (_even(width + 2 * BORDER), _even(top + font.size + 3 * GAP)), PAPER)
    made = np.empty((length, paper.height, paper.width, 3), dtype=np.uint8)
    for t, (picture, total) in enumerate(zip(pictures, rewards.cumsum(0).tolist(), strict=True)):
        image = paper.copy()
        image.paste(Image.fromarray(picture), (BORDER, BORDER))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, top, paper.width - 1, top + 2), fill=FAINT)
        draw.rectangle((0, top, round(paper.width * (t + 1) / length) - 1, top + 2), fill=SEEN)
        text, line = f"decision {t + 1} of {length}", top + font.size + 2 * GAP
        draw.text((2 * GAP, line), text, FAINT, font, anchor="ls")
        draw.text((paper.width - 2 * GAP, line), f"return {total:.0f}", INK, font, anchor="rs")
        made[t] = np.asarray(image)
    return torch.from_numpy(made)


def _even(size: int) -> int:
    return size + size % 2
