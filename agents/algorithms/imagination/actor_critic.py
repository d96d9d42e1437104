"""Actor and critic with their losses on imagined and replayed rollouts.

The actor ascends lambda-returns of imagined rollouts by gradients through the learned dynamics; the
critic regresses them (two-hot symlog) beside a target network. Returns are normalised by their
5th-to-95th percentile range where that is above 1. Hafner et al., "Mastering diverse domains
through world models", 2023, section "Actor critic" (equations 6-12); dynamics gradients as in
Hafner et al., "Dream to control", 2020.

Shapes: L imagined decisions, N rollouts, B sequences, T rows, F features, A action.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.nn.distributions import TwoHotHead
from aef_worldmodel.utils.compiling import compilable
from aef_worldmodel.world_models.base import State, WorldModel
from agents.algorithms.imagination.actors import CategoricalActor, GaussianActor
from agents.algorithms.imagination.config import ActorCriticConfig
from agents.algorithms.imagination.returns import discounts, lambda_returns, observed_returns
from agents.base import Terms
from agents.optimisation import lerp_parameters


class ImaginedRollout(NamedTuple):
    """What actor and critic learn from an imagined rollout."""

    actor_loss: Tensor  # ()
    terms: Terms
    features: Tensor  # (L, N, F), without gradients
    returns: Tensor  # (L, N)
    weight: Tensor  # (L, N), products of discounts


class ActorCritic(nn.Module):
    """Actor, critic, target critic and averaged actor.

    Args:
        config: settings.
        feature_dim: F, of a state.
        action_dim: A, of actions; or the number of choices if `discrete`.
        hidden_dim: width of the networks.
        discrete: actions are choices.
    """

    return_scale: Tensor

    def __init__(
        self,
        config: ActorCriticConfig,
        feature_dim: int,
        action_dim: int,
        hidden_dim: int,
        discrete: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        make_actor = CategoricalActor if discrete else GaussianActor
        self.actor = make_actor(feature_dim, action_dim, hidden_dim)
        self.critic = TwoHotHead(feature_dim, hidden_dim, 2)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.ema_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.register_buffer("return_scale", torch.zeros(()))

    def imagine(
        self, model: WorldModel, start: State, generator: torch.Generator | None = None
    ) -> ImaginedRollout:
        """Imagine under the actor from states (N, .); the loss carries the actor's gradients."""
        c, like = self.config, start.latent
        shape = (c.horizon, len(like), model.action_dim)
        noise = torch.randn(shape, generator=generator, device=like.device)
        states, decisions = model.imagine(
            start,
            self.actor.sample,
            c.horizon,
            c.temperature,
            generator,
            c.gradient_limit,
            noise,
        )
        samples = type(decisions[0])(*map(torch.stack, zip(*decisions, strict=True)))
        rollout, scale = self.score(model, states, samples)
        self.return_scale.copy_(scale)
        return rollout

    @compilable
    def score(
        self, model: WorldModel, states: State, samples: Any
    ) -> tuple[ImaginedRollout, Tensor]:
        """Return what is learnt from a rollout of L decisions, and the new scale of returns ().

        states (L + 1, N, .); samples, what the actor drew, with parts (L, N, A).
        """
        c = self.config
        features = states.features  # (L + 1, N, F)
        arrived = states.map(lambda part: part[1:])
        reward, cont = model.reward(arrived), model.continuation(arrived)  # (L, N)
        value = self.target_critic.mean(features)
        returns = lambda_returns(reward, cont, value, c.discount, c.return_lambda)
        scale = self.tracked_scale(returns.detach())
        weight = discounts(cont.detach(), c.discount)  # (L, N)
        entropy = samples.entropy()  # (L, N) of draws (L, N, A)
        gain = returns / scale.clamp(min=1)  # small returns are not blown up
        loss = -(weight * (gain + c.entropy * entropy)).mean()
        terms = {
            "actor_loss": loss,
            "imagined_reward": reward.mean(),
            "imagined_return": returns.mean(),
            "entropy": entropy.mean(),
            "return_scale": scale,
            "value": value.mean(),
        }
        terms = {name: value.detach() for name, value in terms.items()}
        seen = features[:-1].detach()
        return ImaginedRollout(loss, terms, seen, returns.detach(), weight), scale

    @compilable
    def critic_losses(
        self, rollout: ImaginedRollout, states: State, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return the critic's losses () on imagined and on replayed rows."""
        return self.critic_loss(rollout), self.critic_replay_loss(states, batch)

    def critic_loss(self, rollout: ImaginedRollout) -> Tensor:
        """Return the two-hot cross-entropy () against the imagined returns."""
        loss = self.critic.loss(rollout.features, rollout.returns)
        return (rollout.weight * loss).mean()

    def critic_replay_loss(self, states: State, batch: Batch) -> Tensor:
        """Return the critic's loss () on replayed rows, against the rewards observed after them.

        states (B, T, .). Strictly the bootstrap is the target critic's value of the state after
        the observed rewards. The value of the row itself takes its place: it needs no extra
        recurrent state and is exact in steady situations.
        """
        features, future = states.features, batch.future
        if future is None:
            raise ValueError("the critic needs the rows after a sequence: Batch.future is None")
        with torch.no_grad():
            value = self.target_critic.mean(features)  # (B, T)
        observed, beyond, any_reward = observed_returns(
            future, value.shape[1], self.config.discount
        )
        returns = observed + beyond * value
        return (any_reward * self.critic.loss(features, returns)).mean()

    @torch.no_grad()
    def tracked_scale(self, returns: Tensor) -> Tensor:
        """Return the next moving average () of the returns' 5-95 percentile range."""
        ends = torch.quantile(returns.flatten(), torch.tensor([0.05, 0.95], device=returns.device))
        scale, old = ends[1] - ends[0], self.return_scale
        return torch.where(old == 0, scale, torch.lerp(old, scale, 0.01))

    @torch.no_grad()
    def update_targets(self, actor_rate: float, critic_rate: float) -> None:
        """Move the averaged actor and the target critic towards actor and critic."""
        for average, online, rate in (
            (self.target_critic, self.critic, critic_rate),
            (self.ema_actor, self.actor, actor_rate),
        ):
            lerp_parameters(average, online, rate)
