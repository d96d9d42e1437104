"""The interfaces of everything that acts: `Agent` learns, `Policy` plays.

Shapes: N environments, B sequences, T rows, A action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.registry import Registry, Selectable
from aef_worldmodel.world_models.base import State, WorldModel
from agents.optimisation import refuse_non_finite
from agents.registry import AGENTS, agent_name

Terms = dict[str, Tensor]  # name -> (), for metrics.csv


@dataclass(frozen=True)
class AgentConfig(Selectable):
    """Settings of an agent; each agent has its own subclass."""

    registry: ClassVar[Registry[Any]] = AGENTS


@dataclass(frozen=True)
class AgentSpec:
    """What an agent is made for: sizes, device and rates of the run it belongs to."""

    state_dims: tuple[int, int]  # H, d
    action_dim: int  # A, or the number of choices
    discrete: bool  # actions are choices, as rows that are 1 at the choice and 0 elsewhere
    device: torch.device
    # what updates compute in; its argument says whether the batch has its usual size
    kernels: Callable[[bool], AbstractContextManager] = nullcontext
    seed: int = 0
    num_envs: int = 8
    batch_size: int = 12  # B
    sequence_length: int = 16  # T
    actor_lr: float = 3e-4
    critic_lr: float = 8e-4
    actor_ema: float = 0.02
    critic_ema: float = 0.04

    @property
    def feature_dim(self) -> int:
        """H + d."""
        return sum(self.state_dims)


class Result(Protocol):
    """What `Submit` returns: a future."""

    def result(self) -> Any:
        """Wait for the job and return its result."""


Submit = Callable[[Callable[[], Any]], Result]


class Policy(ABC):
    """Acts in N environments at once.

    A policy may remember something of each environment; `first` says where an episode has just
    begun and the memory must be forgotten.
    """

    @abstractmethod
    def act(self, state: State, first: Tensor) -> Tensor:
        """Return actions (N, A) float32 in [-1, 1] for states (N, .); first (N,) bool."""

    def outcome(  # noqa: B027 - most policies do not need it
        self, reward: Tensor, terminated: Tensor, truncated: Tensor, last: Callable[[], State]
    ) -> None:
        """Take note of the results (N,) of the last actions; called during training only.

        `last` filters the last frames of episodes that ended: states (N, .) that replace the
        next ones, which are of new episodes.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """Return the memory, for an exact resume."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:  # noqa: B027
        """Restore the memory that `state_dict` returned."""


class Agent(ABC):
    """Learns to act from the states of a world model, which learns at the same time.

    Args:
        config: settings, of the class's own `Config`.
        spec: sizes, device and rates.

    Raises:
        UserError: the agent cannot act in such environments.
    """

    Config: ClassVar[type[AgentConfig]]
    overlaps: ClassVar[bool] = False  # `begin` starts work that runs beside the model's step
    future_rows: int = 0  # rows after a sequence's first that `update` reads

    def __init__(self, config: Any, spec: AgentSpec) -> None:
        self.config, self.spec = config, spec

    @abstractmethod
    def policy(self, explore: bool, model: WorldModel) -> Policy:
        """Return the policy that plays: training environments if `explore`, evaluations if not."""

    def update(self, batch: Batch, states: State, model: WorldModel) -> Terms:
        """Learn once from the last batch.

        Args:
            batch: rows (B, T, .).
            states: the rows' states (B, T, .), filtered by `model`.
            model: the averaged world model, in which the agent acts and imagines.

        Returns:
            named numbers () for metrics.csv.
        """
        return {}

    def begin(
        self, batch: Batch, states: Callable[[], State], model: WorldModel, submit: Submit
    ) -> Callable[[], Terms]:
        """Start an update before the world model's step; return a function that finishes it.

        An agent that overlaps submits jobs which run on a second thread meanwhile. `states`
        filters the rows when it is called.
        """

        def finish() -> Terms:
            terms = self.update(batch, states(), model)
            if terms:
                refuse_non_finite(terms)
            return terms

        return finish

    @classmethod
    def for_run(cls, config: Any, trained: Agent, spec: AgentSpec) -> Agent:
        """Return the agent of these settings that plays a run in which `trained` learnt.

        Raises UserError if what was learnt cannot play so.
        """
        if type(trained) is cls:
            return trained
        raise UserError(
            f"agent={agent_name(config)} cannot play a run of agent={agent_name(trained.config)}: "
            "mpc, random and scripted can play any run"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything an exact resume needs, as nested dictionaries of tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:  # noqa: B027
        """Restore a saved state. Raises UserError, naming `source`, for another architecture."""

    def weights(self) -> dict[str, Any]:
        """Return what playing needs, of `state_dict`: no optimisers, no random numbers."""
        return self.state_dict()

    def load_weights(self, state: dict[str, Any], source: Path) -> None:
        """Restore what `weights` or `state_dict` returned, to play. Raises as above."""
        self.load_state_dict(state, source)


def as_action(action: Tensor, discrete: bool) -> Tensor:
    """Return actions (..., A) as the world model sees them.

    Continuous ones are clipped to [-1, 1]; a discrete one is 1 at the largest number and 0
    elsewhere (unclipped, or ties would go to the first).
    """
    if not discrete:
        return action.clamp(-1, 1)
    return F.one_hot(action.argmax(-1), action.shape[-1]).to(torch.float32)
