"""Tasks for Gymnasium, numpy in and out: `gymnasium.make("aef/cheetah-run-v0")`, and `make_vec`."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from envs.batched import BatchedEnv
from envs.suite import make_task


class SingleEnv(gym.Env):
    """One environment of a task, numpy in and out, images as (H, W, 3).

    Args:
        task: one of `envs.tasks()`.
        render_mode: "rgb_array" lets `render` return images.
        options: arguments of `BatchedEnv` except `autoreset` and `array`.

    Raises:
        ValueError: the task is unknown, or an option is out of range.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium reads it of the class

    def __init__(self, task: str, render_mode: str | None = None, **options: Any):
        self._batch = BatchedEnv(
            make_task(task),
            1,
            autoreset="disabled",
            array="numpy",
            render_mode=render_mode,
            **options,
        )
        self.render_mode = render_mode
        self.metadata = {k: v for k, v in self._batch.metadata.items() if k != "autoreset_mode"}
        self.action_space = self._batch.single_action_space
        self.observation_space = _channels_last(self._batch.single_observation_space)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Start a new episode; with a seed, the first of that seed."""
        super().reset(seed=seed)
        obs, _ = self._batch.reset(seed=seed)
        return self._single(obs), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        """Make one decision with an action (A,) in [-1, 1].

        Raises:
            ValueError: the action is invalid, or the episode has ended and was not reset.
        """
        action = np.asarray(action)[None]
        obs, reward, terminated, truncated, _ = self._batch.step(action)
        flags = bool(terminated[0]), bool(truncated[0])
        return self._single(obs), float(reward[0]), *flags, {}

    def render(self) -> Any:
        """Return the image now, uint8 (H, W, 3); None unless render_mode is "rgb_array"."""
        images = self._batch.render()
        return None if images is None else images[0]

    def close(self) -> None:
        """End the rendering threads."""
        self._batch.close()

    def _single(self, obs: Any) -> Any:
        """Return the observation of the one environment, images with channels last."""
        if isinstance(obs, dict):
            return {name: self._single(part) for name, part in obs.items()}
        return obs[0].transpose(1, 2, 0).copy() if obs.ndim == 4 else obs[0]


class NumpyBatch(gym.vector.VectorWrapper):
    """N environments of a task as `gymnasium.make_vec` makes them: images as (N, H, W, 3).

    Args:
        task: one of `envs.tasks()`.
        num_envs: N.
        options: arguments of `BatchedEnv` except `array`.

    Raises:
        ValueError: the task is unknown, or an option is out of range.
    """

    def __init__(self, task: str, num_envs: int = 1, **options: Any):
        batch = BatchedEnv(make_task(task), num_envs, array="numpy", **options)
        super().__init__(batch)
        self.single_observation_space = _channels_last(batch.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(self, **options: Any) -> tuple[Any, dict]:
        """Start new episodes, as `BatchedEnv.reset`."""
        obs, info = self.env.reset(**options)
        return _images_last(obs), info

    def step(self, actions: np.ndarray) -> tuple[Any, Any, Any, Any, dict]:
        """Make one decision in every environment, as `BatchedEnv.step`."""
        obs, reward, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info:
            info = info | {"final_obs": _images_last(info["final_obs"])}
        return _images_last(obs), reward, terminated, truncated, info


def _images_last(obs: Any) -> Any:
    """Return observations of N environments, images with channels last."""
    if isinstance(obs, dict):
        return {name: _images_last(part) for name, part in obs.items()}
    return np.ascontiguousarray(obs.transpose(0, 2, 3, 1)) if obs.ndim == 4 else obs


def _channels_last(space: gym.Space) -> gym.Space:
    """Return the space with channels last in its images."""
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({name: _channels_last(part) for name, part in space.items()})
    if space.shape is None or len(space.shape) != 3:
        return space
    channels, height, width = space.shape
    return gym.spaces.Box(0, 255, (height, width, channels), dtype=np.uint8)
