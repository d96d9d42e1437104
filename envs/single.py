"""One world as an ordinary Gymnasium environment: `gymnasium.make("aef/cheetah-run-v0")`."""

import gymnasium as gym
import numpy as np

from envs.suite import make_task, registry
from envs.vector import BatchedEnv


class SingleEnv(gym.Env):
    """One world of a task, numpy in and out, pictures as (H, W, 3).

    Args:
        task: one of `envs.tasks()`.
        options: what `BatchedEnv` takes; `autoreset` and `array` do not apply to one world.

    Raises:
        ValueError: an unknown task or a bad option.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium reads it of the class

    def __init__(self, task: str, render_mode: str | None = None, **options):
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
        self.observation_space = _last(self._batch.single_observation_space)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """A new episode; with a seed, that seed's first."""
        super().reset(seed=seed)
        obs, _ = self._batch.reset(seed=seed)
        return self._picture(obs), {}

    def step(self, action: np.ndarray):
        """One decision, an action (A,) in [-1, 1].

        Raises:
            ValueError: a bad action, or an episode that has ended and was not reset.
        """
        action = np.asarray(action)[None]
        obs, reward, terminated, truncated, _ = self._batch.step(action)
        flags = bool(terminated[0]), bool(truncated[0])
        return self._picture(obs), float(reward[0]), *flags, {}

    def render(self) -> np.ndarray | None:
        """The picture now, uint8 (H, W, 3); None unless render_mode is "rgb_array"."""
        frames = self._batch.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Ends the drawing threads."""
        self._batch.close()

    def _picture(self, obs):
        if isinstance(obs, dict):
            return {name: self._picture(part) for name, part in obs.items()}
        return obs[0].transpose(1, 2, 0).copy() if obs.ndim == 4 else obs[0]


def _last(space: gym.Space) -> gym.Space:
    """The space with channels last where it is of pictures."""
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({name: _last(part) for name, part in space.items()})
    if len(space.shape) != 3:
        return space
    channels, height, width = space.shape
    return gym.spaces.Box(0, 255, (height, width, channels), dtype=np.uint8)


def register() -> None:
    """Makes every task known to Gymnasium as "aef/<task>-v0"."""
    for name in registry():
        gym.register(
            f"aef/{name}-v0",
            entry_point="envs.single:SingleEnv",
            vector_entry_point="envs:make",
            kwargs={"task": name},
        )
