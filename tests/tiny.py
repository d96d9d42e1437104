"""Small parts for the laws of the bijections: tiny networks, tiny images, exact coordinates."""

import contextlib
import math

import torch
from torch import nn

from aef_worldmodel.autoencoders import PartitionAEF
from aef_worldmodel.splits import BasisSplit, make_split

CORES = ("dct", "center", "corner", "own")


class Encoder(nn.Module):
    """Any module of this signature is an encoder: image -> mean, raw log-scale, each (N, d)."""

    def __init__(self, shape, latent_dim, hidden=6):
        super().__init__()
        inputs = math.prod(shape)
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent_dim)
        )

    def forward(self, image):
        return self.net(image).chunk(2, -1)


class Decoder(nn.Module):
    """Any module of this signature is a decoder: latent (N, d) -> mean image (N, C, H, W)."""

    def __init__(self, shape, latent_dim, hidden=6):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(latent_dim, hidden), nn.Tanh(), nn.Linear(hidden, math.prod(shape)),
            nn.Unflatten(1, shape),
        )  # fmt: skip

    def forward(self, latent):
        return self.net(latent)


class LinearEncoder(nn.Module):
    """mean = A x + a and a constant log-scale: the encoder of a linear-Gaussian model."""

    def __init__(self, matrix, offset, log_scale):
        super().__init__()
        self.matrix, self.offset, self.raw = matrix, offset, 4 * torch.atanh(log_scale / 4)

    def forward(self, image):
        mean = image.flatten(1) @ self.matrix.T + self.offset
        return mean, self.raw.expand_as(mean)


class LinearDecoder(nn.Module):
    """G z + g."""

    def __init__(self, matrix, offset, shape):
        super().__init__()
        self.matrix, self.offset, self.shape = matrix, offset, shape

    def forward(self, latent):
        return (latent @ self.matrix.T + self.offset).view(-1, *self.shape)


@contextlib.contextmanager
def default_dtype(dtype):
    """New tensors and modules have this type inside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def own_basis(shape, latent_dim):
    """Orthonormal rows nobody would think of, (d, D) float64."""
    size = math.prod(shape)
    noise = torch.randn(size, latent_dim, dtype=torch.float64)
    return torch.linalg.qr(noise).Q.T


def split_of(core, shape, latent_dim):
    if core == "own":
        return BasisSplit(own_basis(shape, latent_dim), shape)
    return make_split(core, shape, latent_dim)


def partition(core, shape, latent_dim, dtype=torch.float64, seed=0):
    """A partition AEF with small non-linear networks and a lively decoder scale."""
    torch.manual_seed(seed)
    with default_dtype(dtype):
        networks = Encoder(shape, latent_dim), Decoder(shape, latent_dim)
        split = split_of(core, shape, latent_dim)
        eye = PartitionAEF(*networks, shape, latent_dim, core=split)
        nn.init.normal_(eye.raw_sigma)
    return eye


def shell_basis(split):
    """Orthonormal rows that span the shell, (D - d, D): its true coordinates."""
    size = math.prod(split.shape)
    if split.pixelwise:
        kept = split.mask.flatten().bool()
        return torch.eye(size, dtype=split.mask.dtype)[kept]
    return torch.linalg.svd(split.basis, full_matrices=True).Vh[split.core_dim :]
