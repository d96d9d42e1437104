"""Encoders and decoders made of convolutions: the paper's small and large networks.

Paper: Silvestri et al. 2023, appendix on architectures. Its large networks are the blocks of Child,
"Very deep VAEs generalize autoregressive models and can outperform them on images", 2021.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.autoencoders.networks import NETWORKS, NetworkPair, Shape, check_sides


class ConvEncoder(nn.Module):
    """Two 3x3 convolutions of stride 2 with `width` and 2 `width` channels, then a dense layer."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64):
        super().__init__()
        check_sides(shape, 4)
        channels, height, length = shape
        self.first = nn.Conv2d(channels, width, 3, 2, 1)
        self.second = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.out = nn.Linear(2 * width * (height // 4) * (length // 4), 2 * latent_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and raw log-scale, each (N, d), of images (N, C, H, W)."""
        return self.out(self.maps(image)[-1].flatten(1)).chunk(2, -1)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return feature maps (N, c, H/s, W/s) of images (N, C, H, W) for s = 2, 4."""
        first = F.relu(self.first(image))  # (N, w, H/2, W/2)
        return [first, F.relu(self.second(first))]  # (N, 2w, H/4, W/4)


class ConvDecoder(nn.Module):
    """Mirror of `ConvEncoder`, with transposed 4x4 convolutions of stride 2."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64):
        super().__init__()
        check_sides(shape, 4)
        self.grid = (2 * width, shape[1] // 4, shape[2] // 4)
        self.dense = nn.Linear(latent_dim, 2 * width * self.grid[1] * self.grid[2])
        self.first = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.out = nn.ConvTranspose2d(width, shape[0], 4, 2, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the images (N, C, H, W) of latents (N, d)."""
        x = self.dense(latent).view(-1, *self.grid)  # (N, 2w, H/4, W/4)
        return self.out(F.relu(self.first(x)))


class Bottleneck(nn.Module):
    """`x +` 1x1, 3x3, 3x3 and 1x1 convolutions at half the channels, each after a GELU."""

    def __init__(self, width: int, scale: float):
        super().__init__()
        inner = width // 2
        sizes = ((width, inner, 1), (inner, inner, 3), (inner, inner, 3), (inner, width, 1))
        convs = [nn.Conv2d(i, o, k, 1, k // 2) for i, o, k in sizes]
        nn.init.zeros_(cast(Tensor, convs[-1].bias))
        with torch.no_grad():
            convs[-1].weight.mul_(scale)  # a deep sum of blocks starts near the identity
        self.convs = nn.ModuleList(convs)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape (N, w, h, w')."""
        inside = x
        for conv in self.convs:
            inside = conv(F.gelu(inside))
        return x + inside


def halvings(shape: Shape) -> int:
    """Return how often both sides are halved until one is 4 or odd."""
    count, sides = 0, shape[1:]
    while min(sides) > 4 and not (sides[0] % 2 or sides[1] % 2):
        count, sides = count + 1, (sides[0] // 2, sides[1] // 2)
    return count


class ResidualEncoder(nn.Module):
    """A block at each resolution from the image's down to 4x4, averages of 2x2 between them."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64):
        super().__init__()
        check_sides(shape, 16)
        count = halvings(shape)
        cells = (shape[1] >> count) * (shape[2] >> count)
        self.stem = nn.Conv2d(shape[0], width, 3, 1, 1)
        self.blocks = nn.ModuleList(Bottleneck(width, count**-0.5) for _ in range(count + 1))
        self.out = nn.Linear(width * cells, 2 * latent_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and raw log-scale, each (N, d), of images (N, C, H, W)."""
        return self.out(self.maps(image)[-1].flatten(1)).chunk(2, -1)  # from (N, w, 4, 4)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return feature maps (N, w, H/s, W/s) of images (N, C, H, W) for s = 1, 2, ..., H/4."""
        x, found = self.stem(image), []  # (N, w, H, W)
        for block in self.blocks[:-1]:
            found.append(block(x))
            x = F.avg_pool2d(found[-1], 2)
        return [*found, F.gelu(self.blocks[-1](x))]


class ResidualDecoder(nn.Module):
    """Mirror of `ResidualEncoder`, with repeated pixels between the blocks."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64):
        super().__init__()
        check_sides(shape, 16)
        count = halvings(shape)
        self.grid = (width, shape[1] >> count, shape[2] >> count)
        self.dense = nn.Linear(latent_dim, width * self.grid[1] * self.grid[2])
        self.blocks = nn.ModuleList(Bottleneck(width, count**-0.5) for _ in range(count + 1))
        self.out = nn.Conv2d(width, shape[0], 3, 1, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the images (N, C, H, W) of latents (N, d)."""
        x = self.blocks[0](self.dense(latent).view(-1, *self.grid))  # (N, w, 4, 4)
        for block in self.blocks[1:]:
            x = block(F.interpolate(x, scale_factor=2.0))
        return self.out(F.gelu(x))


NETWORKS.register("conv")(NetworkPair(ConvEncoder, ConvDecoder))
NETWORKS.register("residual")(NetworkPair(ResidualEncoder, ResidualDecoder))
