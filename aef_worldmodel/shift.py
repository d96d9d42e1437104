"""Random shifts of videos: as if the camera had looked a few pixels aside.

An eye that learns from few episodes remembers their pictures instead of reading them. Shifted
pictures cannot be remembered (Kostrikov et al., "Image augmentation is all you need", 2020); all
frames of a sequence move together, so that what happens in them stays what it was.
"""

import torch
from torch import Tensor


def shifted(frames: Tensor, pixels: int) -> Tensor:
    """Sequences of frames (B, T, C, H, W), each moved by its own whole numbers of pixels, drawn
    evenly from -`pixels` to `pixels` down and across; the edges are repeated."""
    if pixels < 1:
        return frames
    size, height, width = len(frames), *frames.shape[-2:]
    by = torch.randint(-pixels, pixels + 1, (2, size, 1), device=frames.device)
    rows = (torch.arange(height, device=frames.device) + by[0]).clamp(0, height - 1)  # (B, H)
    columns = (torch.arange(width, device=frames.device) + by[1]).clamp(0, width - 1)  # (B, W)
    sequence = torch.arange(size, device=frames.device)[:, None, None]  # (B, 1, 1)
    moved = frames.movedim((3, 4), (1, 2))[sequence, rows[:, :, None], columns[:, None]]
    return moved.movedim((1, 2), (3, 4)).contiguous()  # (B, H, W, T, C) -> (B, T, C, H, W)
