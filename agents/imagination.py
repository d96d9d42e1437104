"""Actor-critic trained inside the world model's imagination.

The actor climbs lambda-returns of imagined rollouts, by gradients through the learned dynamics, or
by REINFORCE where asked; the critic regresses them (two-hot symlog) beside a slow copy of itself.
Returns are normalised by their 5th-to-95th percentile range where that is above 1. Hafner et al.
2023, sections "Actor critic" (equations 6-12); dynamics gradients as in Hafner et al. 2020.
"""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aef_worldmodel.distributions import TwoHotHead
from aef_worldmodel.dynamics import Dynamics, State
from agents.actor import Actor, Chooser
from agents.schema import ConfigError

AFTER = ("reward", "terminal", "first")  # of the rows after a sequence's first the critic learns


@dataclass(frozen=True)
class ImaginationConfig:
    """Actor-critic in imagination."""

    horizon: int = 20
    """Imagined decisions."""
    starts: int = 128
    """Replayed states an update imagines from."""
    temperature: float = 1.0
    """Of the dreams: scales the noise of the latents' prior. 1 draws, as the model expects the
    world to be; 0 follows the prior's centre, in which everything is easier (docs/agent.md)."""
    discount: float = 0.99
    """gamma, a decision."""
    gradient: Literal["dynamics", "reinforce"] = "dynamics"
    """How the actor learns: by gradients through the learned dynamics, or by its own
    log-probabilities times advantages."""
    gradient_limit: float | None = 3.0
    """Under gradient=dynamics, the longest gradient of an imagined state, in medians over the
    worlds at that decision: without it, a few worlds in chaos outshout all others (docs/agent.md);
    null for none."""
    trace: float = 0.95
    """lambda of the returns."""
    entropy: float = 1e-2
    """Weight of the policy's entropy, against normalised returns."""
    hidden_dim: int = 256
    """Width of actor and critic."""
    slow_rate: float = 0.04
    """How far the slow critic follows an update."""
    replay_value: float = 1.0
    """Weight of the critic's loss on replayed rows, against what really came after them."""
    replay_horizon: int | None = 300
    """Decisions whose real rewards count there, where the episode lasts so long; null for
    lambda-returns of the rows of a sequence alone."""
    actor_rate: float = 0.02
    """How far the averaged actor, which plays evaluations, follows an update."""
    std_floor: float = 0.3
    """Least standard deviation of the policy before tanh; choices among few have none."""
    quiet_worlds: float = 0.25
    """Share of the training worlds, of four or more, that play as evaluations do, without noise:
    so what goes wrong only there is learnt from (docs/agent.md)."""

    def __post_init__(self) -> None:
        """Raise ConfigError for what cannot be dreamt or learnt from."""
        least = {"horizon": 1, "starts": 1, "hidden_dim": 1}
        for name in (*least, "temperature", "entropy", "replay_value", "std_floor"):
            self._refuse(name, getattr(self, name) < least.get(name, 0),
                         f"at least {least.get(name, 0)}")
        for name in ("discount", "trace", "slow_rate", "actor_rate", "quiet_worlds"):
            self._refuse(name, not 0 <= getattr(self, name) <= 1, "within 0 and 1")
        limit = self.gradient_limit
        ahead = self.replay_horizon
        self._refuse("replay_horizon", ahead is not None and ahead < 1, "at least 1; null is none")
        self._refuse("gradient_limit", limit is not None and limit <= 0, "above 0; null is none")

    def _refuse(self, name: str, wrong: bool, must: str) -> None:
        if wrong:
            raise ConfigError(
                f"{name}={getattr(self, name)} of the imagination agent must be {must}"
            )


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
    """Actor, critic and slow critic, with their losses on imagined rollouts.

    Args:
        config: settings.
        features: F, of a state.
        action_dim: A, of actions; or the number of choices if `discrete`.
    """

    def __init__(self, config: ImaginationConfig, features: int, action_dim: int,
                 discrete: bool = False):
        super().__init__()
        self.config = config
        self.actor = (
            Chooser(features, action_dim, config.hidden_dim) if discrete
            else Actor(features, action_dim, config.hidden_dim, config.std_floor)
        )  # fmt: skip
        self.critic = TwoHotHead(features, config.hidden_dim, 2)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.slow_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.register_buffer("spread", torch.zeros(()))

    def actor_loss(self, model: Dynamics, start: State,
                   generator: torch.Generator | None = None) -> tuple[Tensor, dict, tuple]:
        """Imagines and returns the actor's loss (), its terms, and what the critic needs."""
        c, like = self.config, start.latent
        shape = (c.horizon, len(like), model.action_dim)
        noise = torch.randn(shape, generator=generator, device=like.device)
        with torch.set_grad_enabled(c.gradient == "dynamics"):
            drawn = iter(noise)
            states, decisions = model.imagine(
                start, lambda features: self.actor.sample(features, next(drawn)), c.horizon,
                c.temperature, generator, c.gradient_limit,
            )
            features = states.features  # (H + 1, N, F)
            arrived = State(states.recurrent[1:], states.latent[1:])
            reward, cont = model.reward(arrived), model.continuation(arrived)  # (H, N)
            value = self.slow_critic.mean(features)
            returns = lambda_returns(reward, cont, value, c.discount, c.trace)
        self.track(returns.detach())
        weight = discounts(cont.detach(), c.discount)  # (H, N)
        scale = self.spread.clamp(min=1)  # never blows up what hardly differs
        if c.gradient == "dynamics":
            sample = type(decisions[0])(*map(torch.stack, zip(*decisions)))  # (H, N, A)
            gain = returns / scale
        else:
            sample = self.actor.sample(features[:-1], noise)  # the same, with a gradient
            gain = (returns - value[:-1]) / scale * sample.log_prob()
        entropy = sample.entropy()  # (H, N)
        loss = -(weight * (gain + c.entropy * entropy)).mean()
        terms = {
            "actor_loss": loss, "imagined_reward": reward.mean(), "imagined_return": returns.mean(),
            "entropy": entropy.mean(), "spread": self.spread, "value": value.mean(),
        }  # fmt: skip
        needed = (features[:-1].detach(), returns.detach(), weight)
        return loss, {name: v.detach() for name, v in terms.items()}, needed

    def critic_loss(self, features: Tensor, returns: Tensor, weight: Tensor) -> Tensor:
        """Two-hot cross-entropy against the returns, all (H, N)."""
        return (weight * self.critic.loss(features, returns)).mean()

    def replay_loss(self, states: State, rows: dict[str, Tensor]) -> Tensor:
        """The critic's loss on replayed sequences, against the rewards that really came.

        states (B, T, .); rows: reward, terminal and first (B, T), or of the rows after the first,
        as `real_returns` takes them, reward_after and so on. What lies beyond the rewards that are
        known there is taken to be worth what the slow critic says of the row itself.
        """
        features, c = states.features, self.config
        with torch.no_grad():
            value = self.slow_critic.mean(features)  # (B, T)
        if c.replay_horizon is None:
            returns, alive = self._row_returns(rows, value)
            features = features[:, :-1]
        else:
            after = {name: rows[f"{name}_after"] for name in (*AFTER, "there")}
            came, beyond, alive = real_returns(after, value.shape[1], c.discount)
            returns = came + beyond * value
        return (alive * self.critic.loss(features, returns)).mean()

    def _row_returns(self, rows: dict[str, Tensor], value: Tensor) -> tuple[Tensor, Tensor]:
        """Lambda-returns of sequences' own rows, but of the last, and which of them count
        (B, T - 1): not a row before an episode's first, since what follows is another episode."""
        c, value = self.config, value.T  # (T, B)
        reward, terminal, first = (rows[name].T for name in ("reward", "terminal", "first"))
        # an episode cut short at row t: its return there is the critic's own value
        cut = first[1:]
        reward = torch.where(cut, value[:-1], reward[1:])
        cont = (~terminal[1:] & ~cut).float()
        returns = lambda_returns(reward, cont, value, c.discount, c.trace)  # (T - 1, B)
        return returns.T, (~terminal[:-1] & ~cut).float().T

    @torch.no_grad()
    def track(self, returns: Tensor) -> None:
        """Moving average of the returns' 5-95 percentile range."""
        ends = torch.quantile(returns.flatten(), torch.tensor([0.05, 0.95], device=returns.device))
        spread = ends[1] - ends[0]
        self.spread.copy_(spread if self.spread == 0 else torch.lerp(self.spread, spread, 0.01))

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the slow critic towards the critic and the averaged actor towards the actor."""
        for slow, fast, rate in (
            (self.slow_critic, self.critic, self.config.slow_rate),
            (self.slow_actor, self.actor, self.config.actor_rate),
        ):
            torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), rate)


def discounts(cont: Tensor, discount: float) -> Tensor:
    """Weight of each imagined decision: the product of discounts before it. (H, N) -> (H, N)."""
    ones = torch.ones_like(cont[:1])
    return torch.cat([ones, (discount * cont[:-1]).cumprod(0)])


def real_returns(after: dict[str, Tensor], length: int,
                 discount: float) -> tuple[Tensor, Tensor, Tensor]:
    """Discounted sums of the rewards that came after each row of sequences of `length` rows T.

    after: of the rows after the sequence's first, reward (B, T - 1 + K), first, terminal and there
    (B, T - 1 + K) bool. The K decisions after a row count, or fewer where its episode ends before
    or has not come so far. Returns (B, T) each: the sum; the discount of what came after it, 0
    where the world had ended; and 1 where any reward came, else 0.
    """
    count = after["reward"].shape[1] - length + 1
    ahead = {name: x.unfold(1, count, 1) for name, x in after.items()}  # (B, T, K)
    alive = (ahead["there"] & ~ahead["first"]).cumprod(-1)
    weight = discount ** torch.arange(count, device=alive.device)
    came = (ahead["reward"] * alive * weight).sum(-1)
    ended = (ahead["terminal"] & alive.bool()).any(-1)
    return came, discount ** alive.sum(-1) * ~ended, alive[..., 0].float()
