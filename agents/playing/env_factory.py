"""The environments of a run, from its settings: every action is a row of numbers in [-1, 1]."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

import envs
from aef_worldmodel.utils.errors import UserError
from agents.config.hardware import HardwareConfig
from agents.config.train import EnvConfig

THIRD_PARTY = ("gym:", "dm_control:")  # beginnings of tasks that are not ours


def make_envs(env: EnvConfig, count: int, hardware: HardwareConfig, seed: int = 0) -> Any:
    """Make a batch of `count` environments of the task, on the run's device.

    Discrete actions are taken as rows (N, A) of which the largest number is chosen: the world
    model sees a choice as 1 among zeros.

    Raises UserError if there is no such environment, or if it cannot be used.
    """
    third_party = env.task.startswith(THIRD_PARTY)
    own: dict[str, Any] = {"samples_per_pixel": env.samples_per_pixel}
    if third_party:
        own = {"time_limit": env.time_limit, "timeout": env.timeout}
    try:
        made: Any = envs.make(
            env.task,
            count,
            device=hardware.device,
            seed=seed,
            obs=env.obs,
            image_size=env.image_size,
            action_repeat=env.action_repeat,
            threads=hardware.threads,
            **own,
        )
        if third_party:
            with warnings.catch_warnings():  # Gymnasium warns of what the error below says
                warnings.simplefilter("ignore")
                made.reset(seed=seed)  # where rendering fails, the first frame does
    except (ValueError, envs.EnvironmentFailure) as error:
        raise UserError(f"env={env.task}: {error}") from error
    discrete = isinstance(made.single_action_space, gym.spaces.Discrete)
    return OneHotActions(made) if discrete else made


def make_training_envs(env: EnvConfig, count: int, hardware: HardwareConfig, seed: int = 0) -> Any:
    """Make the environments of training, truncated at random where the settings say so."""
    made = make_envs(env, count, hardware, seed)
    if env.random_truncation_every is None:
        return made
    return RandomTruncation(made, env.action_repeat / env.random_truncation_every)


def state_of(env: Any) -> dict | None:
    """Return what `env.set_state` continues from; None for third-party environments."""
    inner = unwrap_chain(env)[-1]
    return None if isinstance(inner, envs.GymnasiumVectorEnv) else env.state()


def is_discrete(env: Any) -> bool:
    """Return whether actions of these environments are choices."""
    return any(isinstance(layer, OneHotActions) for layer in unwrap_chain(env))


def unwrap_chain(env: Any) -> list[Any]:
    """Return the environments and all that they wrap, outermost first."""
    return [env, *unwrap_chain(env.env)] if isinstance(env, VectorWrapper) else [env]


class VectorWrapper:
    """Environments that are like those inside except where a subclass says otherwise."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the environments inside."""
        return getattr(self.env, name)


class RandomTruncation(VectorWrapper):
    """Truncates episodes at random times, as a time limit would.

    Training then revisits start states more often, and a policy that is far from where it is
    evaluated returns there (docs/notebook/cartpole-swingup.md).

    Args:
        env: environments with "same_step" autoreset.
        chance: probability of a truncation, for each decision.
    """

    def __init__(self, env: Any, chance: float) -> None:
        super().__init__(env)
        self.chance = chance

    def step(self, action: Tensor) -> tuple:
        """Step the environments; one that is truncated is reset at once."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        drawn = torch.rand(len(truncated)) < self.chance
        if not drawn.any():  # as mostly: no device synchronisation
            return obs, reward, terminated, truncated, info
        ended = terminated | truncated
        drawn = drawn.to(ended.device) & ~ended
        if drawn.any():
            info = info | {"final_obs": info.get("final_obs", obs), "_final_obs": ended | drawn}
            obs, _ = self.env.reset(options={"reset_mask": drawn})
            truncated = truncated | drawn
        return obs, reward, terminated, truncated, info


class OneHotActions(VectorWrapper):
    """Environments with discrete actions that take (N, A) and choose the largest of each row.

    Args:
        env: environments whose actions are integers (N,) below A.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        shape = (int(env.single_action_space.n),)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, shape, np.float32)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, env.num_envs)

    def step(self, action: Tensor) -> tuple:
        """Step the environments with actions (N, A)."""
        return self.env.step(action.argmax(-1))
