"""N copies of a third-party environment as a VectorEnv with torch tensors."""

import functools
import os
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs.checks import (
    check_action,
    check_choice,
    checked_device,
    image_shape,
    one_of,
    positive,
    reset_mask,
)
from envs.gymnasium_envs.adapted_env import AdaptedEnv, View
from envs.gymnasium_envs.failure import EnvironmentFailure
from envs.gymnasium_envs.workers import Description, Group, ProcessGroup, Step, kill
from envs.seeds import env_seeds

AnyGroup = Group | ProcessGroup
COPY_SEEDS = 2**31  # every environment takes seeds below it
TIMEOUT = 300.0  # seconds that a process may take for a decision or a reset
NO_STATE = "The state of this environment cannot be saved: only tasks of `python -m envs` can."


class GymnasiumVectorEnv(VectorEnv):
    """N copies of one third-party environment, stepped together, as torch tensors.

    The interface is that of `BatchedEnv` under "same_step" without what needs its physics:
    `proprio` is (N, 0), `state` raises. Actions are in [-1, 1] where the environment's are a
    bounded box; where they are discrete, `single_action_space` is a Discrete that starts at 0,
    `num_choices` its size, and an action is an integer tensor (N,).

    Args:
        make_one: makes one copy.
        num_envs: N.
        name: of the environment, for messages.
        device: where the tensors go.
        seed: of the first reset, as in `BatchedEnv`; copies get its lowest 31 bits, which every
            environment takes.
        obs: "pixels", or "proprio" for all numbers of an observation as float32 (N, P); nothing
            is drawn then.
        image_size: side, or (H, W), of the images, in pixels.
        action_repeat: steps of the environment in a decision.
        crop: pixels cut off at (top, bottom, left, right) of its images.
        time_limit: steps after which episodes are truncated if the environment has no limit;
            None for 10,000, with a warning.
        threads: 1 steps the copies one after the other; more share them between processes.
        timeout: seconds that a process may take to answer.

    Attributes:
        source: where observations come from, in words.

    Raises:
        ValueError: an argument is out of range; the sentence names it and what to give.
        EnvironmentFailure: a copy raised, returned what it must not, or lost its process.
    """

    def __init__(
        self,
        make_one: Callable[[], gym.Env],
        num_envs: int = 1,
        *,
        name: str = "The environment",
        device: str | torch.device = "cpu",
        seed: int | list[int] = 0,
        obs: str = "pixels",
        image_size: int | tuple[int, int] = 64,
        action_repeat: int = 2,
        crop: tuple[int, int, int, int] = (0, 0, 0, 0),
        time_limit: int | None = None,
        threads: int = 1,
        timeout: float = TIMEOUT,
    ):
        self.num_envs, self.device = positive("num_envs", num_envs), checked_device(device)
        self.action_repeat = positive("action_repeat", action_repeat)
        view = View(
            one_of("obs", obs, ("pixels", "proprio")),
            image_shape("image_size", image_size),
            checked_crop(crop),
            self.action_repeat,
            None if time_limit is None else positive("time_limit", time_limit),
        )
        makers = [functools.partial(AdaptedEnv, make_one, name, i, view) for i in range(num_envs)]
        if not timeout > 0:
            raise ValueError(f"timeout={timeout} is out of range: give seconds above 0.")
        self._seed: int | list[int] | None = seed
        count = min(positive("threads", threads), num_envs)
        self._parts = [part.tolist() for part in np.array_split(np.arange(num_envs), count)]
        self._groups = self._make_groups(makers, name, timeout)
        try:
            found: Description = self._ask("describe", [()] * len(self._groups))[0]
        except (EnvironmentFailure, ValueError):
            self.close()
            raise
        self.source, most = found.source, found.time_limit
        self.episode_decisions = -(-most // self.action_repeat)
        if found.own_limit is None and time_limit is None:
            warnings.warn(
                f"{name} has no registered time limit: episodes that do not end by themselves are "
                f"truncated after {most} steps; give env.time_limit=N, or ?max_episode_steps=N "
                "after its name, to choose.",
                stacklevel=2,
            )
        self._make_spaces(found)

    def _make_groups(self, makers: list, name: str, timeout: float) -> Sequence[AnyGroup]:
        if len(self._parts) == 1:
            return [Group(makers)]
        groups = [
            ProcessGroup([makers[i] for i in part], name, part, timeout) for part in self._parts
        ]
        weakref.finalize(self, kill, [group.process for group in groups], os.getpid())
        return groups

    def _make_spaces(self, found: Description) -> None:
        self.single_action_space = found.action_space
        self.single_observation_space = found.observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        self.proprio_names: list[str] = []
        space = found.action_space
        self.num_choices = int(space.n) if isinstance(space, gym.spaces.Discrete) else None
        shape = (self.num_envs, *found.observation_space.shape)
        self._obs = torch.from_numpy(np.zeros(shape, found.observation_space.dtype))

    # ---- Gymnasium

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict | None = None
    ) -> tuple[Tensor, dict]:
        """Start new episodes; the first time with the seed given to the constructor.

        Args:
            seed: as in `BatchedEnv.reset`.
            options: {"reset_mask": (N,) bool} resets only those copies; other entries are passed
                to the environments.

        Returns:
            The observations, uint8 (N, 3, H, W) or float32 (N, P), and an empty info.
        """
        mask = reset_mask(options, self.num_envs).tolist()
        seed, self._seed = self._seed if seed is None else seed, None
        seeds: list[int | None] = [None] * self.num_envs
        if seed is not None:
            seeds = [s % COPY_SEEDS for s in env_seeds(seed, self.num_envs)]
        rest = {k: v for k, v in (options or {}).items() if k != "reset_mask"} or None
        arguments = [([mask[i] for i in p], [seeds[i] for i in p], rest) for p in self._parts]
        for i, first in enumerate(self._ask("reset", arguments)):
            if first is not None:
                self._obs[i] = torch.from_numpy(first)
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, dict]:
        """Make one decision in every copy, as `BatchedEnv.step`.

        `info["frames"]`, (N,), counts the steps made: fewer than `action_repeat` where a decision
        ended its episode.

        Args:
            action: (N, A) in [-1, 1], or integers (N,) below `num_choices`.

        Raises:
            ValueError: the action has another shape, is not finite or out of bounds.
            EnvironmentFailure: a copy raised, returned what it must not, or lost its process.
        """
        action = torch.as_tensor(action)
        if self.num_choices:
            check_choice(action, self.num_envs, self.num_choices)
        else:
            check_action(action, (self.num_envs, *(self.single_action_space.shape or ())))
            action = action.clamp(-1, 1)
        numbers = action.cpu().numpy()
        steps: list[Step] = self._ask("step", [(numbers[part],) for part in self._parts])
        return self._collect(steps)

    def _collect(self, steps: list[Step]) -> tuple[Tensor, Tensor, Tensor, Tensor, dict]:
        """Return the results of N copies as tensors."""
        obs, reward, terminated, truncated, made = (
            torch.from_numpy(np.stack(column)).to(self.device)
            for column in zip(*(step.decision for step in steps), strict=True)
        )
        ended, info = terminated | truncated, {"frames": made}
        if ended.any():
            info |= {"final_obs": obs, "_final_obs": ended}
        shown = [s.decision.obs if s.next_first is None else s.next_first for s in steps]
        self._obs = torch.from_numpy(np.stack(shown))
        return self.observe(), reward.float(), terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Close the copies and end their processes."""
        for group in self._groups:
            group.close()

    # ---- beyond Gymnasium

    def observe(self) -> Tensor:
        """Return the observations of the last `reset` or `step` again."""
        return self._obs.to(self.device, copy=True)

    def proprio(self) -> Tensor:
        """Return float32 (N, 0): the state is unknown."""
        return torch.zeros((self.num_envs, 0), device=self.device)

    def faults(self) -> dict[str, int]:
        """Return {}: failures raise."""
        return {}

    def state(self) -> dict:
        """Raise ValueError: the state is unknown."""
        raise ValueError(NO_STATE)

    def set_state(self, state: dict) -> None:
        """Raise ValueError: the state is unknown."""
        raise ValueError(NO_STATE)

    def _ask(self, method: str, arguments: list[tuple]) -> list:
        """Call a method of all groups at once; return their results one after the other.

        All answers are awaited before the first failure is raised.
        """
        for group, args in zip(self._groups, arguments, strict=True):
            group.send(method, *args)
        results, failures = [], []
        for group in self._groups:
            try:
                results += group.receive()
            except (EnvironmentFailure, ValueError) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return results


def checked_crop(crop: Any) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) in pixels."""
    sides = tuple(crop) if isinstance(crop, tuple | list) else (crop,)
    if len(sides) != 4 or not all(isinstance(n, int) and n >= 0 for n in sides):
        raise ValueError(f"crop={crop!r} is invalid: give four counts as top,bottom,left,right.")
    return sides
