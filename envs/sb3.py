"""Stable-Baselines3's VecEnv of a task (`pip install stable-baselines3`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from envs.batched import BatchedEnv
from envs.seeds import env_seeds
from envs.suite import make_task


class SB3VecEnv(VecEnv):
    """N environments for Stable-Baselines3: numpy, same-step autoreset, its dones and infos.

    >>> model = PPO("CnnPolicy", SB3VecEnv("cheetah-run", num_envs=8))

    Images are (3, H, W), which CnnPolicy accepts; use "MultiInputPolicy" with obs="both".

    Args:
        task: one of `envs.tasks()`.
        num_envs: N.
        options: arguments of `BatchedEnv`.

    Raises:
        ValueError: an option is out of range, or `autoreset` is not "same_step".
    """

    def __init__(self, task: str, num_envs: int = 1, **options: Any):
        self.batch = BatchedEnv(make_task(task), num_envs, array="numpy", **options)
        if self.batch.autoreset != "same_step":
            raise ValueError("Stable-Baselines3 needs autoreset='same_step': leave it out.")
        self.render_mode = self.batch.render_mode
        spaces = self.batch.single_observation_space, self.batch.single_action_space
        super().__init__(num_envs, *spaces)
        self._actions = np.zeros(0)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, int)

    def reset(self) -> Any:
        """Return the first observations, from the seeds last given to `seed`."""
        seeds = [seed for seed in self._seeds if seed is not None]
        self._returns[:], self._lengths[:] = 0.0, 0
        obs, _ = self.batch.reset(seed=seeds or None)
        self._reset_seeds()
        return obs

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Keep the environments' seeds for the next `reset`: neighbouring seeds share none."""
        if seed is None:
            return super().seed()
        self._seeds = list(env_seeds(seed, self.num_envs))
        return self._seeds

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions (N, A) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Return observations, rewards (N,), dones (N,) and a dictionary per environment."""
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
        """End the rendering threads."""
        self.batch.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return an image per environment, (H, W, 3), if render_mode is "rgb_array"."""
        images = self.batch.render()
        return [None] * self.num_envs if images is None else list(images)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return the batch's attribute, once for each environment in `indices`."""
        return [getattr(self.batch, attr_name)] * len(self._get_indices_list(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the whole batch: single environments have none.

        Raises:
            ValueError: `indices` leaves environments out.
        """
        if len(self._get_indices_list(indices)) != self.num_envs:
            raise ValueError(f"{attr_name} belongs to the batch: set it for all environments.")
        setattr(self.batch, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Return the result of the batch's method, once for each environment in `indices`."""
        result = getattr(self.batch, method_name)(*args, **kwargs)
        return [result] * len(self._get_indices_list(indices))

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return False for each environment: single environments have no wrappers."""
        return [False] * len(self._get_indices_list(indices))

    def _get_indices_list(self, indices: Any) -> list[int]:
        return list(self._get_indices(indices))


def _row(obs: Any, env: Any) -> Any:
    """Return one environment's part of a batch of observations."""
    if isinstance(obs, dict):
        return {name: part[env] for name, part in obs.items()}
    return obs[env]
