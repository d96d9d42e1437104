"""Log-densities of Gaussians, and two-hot symlog regression.

Two-hot symlog regression: Hafner et al., "Mastering diverse domains through world models", 2023,
equations 9-10.
"""

import math

import torch
from torch import Tensor, nn

from aef_worldmodel.nn.layers import mlp, zero_last

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def standard_normal_log_prob(x: Tensor) -> Tensor:
    """Return log N(x; 0, 1) of every element in nats."""
    return -0.5 * x.square() - HALF_LOG_2PI


def normal_log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return log N(x; mean, diag std^2) in nats, summed over the last axis."""
    return (standard_normal_log_prob((x - mean) / std) - std.log()).sum(-1)


def symlog(x: Tensor) -> Tensor:
    """Return sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Invert `symlog`."""
    return x.sign() * x.abs().expm1()


class TwoHotHead(nn.Module):
    """Head that predicts a real number as a softmax over bins.

    The bins are equally spaced from `-limit` to `limit` in symlog units; limit 10 covers +-22,025.
    A target is coded by weights on its two neighbouring bins whose mean is the target, so the
    expectation of a well-fitted head is the mean of its targets. An untrained head predicts 0.
    Targets beyond the outermost bins count as those bins; `largest` tells.

    Args:
        inputs: F, width of the features.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        bins: odd number of bins; the middle one is zero.
        limit: outermost bins in symlog units.

    Raises:
        ValueError: `bins` is even or below 3.
    """

    support: Tensor  # (bins,) values of the bins
    largest: Tensor  # () the largest |target| so far; not saved

    def __init__(self, inputs: int, hidden: int, layers: int, bins: int = 101, limit: float = 10.0):
        super().__init__()
        if bins < 3 or bins % 2 == 0:
            raise ValueError(f"bins={bins} must be odd and at least 3, so that one bin is zero")
        self.network = zero_last(mlp(inputs, bins, hidden, layers))
        self.limit, self.bins = limit, bins
        self.register_buffer("support", symexp(torch.linspace(-limit, limit, bins)))
        self.register_buffer("largest", torch.zeros(()), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (..., bins) float32 of features (..., F)."""
        return self.network(features).float()

    def mean(self, features: Tensor) -> Tensor:
        """Return the expected values (...) of features (..., F)."""
        probs = self(features).softmax(-1)
        half = self.bins // 2  # sum symmetric bins in pairs: exactly zero at the start
        lower, upper = probs[..., :half], probs[..., half + 1 :]
        return ((upper - lower.flip(-1)) * self.support[half + 1 :]).sum(-1)

    def loss(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy in nats (...) against the two-hot code of `target` (...)."""
        logits = self(features)
        self.largest = torch.maximum(self.largest, target.detach().abs().max())
        target = target.clamp(self.support[0], self.support[-1])
        position = (symlog(target) + self.limit) * ((self.bins - 1) / (2 * self.limit))
        below = position.long().clamp(0, self.bins - 2)
        lower, upper = self.support[below], self.support[below + 1]
        weight = ((target - lower) / (upper - lower)).clamp(0, 1)[..., None]
        below = below[..., None]
        pair = logits.gather(-1, torch.cat([below, below + 1], -1))  # (..., 2)
        expected = (1 - weight) * pair[..., :1] + weight * pair[..., 1:]
        return logits.logsumexp(-1) - expected[..., 0]
