"""Distributions over the latent of a state-space model: categorical or Gaussian.

Each is made of a network's raw output, draws with gradients, and has its own divergence. Shapes: V
latent variables, K classes, ... any batch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

UNIFORM_MIX = 0.01  # share of a uniform distribution in every categorical
STD_FLOOR = 0.1  # smallest standard deviation of a Gaussian


class Categorical(NamedTuple):
    """V categoricals of K classes; a draw is V one-hot vectors in a row.

    Gradients pass straight through a draw to the probabilities (Hafner et al., "Mastering Atari
    with discrete world models", 2021, algorithm 1).
    """

    log_probs: Tensor  # (..., V, K)

    @classmethod
    def from_raw(cls, raw: Tensor, classes: int) -> Categorical:
        """Return the distribution of logits (..., V K), mixed with 1 % of a uniform one."""
        probs = raw.unflatten(-1, (-1, classes)).softmax(-1)
        return cls(((1 - UNIFORM_MIX) * probs + UNIFORM_MIX / classes).log())

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        """Return Gumbel noise (..., V, K), which makes the most likely class a draw."""
        like = self.log_probs
        uniform = torch.rand(like.shape, generator=generator, device=like.device)
        return -(-uniform.log()).log()

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """Return the one-hot vectors (..., V K) of noise (..., V, K); the modes without it."""
        scores = self.log_probs if noise is None else self.log_probs + noise
        probs = self.log_probs.exp()
        hard = F.one_hot(scores.argmax(-1), probs.shape[-1]).to(probs.dtype)
        return (hard + (probs - probs.detach())).flatten(-2)

    def kl(self, other: Latents) -> Tensor:
        """Return KL(self || other) in nats (...), summed over the V variables."""
        assert isinstance(other, Categorical)
        return (self.log_probs.exp() * (self.log_probs - other.log_probs)).sum((-2, -1))

    def entropy(self) -> Tensor:
        """Return the entropy in nats (...), summed over the V variables."""
        return -(self.log_probs.exp() * self.log_probs).sum((-2, -1))

    def detach(self) -> Categorical:
        """Return the distribution as a constant."""
        return Categorical(self.log_probs.detach())


class Gaussian(NamedTuple):
    """V independent Gaussians (Hafner et al., "Learning latent dynamics for planning", 2019)."""

    mean: Tensor  # (..., V)
    std: Tensor  # (..., V)

    @classmethod
    def from_raw(cls, raw: Tensor) -> Gaussian:
        """Return the distribution of means and raw standard deviations (..., 2 V)."""
        mean, spread = raw.chunk(2, -1)
        return cls(mean, F.softplus(spread) + STD_FLOOR)

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        """Return noise (..., V) from N(0, I)."""
        like = self.mean
        return torch.randn(like.shape, generator=generator, device=like.device)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """Return the latents (..., V) of noise (..., V); the means without it."""
        return self.mean if noise is None else torch.addcmul(self.mean, self.std, noise)

    def kl(self, other: Latents) -> Tensor:
        """Return KL(self || other) in nats (...), summed over the V variables."""
        assert isinstance(other, Gaussian)
        ratio = (self.std / other.std).square()
        distance = ((self.mean - other.mean) / other.std).square()
        return 0.5 * (ratio + distance - 1 - ratio.log()).sum(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats (...), summed over the V variables."""
        return (self.std.log() + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def detach(self) -> Gaussian:
        """Return the distribution as a constant."""
        return Gaussian(self.mean.detach(), self.std.detach())


Latents = Categorical | Gaussian
