"""Seeds, episode numbers and progress of batched environments."""

import torch
from torch import Tensor

from envs.seeds import env_seeds


class Episodes:
    """Which episode each of N environments plays and how far it is; tensors on the CPU.

    Args:
        seed: of the environments, see `envs.seeds.env_seeds`.
        num_envs: N.
        action_repeat: frames of a decision.

    Attributes:
        seeds: (N,) integers.
        number: episode since the seed was set, (N,); -1 before the first reset.
        decision: decisions since the start of the episode, (N,).
        ended: whether the episode has ended without a reset, (N,) bool.
    """

    def __init__(self, seed: int | list[int], num_envs: int, action_repeat: int):
        self._action_repeat = action_repeat
        self.seeds = torch.tensor(env_seeds(seed, num_envs))
        self.number = torch.full((num_envs,), -1)
        self.decision = torch.zeros(num_envs, dtype=torch.long)
        self.ended = torch.zeros(num_envs, dtype=torch.bool)

    def reseed(self, mask: Tensor, seed: int | list[int]) -> None:
        """Set the seeds of the environments in `mask` (N,); their next episode is number 0."""
        given = torch.tensor(env_seeds(seed, len(mask)))
        self.seeds = torch.where(mask, given, self.seeds)
        self.number[mask] = -1

    def start(self, mask: Tensor) -> None:
        """Start the next episode of the environments in `mask` (N,)."""
        self.number += mask
        self.decision[mask] = 0
        self.ended = self.ended & ~mask

    def frames(self) -> Tensor:
        """Return the frames since the start of each episode, (N,)."""
        return self.decision * self._action_repeat

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the counts."""
        return {
            "seeds": self.seeds.clone(),
            "episode": self.number.clone(),
            "decision": self.decision.clone(),
            "ended": self.ended.clone(),
        }

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self.seeds, self.number = state["seeds"].clone(), state["episode"].clone()
        self.decision, self.ended = state["decision"].clone(), state["ended"].clone()
