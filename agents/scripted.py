"""agent=random and agent=scripted: the floors of every table. Neither looks at anything."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aef_worldmodel.dynamics import State
from agents.agent import Agent
from agents.policy import Policy, choose
from agents.schema import ConfigError


@dataclass(frozen=True)
class RandomConfig:
    """Uniform actions, drawn anew at every decision."""

    kind: Literal["random"] = "random"
    """Which agent this is."""


@dataclass(frozen=True)
class ScriptedConfig:
    """A sine wave on every action; an amplitude of 0 does nothing at all."""

    kind: Literal["scripted"] = "scripted"
    """Which agent this is."""
    amplitude: float = 1.0
    """Height of the wave, 0 to 1."""
    period: float = 20.0
    """Decisions of a wave."""
    lag: float = 0.25
    """Waves by which each action is behind the one before it."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a wave that cannot be played."""
        if not 0 <= self.amplitude <= 1 or self.period <= 0:
            raise ConfigError(
                f"agent.amplitude={self.amplitude} must be within 0 and 1 and "
                f"agent.period={self.period} above 0"
            )


class RandomPolicy(Policy):
    """Uniform actions in [-1, 1], or uniform choices, from torch's generator."""

    def __init__(self, action_dim: int, discrete: bool = False):
        self.action_dim, self.discrete = action_dim, discrete

    def act(self, state: State, first: Tensor) -> Tensor:
        """Draws (N, A)."""
        drawn = 2 * torch.rand(len(first), self.action_dim, device=first.device) - 1
        return choose(drawn, self.discrete)


class ScriptedPolicy(Policy):
    """Plays `amplitude * sin(2 pi (t / period - lag i))` as action i, t decisions after reset;
    where actions are choices, the one whose wave is highest."""

    def __init__(self, config: ScriptedConfig, action_dim: int, discrete: bool = False):
        self.config, self.action_dim, self.discrete = config, action_dim, discrete
        self.decision = torch.zeros(0)  # (N,) since each world's reset

    def act(self, state: State, first: Tensor) -> Tensor:
        """The wave (N, A)."""
        c, device = self.config, first.device
        if len(self.decision) != len(first):
            self.decision = torch.zeros(len(first), device=device)
        self.decision = self.decision.to(device) * ~first
        lag = c.lag * torch.arange(self.action_dim, device=device)
        wave = torch.sin(2 * torch.pi * (self.decision[:, None] / c.period - lag))  # (N, A)
        self.decision = self.decision + 1
        return choose(c.amplitude * wave, self.discrete)

    def state_dict(self) -> dict[str, Tensor]:
        """Where each world's wave is."""
        return {"decision": self.decision}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes back there."""
        self.decision = state["decision"]


class Floor(Agent):
    """An agent that never learns."""

    def __init__(
        self, config: RandomConfig | ScriptedConfig, action_dim: int, discrete: bool = False
    ):
        self.config, self.action_dim, self.discrete = config, action_dim, discrete

    def policy(self, explore: bool) -> Policy:
        """The same for training and evaluation."""
        if isinstance(self.config, RandomConfig):
            return RandomPolicy(self.action_dim, self.discrete)
        return ScriptedPolicy(self.config, self.action_dim, self.discrete)
