"""Grids show every image where it belongs, unchanged, and the same every time."""

import pytest
import torch

from aef_worldmodel.viz.grids import (
    FAINT,
    GAP,
    INK,
    compose,
    interpolations,
    reconstructions,
    samples,
)
from aef_worldmodel.viz.video import PAPER, write_png


def numbered(count, channels=3, side=32, start=60):
    """Image i is one flat grey of level start + i."""
    levels = torch.arange(start, start + count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return levels.expand(count, channels, side, side).clone()


def places(picture, level):
    """Upper left corner and size (y, x, height, width) of a flat grey."""
    found = (picture == level).all(-1).nonzero()
    low, high = found.min(0).values, found.max(0).values
    assert len(found) == (high - low + 1).prod()  # one whole rectangle
    return (*low.tolist(), *(high - low + 1).tolist())


def count(picture, colour):
    return int((picture == torch.tensor(colour, dtype=torch.uint8)).all(-1).sum())


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_laid_out_row_by_row(channels):
    picture = samples(numbered(7, channels), "seven", columns=3)
    corners = [places(picture, 60 + i) for i in range(7)]
    assert all(corner[2:] == (64, 64) for corner in corners)  # 32 pixels, twice as large
    for i, (y, x, *_) in enumerate(corners):
        assert y - corners[0][0] == (i // 3) * (64 + GAP)
        assert x - corners[0][1] == (i % 3) * (64 + GAP)
    assert picture.dtype == torch.uint8 and count(picture, INK) > 10
    assert count(picture, PAPER) + 7 * 64 * 64 < picture.shape[0] * picture.shape[1]


def test_reconstructions_lie_below_their_data():
    picture = reconstructions(numbered(5), numbered(5, start=160), "pairs", columns=3)
    for i in range(5):
        above, below = places(picture, 60 + i), places(picture, 160 + i)
        assert (below[0] - above[0], below[1]) == (64 + GAP, above[1])
    assert count(picture, FAINT) > 10
    assert places(picture, 63)[0] > places(picture, 160)[0]


def test_interpolations_run_along_rows_with_heads():
    paths = numbered(8).view(2, 4, 3, 32, 32)
    picture = interpolations(paths, "from one to the other")
    rows = [[places(picture, 60 + 4 * r + s) for s in range(4)] for r in range(2)]
    assert rows[0][0][0] == rows[0][3][0] < rows[1][0][0]
    without = compose(list(paths), "from one to the other")
    assert picture.shape[0] > without.shape[0] and count(without, FAINT) == 0


def test_the_same_images_give_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, samples(numbered(4), "same"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_long_title_fits():
    short, long = samples(numbered(1), "a"), samples(numbered(1), "a much longer title" * 4)
    assert long.shape[1] > 300 > short.shape[1]


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: samples(numbered(3).float(), ""), "expected uint8"),
        (lambda: samples(numbered(3)[0], ""), "expected uint8"),
        (lambda: samples(numbered(3, channels=2), ""), "1 or 3 channels"),
        (lambda: samples(numbered(3)[:0], ""), "no image"),
        (lambda: reconstructions(numbered(3), numbered(2), ""), "give pairs"),
        (lambda: interpolations(numbered(3), ""), "expected .rows, steps"),
        (lambda: compose([numbered(2), numbered(2, side=16)], ""), "give one shape"),
        (lambda: compose([numbered(2)], "", ["a", "b"]), "2 captions for 1 rows"),
        (lambda: compose([], ""), "0 columns"),
    ],
)
def test_impossible_grids_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
