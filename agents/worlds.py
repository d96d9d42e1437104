"""The worlds a run plays in, from its settings; every action a row of numbers in [-1, 1]."""

import gymnasium as gym
import numpy as np
from torch import Tensor

import envs
from aef_worldmodel.errors import UserError
from agents.config import EnvConfig
from agents.hardware import HardwareConfig


def make_worlds(env: EnvConfig, count: int, hardware: HardwareConfig, seed: int = 0):
    """A batch of `count` worlds of the task on the run's device.

    Where an environment's actions are choices, they are taken as rows (N, A) of which the largest
    number is chosen: the world model sees a choice as 1 among zeros.

    Raises UserError if there is no such environment, or it cannot be used.
    """
    foreign = env.backend is not None or env.task.startswith("gym:")
    drawn = {"crop": env.crop} if foreign else {"samples": env.samples}
    try:
        made = envs.make(
            env.task, count, env.backend, device=hardware.device, seed=seed, **drawn,
            image_size=env.image_size, action_repeat=env.action_repeat, threads=hardware.threads,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"env.task={env.task}: {error}") from error
    discrete = isinstance(made.single_action_space, gym.spaces.Discrete)
    return Choices(made) if discrete else made


def state_of(worlds) -> dict | None:
    """What `worlds.set_state` goes on from; None for other people's, whose state is not known."""
    foreign = isinstance(getattr(worlds, "worlds", worlds), envs.ForeignEnv)
    return None if foreign else worlds.state()


def has_choices(worlds) -> bool:
    """Whether actions of these worlds are choices."""
    return isinstance(worlds, Choices)


class Choices:
    """Worlds with discrete actions, which take (N, A) and choose the largest of each row; all else
    is as it is there.

    Args:
        worlds: whose actions are integers (N,) below A.
    """

    def __init__(self, worlds):
        self.worlds = worlds
        shape = (int(worlds.single_action_space.n),)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, shape, np.float32)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, worlds.num_envs)

    def __getattr__(self, name: str):
        return getattr(self.worlds, name)

    def step(self, action: Tensor):
        """As the worlds' own, with actions (N, A)."""
        return self.worlds.step(action.argmax(-1))
