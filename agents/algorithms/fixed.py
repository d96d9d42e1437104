"""agent=random and agent=scripted: baselines that learn nothing and look at nothing."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.world_models.base import State, WorldModel
from agents.base import Agent, AgentConfig, AgentSpec, Policy, as_action
from agents.registry import AGENTS

PERIOD, LAG = 20.0, 0.25  # decisions of a wave; waves by which each action is behind the previous


@dataclass(frozen=True)
class RandomConfig(AgentConfig):
    """Uniform random actions."""

    kind: Literal["random"] = "random"
    """The agent's name."""


@dataclass(frozen=True)
class ScriptedConfig(AgentConfig):
    """A sine wave on every action."""

    kind: Literal["scripted"] = "scripted"
    """The agent's name."""
    amplitude: float = 1.0
    """Height of the wave, 0 to 1; 0 does nothing at all."""

    def __post_init__(self) -> None:
        """Raise ValueError for a wave that cannot be played."""
        check_bounds(self, amplitude=(0, 1))


class FixedAgent(Agent):
    """An agent that never learns; it plays any run, and without a run."""

    @abstractmethod
    def fixed_policy(self) -> Policy:
        """Return the policy, the same for training and evaluation."""

    def policy(self, explore: bool, model: WorldModel) -> Policy:
        """Return the fixed policy."""
        return self.fixed_policy()

    @classmethod
    def for_run(cls, config: Any, trained: Agent, spec: AgentSpec) -> Agent:
        """Return the agent: what was learnt does not matter."""
        return cls(config, spec)


@AGENTS.register("random")
class RandomAgent(FixedAgent):
    """Draws uniform actions."""

    Config = RandomConfig

    def fixed_policy(self) -> Policy:
        """Return uniform draws."""
        return RandomPolicy(self.spec.action_dim, self.spec.discrete)


@AGENTS.register("scripted")
class ScriptedAgent(FixedAgent):
    """Plays a sine wave."""

    Config = ScriptedConfig
    config: ScriptedConfig

    def fixed_policy(self) -> Policy:
        """Return the wave."""
        return ScriptedPolicy(self.config.amplitude, self.spec.action_dim, self.spec.discrete)


class RandomPolicy(Policy):
    """Draws uniform actions in [-1, 1], or uniform choices, from torch's generator."""

    def __init__(self, action_dim: int, discrete: bool = False) -> None:
        self.action_dim, self.discrete = action_dim, discrete

    def act(self, state: State | None, first: Tensor) -> Tensor:
        """Draw (N, A)."""
        drawn = 2 * torch.rand(len(first), self.action_dim, device=first.device) - 1
        return as_action(drawn, self.discrete)


class CorrelatedNoise(Policy):
    """Draws Gaussian actions that keep part of the previous one: exploration before learning."""

    KEEP, NOISE = 0.7, 0.7

    def __init__(self, action_dim: int, discrete: bool = False) -> None:
        self.action_dim, self.discrete = action_dim, discrete
        self.previous: Tensor | None = None  # (N, A)

    def act(self, state: State | None, first: Tensor) -> Tensor:
        """Draw (N, A)."""
        if self.previous is None or len(self.previous) != len(first):
            self.previous = torch.zeros(len(first), self.action_dim, device=first.device)
        kept = self.previous * ~first[:, None]
        drawn = self.KEEP * kept + self.NOISE * torch.randn_like(kept)
        self.previous = as_action(drawn, self.discrete)
        return self.previous


class ScriptedPolicy(Policy):
    """Plays `amplitude * sin(2 pi (t / period - lag i))` as action i, t decisions after reset.

    Where actions are choices, the one whose wave is highest is chosen.
    """

    def __init__(self, amplitude: float, action_dim: int, discrete: bool = False) -> None:
        self.amplitude, self.action_dim, self.discrete = amplitude, action_dim, discrete
        self.decision = torch.zeros(0)  # (N,) since each environment's reset

    def act(self, state: State | None, first: Tensor) -> Tensor:
        """Return the wave (N, A)."""
        device = first.device
        if len(self.decision) != len(first):
            self.decision = torch.zeros(len(first), device=device)
        self.decision = self.decision.to(device) * ~first
        lag = LAG * torch.arange(self.action_dim, device=device)
        wave = torch.sin(2 * torch.pi * (self.decision[:, None] / PERIOD - lag))  # (N, A)
        self.decision = self.decision + 1
        return as_action(self.amplitude * wave, self.discrete)

    def state_dict(self) -> dict[str, Tensor]:
        """Return where each environment's wave is."""
        return {"decision": self.decision}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the waves."""
        self.decision = state["decision"]
