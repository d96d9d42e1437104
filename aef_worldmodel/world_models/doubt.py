"""Doubt: a filter that goes on with its own prediction where a frame is too unlikely.

    doubt = Doubt.of(model, seen, level=0.001)     # `seen` by the monitor in usual episodes
    state = doubt.observe(state, action, frames, first)

A broken camera sends frames whose log-density is far below that of usual ones. Such a frame says
little about the world, so the state after it is `model.predict(state, action)`. A model that is
wrong would doubt every frame from then on: after `patience` doubted frames in a row the next one
is taken as it is. Shapes: N environments.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from aef_worldmodel.world_models.base import State, WorldModel
from aef_worldmodel.world_models.surprise import Surprisal, observe_scored

PATIENCE = 10  # doubted frames in a row after which the next one is believed


class Watched:
    """A filter as the model's own, which keeps what it says of each frame.

    Attributes:
        seen: a `Surprisal` of N environments for each step.
    """

    def __init__(self, model: WorldModel) -> None:
        self.model = model
        self.seen: list[Surprisal] = []

    def observe(self, state: State, action: Tensor, frames: Tensor, first: Tensor) -> State:
        """Filter one step as `WorldModel.observe`."""
        state, found = observe_scored(self.model, state, action, frames, first)
        self.seen.append(found)
        return state


class Doubt:
    """A filter that ignores frames below a log-density; it takes the place of `model.observe`.

    Args:
        model: a world model with a likelihood of frames.
        threshold: nats; a frame with a smaller log p(x_t | x_<t, a_<t) is doubted, unless it is
            the first of an episode. With -inf the states are those of `model.observe`.
        patience: doubted frames in a row after which the next one is believed.

    Attributes:
        seen, doubted: frames so far.
    """

    def __init__(self, model: WorldModel, threshold: float, patience: int = PATIENCE) -> None:
        self.model, self.threshold, self.patience = model, threshold, patience
        self.seen = self.doubted = 0
        self.run: Tensor | None = None  # doubted frames in a row, (N,)

    @classmethod
    def of(
        cls, model: WorldModel, seen: Iterable[Surprisal], level: float, patience: int = PATIENCE
    ) -> Doubt:
        """Return a filter that doubts a share of at most `level` of frames like those `seen`.

        Raises ValueError if none of these is later than the first of an episode.
        """
        later = torch.cat([step.total[~step.first] for step in seen]).double()
        if not len(later):
            raise ValueError("doubt needs frames after the first of an episode to compare with")
        kept = later.sort().values
        return cls(model, kept[int(level * len(kept))].item(), patience)

    def observe(self, state: State, action: Tensor, frames: Tensor, first: Tensor) -> State:
        """Filter one step; the arguments and the result are those of `WorldModel.observe`."""
        if self.run is None or len(self.run) != len(frames):
            self.run = torch.zeros(len(frames), dtype=torch.int64, device=frames.device)
        believed, found = observe_scored(self.model, state, action, frames, first)
        doubted = (found.total < self.threshold) & ~first & (self.run < self.patience)  # (N,)
        self.run = (self.run + 1) * doubted
        self.seen += len(frames)
        self.doubted += int(doubted.sum())
        if not doubted.any():
            return believed
        predicted = self.model.predict(state, action)
        return State(
            *(torch.where(doubted[:, None], p, b) for p, b in zip(predicted, believed, strict=True))
        )
