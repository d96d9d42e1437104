"""Parts for the laws of autoencoders: tiny networks, tiny images, exact coordinates."""

import contextlib
import math

import torch
from torch import nn

from aef_worldmodel.autoencoders.aef import PartitionAEF
from aef_worldmodel.autoencoders.splits import BasisSplit, make_split
from aef_worldmodel.nn.distributions import standard_normal_log_prob

CORES = ("dct", "center", "corner", "own")


class Encoder(nn.Module):
    """An encoder: image -> mean and raw log-scale, each (N, d)."""

    def __init__(self, shape, latent_dim, hidden=6):
        super().__init__()
        inputs = math.prod(shape)
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent_dim)
        )

    def forward(self, image):
        return self.net(image).chunk(2, -1)


class Decoder(nn.Module):
    """A decoder: latent (N, d) -> mean image (N, C, H, W)."""

    def __init__(self, shape, latent_dim, hidden=6):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(latent_dim, hidden),
            nn.Tanh(),
            nn.Linear(hidden, math.prod(shape)),
            nn.Unflatten(1, shape),
        )

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
    """mean = G z + g."""

    def __init__(self, matrix, offset, shape):
        super().__init__()
        self.matrix, self.offset, self.shape = matrix, offset, shape

    def forward(self, latent):
        return (latent @ self.matrix.T + self.offset).view(-1, *self.shape)


@contextlib.contextmanager
def default_dtype(dtype):
    """Give new tensors and modules this type inside the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def own_basis(shape, latent_dim):
    """Return random orthonormal rows, (d, D) float64."""
    size = math.prod(shape)
    noise = torch.randn(size, latent_dim, dtype=torch.float64)
    return torch.linalg.qr(noise).Q.T


def split_of(core, shape, latent_dim):
    if core == "own":
        return BasisSplit(own_basis(shape, latent_dim), shape)
    return make_split(core, shape, latent_dim)


def partition(core, shape, latent_dim, dtype=torch.float64, seed=0):
    """Return a partition AEF with small non-linear networks and a random decoder scale."""
    torch.manual_seed(seed)
    with default_dtype(dtype):
        networks = Encoder(shape, latent_dim), Decoder(shape, latent_dim)
        split = split_of(core, shape, latent_dim)
        autoencoder = PartitionAEF(*networks, shape, latent_dim, core=split)
        nn.init.normal_(autoencoder.raw_sigma)
    return autoencoder


def shell_basis(split):
    """Return orthonormal rows that span the shell, (D - d, D): its coordinates."""
    size = math.prod(split.shape)
    if split.pixelwise:
        kept = split.mask.flatten().bool()
        return torch.eye(size, dtype=split.mask.dtype)[kept]
    return torch.linalg.svd(split.basis, full_matrices=True).Vh[split.core_dim :]


def grid(points, reach, dims):
    """Return a grid (points^dims, dims) over [-reach, reach]^dims, and the volume of a cell."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * dims), (axis[1] - axis[0]).item() ** dims


def random_images(count, shape, seed=None):
    """Return images (count, C, H, W) uint8."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)


def log_prior(latent):
    """Return log N(z; 0, I) of latents (N, d), (N,)."""
    return standard_normal_log_prob(latent).sum(-1)


def log_density(autoencoder, y):
    """Return log p(u) of y = scale (u - mean) under a standard normal prior, nats (N,)."""
    code = autoencoder.encode_y(y)
    return log_prior(code.latent) + code.log_det + autoencoder.reconstruction_log_prob(code)


class TwoHeaded(nn.Module):
    """A decoder of a mean and a raw standard deviation."""

    def __init__(self, shape, latent_dim):
        super().__init__()
        self.parts = nn.ModuleList([Decoder(shape, latent_dim), Decoder(shape, latent_dim)])

    def forward(self, latent):
        return tuple(part(latent) for part in self.parts)


def with_random_parameters(model, seed=1):
    """Return the model with random values for parameters that start as zeros or constants."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.startswith(("prior", "autoencoder.flow")):
            nn.init.normal_(parameter, std=0.1)  # of 64 inputs
        elif "sigma" in name or "norm" in name:
            nn.init.normal_(parameter, std=0.5)
    return model


def small_model(constructor, options, shape, latent_dim, dtype=torch.float64):
    """Return an image model with tiny networks and random parameters."""
    torch.manual_seed(0)
    options = {"sigma_floor": 0.7} | options
    with default_dtype(dtype):
        decoder = TwoHeaded if options.get("variance") == "dependent" else Decoder
        model = constructor(
            shape,
            latent_dim,
            encoder=Encoder(shape, latent_dim),
            decoder=decoder(shape, latent_dim),
            **options,
        )
    return with_random_parameters(model)
