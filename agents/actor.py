"""Actors: from features (h, z) to actions, drawn so that gradients pass through the draw.

`Actor` for actions in [-1, 1], `Chooser` for one choice among A, as a row that is 1 at the choice
and 0 elsewhere. Both draw from noise (..., A) of N(0, I); noise of zeros gives the mode. What is
drawn knows its own log-density and entropy.

Shapes: F features, A actions or choices.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.distributions import normal_log_prob, standard_normal_log_prob
from aef_worldmodel.networks import mlp

UNIFORM = 0.01  # share of a choice that is even among all: every choice keeps a gradient


class Actor(nn.Module):
    """tanh-Gaussian policy on features. The mean before tanh stays within +-3, the standard
    deviation within [std_floor, std_floor + 1]: a policy that saturates stops learning."""

    def __init__(self, inputs: int, action_dim: int, hidden: int, std_floor: float):
        super().__init__()
        self.network = mlp(inputs, 2 * action_dim, hidden, 2)
        nn.init.zeros_(self.network[-1].weight)
        self.std_floor = std_floor

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(..., F) -> mean and standard deviation before tanh, each (..., A) float32."""
        mean, raw = self.network(features).float().chunk(2, -1)
        return 3 * torch.tanh(mean / 3), self.std_floor + torch.sigmoid(raw + 1)

    def mode(self, features: Tensor) -> Tensor:
        """The deterministic action (..., A)."""
        return torch.tanh(self(features)[0])

    def sample(self, features: Tensor, noise: Tensor | None = None) -> "Sample":
        """Reparametrised action; `noise` (..., A) from N(0, I) is drawn if not given."""
        mean, std = self(features)
        noise = torch.randn_like(mean) if noise is None else noise
        raw = torch.addcmul(mean, std, noise)
        return Sample(torch.tanh(raw), raw, mean, std, noise)


class Sample(NamedTuple):
    """A drawn action and what its density is made of, each (..., A)."""

    action: Tensor
    raw: Tensor  # before tanh
    mean: Tensor
    std: Tensor
    noise: Tensor

    def log_prob(self) -> Tensor:
        """Log-density of the drawn action, held fixed, before tanh: nats (...)."""
        return normal_log_prob(self.raw.detach(), self.mean, self.std)

    def entropy(self) -> Tensor:
        """An unbiased sample of the policy's entropy, nats (...): -log p(action)."""
        log_jacobian = 2 * (math.log(2) - self.raw - F.softplus(-2 * self.raw))
        return (self.std.log() - standard_normal_log_prob(self.noise) + log_jacobian).sum(-1)


class Chooser(nn.Module):
    """Softmax policy on features, one hundredth of it uniform."""

    def __init__(self, inputs: int, choices: int, hidden: int):
        super().__init__()
        self.network = mlp(inputs, choices, hidden, 2)
        nn.init.zeros_(self.network[-1].weight)

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) -> log-probabilities (..., A) float32."""
        probability = self.network(features).float().softmax(-1)
        return torch.lerp(probability, torch.ones_like(probability) / probability.shape[-1],
                          UNIFORM).log()  # fmt: skip

    def mode(self, features: Tensor) -> Tensor:
        """The likeliest choice (..., A)."""
        return self.sample(features, torch.zeros(())).action

    def sample(self, features: Tensor, noise: Tensor | None = None) -> "Choice":
        """A choice whose gradient is that of its probabilities (straight through, Bengio et al.
        2013); the draw is the largest of log-probabilities plus Gumbel noise, which is made of
        `noise` (..., A) from N(0, I)."""
        log_probability = self(features)
        noise = torch.randn_like(log_probability) if noise is None else noise
        level = torch.special.ndtr(noise.float()).clamp(1e-7, 1 - 1e-7)
        drawn = (log_probability.detach() - (-level.log()).log()).argmax(-1)
        hard = F.one_hot(drawn, log_probability.shape[-1]).to(log_probability.dtype)
        soft = log_probability.exp()
        return Choice(hard + (soft - soft.detach()), log_probability)


class Choice(NamedTuple):
    """A choice and the distribution it was drawn from, each (..., A)."""

    action: Tensor
    log_probability: Tensor

    def log_prob(self) -> Tensor:
        """Log-probability of the choice, held fixed: nats (...)."""
        return (self.action.detach() * self.log_probability).sum(-1)

    def entropy(self) -> Tensor:
        """The policy's entropy, nats (...)."""
        return -(self.log_probability.exp() * self.log_probability).sum(-1)
