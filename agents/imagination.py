"""Actor-critic trained inside the world model's imagination.

The actor climbs lambda-returns of imagined rollouts, by gradients through the learned dynamics;
the critic regresses them (two-hot symlog) beside a slow copy of itself. Returns are normalised
by their 5th-to-95th percentile range. Hafner et al. 2023, sections "Actor critic" (equations
6-12); dynamics gradients as in Hafner et al. 2020.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.distributions import TwoHotHead, standard_normal_log_prob
from aef_worldmodel.networks import mlp, zero_last
from aef_worldmodel.world_model import State, WorldModel


@dataclass(frozen=True)
class ImaginationConfig:
    """Actor-critic in imagination."""

    horizon: int = 12
    """Imagined decisions."""
    starts: int = 192
    """Replayed states an update imagines from."""
    discount: float = 0.98
    """gamma, a decision."""
    trace: float = 0.95
    """lambda of the returns."""
    entropy: float = 1e-2
    """Weight of the policy's entropy, against normalised returns."""
    hidden_dim: int = 256
    """Width of actor and critic."""
    slow_rate: float = 0.04
    """How far the slow critic follows an update."""
    slow_weight: float = 0.0
    """Weight of the critic's pull towards its slow copy."""
    std_floor: float = 0.15
    """Least standard deviation of the policy before tanh."""


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

    def sample(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Reparametrised action (..., A) and a sample of its entropy in nats (...)."""
        mean, std = self(features)
        noise = torch.randn_like(mean)
        raw = mean + std * noise
        log_jacobian = 2 * (math.log(2) - raw - F.softplus(-2 * raw))
        entropy = (std.log() - standard_normal_log_prob(noise) + log_jacobian).sum(-1)
        return torch.tanh(raw), entropy


def lambda_returns(reward: Tensor, cont: Tensor, value: Tensor, discount: float,
                   trace: float) -> Tensor:
    """R_t = r_(t+1) + gamma c_(t+1) ((1 - lambda) v_(t+1) + lambda R_(t+1)), R_H = v_H.

    reward and cont (H, N) arrive with states 1..H; value (H + 1, N). Returns (H, N).
    """
    last, returns = value[-1], []
    for t in reversed(range(len(reward))):
        last = reward[t] + discount * cont[t] * ((1 - trace) * value[t + 1] + trace * last)
        returns.append(last)
    return torch.stack(returns[::-1])


class ImaginationAgent(nn.Module):
    """Actor, critic and slow critic, with their losses on imagined rollouts."""

    def __init__(self, config: ImaginationConfig, features: int, action_dim: int):
        super().__init__()
        self.config = config
        self.actor = Actor(features, action_dim, config.hidden_dim, config.std_floor)
        self.critic = TwoHotHead(features, config.hidden_dim, 2)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.register_buffer("spread", torch.zeros(()))

    def actor_loss(self, model: WorldModel, start: State) -> tuple[Tensor, dict, tuple]:
        """Imagines and returns the actor's loss (), its terms, and what the critic needs."""
        c = self.config
        states, decisions = model.imagine(start, self.actor.sample, c.horizon)
        entropy = torch.stack([extra for _, extra in decisions])  # (H, N)
        features = states.features  # (H + 1, N, F)
        arrived = State(states.recurrent[1:], states.latent[1:])
        reward, cont = model.reward(arrived), model.continuation(arrived)  # (H, N)
        value = self.slow_critic.mean(features)
        returns = lambda_returns(reward, cont, value, c.discount, c.trace)
        self.track(returns.detach())
        weight = discounts(cont.detach(), c.discount)  # (H, N)
        gain = returns / self.spread.clamp(min=1e-2) + c.entropy * entropy
        loss = -(weight * gain).mean()
        terms = {
            "actor_loss": loss, "imagined_reward": reward.mean(), "imagined_return": returns.mean(),
            "entropy": entropy.mean(), "spread": self.spread, "value": value.mean(),
        }  # fmt: skip
        needed = (features[:-1].detach(), returns.detach(), weight)
        return loss, {name: v.detach() for name, v in terms.items()}, needed

    def critic_loss(self, features: Tensor, returns: Tensor, weight: Tensor) -> Tensor:
        """Two-hot cross-entropy against the returns, all (H, N)."""
        loss = self.critic.loss(features, returns)
        if self.config.slow_weight:
            with torch.no_grad():
                slow = self.slow_critic.mean(features)
            loss = loss + self.config.slow_weight * self.critic.loss(features, slow)
        return (weight * loss).mean()

    @torch.no_grad()
    def track(self, returns: Tensor) -> None:
        """Moving average of the returns' 5-95 percentile range."""
        ends = torch.quantile(returns.flatten(), torch.tensor([0.05, 0.95], device=returns.device))
        spread = ends[1] - ends[0]
        self.spread.copy_(spread if self.spread == 0 else torch.lerp(self.spread, spread, 0.01))

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the slow critic towards the critic."""
        slow, fast = list(self.slow_critic.parameters()), list(self.critic.parameters())
        torch._foreach_lerp_(slow, fast, self.config.slow_rate)


def discounts(cont: Tensor, discount: float) -> Tensor:
    """Weight of each imagined decision: the product of discounts before it. (H, N) -> (H, N)."""
    ones = torch.ones_like(cont[:1])
    return torch.cat([ones, (discount * cont[:-1]).cumprod(0)])
