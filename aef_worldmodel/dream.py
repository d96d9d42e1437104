"""Open-loop dreams: what a model imagines from a few frames of context, beside what happened."""

from typing import NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.dynamics import State
from aef_worldmodel.world_model import WorldModel


class Dream(NamedTuple):
    """Reality, its reconstruction, and the open-loop imagination, float in [0, 1]."""

    reality: Tensor  # (B, T, C, H, W)
    reconstruction: Tensor  # (B, T, C, H, W)
    imagination: Tensor  # (B, T, C, H, W), reconstructions up to the horizon


@torch.no_grad()
def open_loop(model: WorldModel, frames: Tensor, actions: Tensor, context: int) -> Dream:
    """Filters `context` frames, then follows the prior's centre under the actions that were taken.

    frames (B, T, C, H, W) uint8 and actions (B, T, A) from the start of an episode.
    Raises ValueError unless 1 <= context < T.
    """
    length = frames.shape[1]
    if not 1 <= context < length:
        raise ValueError(f"context={context} of {length} frames; choose 1..{length - 1}")
    states = model.follow(frames, actions)
    state = State(states.recurrent[:, context - 1], states.latent[:, context - 1])
    latents = [states.latent[:, :context]]
    for t in range(context, length):
        recurrent = model.step(state, actions[:, t - 1])
        state = State(recurrent, model.prior(recurrent, state.latent).centre)
        latents.append(state.latent[:, None])
    imagination = model.decode(torch.cat(latents, 1))
    return Dream((frames.float() + 0.5) / 256, model.decode(states.latent), imagination)


def psnr(image: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of images in [0, 1], over the last three axes."""
    return -10 * (image - truth).square().mean((-3, -2, -1)).clamp(min=1e-10).log10()
