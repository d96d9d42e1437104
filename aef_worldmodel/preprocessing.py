"""Elementwise bijections of images, whose log-determinants are part of the likelihood.

Each maps u (N, C, H, W) to y, inverts, and gives log|det dy/du| *at y*, so that nothing but y has
to be kept. `Autoencoder` has the affine map that subtracts a mean image; these take its place.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Logit(nn.Module):
    """`y = logit(alpha + (1 - 2 alpha) u)`: the unit interval becomes the line.

    Dinh et al., "Density estimation using Real NVP", 2017, section 4.1. Raises ValueError unless
    0 < alpha < 1/2.
    """

    def __init__(self, alpha: float = 0.05):
        super().__init__()
        if not 0 < alpha < 0.5:
            raise ValueError(f"alpha={alpha} must be between 0 and 0.5")
        self.alpha = alpha

    def forward(self, u: Tensor) -> Tensor:
        """u in [0, 1] -> y."""
        return torch.logit(self.alpha + (1 - 2 * self.alpha) * u)

    def inverse(self, y: Tensor) -> Tensor:
        """y -> u."""
        return (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)

    def log_det(self, y: Tensor) -> Tensor:
        """log|det dy/du| in nats (N,): `log(1 - 2 alpha) - log sigmoid(y) - log sigmoid(-y)`."""
        slopes = F.softplus(y) + F.softplus(-y)
        return (slopes + math.log(1 - 2 * self.alpha)).flatten(1).sum(1)

    def initialise(self, u: Tensor) -> None:
        """Nothing to take from data."""


class ActNorm(nn.Module):
    """`y = (u - shift) exp(log_scale)` with learned numbers a channel, which start so that the
    first images have mean 0 and variance 1 (Kingma and Dhariwal, "Glow", 2018, section 3.1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, u: Tensor) -> Tensor:
        """u (N, C, H, W) -> y."""
        return (u - self.shift) * self.log_scale.exp()

    def inverse(self, y: Tensor) -> Tensor:
        """y -> u."""
        return y * (-self.log_scale).exp() + self.shift

    def log_det(self, y: Tensor) -> Tensor:
        """log|det dy/du| in nats (N,): H W times the sum of log-scales."""
        return (self.log_scale.sum() * y[0, 0].numel()).expand(len(y))

    @torch.no_grad()
    def initialise(self, u: Tensor) -> None:
        """Starts from images u (N, C, H, W)."""
        self.shift.copy_(u.mean((0, 2, 3))[:, None, None])
        self.log_scale.copy_(-u.std((0, 2, 3)).clamp(min=1e-3).log()[:, None, None])


class Chain(nn.ModuleList):
    """Bijections one after the other."""

    def forward(self, u: Tensor) -> Tensor:
        """u (N, C, H, W) -> y."""
        for part in self:
            u = part(u)
        return u

    def inverse(self, y: Tensor) -> Tensor:
        """y -> u."""
        for part in reversed(self):
            y = part.inverse(y)
        return y

    def log_det(self, y: Tensor) -> Tensor:
        """log|det dy/du| in nats (N,)."""
        total = y.new_zeros(len(y))
        for part in reversed(self):
            total, y = total + part.log_det(y), part.inverse(y)
        return total

    def initialise(self, u: Tensor) -> None:
        """Starts from images u (N, C, H, W), each part from what those before it make of them."""
        for part in self:
            part.initialise(u)
            u = part(u)
