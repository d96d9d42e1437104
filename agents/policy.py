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
    """An actor network on the features (h, z).

    Args:
        actor: has `mode` and `sample`, as those of `agents.actor`.
        explore: draw actions; otherwise take the policy's mode.
    """

    def __init__(self, actor, explore: bool):
        self.actor, self.explore = actor, explore

    def act(self, state: State, first: Tensor) -> Tensor:
        """The mode, or a draw (one call of torch's generator)."""
        if self.explore:
            return self.actor.sample(state.features)[0].float()
        return self.actor.mode(state.features).float()


def choose(action: Tensor, discrete: bool) -> Tensor:
    """Actions (..., A) as the world model sees them: clipped to [-1, 1]; if discrete 1 at the
    largest, 0 elsewhere (unclipped, or ties would go to the first)."""
    if not discrete:
        return action.clamp(-1, 1)
    return F.one_hot(action.argmax(-1), action.shape[-1]).to(torch.float32)
