"""Encoders and decoders of still images, by name.

| name | networks | sides |
|---|---|---|
| conv | two strided convolutions and their mirror: the paper's small networks | multiples of 4 |
| residual | bottleneck blocks between changes of resolution: its larger ones | multiples of 16 |
| patch | products over patches (networks.py): the fastest here on processors | multiples of 16 |

Any module of the same signature will do: an encoder maps an image (N, C, H, W) to mean and raw
log-scale, each (N, d); a decoder maps a latent (N, d) to a mean image (N, C, H, W).
Paper: Silvestri et al. 2023, appendix on architectures; its blocks are those of Child, "Very deep
VAEs generalize autoregressive models and can outperform them on images", 2021.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.networks import PatchDecoder, PatchEncoder

Shape = tuple[int, int, int]


def check_multiple(shape: Shape, of: int, name: str) -> None:
    """Raises ValueError unless height and width are multiples of `of`."""
    if shape[1] % of or shape[2] % of:
        raise ValueError(
            f"images of {shape[1]}x{shape[2]} pixels; the {name} networks need sides that are "
            f"multiples of {of}: choose other networks or resize"
        )


class ConvEncoder(nn.Module):
    """Two 3x3 convolutions of stride 2, `width` and twice as many channels, then one product."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64):
        super().__init__()
        check_multiple(shape, 4, "conv")
        channels, height, length = shape
        self.first = nn.Conv2d(channels, width, 3, 2, 1)
        self.second = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.out = nn.Linear(2 * width * (height // 4) * (length // 4), 2 * latent_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image (N, C, H, W) -> mean and raw log-scale, each (N, d)."""
        x = F.relu(self.first(image))  # (N, w, H/2, W/2)
        x = F.relu(self.second(x))  # (N, 2w, H/4, W/4)
        return self.out(x.flatten(1)).chunk(2, -1)


class ConvDecoder(nn.Module):
    """The mirror of `ConvEncoder`, with transposed 4x4 convolutions of stride 2."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64):
        super().__init__()
        check_multiple(shape, 4, "conv")
        self.grid = (2 * width, shape[1] // 4, shape[2] // 4)
        self.dense = nn.Linear(latent_dim, 2 * width * self.grid[1] * self.grid[2])
        self.first = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.out = nn.ConvTranspose2d(width, shape[0], 4, 2, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Latent (N, d) -> image (N, C, H, W)."""
        x = self.dense(latent).view(-1, *self.grid)  # (N, 2w, H/4, W/4)
        return self.out(F.relu(self.first(x)))


class Bottleneck(nn.Module):
    """x + 1x1, 3x3, 3x3, 1x1 convolutions at half the channels, each after a GELU."""

    def __init__(self, width: int, scale: float):
        super().__init__()
        inner = width // 2
        sizes = ((width, inner, 1), (inner, inner, 3), (inner, inner, 3), (inner, width, 1))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, 1, k // 2) for i, o, k in sizes)
        nn.init.zeros_(self.convs[-1].bias)
        with torch.no_grad():
            self.convs[-1].weight.mul_(scale)  # a deep sum of blocks starts near the identity

    def forward(self, x: Tensor) -> Tensor:
        """(N, w, h, w') -> the same shape."""
        inside = x
        for conv in self.convs:
            inside = conv(F.gelu(inside))
        return x + inside


def halvings(shape: Shape) -> int:
    """How often both sides are halved until one is 4 or odd."""
    count, sides = 0, shape[1:]
    while min(sides) > 4 and not (sides[0] % 2 or sides[1] % 2):
        count, sides = count + 1, (sides[0] // 2, sides[1] // 2)
    return count


class ResidualEncoder(nn.Module):
    """A block at each resolution from the image's down to 4x4, averages of 2x2 between them."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64):
        super().__init__()
        check_multiple(shape, 16, "residual")
        count = halvings(shape)
        cells = (shape[1] >> count) * (shape[2] >> count)
        self.stem = nn.Conv2d(shape[0], width, 3, 1, 1)
        self.blocks = nn.ModuleList(Bottleneck(width, count**-0.5) for _ in range(count + 1))
        self.out = nn.Linear(width * cells, 2 * latent_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image (N, C, H, W) -> mean and raw log-scale, each (N, d)."""
        x = self.stem(image)  # (N, w, H, W)
        for block in self.blocks[:-1]:
            x = F.avg_pool2d(block(x), 2)
        return self.out(F.gelu(self.blocks[-1](x)).flatten(1)).chunk(2, -1)  # from (N, w, 4, 4)


class ResidualDecoder(nn.Module):
    """The mirror of `ResidualEncoder`, with repeated pixels between the blocks."""

    def __init__(self, shape: Shape, latent_dim: int, width: int = 64):
        super().__init__()
        check_multiple(shape, 16, "residual")
        count = halvings(shape)
        self.grid = (width, shape[1] >> count, shape[2] >> count)
        self.dense = nn.Linear(latent_dim, width * self.grid[1] * self.grid[2])
        self.blocks = nn.ModuleList(Bottleneck(width, count**-0.5) for _ in range(count + 1))
        self.out = nn.Conv2d(width, shape[0], 3, 1, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Latent (N, d) -> image (N, C, H, W)."""
        x = self.blocks[0](self.dense(latent).view(-1, *self.grid))  # (N, w, 4, 4)
        for block in self.blocks[1:]:
            x = block(F.interpolate(x, scale_factor=2.0))
        return self.out(F.gelu(x))


class TwoImages(nn.Module):
    """A decoder of twice the channels as two images: mean and raw standard deviation."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent (N, d) -> two images, each (N, C, H, W)."""
        return self.decoder(latent).chunk(2, 1)


NETWORKS = {
    "conv": (ConvEncoder, ConvDecoder),
    "residual": (ResidualEncoder, ResidualDecoder),
    "patch": (PatchEncoder, PatchDecoder),
}


def make_networks(
    name: str | None, shape: Shape, latent_dim: int, width: int = 64, two: bool = False
) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of that name; None takes patch where its sides fit, else conv.

    `two` gives a decoder of two images, for a variance that depends on the latent. Raises
    ValueError for an unknown name or sides that do not fit.
    """
    if name is None:
        name = "conv" if shape[1] % 16 or shape[2] % 16 else "patch"
    if name not in NETWORKS:
        raise ValueError(f"unknown networks {name!r}; choose one of {', '.join(NETWORKS)}")
    make_encoder, make_decoder = NETWORKS[name]
    out = (2 * shape[0], *shape[1:]) if two else shape
    decoder = make_decoder(out, latent_dim, width)
    return make_encoder(shape, latent_dim, width), TwoImages(decoder) if two else decoder
