"""Nested patches: neighbours lie side by side, and nothing is lost."""

import pytest
import torch

from aef_worldmodel.nn.patches import NestedPatches


def nested(image, side):
    """Return the patches of an image (C, s, s) by their definition: halve cells down to 4x4."""
    if side == 4:
        return [image.flatten()]
    half = side // 2
    quarters = [image[:, i : i + half, j : j + half] for i in (0, half) for j in (0, half)]
    return [patch for quarter in quarters for patch in nested(quarter, half)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.uint8])
@pytest.mark.parametrize("side", [4, 8, 16])
@pytest.mark.parametrize("shape", [(3, 32, 48), (1, 16, 16)])
def test_the_order_is_that_of_cells_halved_down_to_patches(shape, side, dtype):
    images = torch.randint(0, 256, (2, *shape)).to(dtype)
    patches = NestedPatches(shape, side)
    found = patches(images)
    cells = [
        torch.stack(nested(image[:, i : i + side, j : j + side], side))
        for image in images
        for i in range(0, shape[1], side)
        for j in range(0, shape[2], side)
    ]
    assert torch.equal(found, torch.stack(cells).view_as(found))
    assert torch.equal(patches.inverse(found), images)


@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_gradients_go_back_to_where_the_values_came_from(way):
    patches = NestedPatches((1, 8, 8), 8)
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    x = (x if way == "forward" else patches(x)).requires_grad_()
    assert torch.autograd.gradcheck(patches if way == "forward" else patches.inverse, x)


def test_parts_of_a_larger_tensor_are_read_right():
    images = torch.randn(4, 3, 16, 16)
    patches = NestedPatches((3, 16, 16), 16)
    assert torch.equal(patches(images[::2]), patches(images)[::2])
