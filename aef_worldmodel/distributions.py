"""Log-densities and the two-hot symlog regression the heads use.

Two-hot symlog regression: Hafner et al., "Mastering diverse domains through world models", 2023,
equations 9-10.
"""

import torch
from torch import Tensor, nn

from aef_worldmodel.eye import HALF_LOG_2PI
from aef_worldmodel.networks import mlp, zero_last


def standard_normal_log_prob(x: Tensor) -> Tensor:
    """Elementwise log N(x; 0, 1) in nats."""
    return -0.5 * x.square() - HALF_LOG_2PI


def normal_log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """log N(x; mean, diag std^2) in nats, summed over the last axis."""
    return (standard_normal_log_prob((x - mean) / std) - std.log()).sum(-1)


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Inverse of `symlog`."""
    return x.sign() * x.abs().expm1()


class TwoHotHead(nn.Module):
    """Predicts a real number as a softmax over bins, equally spaced in symlog units.

    Bins reach from `-limit` to `limit` in symlog units (limit 10 covers +-22,025); starts at 0.
    A number is coded by the weights on its two neighbouring bins whose mean it is, so the
    expectation of a well-fitted head is the mean of its targets. Raises ValueError unless `bins`
    is odd and at least 3.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, bins: int = 101, limit: float = 10.0):
        super().__init__()
        if bins < 3 or bins % 2 == 0:
            raise ValueError(f"bins={bins} must be odd and at least 3: one of them is zero")
        self.network = zero_last(mlp(inputs, bins, hidden, layers))
        self.limit, self.bins = limit, bins
        self.register_buffer("support", symexp(torch.linspace(-limit, limit, bins)))

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) -> logits (..., bins) float32."""
        return self.network(features).float()

    def mean(self, features: Tensor) -> Tensor:
        """(..., F) -> expected value (...)."""
        probs = self(features).softmax(-1)
        half = self.bins // 2  # sum symmetric bins in pairs: exactly zero at the start
        lower, upper = probs[..., :half], probs[..., half + 1 :]
        return ((upper - lower.flip(-1)) * self.support[half + 1 :]).sum(-1)

    def loss(self, features: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy in nats (...) against the two-hot code of `target` (...)."""
        logits = self(features)
        target = target.clamp(self.support[0], self.support[-1])
        position = (symlog(target) + self.limit) * ((self.bins - 1) / (2 * self.limit))
        below = position.long().clamp(0, self.bins - 2)
        lower, upper = self.support[below], self.support[below + 1]
        weight = ((target - lower) / (upper - lower)).clamp(0, 1)[..., None]
        below = below[..., None]
        pair = logits.gather(-1, torch.cat([below, below + 1], -1))  # (..., 2)
        expected = (1 - weight) * pair[..., :1] + weight * pair[..., 1:]
        return logits.logsumexp(-1) - expected[..., 0]
