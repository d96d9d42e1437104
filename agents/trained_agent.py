"""A trained agent in Python: `agent = load_agent(run); action = agent.act(frames)`.

Shapes: N environments, (C, H, W) frames as in training, A action.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.utils.errors import UserError
from agents.config.hardware import HardwareConfig, resolve
from agents.playing.rollout import Observe
from agents.training.runs import (
    LoadedRun,
    load_run,
    pretrained_agents,
    pretrained_run,
)
from envs.gymnasium_envs.images import fit, to_rgb

NO_CROP = (0, 0, 0, 0)


def load_agent(run: str | Path, device: str = "cpu", explore: bool = False) -> TrainedAgent:
    """Return the agent of a run's last checkpoint, ready to play.

    >>> agent = load_agent("runs/cheetah-run-aef-0")
    >>> action = agent.act(frames)  # (N, 3, 64, 64) uint8 -> (N, 6) in [-1, 1]

    Args:
        run: folder of a run, or of an export of one (`agents.export`); or the name of an agent
            that this checkout holds (agents/pretrained), for instance "cheetah-run".
        device: cpu, cuda or cuda:N.
        explore: draw actions as in training; else play as in evaluations.

    Raises:
        UserError: `run` is neither, or its checkpoints cannot be read.
    """
    hardware = resolve(HardwareConfig(device=device))
    named = str(run) in pretrained_agents() or not (Path(run).exists() or "/" in str(run))
    folder = pretrained_run(str(run)) if named else Path(run)
    loaded = load_run(folder, hardware, trust=True)  # makes no environment
    return TrainedAgent(loaded, explore)


class TrainedAgent:
    """Plays in N environments at once, and remembers what it saw and did in each.

    Args:
        run: the loaded run.
        explore: draw actions as in training.

    Attributes:
        config: the settings of the run.
        model: the world model; `model.autoencoder(frames)` is the encoder alone.
        observe: filters the frames, `model.observe` at first; `Doubt(model, threshold).observe`
            ignores frames that are too unlikely.
    """

    def __init__(self, run: LoadedRun, explore: bool = False) -> None:
        self.learner, self.config, self.discrete = run.learner, run.config, run.discrete
        self.model, self.explore = self.learner.model, explore
        self.observe: Observe = self.model.observe
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frames are the first of episodes."""
        self.policy = self.learner.agent.policy(self.explore, self.model)
        self.state = self.model.initial(0)
        self.action = torch.zeros(0, self.model.action_dim, device=self.learner.device)

    @torch.no_grad()
    def act(self, frames: Any, first: Any = None) -> Any:
        """Return the actions for frames, as arrays for arrays and as tensors for tensors.

        Args:
            frames: of N environments as Gymnasium gives them, (N, C, H, W) or (N, H, W, C), or of
                one alone; grey, RGB or RGBA; uint8, or floats in [0, 1]. Another size than the
                one of training is resized as in training. For a run with env.obs=proprio they are
                states, (N, P) or (P,).
            first: (N,) bool, where an episode has just begun, for instance `terminated | truncated`
                of a vector environment that resets by itself in the same step; None for nowhere,
                or everywhere in the first call.

        Returns:
            (N, A) float32 in [-1, 1], or choices (N,) int64; (A,) or () for one frame alone.

        Raises:
            UserError: these are not images, or N is not that of the last call.
        """
        batch, alone = self._batch(frames)
        first = self._first(first, len(batch))
        with self.learner.autocast():
            self.state = self.observe(self.state, self.action, batch, first)
            self.action = self.policy.act(self.state, first)
        action = self.action.argmax(-1) if self.discrete else self.action
        action = action[0] if alone else action
        return action if isinstance(frames, Tensor) else action.cpu().numpy()

    def _first(self, first: Any, count: int) -> Tensor:
        """Return where an episode begins, and forget it there."""
        device, known = self.learner.device, len(self.action)
        if not known:
            self.state = self.model.initial(count)
            self.action = self.action.new_zeros(count, self.model.action_dim)
            first = np.ones(count, bool)
        elif known != count:
            raise UserError(
                f"{count} frames after {known} of the last call: the agent remembers each "
                "environment; call reset() to begin with others"
            )
        elif first is None:
            first = np.zeros(count, bool)
        return torch.as_tensor(first, dtype=torch.bool, device=device).view(count)

    def _batch(self, frames: Any) -> tuple[Tensor, bool]:
        """Return frames as the world model sees them (N, C, H, W), and whether it is one alone."""
        shape, device = self.model.frame_shape, self.learner.device
        tensor = isinstance(frames, Tensor)
        if tensor and frames.dtype == torch.uint8 and frames.shape[1:] == shape:
            return frames.to(device), False
        array = frames.cpu().numpy() if tensor else np.asarray(frames)
        alone = array.ndim == len(shape)
        if not self.learner.sees_images:
            return self._states(array[None] if alone else array), alone
        try:
            images = [
                fit(to_rgb(one), (shape[1], shape[2]), NO_CROP)
                for one in (array[None] if alone else array)
            ]
        except (ValueError, TypeError) as error:
            raise UserError(
                f"expected frames (N, C, H, W) or (N, H, W, C) as the environment gives them, got "
                f"{array.dtype} of shape {array.shape} ({error})"
            ) from error
        return torch.from_numpy(np.stack(images)).to(device), alone

    def _states(self, states: np.ndarray) -> Tensor:
        """Return states (N, P) as the world model sees them."""
        shape = self.model.frame_shape
        if states.shape[1:] != shape or not np.issubdtype(states.dtype, np.number):
            raise UserError(
                f"expected states (N, {shape[0]}) as the environment gives them, got "
                f"{states.dtype} of shape {states.shape}"
            )
        return torch.from_numpy(states.astype(np.float32)).to(self.learner.device)
