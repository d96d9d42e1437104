"""Actors: map features (h, z) to actions, with gradients through the draw.

`GaussianActor` is for actions in [-1, 1], `CategoricalActor` for one choice among A, as a row that
is 1 at the choice and 0 elsewhere. Both draw from noise (..., A) of N(0, I); noise of zeros gives
the mode. A sample knows its own entropy.

Shapes: F features, A actions or choices.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.nn.distributions import standard_normal_log_prob
from aef_worldmodel.nn.layers import mlp

STD_FLOOR = 0.3  # smallest standard deviation of the policy before tanh
UNIFORM = 0.01  # share of the uniform distribution: every choice keeps a gradient


def zero_output_weight(network: nn.Sequential) -> None:
    """Zero the output layer's weight, so that the first policy is the same in every state."""
    output = network[-1]
    assert isinstance(output, nn.Linear)
    nn.init.zeros_(output.weight)


class GaussianActor(nn.Module):
    """A tanh-Gaussian policy on features.

    The mean before tanh stays within +-3, the standard deviation within [0.3, 1.3]: a policy that
    saturates stops learning.

    Args:
        inputs: F, width of the features.
        action_dim: A.
        hidden: width of the network.
    """

    def __init__(self, inputs: int, action_dim: int, hidden: int) -> None:
        super().__init__()
        self.network = mlp(inputs, 2 * action_dim, hidden, 2)
        zero_output_weight(self.network)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation before tanh, (..., A) float32 each, of (..., F)."""
        mean, raw = self.network(features).float().chunk(2, -1)
        return 3 * torch.tanh(mean / 3), STD_FLOOR + torch.sigmoid(raw + 1)

    def mode(self, features: Tensor) -> Tensor:
        """Return the deterministic action (..., A)."""
        return torch.tanh(self(features)[0])

    def sample(self, features: Tensor, noise: Tensor | None = None) -> "GaussianSample":
        """Return a reparametrised action; `noise` (..., A) from N(0, I) is drawn if not given."""
        mean, std = self(features)
        noise = torch.randn_like(mean) if noise is None else noise
        raw = torch.addcmul(mean, std, noise)
        return GaussianSample(torch.tanh(raw), raw, mean, std, noise)


class GaussianSample(NamedTuple):
    """A drawn action and the parts of its density, (..., A) each."""

    action: Tensor
    raw: Tensor  # before tanh
    mean: Tensor
    std: Tensor
    noise: Tensor

    def entropy(self) -> Tensor:
        """Return an unbiased sample of the policy's entropy, nats (...): -log p(action)."""
        log_jacobian = 2 * (math.log(2) - self.raw - F.softplus(-2 * self.raw))
        return (self.std.log() - standard_normal_log_prob(self.noise) + log_jacobian).sum(-1)


class CategoricalActor(nn.Module):
    """A softmax policy on features, mixed with one hundredth of the uniform distribution.

    Args:
        inputs: F, width of the features.
        choices: A.
        hidden: width of the network.
    """

    def __init__(self, inputs: int, choices: int, hidden: int) -> None:
        super().__init__()
        self.network = mlp(inputs, choices, hidden, 2)
        zero_output_weight(self.network)

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities (..., A) float32 of features (..., F)."""
        probability = self.network(features).float().softmax(-1)
        return torch.lerp(
            probability, torch.ones_like(probability) / probability.shape[-1], UNIFORM
        ).log()

    def mode(self, features: Tensor) -> Tensor:
        """Return the likeliest choice (..., A)."""
        return self.sample(features, torch.zeros(())).action

    def sample(self, features: Tensor, noise: Tensor | None = None) -> "CategoricalSample":
        """Return a choice with the gradient of its probabilities.

        Straight through: Bengio et al., "Estimating or propagating gradients through stochastic
        neurons", 2013. The draw is the largest of log-probabilities plus Gumbel noise, which is
        computed from `noise` (..., A) of N(0, I).
        """
        log_probability = self(features)
        noise = torch.randn_like(log_probability) if noise is None else noise
        level = torch.special.ndtr(noise.float()).clamp(1e-7, 1 - 1e-7)
        drawn = (log_probability.detach() - (-level.log()).log()).argmax(-1)
        hard = F.one_hot(drawn, log_probability.shape[-1]).to(log_probability.dtype)
        soft = log_probability.exp()
        return CategoricalSample(hard + (soft - soft.detach()), log_probability)


class CategoricalSample(NamedTuple):
    """A choice and the log-probabilities it was drawn from, (..., A) each."""

    action: Tensor
    log_probability: Tensor

    def entropy(self) -> Tensor:
        """Return the policy's entropy, nats (...)."""
        return -(self.log_probability.exp() * self.log_probability).sum(-1)
