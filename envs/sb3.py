"""Stable-Baselines3's VecEnv over a batch of worlds (`pip install stable-baselines3`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from envs.suite import make_task
from envs.vector import BatchedEnv


class SB3VecEnv(VecEnv):
    """N worlds for Stable-Baselines3: numpy, autoreset in the same step, dones and infos its way.

    >>> model = PPO("CnnPolicy", SB3VecEnv("cheetah-run", num_envs=8))

    Pictures are (3, H, W), which its CnnPolicy takes as they are; use "MultiInputPolicy" with
    obs="both".

    Args:
        task: one of `envs.tasks()`.
        num_envs: how many worlds, N.
        options: what `BatchedEnv` takes.
    """

    def __init__(self, task: str, num_envs: int = 1, **options):
        self.batch = BatchedEnv(make_task(task), num_envs, array="numpy", **options)
        if self.batch.autoreset != "same_step":
            raise ValueError("Stable-Baselines3 needs autoreset='same_step': leave it out.")
        self.render_mode = self.batch.render_mode
        spaces = self.batch.single_observation_space, self.batch.single_action_space
        super().__init__(num_envs, *spaces)
        self._actions = None
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, int)

    def reset(self):
        """The first observations, with the seed last given to `seed`."""
        first = self._seeds[0]
        self._returns[:], self._lengths[:] = 0.0, 0
        obs, _ = self.batch.reset(seed=None if first is None else list(self._seeds))
        self._reset_seeds()
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions (N, A) for `step_wait`."""
        self._actions = actions

    def step_wait(self):
        """Observations, rewards (N,), dones (N,) and a dictionary a world."""
        obs, reward, terminated, truncated, info = self.batch.step(self._actions)
        dones = terminated | truncated
        self._returns += reward
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(dones):
            infos[i]["terminal_observation"] = _row(info["final_obs"], i)
            infos[i]["TimeLimit.truncated"] = bool(truncated[i])
            infos[i]["episode"] = {"r": float(self._returns[i]), "l": int(self._lengths[i])}
        self._returns[dones], self._lengths[dones] = 0.0, 0
        return obs, reward, dones, infos

    def close(self) -> None:
        """Ends the drawing threads."""
        self.batch.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture a world, (H, W, 3), if render_mode is "rgb_array"."""
        frames = self.batch.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices=None) -> list[Any]:
        """The batch's attribute, once for each world asked for."""
        return [getattr(self.batch, attr_name)] * len(self._get_indices_list(indices))

    def set_attr(self, attr_name: str, value: Any, indices=None) -> None:
        """Sets an attribute of the whole batch: worlds have none of their own."""
        if len(self._get_indices_list(indices)) != self.num_envs:
            raise ValueError(f"{attr_name} belongs to the whole batch: set it for all worlds.")
        setattr(self.batch, attr_name, value)

    def env_method(self, method_name: str, *args, indices=None, **kwargs) -> list[Any]:
        """The result of the batch's method, once for each world asked for."""
        result = getattr(self.batch, method_name)(*args, **kwargs)
        return [result] * len(self._get_indices_list(indices))

    def env_is_wrapped(self, wrapper_class, indices=None) -> list[bool]:
        """No world has a wrapper of its own."""
        return [False] * len(self._get_indices_list(indices))

    def _get_indices_list(self, indices) -> list[int]:
        return list(self._get_indices(indices))


def _row(obs, world: int):
    """One world's part of a batch of observations."""
    if isinstance(obs, dict):
        return {name: part[world] for name, part in obs.items()}
    return obs[world]
