"""The worlds a run plays in, from its settings; every action a row of numbers in [-1, 1]."""

import warnings

import gymnasium as gym
import numpy as np
import torch
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
    drawn = {"crop": env.crop} if foreign else {"rays": env.rays}
    try:
        made = envs.make(
            env.task, count, env.backend, device=hardware.device, seed=seed, **drawn,
            image_size=env.image_size, action_repeat=env.action_repeat, threads=hardware.threads,
        )  # fmt: skip
        if foreign:
            with warnings.catch_warnings():  # Gymnasium warns of what is said below
                warnings.simplefilter("ignore")
                made.reset(seed=seed)  # where drawing fails for them, the first picture does
    except (ValueError, envs.WorldError) as error:
        raise UserError(f"env.task={env.task}: {error}") from error
    discrete = isinstance(made.single_action_space, gym.spaces.Discrete)
    return Choices(made) if discrete else made


def make_training_worlds(env: EnvConfig, count: int, hardware: HardwareConfig, seed: int = 0):
    """`make_worlds`, begun anew at random if `env.restart_every` says so."""
    return restarting(make_worlds(env, count, hardware, seed), env)


def restarting(worlds, env: EnvConfig):
    """The worlds, begun anew as often as `env.restart_every` says."""
    if env.restart_every is None:
        return worlds
    return Restarts(worlds, env.action_repeat / env.restart_every)


def state_of(worlds) -> dict | None:
    """What `worlds.set_state` goes on from; None for other people's, whose state is not known."""
    return None if isinstance(layers(worlds)[-1], envs.ForeignEnv) else worlds.state()


def has_choices(worlds) -> bool:
    """Whether actions of these worlds are choices."""
    return any(isinstance(layer, Choices) for layer in layers(worlds))


def layers(worlds) -> list:
    """The worlds and all that they wrap, outermost first."""
    return [worlds, *layers(worlds.worlds)] if isinstance(worlds, Wrapped) else [worlds]


class Wrapped:
    """Worlds that are as those inside except where they say otherwise."""

    def __init__(self, worlds):
        self.worlds = worlds

    def __getattr__(self, name: str):
        return getattr(self.worlds, name)


class Restarts(Wrapped):
    """Worlds that now and then begin anew before their episode is over, each at random times of
    its own: what such an episode would have brought is not known, as where it is cut short by the
    clock. A policy that is caught far from where it is judged comes back
    (docs/tried/cartpole-swingup.md).

    Args:
        worlds: what begins anew, under "same_step".
        chance: of it, a world and decision.
    """

    def __init__(self, worlds, chance: float):
        super().__init__(worlds)
        self.chance = chance

    def step(self, action: Tensor):
        """As the worlds' own; a world that begins anew counts as truncated."""
        obs, reward, terminated, truncated, info = self.worlds.step(action)
        drawn = torch.rand(len(truncated)) < self.chance
        if not drawn.any():  # as mostly: the device is not waited for
            return obs, reward, terminated, truncated, info
        ended = terminated | truncated
        drawn = drawn.to(ended.device) & ~ended
        if drawn.any():
            info = {"final_obs": info.get("final_obs", obs), "_final_obs": ended | drawn}
            obs, _ = self.worlds.reset(options={"reset_mask": drawn})
            truncated = truncated | drawn
        return obs, reward, terminated, truncated, info


class Choices(Wrapped):
    """Worlds with discrete actions, which take (N, A) and choose the largest of each row; all else
    is as it is there.

    Args:
        worlds: whose actions are integers (N,) below A.
    """

    def __init__(self, worlds):
        super().__init__(worlds)
        shape = (int(worlds.single_action_space.n),)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, shape, np.float32)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, worlds.num_envs)

    def step(self, action: Tensor):
        """As the worlds' own, with actions (N, A)."""
        return self.worlds.step(action.argmax(-1))
