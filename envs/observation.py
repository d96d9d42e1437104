"""What an agent observes: images, the state vector, or both; images stacked over time."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.rendering.renderer import Renderer
from envs.suite.task import Task

KINDS = ("pixels", "proprio", "both")


def proprio_vector(task: Task, sim: Engine) -> Tensor:
    """Return the state as the task observes it, flattened in its order: float32 (N, P)."""
    parts = task.proprio(sim).values()
    return torch.cat([part.reshape(sim.num_envs, -1) for part in parts], 1).float()


def proprio_names(task: Task, sim: Engine) -> list[str]:
    """Return the names of `proprio_vector`'s P numbers, e.g. "velocity[3]"."""
    names = []
    for name, part in task.proprio(sim).items():
        count = part[0].numel()
        names += [name] if part.ndim == 1 else [f"{name}[{i}]" for i in range(count)]
    return names


def to_numpy(value: Any) -> Any:
    """Convert the tensors in nested dictionaries and tuples to numpy arrays."""
    if isinstance(value, Tensor):
        return value.cpu().numpy()
    if isinstance(value, dict):
        return {k: to_numpy(v) for k, v in value.items()}
    return tuple(to_numpy(v) for v in value)


class Observer:
    """Makes observations of the environments' current states.

    Pixels are uint8 (N, 3 * stack, H, W), the latest image last; an episode starts with its first
    image repeated. Proprio is float32 (N, P), never stacked. "both" is a dictionary of the two.

    Args:
        kind: one of KINDS.
        task: defines the state vector.
        sim: the engine.
        renderer: of the engine's environments; None if `kind` is "proprio".
        stack: images in an observation.
    """

    def __init__(self, kind: str, task: Task, sim: Engine, renderer: Renderer | None, stack: int):
        self.kind, self.stack = kind, stack
        self._task, self._sim, self._renderer = task, sim, renderer
        self._frames = torch.empty(0)
        if renderer is not None:
            num_envs, *image = renderer.rgb.shape
            self._frames = renderer.rgb.new_zeros((num_envs, stack, *image))  # (N, S, 3, H, W)

    @property
    def space(self) -> gym.Space:
        """The observation space of one environment."""
        states = self._proprio().shape[1:]
        proprio = gym.spaces.Box(-np.inf, np.inf, tuple(states), dtype=np.float32)
        if self.kind == "proprio":
            return proprio
        _, stack, channels, height, width = self._frames.shape
        pixels = gym.spaces.Box(0, 255, (stack * channels, height, width), dtype=np.uint8)
        if self.kind == "pixels":
            return pixels
        return gym.spaces.Dict({"pixels": pixels, "proprio": proprio})

    def set_appearance(self, name: str, values: Tensor) -> None:
        """Draw environments with colours or lights of their own, values (N, count, 3 or 4)."""
        if self._renderer is not None:
            self._renderer.set_field(name, values)

    def after_step(self, started: Tensor) -> Tensor | dict[str, Tensor]:
        """Observe after a step of all environments; those in `started` (N,) began an episode."""
        if self._renderer is not None:
            rgb = self._renderer.render()
            if self.stack > 1:
                self._frames = self._frames.roll(-1, dims=1)
            self._frames[:, -1] = rgb
            self._fill(started, rgb)
        return self.current()

    def after_reset(self, mask: Tensor) -> Tensor | dict[str, Tensor]:
        """Observe after the environments in `mask` (N,), a CPU tensor, began an episode."""
        if self._renderer is not None:
            self._fill(mask, self._renderer.render(changed=mask))
        return self.current()

    def _fill(self, mask: Tensor, rgb: Tensor) -> None:
        """Fill the stacks of the environments in `mask` with their image."""
        mask = mask.to(rgb.device)
        self._frames[mask] = rgb[mask][:, None]

    def _proprio(self) -> Tensor:
        return proprio_vector(self._task, self._sim)

    def current(self) -> Tensor | dict[str, Tensor]:
        """Return the latest observation again."""
        if self.kind == "proprio":
            return self._proprio()
        pixels = self._frames.flatten(1, 2).clone()  # (N, S * 3, H, W)
        return pixels if self.kind == "pixels" else {"pixels": pixels, "proprio": self._proprio()}

    def state(self) -> dict[str, Tensor]:
        """Return the stacked images, which cannot be rendered again."""
        return {} if self.stack == 1 else {"frames": self._frames.cpu().clone()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned; the engine's state is already restored."""
        if self.stack > 1:
            self._frames.copy_(state["frames"])
        elif self._renderer is not None:
            self._frames[:, -1] = self._renderer.render()

    def close(self) -> None:
        """End the rendering threads."""
        if self._renderer is not None:
            self._renderer.close()
