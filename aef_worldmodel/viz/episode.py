"""The film of a whole episode: what the agent saw, and the reward it has collected so far."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aef_worldmodel.viz.video import BORDER, FAINT, GAP, INK, PAPER, SEEN, load_font

LONGEST = 1_000  # frames of a film: 40 seconds, and some 250 MB before it is compressed


def episode_film(frames: Tensor, rewards: Tensor, scale: int = 4) -> Tensor:
    """Return the frames of an episode, enlarged, above a bar of time and the return so far.

    Of a longer episode than LONGEST decisions the film has every second frame, every third, ...

    Args:
        frames: (T, 3, H, W) uint8.
        rewards: (T,) of the actions taken on them.
        scale: screen pixels of a pixel.

    Returns:
        frames (K, height, width, 3) uint8, K = T up to LONGEST, both sizes even.

    Raises:
        ValueError: frames and rewards do not fit together.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or len(frames) != len(rewards):
        raise ValueError(
            f"expected frames (T, 3, H, W) and rewards (T,), got {tuple(frames.shape)} and "
            f"{tuple(rewards.shape)}"
        )
    length, step = len(frames), -(-len(frames) // LONGEST)
    shown = range((length - 1) % step, length, step)  # the last decision among them
    pictures = frames[shown.start :: step].permute(0, 2, 3, 1).cpu().numpy()  # (K, H, W, 3)
    pictures = pictures.repeat(scale, axis=1).repeat(scale, axis=2)
    returns = rewards.cumsum(0)[shown.start :: step].tolist()
    height, width = pictures.shape[1:3]
    font = load_font(max(11, height // 16))
    top = height + 2 * BORDER
    paper = Image.new("RGB", (_even(width + 2 * BORDER), _even(top + font.size + 3 * GAP)), PAPER)
    made = np.empty((len(shown), paper.height, paper.width, 3), dtype=np.uint8)
    for i, (t, picture, total) in enumerate(zip(shown, pictures, returns, strict=True)):
        image = paper.copy()
        image.paste(Image.fromarray(picture), (BORDER, BORDER))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, top, paper.width - 1, top + 2), fill=FAINT)
        gone = round(paper.width * (t + 1) / length)  # pixels
        draw.rectangle((0, top, max(0, gone - 1), top + 2), fill=SEEN)
        text, line = f"decision {t + 1} of {length}", top + font.size + 2 * GAP
        draw.text((2 * GAP, line), text, FAINT, font, anchor="ls")
        draw.text((paper.width - 2 * GAP, line), f"return {total:.0f}", INK, font, anchor="rs")
        made[i] = np.asarray(image)
    return torch.from_numpy(made)


def _even(size: int) -> int:
    return size + size % 2
