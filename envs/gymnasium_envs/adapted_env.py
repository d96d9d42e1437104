"""One third-party environment as plain observations and actions; all it returns is checked."""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import gymnasium as gym
import numpy as np

from envs.gymnasium_envs.actions import ActionAdapter
from envs.gymnasium_envs.failure import EnvironmentFailure, describe_error
from envs.gymnasium_envs.observations import Images, Observations, Vectors
from envs.gymnasium_envs.returns import Misreturned, call_reset, finite, parse_step

TIME_LIMIT = 10_000  # steps of an episode whose environment has no limit


class View(NamedTuple):
    """How environments are seen and stepped."""

    obs: str = "pixels"  # or "proprio"
    size: tuple[int, int] = (64, 64)  # (H, W) of images, in pixels
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)  # pixels at top, bottom, left, right
    action_repeat: int = 2  # steps of a decision
    time_limit: int | None = None  # steps of an episode, where the environment has no limit


class Decision(NamedTuple):
    """What came of a decision."""

    obs: np.ndarray  # uint8 (3, H, W), or float32 (P,)
    reward: float  # the sum over the steps
    terminated: bool
    truncated: bool
    steps: int  # fewer than the action repeat where the episode ended


class AdaptedEnv:
    """One environment as a batch needs it: images or vectors, plain actions, repeated.

    Args:
        make_one: makes the environment.
        name: of the environment, for messages.
        index: its number in the batch, for messages.
        view: how it is seen and stepped.

    Attributes:
        action_space: a Box (A,) in [-1, 1] or a Discrete.
        observation_space: a Box, uint8 (3, H, W) or float32 (P,).
        source: where observations come from, in words.
        own_limit: the environment's own time limit in steps, or None.
        time_limit: most steps of an episode.

    Raises:
        EnvironmentFailure: the environment raised, or returned what it must not.
    """

    def __init__(self, make_one: Callable[[], gym.Env], name: str, index: int, view: View):
        self._where = f"{name} (environment {index})"
        self._repeat, self._steps = view.action_repeat, 0
        self._env = self._call("its constructor", make_one)
        try:
            self._actions = ActionAdapter(getattr(self._env, "action_space", None))
            self._observations = self._see(view)
        except ValueError as error:
            self._fail(f"has {error}")
        except Exception as error:  # spaces may be of the environment's own classes
            message = f"{self._where}: its spaces raised {describe_error(error)}."
            raise EnvironmentFailure(message) from error
        self.action_space = self._actions.space
        self.observation_space = self._observations.space
        self.source = self._observations.source
        self.own_limit = _time_limit_of(self._env)
        self.time_limit = self.own_limit or view.time_limit or TIME_LIMIT

    def _see(self, view: View) -> Observations:
        space = getattr(self._env, "observation_space", None)
        if view.obs == "proprio":
            return Vectors(space)
        mode = getattr(self._env, "render_mode", None)
        return Images(space, mode, view.size, view.crop)

    def reset(self, seed: int | None = None, options: dict | None = None) -> np.ndarray:
        """Start an episode and return its first observation, uint8 (3, H, W) or float32 (P,)."""
        self._steps = 0
        return self._convert(self._call("reset", call_reset, self._env, seed, options))

    def step(self, action: Any) -> Decision:
        """Make a decision, shorter where the episode ends within it."""
        total, steps, action = 0.0, 0, self._actions.convert(action)
        obs, terminated, truncated = None, False, False
        while steps < self._repeat and not (terminated or truncated):
            result = self._call("step", self._env.step, action)
            obs, reward, terminated, truncated = self._checked(parse_step, result)
            total = self._checked(finite, total + reward)
            steps, self._steps = steps + 1, self._steps + 1
            truncated = truncated or (self._steps >= self.time_limit and not terminated)
        return Decision(self._convert(obs), total, terminated, truncated, steps)

    def close(self) -> None:
        """Close the environment."""
        self._call("close", self._env.close)

    def _call(self, what: str, function: Callable, *args: Any) -> Any:
        """Call a function of the environment; what it raises becomes an EnvironmentFailure."""
        try:
            return function(*args)
        except Misreturned as error:
            self._fail(f"returned {error}")
        except (Exception, SystemExit) as error:
            message = f"{self._where}: {what} raised {describe_error(error)}."
            raise EnvironmentFailure(message) from error

    def _checked(self, check: Callable, value: Any) -> Any:
        """Return what a check makes of a value that the environment returned."""
        try:
            return check(value)
        except Misreturned as error:
            self._fail(f"returned {error}")

    def _convert(self, obs: Any) -> np.ndarray:
        def render() -> Any:
            return self._call("render", self._env.render)

        try:
            return self._observations.convert(obs, render)
        except Misreturned as error:
            self._fail(f"returned {error}")

    def _fail(self, what: str) -> NoReturn:
        raise EnvironmentFailure(f"{self._where} {what}.")


def _time_limit_of(env: Any) -> int | None:
    """Return the smallest limit of an environment's TimeLimit wrappers, in steps, or None."""
    limits = []
    while isinstance(env, gym.Wrapper):
        limits.append(vars(env).get("_max_episode_steps"))
        env = env.env
    return min((limit for limit in limits if isinstance(limit, int)), default=None)
