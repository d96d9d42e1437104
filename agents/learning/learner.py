"""One update of everything that learns: a step of the world model and an update of the agent.

There are two world models: `online` takes the gradient steps, and `model`, which everyone else
reads, is an average of its weights over the last updates. Acting, filtering and imagination all use
the average, which predicts better than the weights of any one update (docs/concepts/agent.md). The
agent learns from the rows of the previous update, so that its work and the world model's step do
not depend on each other and may overlap. It reads a frozen copy of the average, whose weights are
in the type of the products already; the next copy is made, and filters the next rows, while the
agent still learns in this one.
"""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.nn.distributions import TwoHotHead
from aef_worldmodel.utils.checkpoint import Checkpoint, load_weights
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, WorldModel
from aef_worldmodel.world_models.objectives import Objective
from agents.base import Agent, Terms
from agents.learning.overlap import Overlap
from agents.optimisation import (
    adam,
    copy_weights,
    frozen_copy,
    lerp_parameters,
    mixed_precision,
    refuse_non_finite,
    restore,
    update_kernels,
)

MODEL_CLIP = 10.0  # largest gradient norm of each of the world model's parameter groups


class Learner:
    """A world model and an agent that learn together, on one device.

    Args:
        model: the world model; it becomes the online copy.
        agent: what learns to act from its states.
        objective: the world model's loss.
        lr: Adam's learning rate of the world model.
        ema: step of the averaged world model towards the online one, for each update.
        precision: of networks, "bfloat16" or "float32".
        threads: CPU threads; above 1 on a CPU, an agent that overlaps runs on half of them.
        compiled: run updates in compiled kernels (utils/compiling.py).
    """

    def __init__(
        self,
        model: WorldModel,
        agent: Agent,
        objective: Objective | None = None,
        *,
        lr: float = 8e-4,
        ema: float = 0.03,
        precision: str = "float32",
        threads: int = 1,
        compiled: bool = False,
    ) -> None:
        self.online, self.agent = model, agent
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.device = next(model.parameters()).device
        self.objective = objective or Objective()
        self.ema, self.precision, self.compiled = ema, precision, compiled
        self.frozen, self.spare = (frozen_copy(self.model, precision) for _ in range(2))
        self.groups = model.parameter_groups()
        self.optimiser = adam((p for group in self.groups.values() for p in group), lr)
        beside = agent.overlaps and self.device.type == "cpu" and threads > 1
        self.overlap = Overlap(max(1, threads // 2) if beside else None)
        self.last: Batch | None = None  # of the previous update
        self.states: State | None = None  # (B, T, .) of its rows, where they are known already

    @property
    def sees_images(self) -> bool:
        """Whether frames are images, (C, H, W) uint8; else they are states, (P,) float32."""
        return len(self.model.frame_shape) == 3

    def autocast(self) -> torch.autocast:
        """Return the run's mixed precision."""
        return mixed_precision(self.device, self.precision)

    def update(self, batch: Batch, act: bool) -> tuple[Tensor, Terms]:
        """Take one step on a batch of sequences; without `act`, of the world model alone.

        Returns the new recurrent states of the rows (B, T, H), and named terms () on the device.
        Raises NonFinite naming a loss or gradient that is not a finite number.
        """
        with self.overlap as side:
            finish = None
            if act and self.last is not None:
                known = self.states
                states = partial(self.filter_batch, self.last) if known is None else lambda: known
                finish = self.agent.begin(self.last, states, self.frozen, side.submit)
            recurrent, terms = self.step_model(batch, pretraining=not act)
            self.average(self.ema if act else 1.0)
            copy_weights(self.model, self.spare)
            next_states = self.filter_batch(batch, self.spare) if self.agent.overlaps else None
            if finish is not None:
                terms |= finish()
        self.frozen, self.spare = self.spare, self.frozen
        self.last, self.states = batch, next_states
        return recurrent, terms

    def step_model(self, batch: Batch, pretraining: bool) -> tuple[Tensor, Terms]:
        """Take one gradient step of the online world model."""
        with self.kernels():
            losses = self.objective(self.online, batch, pretraining)
        refuse_non_finite(losses.terms)
        self.optimiser.zero_grad()
        losses.total.backward()
        norms = {
            f"grad_norm_{name}": nn.utils.clip_grad_norm_(group, MODEL_CLIP)
            for name, group in self.groups.items()
        }
        refuse_non_finite(norms)
        self.optimiser.step()
        return losses.states.recurrent.detach(), losses.terms | norms

    @torch.no_grad()
    def judge(self, batch: Batch, pretraining: bool) -> tuple[Tensor, Terms]:
        """Return what `step_model` does, the gradient norms left out, without a step."""
        with self.kernels(usual=False):
            losses = self.objective(self.online, batch, pretraining)
        return losses.states.recurrent, losses.terms

    @torch.no_grad()
    def filter_batch(self, batch: Batch, model: WorldModel | None = None) -> State:
        """Return the states (B, T, .) of rows, in a frozen copy of the averaged model."""
        with self.kernels():
            return (model or self.frozen).filter_frames(
                batch.frame, batch.action, batch.first, batch.recurrent[:, 0].float()
            )

    def kernels(self, usual: bool = True) -> AbstractContextManager:
        """Return what updates compute in: mixed precision, and compiled functions if asked for."""
        return update_kernels(self.device, self.precision, self.compiled, usual)

    def refresh(self) -> None:
        """Bring the frozen copies up to date after a change of the averaged model from outside."""
        for copied in (self.frozen, self.spare):
            copy_weights(self.model, copied)
            for mine, theirs in zip(copied.buffers(), self.model.buffers(), strict=True):
                mine.copy_(theirs)
        self.states = None

    @torch.no_grad()
    def average(self, rate: float) -> None:
        """Move the averaged world model towards the online one; rate 1 copies it."""
        lerp_parameters(self.model, self.online, rate)

    def overflows(self) -> dict[str, float]:
        """Return the largest target of every two-hot head whose bins do not reach so far."""
        networks = getattr(self.agent, "networks", nn.Module())
        named = (*self.online.named_modules(), *networks.named_modules())
        heads = {name: head for name, head in named if isinstance(head, TwoHotHead)}
        return {n: h.largest.item() for n, h in heads.items() if h.largest > h.support[-1]}

    def set_mean(self, frames: Tensor) -> None:
        """Take the mean of frames (N, C, H, W) uint8 as the centre of preprocessing."""
        for model in (self.online, self.model):
            model.set_mean(frames)
        self.refresh()

    def load_autoencoder(self, weights: Mapping[str, Tensor], source: str) -> None:
        """Begin with the weights of another autoencoder, its preprocessing included.

        Args:
            weights: its state dict.
            source: the key and value that name it.

        Raises:
            UserError: it has another architecture, or the world model has no autoencoder.
        """
        if not hasattr(self.model, "autoencoder"):
            raise UserError(
                f"{source}: world_model.kind={self.model.config.kind} has no autoencoder of its "
                "own: leave the key out"
            )
        for model in (self.online, self.model):
            load_weights(model.get_submodule("autoencoder"), weights, source)
        self.refresh()

    # -- persistence ---------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimiser states and the last batch, nested."""
        return {
            "model": self.model.state_dict(),
            "online": self.online.state_dict(),
            "agent": self.agent.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "last": None if self.last is None else self.last.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Restore a saved state. Raises UserError, naming `source`, for another architecture."""
        load_weights(self.model, state["model"], source)
        load_weights(self.online, state["online"], source)
        self.agent.load_state_dict(state["agent"], source)
        restore(self.optimiser, state["optimiser"])
        if state["last"] is not None:
            self.last = Batch.from_state_dict(state["last"]).to(self.device)
        self.refresh()

    def weights(self) -> dict[str, Any]:
        """Return what playing needs, of `state_dict`: no optimisers, no random numbers."""
        return {"model": self.model.state_dict(), "agent": self.agent.weights()}

    def load_weights(self, found: Checkpoint) -> None:
        """Restore what playing needs from a checkpoint or an export.

        Raises UserError for another architecture.
        """
        state = found.state["learner"]
        load_weights(self.model, state["model"], found.path)
        self.agent.load_weights(state["agent"], found.path)
        self.refresh()
