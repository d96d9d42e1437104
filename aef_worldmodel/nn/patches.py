"""Images as nested patches: a fixed order of pixels in which neighbours lie side by side.

The pixels of a cell of 16x16 are together, in it those of each quarter, and so on down to patches
of 4x4. A layer that joins 2x2 neighbours into channels is then a view of memory and copies nothing;
one reordering of the image pays for all of them.

Shapes: N images, C channels, H and W sides.
"""

from typing import Any

import torch
from torch import Tensor, nn

PATCH = 4  # side of the smallest patch; its rows of four pixels stay together
is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # of torch 2.7 and later
WIDE = {4: torch.int32, 8: torch.int64, 16: torch.complex128}  # by bytes


class NestedPatches(nn.Module):
    """Reorder images (N, C, H, W) to nested patches (N, H/s * W/s, s/4 * s/4, C*4*4) and back.

    Args:
        shape: (C, H, W) of the images, sides multiples of `side`.
        side: s of the largest cell: 4, 8 or 16.
    """

    order: Tensor  # (R,) the row of the image that stands at each place, R = C H W / 4
    inverse_order: Tensor  # (R,)

    def __init__(self, shape: tuple[int, ...], side: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.shape, self.side = shape, side
        levels = (side // PATCH).bit_length() - 1  # halvings from the cell to the patch
        halves = (2,) * levels
        rows = torch.arange(channels * height * width // PATCH)
        rows = rows.view(channels, height // side, *halves, PATCH, width // side, *halves)
        tall, wide = 1, 3 + levels  # the axes of H/s and W/s; halvings follow each
        pairs = [axis for level in range(levels + 1) for axis in (tall + level, wide + level)]
        order = rows.permute(*pairs, 0, 2 + levels).flatten()
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse_order", order.argsort(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return nested patches (N, H/s * W/s, (s/4)^2, C*4*4) of images (N, C, H, W)."""
        channels, height, width = self.shape
        cells = (height // self.side) * (width // self.side)
        inner = (self.side // PATCH) ** 2
        x = _Reorder.apply(image.flatten(1), self.order, self.inverse_order)
        return x.view(-1, cells, inner, channels * PATCH * PATCH)

    def inverse(self, patches: Tensor) -> Tensor:
        """Return the images (N, C, H, W) of nested patches."""
        x = _Reorder.apply(patches.flatten(1), self.inverse_order, self.order)
        return x.view(-1, *self.shape)

    def as_map(self, inner: Tensor) -> Tensor:
        """Return features of nested patches (N, G, k k, c), in rows and columns (N, c, H', W').

        k is a power of two: H' and W' are k H/s and k W/s.
        """
        rows, columns = self.shape[1] // self.side, self.shape[2] // self.side
        levels = (inner.shape[2].bit_length() - 1) // 2
        x = inner.reshape(-1, rows, columns, *(2,) * (2 * levels), inner.shape[-1])
        tall = [1, *range(3, 3 + 2 * levels, 2)]  # the axes of H/s and of its halvings
        wide = [2, *range(4, 4 + 2 * levels, 2)]
        x = x.permute(0, x.dim() - 1, *tall, *wide)
        return x.reshape(len(inner), inner.shape[-1], rows << levels, columns << levels)


class _Reorder(torch.autograd.Function):
    """Reorder the rows of four numbers of every image; the gradient goes the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return _reorder(x, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Reorder.apply(gradients[0], inverse, order), None, None


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    """Return x (N, R * 4) with the rows of four of every image in another order."""
    wide = WIDE.get(PATCH * x.element_size())  # a row moves as one number where a type has its size
    if wide is None or is_exporting():  # an exported graph has no such numbers
        return x.unflatten(1, (-1, PATCH)).index_select(1, order).flatten(1)
    return x.contiguous().view(wide).gather(1, order.expand(len(x), -1)).view(x.dtype)
