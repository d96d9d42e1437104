"""What is added to a world model's loss from outside: overshooting and staged training.

Overshooting asks rollouts of several decisions to meet the latents and rewards that were observed
(Hafner et al., "Learning latent dynamics for planning from pixels", 2019, section 4). Staged
training learns the autoencoder first and then the dynamics on its frozen latents (Ha and
Schmidhuber, "World models", 2018).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.world_models.base import Losses, State, WorldModel
from aef_worldmodel.world_models.dynamics import Dynamics
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel


@dataclass(frozen=True)
class Objective:
    """The loss that training minimises.

    Args:
        overshoot: decisions of the rollouts that must meet what was observed; 0 for none.
        staged: learn the autoencoder alone during pretraining, then freeze it.
    """

    overshoot: int = 0
    staged: bool = False

    def __call__(self, model: WorldModel, batch: Batch, pretraining: bool) -> Losses:
        """Return the losses of a batch; `pretraining` while the agent does not learn yet."""
        if self.staged:
            assert isinstance(model, RecurrentWorldModel)
            if pretraining:
                return model.autoencoder_loss(batch)
            model.autoencoder.requires_grad_(False)
        losses = model.loss(batch)
        if self.overshoot:
            assert isinstance(model, Dynamics)
            return add_overshooting(model, batch, losses, self.overshoot)
        return losses

    def check(self, model: WorldModel) -> None:
        """Raise ValueError for a world model that this objective cannot train."""
        if self.overshoot and not isinstance(model, Dynamics):
            raise ValueError("objective.overshoot needs world_model.kind=recurrent; leave it at 0")
        if self.staged and not isinstance(model, RecurrentWorldModel):
            raise ValueError("objective.staged needs world_model.kind=recurrent; leave it out")


def add_overshooting(model: Dynamics, batch: Batch, losses: Losses, steps: int) -> Losses:
    """Return the losses with the overshooting terms of rollouts of `steps` decisions added."""
    steps = min(steps, batch.first.shape[1] - 1)
    nats, reward = overshooting(model, batch, losses.states, steps)
    total = losses.total - model.config.likelihood_scale * nats + reward
    terms = {"overshoot_latent": nats.detach(), "overshoot_reward": reward.detach()}
    return Losses(total, losses.states, losses.terms | terms | {"loss": total.detach()})


def overshooting(model: Dynamics, batch: Batch, states: State, steps: int) -> tuple[Tensor, Tensor]:
    """Return how well rollouts of `steps` decisions, without noise, meet what was observed.

    The rollouts start from the states (B, T, .) of every row with `steps` rows after it. The
    result is two means () over decisions and rows: of `-(z_(t+k) - mean_k)^2 / (2 v_k)` in nats,
    summed over d, where v_k is the sum of the prior's variances on the way and the observed
    latents are constants; and of the rewards' cross-entropies, in nats.
    """
    rows = states.latent.shape[1] - steps

    def later(x: Tensor, k: int) -> Tensor:
        return x[:, k : k + rows].flatten(0, 1)  # (B rows, ...)

    state = states.map(lambda part: later(part, 0))
    variance, within = torch.zeros(()), torch.ones_like(later(batch.first, 0))
    nats, rewards, count = [], [], []
    for k in range(1, steps + 1):
        recurrent = model.transition(state, later(batch.action, k - 1))
        prior = model.prior(recurrent, state.latent)
        state = State(recurrent, prior.centre)
        variance = variance + prior.std.detach().square()
        within = within & ~later(batch.first, k)  # the rollout stays in its episode
        error = later(states.latent, k).detach() - state.latent
        nats.append((-0.5 * error.square() / variance).sum(-1) * within)
        rewards.append(model.reward_head.loss(state.features, later(batch.reward, k)) * within)
        count.append(within.sum())
    total = torch.stack(count).sum().clamp(min=1)
    return torch.stack(nats).sum() / total, torch.stack(rewards).sum() / total
