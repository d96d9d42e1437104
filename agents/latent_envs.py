"""Environments for Stable-Baselines3 whose observation is the world model's features (h, z).

Importable alone: a script needs a model and one of these, not `agents.train`.

    learner = load_learner("runs/cheetah-run-aef-0")
    env = LatentVecEnv(learner.model, "cheetah-run", num_envs=8)       # real environments
    dream = DreamVecEnv(learner.model, env.beginnings(64), num_envs=64)  # imagination alone
    PPO("MlpPolicy", dream).learn(100_000)

Shapes: N environments, S states, F features, A action.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from aef_worldmodel.world_models.base import State, WorldModel
from agents.config.hardware import HardwareConfig, resolve
from agents.learning.learner import Learner
from agents.training.runs import load_run
from envs.sb3 import SB3VecEnv


def load_learner(run: str | Path, device: str = "cpu") -> Learner:
    """Return the learner of a run, for its `model`. Raises UserError if `run` is not a run."""
    hardware = resolve(HardwareConfig(device=device))
    return load_run(Path(run), hardware, trust=True).learner  # makes no environment


def feature_space(model: WorldModel) -> gym.spaces.Box:
    """Return the space of features (h, z): (F,) float32."""
    return gym.spaces.Box(-np.inf, np.inf, (model.feature_dim,), np.float32)


class LatentVecEnv(SB3VecEnv):
    """Real environments, seen through a world model that does not learn.

    Args:
        model: filters the frames.
        task: one of `envs.tasks()`.
        num_envs: N.
        options: of `BatchedEnv`.
    """

    def __init__(self, model: WorldModel, task: str, num_envs: int = 1, **options: Any) -> None:
        super().__init__(task, num_envs, **options)
        self.model, self.observation_space = model, feature_space(model)
        self.state = model.initial(num_envs)

    def reset(self) -> np.ndarray:
        """Return the first features (N, F)."""
        everywhere = np.ones(self.num_envs, bool)
        nothing = np.zeros((self.num_envs, self.model.action_dim), np.float32)
        self.state = self._observe(self.state, nothing, super().reset(), everywhere)
        return _array(self.state.features)

    def step_wait(self):
        """Return features (N, F), rewards (N,), dones (N,) and N dictionaries."""
        action = np.asarray(self._actions, np.float32)
        frames, rewards, dones, infos = super().step_wait()
        if dones.any():
            self._finish(action, np.flatnonzero(dones), infos)
        self.state = self._observe(self.state, action, frames, dones)
        return _array(self.state.features), rewards, dones, infos

    def _finish(self, action: np.ndarray, ended: np.ndarray, infos: list[dict]) -> None:
        """Replace last frames by last features in the environments `ended`."""
        before = self.state.map(lambda part: part[torch.from_numpy(ended)])
        last = np.stack([infos[i]["terminal_observation"] for i in ended])
        nowhere = np.zeros(len(ended), bool)
        features = _array(self._observe(before, action[ended], last, nowhere).features)
        for i, row in zip(ended, features):
            infos[i]["terminal_observation"] = row

    @torch.no_grad()
    def _observe(self, state: State, action, frames, first) -> State:
        device = state.latent.device
        action, frames, first = (
            torch.from_numpy(np.asarray(part)).to(device) for part in (action, frames, first)
        )
        return self.model.observe(state, action, frames, first)

    def beginnings(self, count: int) -> State:
        """Return the states of at least `count` episodes' first frames (S, .), to imagine from.

        The running episodes are given up: call `reset` afterwards, as learning does.
        """
        found = []
        while self.num_envs * len(found) < count:
            self.reset()
            found.append(self.state)
        return State(*(torch.cat(part) for part in zip(*found)))


class DreamVecEnv(VecEnv):
    """Episodes in the world model's imagination.

    An episode begins in one of the states given, at random. It ends with the model's probability
    of an end, and is cut short after `horizon` decisions. Rewards are expected ones.

    Args:
        model: imagines.
        starts: states (S, .), for instance `LatentVecEnv.beginnings`.
        num_envs: episodes at a time, N.
        horizon: decisions of an episode.
        temperature: factor on the prior's standard deviation; imagination that is too certain is
            easily exploited (Ha and Schmidhuber 2018, section 4.4).
        seed: of its random numbers, until `seed` gives another.

    Raises:
        ValueError: no states, or a horizon or temperature that makes no sense.
    """

    def __init__(
        self,
        model: WorldModel,
        starts: State,
        num_envs: int = 64,
        horizon: int = 100,
        temperature: float = 1.0,
        seed: int = 0,
    ):
        if horizon < 1 or temperature < 0 or not len(starts.latent):
            raise ValueError(
                f"a dream needs states to start from (given: {len(starts.latent)}), horizon >= 1 "
                f"(given: {horizon}) and temperature >= 0 (given: {temperature})"
            )
        actions = gym.spaces.Box(-1.0, 1.0, (model.action_dim,), np.float32)
        self.render_mode = None
        super().__init__(num_envs, feature_space(model), actions)
        self.model, self.starts = model, starts
        self.horizon, self.temperature = horizon, temperature
        self.generator = torch.Generator(starts.latent.device)
        self.generator.manual_seed(seed)
        self.state = self._begin(num_envs)
        self.decision, self.returns = torch.zeros(num_envs, dtype=torch.long), np.zeros(num_envs)

    def _begin(self, count: int) -> State:
        device = self.starts.latent.device
        total = len(self.starts.latent)
        chosen = torch.randint(total, (count,), generator=self.generator, device=device)
        return State(*(part[chosen].clone() for part in self.starts))

    def reset(self) -> np.ndarray:
        """Return the first features (N, F)."""
        if self._seeds[0] is not None:
            self.generator.manual_seed(self._seeds[0])
        self._reset_seeds()
        self.state = self._begin(self.num_envs)
        self.decision[:], self.returns[:] = 0, 0.0
        return _array(self.state.features)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions (N, A) for `step_wait`."""
        self._actions = actions

    @torch.no_grad()
    def step_wait(self):
        """Return features (N, F), rewards (N,), dones (N,) and N dictionaries."""
        device = self.starts.latent.device
        action = torch.as_tensor(self._actions, dtype=torch.float32, device=device)
        self.state = self.model.predict(self.state, action, self.temperature, self.generator)
        reward, cont = self.model.reward(self.state), self.model.continuation(self.state)  # (N,)
        ended = torch.rand(cont.shape, generator=self.generator, device=device) > cont
        self.decision += 1
        cut = (self.decision >= self.horizon) & ~ended.cpu()
        dones = (ended.cpu() | cut).numpy()
        reward = _array(reward)
        self.returns += reward
        infos = self._restart(dones, cut.numpy())
        return _array(self.state.features), reward, dones, infos

    def _restart(self, dones: np.ndarray, cut: np.ndarray) -> list[dict[str, Any]]:
        """Begin a new episode where one is over."""
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if not dones.any():
            return infos
        last, ended = _array(self.state.features), torch.from_numpy(np.flatnonzero(dones))
        for i in ended.tolist():
            infos[i]["terminal_observation"] = last[i]
            infos[i]["TimeLimit.truncated"] = bool(cut[i])
            infos[i]["episode"] = {"r": float(self.returns[i]), "l": int(self.decision[i])}
        for part, new in zip(self.state, self._begin(len(ended))):
            part[ended.to(part.device)] = new
        self.decision[ended], self.returns[dones] = 0, 0.0
        return infos

    def close(self) -> None:
        """Do nothing: no resource is open."""

    def get_attr(self, attr_name: str, indices=None) -> list[Any]:
        """Return the attribute, once for each environment asked for."""
        return [getattr(self, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices=None) -> None:
        """Set an attribute of all environments: they have none of their own."""
        if len(self._chosen(indices)) != self.num_envs:
            raise ValueError(f"{attr_name} belongs to all environments: set it for all.")
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args, indices=None, **kwargs) -> list[Any]:
        """Return the result of the method, once for each environment asked for."""
        return [getattr(self, method_name)(*args, **kwargs)] * len(self._chosen(indices))

    def env_is_wrapped(self, wrapper_class, indices=None) -> list[bool]:
        """Return False for each: there are no wrappers."""
        return [False] * len(self._chosen(indices))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return None for each: features are not drawn."""
        return [None] * self.num_envs

    def _chosen(self, indices) -> list[int]:
        return list(self._get_indices(indices))


class LatentWrapper(gym.Wrapper):
    """One Gymnasium environment of frames (H, W, 3), seen through a world model.

    >>> env = LatentWrapper(gymnasium.make("aef/cheetah-run-v0"), learner.model)
    """

    def __init__(self, env: gym.Env, model: WorldModel):
        super().__init__(env)
        self.model, self.observation_space = model, feature_space(model)
        self.state = model.initial(1)

    def reset(self, **options):
        """Return the first features (F,)."""
        picture, info = self.env.reset(**options)
        nothing = np.zeros(self.model.action_dim, np.float32)
        return self._features(picture, nothing, True), info

    def step(self, action):
        """Return features (F,), reward, terminated, truncated and info."""
        picture, reward, terminated, truncated, info = self.env.step(action)
        return self._features(picture, action, False), reward, terminated, truncated, info

    @torch.no_grad()
    def _features(self, picture: np.ndarray, action: np.ndarray, first: bool) -> np.ndarray:
        device = self.state.latent.device
        frame = torch.tensor(np.asarray(picture), device=device).permute(2, 0, 1)[None]
        action = torch.as_tensor(action, dtype=torch.float32, device=device)[None]
        begins = torch.tensor([first], device=device)
        self.state = self.model.observe(self.state, action, frame, begins)
        return _array(self.state.features)[0]


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()
