"""Broken cameras: wrappers of environments whose images are spoilt, while the world goes on.

    env = FaultyCamera(env, "noise", share=0.2, seed=0)

Kinds: patch (a grey square over a random place), frozen (the image before), noise (of 50 grey
levels), dark (black). A spoilt image is what the agent sees; reward and physics are untouched.
Shapes: N environments, (C, H, W) images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agents.playing.env_factory import VectorWrapper

NOISE = 50.0  # standard deviation in grey levels
PATCH = 3  # the square's side is the image's divided by this


def patch(frames: Tensor, before: Tensor, generator: torch.Generator) -> Tensor:
    """Return images with a grey square at a place of its own in each."""
    spoilt, side = frames.clone(), frames.shape[-1] // PATCH
    height, width = frames.shape[-2] - side, frames.shape[-1] - side
    for image in spoilt:
        top = int(torch.randint(height + 1, (), generator=generator))
        left = int(torch.randint(width + 1, (), generator=generator))
        image[:, top : top + side, left : left + side] = 128
    return spoilt


def frozen(frames: Tensor, before: Tensor, generator: torch.Generator) -> Tensor:
    """Return the last images that were shown."""
    return before


def noise(frames: Tensor, before: Tensor, generator: torch.Generator) -> Tensor:
    """Return images with Gaussian noise."""
    drawn = torch.randn(frames.shape, generator=generator).to(frames.device)
    return (frames + NOISE * drawn).round().clamp(0, 255).to(torch.uint8)


def dark(frames: Tensor, before: Tensor, generator: torch.Generator) -> Tensor:
    """Return black images."""
    return torch.zeros_like(frames)


KINDS: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "patch": patch,
    "frozen": frozen,
    "noise": noise,
    "dark": dark,
}


class FaultyCamera(VectorWrapper):
    """Environments whose images are spoilt, each with probability `share` on its own.

    The first images of episodes are whole, as far as the wrapper draws them; those of `final_obs`
    too.

    Args:
        env: environments with images.
        kind: one of KINDS.
        share: probability that an image is spoilt, 0 to 1.
        seed: of the wrapper's own random numbers.
        begin: decisions of the environments before which all images are whole.

    Raises:
        ValueError: an unknown kind, or a share outside [0, 1].
    """

    def __init__(
        self, env: Any, kind: str, share: float = 1.0, seed: int = 0, begin: int = 0
    ) -> None:
        super().__init__(env)
        if kind not in KINDS or not 0 <= share <= 1:
            raise ValueError(
                f"kind={kind!r} share={share}: give one of {', '.join(KINDS)} and 0 to 1"
            )
        self.kind, self.share, self.begin = KINDS[kind], share, begin
        self.generator = torch.Generator().manual_seed(seed)

    def reset(self, **options: Any) -> tuple:
        """Start new episodes with whole images."""
        frames, info = self.env.reset(**options)
        self.shown, self.decision = frames.clone(), 0
        return frames, info

    def step(self, action: Tensor) -> tuple:
        """Step the environments and spoil some of the images."""
        frames, reward, terminated, truncated, info = self.env.step(action)
        self.decision += 1
        chance = self.share if self.decision >= self.begin else 0.0
        drawn = torch.rand(len(frames), generator=self.generator).to(frames.device)
        spoilt = (drawn < chance) & ~(terminated | truncated)  # (N,)
        self.spoilt = spoilt
        if spoilt.any():
            broken = self.kind(frames, self.shown, self.generator)
            frames = torch.where(spoilt[:, None, None, None], broken, frames)
        self.shown = frames.clone()
        return frames, reward, terminated, truncated, info
