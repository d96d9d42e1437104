"""Encoders and decoders made of matrix products over patches.

On CPUs, and under `torch.autocast` in bfloat16, they measured twice as fast as convolutions of the
same size (docs/reference/speed.md).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.autoencoders.networks import NETWORKS, NetworkPair, Shape, check_sides
from aef_worldmodel.nn.patches import NestedPatches


class PatchEncoder(nn.Module):
    """Non-overlapping convolutions written as matrix products.

    4x4 patches, two joins of 2x2 neighbours, then one dense layer over the whole 1/16 grid. The
    patches are nested, so that a join copies nothing (nn/patches.py).
    """

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64, hidden: int = 256):
        super().__init__()
        check_sides(shape, 16)
        self.width = width
        self.patches = NestedPatches(shape, 16)
        cells = (shape[1] // 16) * (shape[2] // 16)
        self.stem = nn.Linear(16 * shape[0], width)
        self.middle = nn.Linear(4 * width, 2 * width)
        self.top = nn.Linear(8 * width, 2 * width)
        self.dense = nn.Sequential(
            nn.Linear(2 * width * cells, hidden), nn.LayerNorm(hidden), nn.SiLU()
        )
        self.out = nn.Linear(hidden, 2 * latent_dim)

    def cells(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features of patches of 4, 8 and 16 pixels, in the order of nested patches."""
        x = self.patches(as_computed(image))  # (N, G, 16, C*4*4) of G cells of 16x16
        fine = F.relu(self.stem(x))  # (N, G, 16, w)
        joined = fine.view(*fine.shape[:2], 4, 4 * self.width)
        middle = F.relu(self.middle(joined))  # (N, G, 4, 2w)
        top = F.relu(self.top(middle.view(*fine.shape[:2], 8 * self.width)))  # (N, G, 2w)
        return fine, middle, top

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return feature maps (N, c, H/s, W/s) of images (N, C, H, W) for s = 4, 8, 16."""
        fine, middle, top = self.cells(image)
        return [self.patches.as_map(x) for x in (fine, middle, top[:, :, None])]

    def features(self, image: Tensor) -> Tensor:
        """Return features (N, hidden) of images (N, C, H, W)."""
        return self.dense(self.cells(image)[-1].flatten(1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and raw log-scale, each (N, d), of images (N, C, H, W)."""
        return self.out(self.features(image)).chunk(2, -1)


class PatchDecoder(nn.Module):
    """A dense layer to a 1/8 grid, one 2x2 split, 4x4 patches."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64, hidden: int = 256):
        super().__init__()
        check_sides(shape, 16)
        self.width = width
        self.patches = NestedPatches(shape, 8)
        cells = (shape[1] // 8) * (shape[2] // 8)
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, cells * width),
        )
        self.middle = nn.Linear(width, 4 * width)
        self.out = nn.Linear(width, 16 * shape[0])

    def forward(self, latent: Tensor) -> Tensor:
        """Return the images (N, C, H, W) of latents (N, d)."""
        x = F.relu(self.dense(latent)).view(len(latent), -1, self.width)  # (N, G, w), cells of 8x8
        x = F.relu(self.middle(x)).view(*x.shape[:2], 4, self.width)  # (N, G, 4, w)
        return self.patches.inverse(self.out(x))  # (N, C, H, W)


class PyramidDecoder(nn.Module):
    """A dense layer to a 1/16 grid, then four overlapping transposed convolutions.

    Slower than `PatchDecoder`, but better at thin limbs in new postures; measured in
    docs/notebook/walker-walk.md.
    """

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64, hidden: int = 256):
        super().__init__()
        check_sides(shape, 16)
        self.grid = (4 * width, shape[1] // 16, shape[2] // 16)
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, 4 * width * self.grid[1] * self.grid[2]),
        )
        channels = (4 * width, 2 * width, width, width // 2, shape[0])
        convs = [nn.ConvTranspose2d(before, after, 4, 2, 1) for before, after in pairwise(channels)]
        for conv in convs:
            conv.weight.data = conv.weight.data.to(memory_format=torch.channels_last)
        self.convs = nn.ModuleList(convs)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the images (N, C, H, W) of latents (N, d)."""
        x = self.dense(latent).view(-1, *self.grid)  # (N, 4w, H/16, W/16)
        x = x.contiguous(memory_format=torch.channels_last)
        for conv in self.convs:
            x = conv(F.silu(x))  # twice the sides, half the channels
        return x.contiguous()


def as_computed(x: Tensor) -> Tensor:
    """Return x in the type of the products that follow: copies of it are then half as large."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


NETWORKS.register("patch")(NetworkPair(PatchEncoder, PatchDecoder, ("width", "hidden")))
NETWORKS.register("pyramid")(NetworkPair(PatchEncoder, PyramidDecoder, ("width", "hidden")))
