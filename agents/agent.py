"""What learns to act: the interface of every agent but the imagination actor-critic."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from torch import Tensor

from aef_worldmodel.dynamics import Dynamics
from agents.policy import Policy

Rows = dict[str, Tensor]  # the last batch as the world model filtered it


class Agent(ABC):
    """An agent on the features (h, z). The world model learns beside it, from what it plays."""

    @abstractmethod
    def policy(self, explore: bool) -> Policy:
        """What plays: the training worlds if `explore`, the evaluations if not."""

    def learn(self, rows: Rows, dream: Dynamics) -> dict[str, Tensor]:
        """One update from the last batch, as the world model filtered it, or in the dream.

        rows: recurrent (B, T, H), latent (B, T, d), action (B, T, A), reward, first and terminal
        (B, T). Returns named terms () for metrics.csv.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs."""
        return {}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:  # noqa: B027
        """Goes to a saved state. Raises UserError, naming `source`, for another architecture."""
