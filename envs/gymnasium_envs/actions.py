"""Actions of third-party environments as actions in [-1, 1], or as choices counted from 0."""

from typing import Any

import gymnasium as gym
import numpy as np

MOST_CHOICES = 4_096  # of a Discrete space: a row of replay has a number for each
MOST_COMBINATIONS = 64  # of several discrete actions that are taken as one choice
EXPECTED = "Discrete, MultiDiscrete, MultiBinary or a bounded Box"


class ActionAdapter:
    """Converts actions to those of an environment.

    A bounded box is scaled from [-1, 1]. Where it has a 0, 0 stays 0, and the positive and the
    negative side are scaled separately: a gas pedal of [0, 1] is 0 for actions in [-1, 0].
    Integer boxes are rounded. Discrete actions are counted from 0. Several discrete actions
    (MultiDiscrete, MultiBinary) are one choice among their combinations, the last action varying
    fastest; where these are more than 64, each action has a number in [-1, 1], cut into as many
    equal parts as it has choices.

    Args:
        space: the environment's action space.

    Attributes:
        space: the converted space, a Box (A,) in [-1, 1] or a Discrete.

    Raises:
        ValueError: the space is another one, or has more than 4,096 choices.
    """

    def __init__(self, space: gym.Space | None):
        self._original = space
        self._shape = getattr(space, "shape", None) or ()
        self._choices = _choices_of(space)  # (K,) of several discrete actions
        if isinstance(space, gym.spaces.Discrete):
            if space.n > MOST_CHOICES:
                raise ValueError(
                    f"the action space {space}; expected at most {MOST_CHOICES} choices"
                )
            self.space: gym.Space = gym.spaces.Discrete(int(space.n))
        elif self._is_one_choice():
            self.space = gym.spaces.Discrete(int(self._choices.prod()))
        elif len(self._choices) or (isinstance(space, gym.spaces.Box) and space.is_bounded()):
            count = len(self._choices) or int(np.prod(self._shape))
            self.space = gym.spaces.Box(-1.0, 1.0, (count,), dtype=np.float32)
        else:
            raise ValueError(f"the action space {space}; expected {EXPECTED}")

    def convert(self, action: Any) -> Any:
        """Return the environment's action for ours: an integer, or numbers (A,) in [-1, 1]."""
        space = self._original
        if isinstance(space, gym.spaces.Discrete):
            return int(space.start) + int(action)
        if isinstance(space, gym.spaces.Box):
            return _scale(np.asarray(action).reshape(space.shape), space)
        if self._is_one_choice():
            parts = np.unravel_index(int(action), self._choices)
        else:
            share = (np.asarray(action) + 1) / 2  # (K,)
            parts = np.minimum((share * self._choices).astype(np.int64), self._choices - 1)
        whole = np.reshape(parts, self._shape).astype(np.int64)
        if isinstance(space, gym.spaces.MultiDiscrete):
            return (whole + space.start).astype(space.dtype)
        return whole.astype(np.int8)

    def _is_one_choice(self) -> bool:
        """Return whether several discrete actions are taken as one choice."""
        combinations = self._choices.astype(float).prod()  # without overflow
        return len(self._choices) > 0 and combinations <= MOST_COMBINATIONS


def _choices_of(space: gym.Space | None) -> np.ndarray:
    """Return how many choices each of several discrete actions has, (K,); none for others."""
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.nvec.flatten().astype(np.int64)
    if isinstance(space, gym.spaces.MultiBinary):
        return np.full(int(np.prod(space.shape)), 2)
    return np.zeros(0, np.int64)


def _scale(action: np.ndarray, space: gym.spaces.Box) -> np.ndarray:
    """Return an action of a bounded box for numbers in [-1, 1], both of the box's shape."""
    low, high = space.low, space.high
    has_zero = (low <= 0) & (high >= 0)
    by_side = np.where(action < 0, -action * low, action * high)
    whole = low + (action + 1) / 2 * (high - low)
    scaled = np.where(has_zero, by_side, whole)
    if np.issubdtype(space.dtype, np.integer):
        scaled = np.rint(scaled)
    return scaled.astype(space.dtype)
