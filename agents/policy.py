"""What plays: actions for a batch of worlds, from the world model's states."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.dynamics import State


class Policy(ABC):
    """Acts in N worlds at once. It may remember something of each world; `first` says where an
    episode has just begun and that must be forgotten."""

    @abstractmethod
    def act(self, state: State, first: Tensor) -> Tensor:
        """Actions (N, A) float32 in [-1, 1] for the states (N, .) of N worlds; first (N,) bool."""

    def outcome(  # noqa: B027 - most do not need it
        self, reward: Tensor, terminated: Tensor, truncated: Tensor
    ) -> None:
        """What came of the last actions, each (N,); told while training only."""

    def state_dict(self) -> dict[str, Tensor]:
        """What it remembers, for an exact resume."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - nothing to load
        """Goes back to what `state_dict` returned."""


class ActorPolicy(Policy):
    """Actor networks on the features (h, z), as those of `agents.actor`.

    Args:
        actor: draws actions where explored.
        averaged: its mode is the action where not.
        explore: draw actions, but in quiet worlds.
        share: of the worlds, that are quiet.
    """

    def __init__(self, actor, averaged, explore: bool, share: float = 0.0):
        self.actor, self.averaged, self.explore, self.share = actor, averaged, explore, share

    def act(self, state: State, first: Tensor) -> Tensor:
        """The averaged actor's mode, or the actor's draw (one call of torch's generator)."""
        calm = self.averaged.mode(state.features).float()
        if not self.explore:
            return calm
        drawn = self.actor.sample(state.features)[0].float()
        return torch.where(quiet(len(drawn), self.share, drawn.device)[:, None], calm, drawn)


def quiet(count: int, share: float, device: torch.device) -> Tensor:
    """Which of `count` worlds play without noise: a share of them, evenly spread and rounded down,
    (N,) bool."""
    place = torch.arange(count + 1, device=device, dtype=torch.float64)
    return (place * share).floor().diff() > 0


def choose(action: Tensor, discrete: bool) -> Tensor:
    """Actions (..., A) as the world model sees them: clipped to [-1, 1]; if discrete 1 at the
    largest, 0 elsewhere (unclipped, or ties would go to the first)."""
    if not discrete:
        return action.clamp(-1, 1)
    return F.one_hot(action.argmax(-1), action.shape[-1]).to(torch.float32)
