"""Elementwise bijections of images and vectors, whose log-determinants are part of the likelihood.

Each maps u (N, C, H, W) to y and back, and gives log|det dy/du| *at y*, so that only y has to be
kept. `Autoencoder` itself has the affine map that subtracts a mean image; these replace it, and
vectors (N, P) are always mapped by `state_vectors`.
"""

import abc
import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.nn.distributions import symexp, symlog

LEAST_DEVIATION = 0.1  # that divides a number of a vector


class Bijection(nn.Module, abc.ABC):
    """Interface of preprocessing: an invertible map of images."""

    @abc.abstractmethod
    def forward(self, u: Tensor) -> Tensor:
        """Return y of u (N, C, H, W) in [0, 1]."""

    @abc.abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """Return u of y (N, C, H, W)."""

    @abc.abstractmethod
    def log_det(self, y: Tensor) -> Tensor:
        """Return log|det dy/du| at y (N, C, H, W) in nats (N,)."""

    def initialise(self, u: Tensor) -> None:
        """Start from images u (N, C, H, W)."""


class Logit(Bijection):
    """`y = logit(alpha + (1 - 2 alpha) u)`, from the unit interval to the real line.

    Dinh et al., "Density estimation using Real NVP", 2017, section 4.1. Raises ValueError unless
    0 < alpha < 1/2.
    """

    def __init__(self, alpha: float = 0.05):
        super().__init__()
        if not 0 < alpha < 0.5:
            raise ValueError(f"alpha={alpha} must be between 0 and 0.5")
        self.alpha = alpha

    def forward(self, u: Tensor) -> Tensor:
        """Return y of u in [0, 1]."""
        return torch.logit(self.alpha + (1 - 2 * self.alpha) * u)

    def inverse(self, y: Tensor) -> Tensor:
        """Return u of y."""
        return (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)

    def log_det(self, y: Tensor) -> Tensor:
        """Return the sum of `log(1 - 2 alpha) - log sigmoid(y) - log sigmoid(-y)`, nats (N,)."""
        slopes = F.softplus(y) + F.softplus(-y)
        return (slopes + math.log(1 - 2 * self.alpha)).flatten(1).sum(1)


class ActNorm(Bijection):
    """`y = (u - shift) exp(log_scale)` with learned values for each channel.

    They start so that the first images have mean 0 and variance 1 (Kingma and Dhariwal, "Glow",
    2018, section 3.1).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, u: Tensor) -> Tensor:
        """Return y of u (N, C, H, W)."""
        return (u - self.shift) * self.log_scale.exp()

    def inverse(self, y: Tensor) -> Tensor:
        """Return u of y."""
        return y * (-self.log_scale).exp() + self.shift

    def log_det(self, y: Tensor) -> Tensor:
        """Return H W times the sum of log-scales, nats (N,)."""
        return (self.log_scale.sum() * y[0, 0].numel()).expand(len(y))

    @torch.no_grad()
    def initialise(self, u: Tensor) -> None:
        """Start from images u (N, C, H, W)."""
        self.shift.copy_(u.mean((0, 2, 3))[:, None, None])
        self.log_scale.copy_(-u.std((0, 2, 3)).clamp(min=1e-3).log()[:, None, None])


class Standardise(Bijection):
    """`y = (u - mean) / deviation` of vectors (N, P), by the first vectors' mean and deviation.

    A number that did not vary is divided by 0.1.
    """

    mean: Tensor  # (P,)
    deviation: Tensor  # (P,)

    def __init__(self, count: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("deviation", torch.ones(count))

    def forward(self, u: Tensor) -> Tensor:
        """Return y of u (N, P)."""
        return (u - self.mean) / self.deviation

    def inverse(self, y: Tensor) -> Tensor:
        """Return u of y (N, P)."""
        return y * self.deviation + self.mean

    def log_det(self, y: Tensor) -> Tensor:
        """Return minus the sum of log deviations, nats (N,)."""
        return -self.deviation.log().sum().expand(len(y))

    def initialise(self, u: Tensor) -> None:
        """Start from vectors u (N, P)."""
        self.mean.copy_(u.mean(0))
        self.deviation.copy_(u.std(0, correction=0).clamp(min=LEAST_DEVIATION))


class Symlog(Bijection):
    """`y = sign(u) log(1 + |u|)`: numbers far from zero stay in reach (Hafner et al., 2023)."""

    def forward(self, u: Tensor) -> Tensor:
        """Return y of u."""
        return symlog(u)

    def inverse(self, y: Tensor) -> Tensor:
        """Return u of y."""
        return symexp(y)

    def log_det(self, y: Tensor) -> Tensor:
        """Return minus the sum of |y|, nats (N,)."""
        return -y.abs().flatten(1).sum(1)


class Chain(nn.ModuleList, Bijection):
    """Bijections one after the other."""

    def __iter__(self) -> Iterator[Bijection]:
        """Iterate over the bijections, the first applied first."""
        return cast(Iterator[Bijection], super().__iter__())

    def forward(self, u: Tensor) -> Tensor:
        """Return y of u (N, C, H, W)."""
        for part in self:
            u = part(u)
        return u

    def inverse(self, y: Tensor) -> Tensor:
        """Return u of y."""
        for part in reversed(list(self)):
            y = part.inverse(y)
        return y

    def log_det(self, y: Tensor) -> Tensor:
        """Return log|det dy/du| in nats (N,)."""
        total = y.new_zeros(len(y))
        for part in reversed(list(self)):
            total, y = total + part.log_det(y), part.inverse(y)
        return total

    def initialise(self, u: Tensor) -> None:
        """Start from images u (N, C, H, W), each part from the output of those before."""
        for part in self:
            part.initialise(u)
            u = part(u)


def state_vectors(count: int) -> Bijection:
    """Return the preprocessing of vectors (N, P): standardised, then symlog."""
    return Chain([Standardise(count), Symlog()])
