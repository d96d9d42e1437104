"""Random shifts: the same for a whole sequence, evenly drawn, edges repeated."""

import pytest
import torch

from aef_worldmodel.shift import shifted


def moved(video: torch.Tensor, down: int, across: int) -> torch.Tensor:
    """A sequence (T, C, H, W) moved a pixel at a time, by its definition."""
    height, width = video.shape[-2:]
    out = torch.empty_like(video)
    for y in range(height):
        for x in range(width):
            from_y, from_x = min(max(y + down, 0), height - 1), min(max(x + across, 0), width - 1)
            out[..., y, x] = video[..., from_y, from_x]
    return out


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_sequence_moves_as_a_whole_and_every_move_is_drawn(dtype):
    torch.manual_seed(0)
    video = torch.randint(0, 256, (3, 2, 6, 5)).to(dtype)  # (T, C, H, W)
    whole = {
        (y, x): moved(video, y, x).flatten().tolist() for y in range(-2, 3) for x in range(-2, 3)
    }
    drawn = shifted(video.expand(400, -1, -1, -1, -1), 2)
    assert drawn.shape == (400, *video.shape) and drawn.dtype == dtype
    names = {tuple(values): by for by, values in whole.items()}
    found = [names[tuple(sequence.flatten().tolist())] for sequence in drawn]  # KeyError: torn
    counts = [found.count(by) for by in whole]
    assert min(counts) >= 3 and max(counts) <= 40  # 16 expected of each of 25


def test_no_shift_is_nothing():
    frames = torch.randint(0, 256, (2, 3, 3, 8, 8), dtype=torch.uint8)
    assert shifted(frames, 0) is frames
