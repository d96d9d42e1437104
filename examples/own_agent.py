"""An agent of your own: REINFORCE in the world model's imagination, nothing in the library edited.

    python examples/own_agent.py env=cartpole-balance frames=5000

The file registers the agent under a name, so that `agent=reinforce` works for every command that
this process runs. Shapes: L imagined decisions, N rollouts, F features, A action.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.checkpoint import load_weights
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.world_models.base import State, WorldModel
from agents import train
from agents.algorithms.imagination.actors import GaussianActor
from agents.base import Agent, AgentConfig, AgentSpec, Policy, Terms
from agents.optimisation import adam, restore
from agents.registry import AGENTS


@dataclass(frozen=True)
class ReinforceConfig(AgentConfig):
    """Settings, set by `agent.horizon=10` on the command line."""

    kind: Literal["reinforce"] = "reinforce"
    """The agent's name."""
    horizon: int = 10
    """Imagined decisions."""
    hidden_dim: int = 64
    """Width of the actor."""


@AGENTS.register("reinforce")
class ReinforceAgent(Agent):
    """Raises the probability of imagined actions that are better than average (Williams 1992)."""

    Config = ReinforceConfig
    config: ReinforceConfig

    def __init__(self, config: ReinforceConfig, spec: AgentSpec) -> None:
        super().__init__(config, spec)
        actor = GaussianActor(spec.feature_dim, spec.action_dim, config.hidden_dim)
        self.actor = actor.to(spec.device)
        self.optimiser = adam(self.actor.parameters(), spec.actor_lr)

    def policy(self, explore: bool, model: WorldModel) -> Policy:
        """Return draws of the actor if `explore`, else its mode."""
        return ActorPolicy(self.actor, explore)

    def update(self, batch: Batch, states: State, model: WorldModel) -> Terms:
        """Imagine from all states of the batch and take one gradient step."""
        start = states.map(lambda part: part.flatten(0, 1))  # (N, .)
        with torch.no_grad(), self.spec.kernels(True):
            imagined, decisions = model.imagine(start, self.actor.sample, self.config.horizon)
            reward = model.reward(imagined.map(lambda part: part[1:]))  # (L, N)
        returns = reward.flip(0).cumsum(0).flip(0)  # undiscounted rewards to go
        gain = returns - returns.mean(1, keepdim=True)
        mean, std = self.actor(imagined.features[:-1])  # (L, N, A)
        raw = torch.stack([decision.raw for decision in decisions])
        log_prob = torch.distributions.Normal(mean, std).log_prob(raw).sum(-1)
        loss = -(gain / gain.std().clamp(min=1) * log_prob).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"actor_loss": loss.detach(), "imagined_return": returns[0].mean()}

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs."""
        return {"actor": self.actor.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Restore it."""
        load_weights(self.actor, state["actor"], source)
        restore(self.optimiser, state["optimiser"])


class ActorPolicy(Policy):
    """Plays with the actor."""

    def __init__(self, actor: GaussianActor, explore: bool) -> None:
        self.actor, self.explore = actor, explore

    def act(self, state: State, first: Tensor) -> Tensor:
        """Return actions (N, A)."""
        if not self.explore:
            return self.actor.mode(state.features).float()
        return self.actor.sample(state.features).action.float()


def main(argv: list[str]) -> int:
    """Train this agent; words of the command line change any setting."""
    return train.main(["agent=reinforce", *argv])


if __name__ == "__main__":
    sys.exit(run_command(main))
