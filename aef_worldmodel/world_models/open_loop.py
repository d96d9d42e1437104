"""Open-loop prediction: a model imagines a video from a few frames of context and the actions."""

from typing import NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.world_models.base import State, WorldModel


class OpenLoop(NamedTuple):
    """Reality, its reconstruction and the open-loop imagination, float in [0, 1]."""

    reality: Tensor  # (B, T, C, H, W)
    reconstruction: Tensor  # (B, T, C, H, W)
    imagination: Tensor  # (B, T, C, H, W), reconstructions of the context


@torch.no_grad()
def open_loop(model: WorldModel, frames: Tensor, actions: Tensor, context: int) -> OpenLoop:
    """Filter `context` frames, then follow the prior's centre under the actions that were taken.

    frames (B, T, C, H, W) uint8 and actions (B, T, A) from the start of an episode.
    Raises ValueError unless 1 <= context < T.
    """
    length = frames.shape[1]
    if not 1 <= context < length:
        raise ValueError(f"context={context} of {length} frames; choose 1..{length - 1}")
    states = model.filter_frames(frames, actions)
    state = states.map(lambda part: part[:, context - 1])
    imagined = [states.map(lambda part: part[:, :context])]
    for t in range(context, length):
        state = model.predict(state, actions[:, t - 1])
        imagined.append(state.map(lambda part: part[:, None]))
    imagination = model.decode(State(*(torch.cat(part, 1) for part in zip(*imagined))))
    return OpenLoop((frames.float() + 0.5) / 256, model.decode(states), imagination)
