"""agent=cmaes: a small controller evolved by CMA-ES, the population as one batch.

While `agents.train` runs, generations live in the imagination of the moment; `agents.evolve`
evolves in a finished model, in its imagination or in the real environments.

Shapes: N environments, K controllers of P parameters each, A action.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, WorldModel
from agents.algorithms.cmaes.controller import Controller, ControllerPolicy
from agents.algorithms.cmaes.evolution import Evolution, imagined_returns
from agents.base import Agent, AgentConfig, AgentSpec, Policy, Terms
from agents.registry import AGENTS

STEP = 0.1  # first standard deviation of a parameter; the first mean is 0
MADE_WITH = {"reads": "hz", "hidden": 0, "step": STEP}  # saved with a checkpoint


@dataclass(frozen=True)
class CmaesConfig(AgentConfig):
    """A controller evolved in imagination while the world model learns."""

    kind: Literal["cmaes"] = "cmaes"
    """The agent's name."""
    population: int = 32
    """Controllers of a generation, K."""
    every: int = 4
    """Updates of the world model between generations."""
    horizon: int = 40
    """Imagined decisions of an evaluation."""
    imagination_batch: int = 16
    """Replayed states from which each controller starts, the same for all."""
    temperature: float = 1.0
    """Factor on the noise of the prior in imagined rollouts."""

    def __post_init__(self) -> None:
        """Raise ValueError for an evolution that cannot be."""
        check_bounds(
            self,
            population=(4, 100_000),
            every=(1, None),
            horizon=(1, 10_000),
            imagination_batch=(1, 1_000_000),
            temperature=(0, None),
        )


@AGENTS.register("cmaes")
class CmaesAgent(Agent):
    """Evolves a controller beside the world model, in its imagination of the moment."""

    Config = CmaesConfig
    config: CmaesConfig

    def __init__(self, config: CmaesConfig, spec: AgentSpec) -> None:
        super().__init__(config, spec)
        self.controller = Controller(*spec.state_dims, spec.action_dim, discrete=spec.discrete)
        self.evolution = Evolution(self.controller.size, config.population, STEP, spec.seed)
        self.updates = 0

    def policy(self, explore: bool, model: WorldModel) -> Policy:
        """Return the mean controller; exploring, one drawn for each environment and episode."""
        if explore:
            return DrawnPolicy(self)
        mean = self.evolution.mean[None].to(self.spec.device)
        return ControllerPolicy(self.controller, mean)

    @torch.no_grad()
    def update(self, batch: Batch, states: State, model: WorldModel) -> Terms:
        """Evolve a generation, once in so many updates."""
        self.updates += 1
        if self.updates % self.config.every:
            return {}
        c, pool = self.config, states.map(lambda part: part.flatten(0, 1))
        count = (c.imagination_batch,)
        chosen = torch.randint(len(pool.latent), count, device=self.spec.device)
        start = pool.map(lambda part: part[chosen])
        parameters = self.evolution.ask().to(self.spec.device)
        returns = imagined_returns(
            model, self.controller, parameters, start, c.horizon, c.temperature
        )
        self.evolution.tell(returns)
        return {
            "best_imagined_return": returns.max(),
            "mean_imagined_return": returns.mean(),
            "parameter_step": self.evolution.distribution[1].mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the returns of all generations."""
        state = {"evolution": self.evolution.state_dict(), "updates": self.updates}
        return state | {"made": MADE_WITH}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Restore a saved state.

        Raises UserError, naming `source`, for another population or other controllers.
        """
        population = state["evolution"]["told"].shape[1]
        made = {"population": population} | state.get("made", {})
        here = {"population": self.config.population} | MADE_WITH
        for name, value in made.items():
            if value != here[name]:
                raise UserError(
                    f"{source} was made with agent.{name}={value}, not {here[name]}: use the "
                    "settings it was trained with"
                )
        self.evolution.load_state_dict(state["evolution"])
        self.updates = state["updates"]


class DrawnPolicy(Policy):
    """A controller for each environment, drawn again when an episode begins."""

    def __init__(self, agent: CmaesAgent) -> None:
        self.agent = agent
        self.parameters: Tensor | None = None  # (N, P)

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """Return actions (N, A)."""
        agent, new = self.agent, first
        if self.parameters is None or len(self.parameters) != len(first):
            self.parameters = first.new_zeros(len(first), agent.controller.size).float()
            new = torch.ones_like(first)
        if new.any():
            noise = torch.randn_like(self.parameters[new])
            mean, stds = (part.to(first.device) for part in agent.evolution.distribution)
            self.parameters[new] = mean + stds * noise
        return ControllerPolicy(agent.controller, self.parameters).act(state, first)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the controllers that play."""
        return {} if self.parameters is None else {"parameters": self.parameters}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the controllers."""
        self.parameters = state.get("parameters")
