"""Other people's environments behind the same face: any Gymnasium env with pictures, dm_control."""

import ast
import functools
import importlib
import multiprocessing
import signal
import weakref
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs import reference
from envs.checks import (
    checked_action,
    checked_choice,
    checked_device,
    image_shape,
    one_of,
    positive,
    reset_mask,
)
from envs.pictures import Pictures, WorldError
from envs.suite import make_task

SECONDS_TO_DIE = 5.0  # from a worker's pipe's end to its own, at most
DEATHS = (EOFError, BrokenPipeError, ConnectionResetError)  # of a worker, as its pipe shows them


def apart(make, *arguments):
    """`make(*arguments)`; in a worker process, freed of what its parent does on signals: Ctrl-C is
    the parent's to answer, and it ends its workers by SIGTERM."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return make(*arguments)


def kill(workers: Sequence[BaseProcess]) -> None:
    """Ends processes whatever they do on SIGTERM, which what draws in them may catch (SDL does):
    Python, when it ends, would send them that and wait for ever."""
    for worker in workers:
        worker.kill()


class DmControl(gym.Env):
    """dm_control's own environment: its state observed, its OpenGL pictures rendered.

    Args:
        task: one of `envs.tasks()`.
        size: (H, W) of the pictures.

    Raises:
        ValueError: there is no OpenGL to draw with.
    """

    render_mode = "rgb_array"

    def __init__(self, task: str, size: tuple[int, int]):
        self._task, self._size, self._camera = task, size, make_task(task).camera
        self._env = reference.load(task, seed=0, pictures=True)
        bounds = self._env.action_spec()
        self.action_space = gym.spaces.Box(
            bounds.minimum.astype(np.float32), bounds.maximum.astype(np.float32)
        )
        state = self._env.observation_spec().values()
        count = int(sum(np.prod(part.shape) for part in state))
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (count,), dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """A new episode; with a seed, that seed's first."""
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(seed)
        self._env.reset()
        return reference.observation(self._env), {}

    def step(self, action):
        """One control step."""
        step = self._env.step(np.asarray(action, np.float64))
        terminated = step.last() and step.discount == 0
        truncated = step.last() and not terminated
        return reference.observation(self._env), step.reward, terminated, truncated, {}

    def render(self) -> np.ndarray:
        """The picture now, uint8 (H, W, 3)."""
        try:
            return self._env.physics.render(*self._size, camera_id=self._camera)
        except Exception as error:  # each GL backend fails in its own way
            raise ValueError(
                f"dm_control cannot draw here ({error}): install EGL (libegl1 libgl1) and set "
                "MUJOCO_GL=egl, or leave out backend='dm_control'."
            ) from None


