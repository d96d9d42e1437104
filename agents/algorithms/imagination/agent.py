"""agent=imagination: an actor-critic that learns inside the world model.

The actor imagines from the rows of the last update, so that its step and the world model's do not
depend on each other and run side by side, on one thread each. The critic steps on the world
model's thread, which is done first, while the actor's gradients pass back through the rollout.

Shapes: B sequences, T rows, N rollouts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.checkpoint import load_weights
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, WorldModel
from agents.algorithms.imagination.actor_critic import ActorCritic, ImaginedRollout
from agents.algorithms.imagination.config import ActorCriticConfig, ImaginationConfig
from agents.base import Agent, AgentSpec, Policy, Result, Submit, Terms
from agents.optimisation import adam, refuse_non_finite, restore
from agents.registry import AGENTS

ACTOR_CLIP, CRITIC_CLIP = 1.0, 10.0  # largest gradient norms
BURN_IN = 5  # first rows of a sequence, whose recurrent states are stale: no rollout starts there


class ActorCriticAgent(Agent):
    """An agent with an actor-critic that learns in imagination; subclasses choose the policy."""

    overlaps = True
    config: ActorCriticConfig

    def __init__(self, config: ActorCriticConfig, spec: AgentSpec) -> None:
        super().__init__(config, spec)
        if spec.sequence_length <= BURN_IN:
            raise UserError(
                f"replay.sequence_length={spec.sequence_length} leaves no row to imagine from: the "
                f"first {BURN_IN} rows of a sequence only warm up the state; give {BURN_IN + 1} or "
                "more"
            )
        self.future_rows = spec.sequence_length - 1 + config.critic_replay_steps
        networks = ActorCritic(
            config, spec.feature_dim, spec.action_dim, config.hidden_dim, spec.discrete
        )
        self.networks = networks.to(spec.device)
        self.generator = torch.Generator(spec.device)
        self.generator.manual_seed(spec.seed)
        self.optimisers = {
            "actor": adam(self.networks.actor.parameters(), spec.actor_lr),
            "critic": adam(self.networks.critic.parameters(), spec.critic_lr),
        }

    def update(self, batch: Batch, states: State, model: WorldModel) -> Terms:
        """Take one step of actor and critic, in this thread."""
        return self.begin(batch, lambda: states, model, lambda job: _Done(job()))()

    def begin(
        self, batch: Batch, states: Callable[[], State], model: WorldModel, submit: Submit
    ) -> Callable[[], Terms]:
        """Start the rollout and the actor's step; the critic steps in the function returned."""
        filtered = submit(states)
        rollout = submit(lambda: self.imagine(batch, filtered.result(), model))
        actor = submit(lambda: self.step_actor(rollout.result()))

        def finish() -> Terms:
            critic = self.step_critic(rollout.result(), filtered.result(), batch)
            terms = actor.result() | critic
            self.networks.update_targets(self.spec.actor_ema, self.spec.critic_ema)
            return terms

        return finish

    def imagine(self, batch: Batch, states: State, model: WorldModel) -> ImaginedRollout:
        """Imagine from random rows of the batch, none of them an episode's terminal state."""
        start = states.map(lambda part: part[:, BURN_IN:].flatten(0, 1))  # (B (T - 5), .)
        device = start.latent.device
        chosen = torch.randperm(len(start.latent), generator=self.generator, device=device)
        ended = batch.terminal[:, BURN_IN:].flatten()
        chosen = chosen[~ended[chosen]][: self.config.imagination_batch]
        with self.spec.kernels(len(chosen) == self._rollouts(ended)):
            # as for all later states, gradients are asked for: one compiled step serves all
            begin = start.map(lambda part: part[chosen].requires_grad_())
            rollout = self.networks.imagine(model, begin, self.generator)
        refuse_non_finite(rollout.terms)
        return rollout

    def _rollouts(self, rows: Tensor) -> int:
        """Return how many rollouts an update imagines unless too many of its rows are terminal."""
        return min(self.config.imagination_batch, rows.numel())

    def step_actor(self, rollout: ImaginedRollout) -> Terms:
        """Take one step of the actor through the imagined rollout."""
        actor = list(self.networks.actor.parameters())
        gradients = torch.autograd.grad(rollout.actor_loss, actor)
        for weight, gradient in zip(actor, gradients, strict=True):
            weight.grad = gradient
        norm = {"grad_norm_actor": nn.utils.clip_grad_norm_(actor, ACTOR_CLIP)}
        refuse_non_finite(norm)
        self.optimisers["actor"].step()
        return rollout.terms | norm

    def step_critic(self, rollout: ImaginedRollout, states: State, batch: Batch) -> Terms:
        """Take one step of the critic on imagined and on replayed rows."""
        usual = rollout.weight.shape[1] == self._rollouts(batch.terminal[:, BURN_IN:])
        with self.spec.kernels(usual):
            imagined, replayed = self.networks.critic_losses(rollout, states, batch)
        self.optimisers["critic"].zero_grad()
        (imagined + replayed).backward()
        norm = nn.utils.clip_grad_norm_(self.networks.critic.parameters(), CRITIC_CLIP)
        terms = {
            "critic_loss": imagined.detach(),
            "critic_replay_loss": replayed.detach(),
            "grad_norm_critic": norm,
        }
        refuse_non_finite(terms)
        self.optimisers["critic"].step()
        return terms

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimiser states and the generator's state."""
        return {
            "networks": self.networks.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Restore a saved state. Raises UserError, naming `source`, for another architecture."""
        self.load_weights(state, source)
        for name, optimiser in self.optimisers.items():
            restore(optimiser, state["optimisers"][name])
        self.generator.set_state(state["generator"].cpu())

    def weights(self) -> dict[str, Any]:
        """Return the networks alone."""
        return {"networks": self.networks.state_dict()}

    def load_weights(self, state: dict[str, Any], source: Path) -> None:
        """Restore the networks alone. Raises UserError for another architecture."""
        load_weights(self.networks, state["networks"], source)


@AGENTS.register("imagination")
class ImaginationAgent(ActorCriticAgent):
    """An actor-critic whose actor plays."""

    Config = ImaginationConfig
    config: ImaginationConfig

    def policy(self, explore: bool, model: WorldModel) -> Policy:
        """Return draws of the actor if `explore`, else the mode of the averaged actor."""
        return ActorPolicy(self.networks, explore, self.config.greedy_env_fraction)

    @classmethod
    def for_run(cls, config: Any, trained: Agent, spec: AgentSpec) -> Agent:
        """Return an agent that plays with the actor of any run that has one."""
        if not isinstance(trained, ActorCriticAgent):
            return super().for_run(config, trained, spec)
        if isinstance(trained, cls):
            return trained
        agent = cls(config, spec)
        agent.networks = trained.networks
        return agent


class ActorPolicy(Policy):
    """Plays with an actor network.

    Args:
        networks: the actor draws, the averaged actor's mode plays without noise.
        explore: draw actions, except in greedy environments.
        greedy: share of the environments that are greedy.
    """

    def __init__(self, networks: ActorCritic, explore: bool, greedy: float = 0.0) -> None:
        self.networks, self.explore, self.greedy = networks, explore, greedy

    def act(self, state: State, first: Tensor) -> Tensor:
        """Return the averaged actor's mode, or the actor's draw (one call of torch's generator)."""
        mode = self.networks.ema_actor.mode(state.features).float()
        if not self.explore:
            return mode
        drawn = self.networks.actor.sample(state.features)[0].float()
        return torch.where(greedy_envs(len(drawn), self.greedy, drawn.device)[:, None], mode, drawn)


def greedy_envs(count: int, share: float, device: torch.device) -> Tensor:
    """Return which of `count` environments play without noise, (N,) bool.

    They are a share of all environments, evenly spread; the number is rounded down.
    """
    place = torch.arange(count + 1, device=device, dtype=torch.float64)
    return (place * share).floor().diff() > 0


class _Done(Result):
    """A job that is done."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self) -> Any:
        return self.value
