"""Encoder, decoder, and the small dense networks of the world model.

Encoder and decoder are matrix products over patches: on processors, and under `torch.autocast`
for bfloat16, these measured twice as fast as convolutions of the same size (docs/speed.md).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(inputs: int, outputs: int, hidden: int, layers: int) -> nn.Sequential:
    """`layers` hidden layers of Linear, LayerNorm, SiLU, then a Linear. (..., in) -> (..., out)."""
    blocks: list[nn.Module] = []
    for i in range(layers):
        blocks += [nn.Linear(hidden if i else inputs, hidden), nn.LayerNorm(hidden), nn.SiLU()]
    return nn.Sequential(*blocks, nn.Linear(hidden, outputs))


def zero_last(network: nn.Sequential) -> nn.Sequential:
    """Zeroes the output layer, so that a head starts by predicting its default."""
    nn.init.zeros_(network[-1].weight)
    nn.init.zeros_(network[-1].bias)
    return network


def merge(x: Tensor, k: int) -> Tensor:
    """Joins k x k neighbours into channels. (N, H, W, C) -> (N, H/k, W/k, k*k*C)."""
    n, h, w, c = x.shape
    return x.view(n, h // k, k, w // k, k, c).transpose(2, 3).reshape(n, h // k, w // k, k * k * c)


def unmerge(x: Tensor, k: int) -> Tensor:
    """Inverse of `merge`. (N, H, W, k*k*C) -> (N, k*H, k*W, C)."""
    n, h, w, c = x.shape
    x = x.view(n, h, w, k, k, c // (k * k)).transpose(2, 3)
    return x.reshape(n, h * k, w * k, c // (k * k))


def patches(image: Tensor, k: int) -> Tensor:
    """Cuts an image into k x k patches. (N, C, H, W) -> (N, H/k, W/k, C*k*k)."""
    n, c, h, w = image.shape
    x = image.view(n, c, h // k, k, w // k, k).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(n, h // k, w // k, c * k * k)


def unpatch(x: Tensor, k: int) -> Tensor:
    """Inverse of `patches`. (N, H/k, W/k, C*k*k) -> (N, C, H, W)."""
    n, h, w, c = x.shape
    x = x.view(n, h, w, c // (k * k), k, k).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(n, c // (k * k), h * k, w * k)


def check_sides(shape: tuple[int, int, int]) -> None:
    """Raises ValueError unless height and width are multiples of 16."""
    if shape[1] % 16 or shape[2] % 16:
        raise ValueError(
            f"frames of {shape[1]}x{shape[2]} pixels; these networks need sides that are "
            "multiples of 16: choose another image_size"
        )


class PatchEncoder(nn.Module):
    """Image (N, C, H, W) -> mean and raw log-scale of a latent, each (N, d).

    Non-overlapping convolutions written as matrix products: 4x4 patches, then two 2x2 merges,
    then one dense layer over the whole 1/16 grid.
    """

    def __init__(self, shape: tuple[int, int, int], latent_dim: int, width: int = 64,
                 hidden: int = 256):
        super().__init__()
        check_sides(shape)
        cells = (shape[1] // 16) * (shape[2] // 16)
        self.stem = nn.Linear(16 * shape[0], width)
        self.middle = nn.Linear(4 * width, 2 * width)
        self.top = nn.Linear(8 * width, 2 * width)
        self.dense = nn.Sequential(
            nn.Linear(2 * width * cells, hidden), nn.LayerNorm(hidden), nn.SiLU()
        )
        self.out = nn.Linear(hidden, 2 * latent_dim)

    def features(self, image: Tensor) -> Tensor:
        """Image (N, C, H, W) -> features (N, hidden)."""
        x = F.relu(self.stem(patches(image, 4)))  # (N, H/4, W/4, w)
        x = F.relu(self.middle(merge(x, 2)))  # (N, H/8, W/8, 2w)
        x = F.relu(self.top(merge(x, 2)))  # (N, H/16, W/16, 2w)
        return self.dense(x.flatten(1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image (N, C, H, W) -> mean and raw log-scale, each (N, d)."""
        return self.out(self.features(image)).chunk(2, -1)


class PatchDecoder(nn.Module):
    """Latent (N, d) -> mean image (N, C, H, W): dense to a 1/8 grid, one split, 4x4 patches."""

    def __init__(self, shape: tuple[int, int, int], latent_dim: int, width: int = 64,
                 hidden: int = 256):
        super().__init__()
        check_sides(shape)
        self.grid = (shape[1] // 8, shape[2] // 8, width)
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, hidden), nn.LayerNorm(hidden), nn.SiLU(),
            nn.Linear(hidden, self.grid[0] * self.grid[1] * width),
        )  # fmt: skip
        self.middle = nn.Linear(width, 4 * width)
        self.out = nn.Linear(width, 16 * shape[0])

    def forward(self, latent: Tensor) -> Tensor:
        """Latent (N, d) -> image (N, C, H, W)."""
        x = F.relu(self.dense(latent)).view(-1, *self.grid)  # (N, H/8, W/8, w)
        x = F.relu(unmerge(self.middle(x), 2))  # (N, H/4, W/4, w)
        return unpatch(self.out(x), 4)  # (N, C, H, W)


class PyramidDecoder(nn.Module):
    """Latent (N, d) -> mean image (N, C, H, W): dense to a 1/16 grid, four overlapping transposed
    convolutions. Slower than `PatchDecoder`; draws thin limbs in postures it has not seen better
    (docs/tried/walker-walk.md)."""

    def __init__(self, shape: tuple[int, int, int], latent_dim: int, width: int = 64,
                 hidden: int = 256):
        super().__init__()
        check_sides(shape)
        self.grid = (4 * width, shape[1] // 16, shape[2] // 16)
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, hidden), nn.LayerNorm(hidden), nn.SiLU(),
            nn.Linear(hidden, 4 * width * self.grid[1] * self.grid[2]),
        )  # fmt: skip
        channels = (4 * width, 2 * width, width, width // 2, shape[0])
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, 2, 1)
            for before, after in pairwise(channels)
        ).to(memory_format=torch.channels_last)

    def forward(self, latent: Tensor) -> Tensor:
        """Latent (N, d) -> image (N, C, H, W)."""
        x = self.dense(latent).view(-1, *self.grid)  # (N, 4w, H/16, W/16)
        x = x.contiguous(memory_format=torch.channels_last)
        for conv in self.convs:
            x = conv(F.silu(x))  # twice the sides, half the channels
        return x.contiguous()


class GatedCell(nn.Module):
    """Layer-normalised GRU cell, one matrix product a step for its recurrent half.

    `inputs` (N, I) are embedded by `embed` (batched over time where they are known), then
    `h' = (1 - u) h + u tanh(r * c)`, with u, r, c from a normalised sum of both halves.
    """

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.hidden = hidden
        self.input = nn.Sequential(nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.SiLU(),
                                   nn.Linear(hidden, 3 * hidden))
        self.recurrent = nn.Linear(hidden, 3 * hidden, bias=False)
        self.norm = nn.LayerNorm(3 * hidden)

    def embed(self, inputs: Tensor) -> Tensor:
        """(..., I) -> (..., 3H), the half of the gates that does not depend on the state."""
        return self.input(inputs)

    def forward(self, embedded: Tensor, state: Tensor) -> Tensor:
        """embedded (N, 3H), state (N, H) float32 -> next state (N, H) float32."""
        reset, candidate, update = self.norm(embedded + self.recurrent(state)).chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return torch.lerp(state, candidate.float(), update.float())