class ForeignEnv(VectorEnv):
    """N copies of one environment, stepped by Gymnasium's own vector envs, as torch tensors.

    The face is that of `BatchedEnv` under "same_step" without what needs its physics: `proprio`
    is (N, 0), `state` raises. Actions are in [-1, 1] where the environment's are a bounded box;
    where they are discrete, `single_action_space` is a Discrete that begins at 0, `num_choices`
    its size, and an action is an integer tensor (N,).

    Args:
        make_one: makes one copy, called N times.
        num_envs: N.
        frames: steps of the environment an episode lasts at most, for `episode_decisions`.
        device: where the tensors go.
        seed: copy i is seeded with seed + i at the first reset.
        image_size: side, or (H, W), of the pictures.
        action_repeat: steps of the environment a decision lasts.
        crop: pixels cut off at (top, bottom, left, right) of its pictures.
        threads: 1 steps the copies one after the other, more each in a process of its own.

    Raises:
        ValueError: an argument is out of range, or the environment has no pictures or actions of
            another kind.
        WorldError: a copy raised, or its process died; the sentence says which and why.
    """

    def __init__(
        self,
        make_one,
        num_envs: int = 1,
        *,
        frames: int,
        device: str | torch.device = "cpu",
        seed: int = 0,
        image_size: int | tuple[int, int] = 64,
        action_repeat: int = 2,
        crop: tuple[int, int, int, int] = (0, 0, 0, 0),
        threads: int = 1,
    ):
        self.num_envs, self.device = positive("num_envs", num_envs), checked_device(device)
        self.action_repeat = positive("action_repeat", action_repeat)
        self.episode_decisions = -(-frames // action_repeat)
        size = image_shape("image_size", image_size)
        if len(crop) != 4 or min(crop) < 0:
            raise ValueError(f"crop={crop} is no cut: give pixels as (top, bottom, left, right).")
        vector = AsyncVectorEnv if positive("threads", threads) > 1 else SyncVectorEnv
        copies = [
            functools.partial(apart, Pictures, make_one, size, action_repeat, crop, world)
            for world in range(num_envs)
        ]
        self._batch = vector(copies, autoreset_mode=AutoresetMode.SAME_STEP)
        if isinstance(self._batch, AsyncVectorEnv):
            weakref.finalize(self, kill, self._batch.processes)  # before its pipes, or at exit
        self._seed: int | list[int] | None = seed
        self.single_action_space = self._batch.single_action_space
        self.single_observation_space = self._batch.single_observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        self.proprio_names: list[str] = []
        single = self.single_action_space
        self.num_choices = int(single.n) if isinstance(single, gym.spaces.Discrete) else None

    def reset(self, *, seed: int | list[int] | None = None, options: dict | None = None):
        """Starts new episodes; the first time with the seed given when made.

        Args:
            seed, options: as `BatchedEnv.reset`.

        Returns:
            obs (N, 3, H, W) uint8, and an empty info.
        """
        seed, self._seed = self._seed if seed is None else seed, None
        if "reset_mask" in (options or {}):
            options = options | {"reset_mask": reset_mask(options, self.num_envs).numpy()}
        obs, _ = self._ask("reset", seed=seed, options=options)
        return self._tensor(obs), {}

    def step(self, action):
        """One decision in every copy, as `BatchedEnv.step`.

        Args:
            action: (N, A) in [-1, 1], or integers (N,) below `num_choices`.

        Raises:
            ValueError: an action of another shape, not finite or out of bounds.
            WorldError: a copy raised, or its process died.
        """
        action = torch.as_tensor(action)
        if self.num_choices:
            checked_choice(action, self.num_envs, self.num_choices)
        else:
            checked_action(action, (self.num_envs, *self.single_action_space.shape))
            action = action.clamp(-1, 1)
        obs, reward, terminated, truncated, info = self._ask("step", action.cpu().numpy())
        obs, out = self._tensor(obs), {}
        if "_final_obs" in info:
            final, ended = obs.clone(), info["_final_obs"]
            for i in np.flatnonzero(ended):
                final[i] = self._tensor(info["final_obs"][i])
            out = {"final_obs": final, "_final_obs": self._tensor(ended)}
        flags = self._tensor(terminated), self._tensor(truncated)
        return obs, self._tensor(reward).float(), *flags, out

    def proprio(self) -> Tensor:
        """Nothing is known of the state: float32 (N, 0)."""
        return torch.zeros((self.num_envs, 0), device=self.device)

    def faults(self) -> dict[str, int]:
        """No failures are counted: the environment raises its own."""
        return {}

    def state(self) -> dict:
        """Cannot be had of an environment that offers none.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "The state of this environment cannot be saved: only envs.tasks() resume exactly."
        )

    def close_extras(self, **kwargs) -> None:
        """Closes the copies and ends their processes."""
        self._batch.close()

    def _ask(self, method: str, *args, **options):
        """What the batch answers; a process that died is named."""
        try:
            return getattr(self._batch, method)(*args, **options)
        except DEATHS:
            workers = self._batch.processes
            for sentinel in wait([worker.sentinel for worker in workers], SECONDS_TO_DIE):
                ended = next(worker for worker in workers if worker.sentinel == sentinel)
                ended.join(SECONDS_TO_DIE)  # its pipes close a moment before it is gone
            codes = {i: worker.exitcode for i, worker in enumerate(workers)}
            dead = {i: code for i, code in codes.items() if code is not None}
            self._batch.close(terminate=True)
            raise WorldError(
                f"The processes of worlds {list(dead)} died (exit codes {list(dead.values())}; "
                "-9 is a kill, often for want of memory): make the environment again."
            ) from None

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)


def make_gym(name: str, num_envs: int, **options) -> ForeignEnv:
    """Copies of a Gymnasium environment, e.g. "CarRacing-v3" or "CarRacing-v3?continuous=False".

    Args:
        name: what Gymnasium calls it; before a ":" stands the module that registers it where that
            must be imported first; after a "?" follow arguments of its own, joined by "&".

    Raises:
        ValueError: Gymnasium does not know it or cannot make it; its episodes have no end; its
            module cannot be imported.
    """
    name, _, words = name.partition("?")
    settings = dict(_setting(word) for word in words.split("&") if word)
    module, _, short = name.rpartition(":")
    if module:
        _register(module, short)
    try:
        frames = gym.spec(short).max_episode_steps
        if frames is None:
            raise ValueError(f"The episodes of {name!r} have no end: register it with a limit.")
        one = functools.partial(gym.make, name, render_mode="rgb_array", **settings)
        return ForeignEnv(one, num_envs, frames=frames, **options)
    except (gym.error.Error, TypeError) as error:  # the latter for an argument it does not take
        raise ValueError(f"Gymnasium cannot make {name!r}: {error}") from None


def _register(module: str, name: str) -> None:
    """Imports the module that tells Gymnasium of the environment `name`."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"The module {module!r} that is to register {name!r} cannot be imported: {error}"
        ) from None


def _setting(word: str) -> tuple[str, object]:
    """ "continuous=False" as a name and a value: a Python literal, or else a word."""
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"{word!r} is no setting of an environment: give name=value after '?'.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def make_dm_control(task: str, num_envs: int, **options) -> ForeignEnv:
    """Copies of dm_control's own environment of a task, with OpenGL pictures."""
    size = image_shape("image_size", options.get("image_size", 64))
    one = functools.partial(DmControl, task, size)
    return ForeignEnv(one, num_envs, frames=make_task(task).frames, **options)


def make_foreign(task: str, num_envs: int, backend: str | None, **options) -> ForeignEnv | None:
    """The environment if `task` or `backend` asks for somebody else's; None if not."""
    if task.startswith("gym:"):
        return make_gym(task.removeprefix("gym:"), num_envs, **options)
    if one_of("backend", backend, (None, "dm_control")) == "dm_control":
        return make_dm_control(task, num_envs, **options)
    return None
