"""The world model's own learning, and beside it an agent that reads its states."""

import copy
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.persistence import load_weights
from agents.agent import Agent
from agents.config import TrainConfig
from agents.learner import Learner, refuse_non_finite, restore


class ModelLearner(Learner):
    """A world model and its optimiser; `agent` learns after each of its steps, from its states.

    Args:
        config: the run's settings.
        frame_shape: (C, H, W) of uint8 frames.
        action_dim: A.
        agent: what acts.
    """

    def __init__(self, config: TrainConfig, frame_shape: tuple[int, int, int], action_dim: int,
                 agent: Agent):
        self.config, self.agent = config, agent
        self.rows_after = 0
        self.device = torch.device(config.hardware.device)
        self.online = self._make_model(frame_shape, action_dim)
        self.model = copy.deepcopy(self.online).requires_grad_(False)
        self.groups = self.online.groups()
        self.last: dict[str, Tensor] | None = None
        self.pool = None  # agents draw from torch's generator: one after the other
        parameters = [p for group in self.groups.values() for p in group]
        self.optimisers = {"model": self._adam(parameters, config.model_rate)}

    def _begin_acting(self, rows: dict[str, Tensor]) -> tuple[dict[str, Tensor]]:
        return (rows,)

    def _finish_acting(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """The agent's step, from the rows' states (B, T, .)."""
        terms = self.agent.learn(rows | self._filter(rows)._asdict(), self.model)
        if terms:
            refuse_non_finite(terms)
        return terms

    def state_dict(self) -> dict:
        """Weights, optimiser state and all that the agent needs, nested."""
        return {
            "model": self.model.state_dict(),
            "online": self.online.state_dict(),
            "agent": self.agent.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "last": self.last,
        }

    def load_state_dict(self, state: dict, source: Path) -> None:
        """Goes to a saved state. Raises UserError, naming `source`, for another architecture."""
        load_weights(self.model, state["model"], source)
        load_weights(self.online, state["online"], source)
        self.agent.load_state_dict(state["agent"], source)
        restore(self.optimisers["model"], state["optimisers"]["model"])
        if state["last"] is not None:
            self.last = {name: value.to(self.device) for name, value in state["last"].items()}
