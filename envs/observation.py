"""What an agent is given to see: pictures, the state vector, or both; stacked over time."""

import gymnasium as gym
import numpy as np
from torch import Tensor

KINDS = ("pixels", "proprio", "both")


class Observer:
    """Makes observations of the worlds as they stand.

    Pixels are uint8 (N, 3 * stack, H, W), the latest picture last; an episode begins with its
    first picture repeated. Proprio is float32 (N, P), never stacked. "both" is a dictionary.

    Args:
        kind: one of KINDS.
        proprio: what returns the state vector now, float32 (N, P).
        renderer: what draws the worlds; None if `kind` is "proprio".
        stack: how many pictures an observation has.
    """

    def __init__(self, kind: str, proprio, renderer, stack: int):
        self.kind, self.stack = kind, stack
        self._proprio, self._renderer = proprio, renderer
        self._frames = None  # (N, stack, 3, H, W) once there is a picture
        if renderer is not None:
            worlds, *picture = renderer.rgb.shape
            self._frames = renderer.rgb.new_zeros((worlds, stack, *picture))

    @property
    def space(self) -> gym.Space:
        """What one world's observation is."""
        states = self._proprio().shape[1:]
        proprio = gym.spaces.Box(-np.inf, np.inf, tuple(states), dtype=np.float32)
        if self.kind == "proprio":
            return proprio
        _, stack, channels, height, width = self._frames.shape
        pixels = gym.spaces.Box(0, 255, (stack * channels, height, width), dtype=np.uint8)
        if self.kind == "pixels":
            return pixels
        return gym.spaces.Dict({"pixels": pixels, "proprio": proprio})

    def after_step(self, began: Tensor) -> Tensor | dict[str, Tensor]:
        """The observation after a step of all worlds; those in `began` (N,) began an episode."""
        if self._renderer is not None:
            rgb = self._renderer.draw()
            if self.stack > 1:
                self._frames = self._frames.roll(-1, dims=1)
            self._frames[:, -1] = rgb
            self._fill(began, rgb)
        return self.current()

    def after_reset(self, mask: Tensor) -> Tensor | dict[str, Tensor]:
        """The observation after the worlds in `mask` (N,), a CPU tensor, began an episode."""
        if self._renderer is not None:
            self._fill(mask, self._renderer.draw(changed=mask))
        return self.current()

    def _fill(self, mask: Tensor, rgb: Tensor) -> None:
        """Begins the stacks of the worlds in `mask` with their picture repeated."""
        mask = mask.to(rgb.device)
        self._frames[mask] = rgb[mask][:, None]

    def current(self) -> Tensor | dict[str, Tensor]:
        """The latest observation again."""
        if self.kind == "proprio":
            return self._proprio()
        pixels = self._frames.flatten(1, 2).clone()
        return pixels if self.kind == "pixels" else {"pixels": pixels, "proprio": self._proprio()}

    def state(self) -> dict[str, Tensor]:
        """The stacked pictures, which a resumed run cannot draw again."""
        return {} if self.stack == 1 else {"frames": self._frames.cpu().clone()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Puts back what `state` returned; the worlds already stand where they stood."""
        if self.stack > 1:
            self._frames.copy_(state["frames"])
        elif self._frames is not None:
            self._frames[:, -1] = self._renderer.draw()

    def close(self) -> None:
        """Ends the drawing threads."""
        if self._renderer is not None:
            self._renderer.close()
