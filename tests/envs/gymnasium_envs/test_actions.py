"""Actions of third-party environments."""

import gymnasium as gym
import numpy as np
import pytest

from envs.gymnasium_envs.actions import ActionAdapter

PEDALS = gym.spaces.Box(np.float32([-2, 0, 10]), np.float32([6, 1, 20]))


@pytest.mark.parametrize(
    ("action", "expected"),
    [((0, 0, 0), (0, 0, 15)), ((-1, -1, -1), (-2, 0, 10)), ((0.5, 0.5, 0.5), (3, 0.5, 17.5))],
)
def test_zero_stays_zero(action, expected):
    adapter = ActionAdapter(PEDALS)
    assert adapter.space == gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    assert adapter.convert(np.float32(action)).tolist() == list(expected)


def test_boxes_of_several_axes_and_of_integers():
    adapter = ActionAdapter(gym.spaces.Box(0, 10, (2, 2), np.int64))
    assert adapter.space.shape == (4,)
    action = adapter.convert(np.float32([0.16, 0.14, 1, 0]))
    assert action.dtype == np.int64 and action.tolist() == [[2, 1], [10, 0]]


def test_discrete_actions_are_counted_from_zero():
    adapter = ActionAdapter(gym.spaces.Discrete(3, start=5))
    assert adapter.space == gym.spaces.Discrete(3) and adapter.convert(np.int64(2)) == 7


@pytest.mark.parametrize(
    ("space", "action", "expected"),
    [
        (gym.spaces.MultiDiscrete([2, 3]), 5, [1, 2]),
        (gym.spaces.MultiDiscrete([2, 3], start=[1, 0]), 2, [1, 2]),
        (gym.spaces.MultiDiscrete([[2, 2], [2, 2]]), 9, [[1, 0], [0, 1]]),
        (gym.spaces.MultiBinary(3), 6, [1, 1, 0]),
        (gym.spaces.MultiBinary((2, 2)), 7, [[0, 1], [1, 1]]),
    ],
)
def test_few_combinations_are_one_choice(space, action, expected):
    adapter = ActionAdapter(space)
    assert isinstance(adapter.space, gym.spaces.Discrete)
    found = adapter.convert(np.int64(action))
    assert found.tolist() == expected and space.contains(found)
    assert len({adapter.convert(i).tobytes() for i in range(adapter.space.n)}) == adapter.space.n


def test_many_combinations_are_a_number_for_each_action():
    space = gym.spaces.MultiDiscrete([4, 32], start=[0, 1])
    adapter = ActionAdapter(space)
    assert adapter.space == gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    for action, expected in [((-1, -1), [0, 1]), ((-0.1, 0), [1, 17]), ((1, 1), [3, 32])]:
        found = adapter.convert(np.float32(action))
        assert found.tolist() == expected and space.contains(found)
    buttons = ActionAdapter(gym.spaces.MultiBinary(12))
    assert buttons.convert(np.linspace(-1, 1, 12)).tolist() == [0] * 6 + [1] * 6


def test_a_box_of_one_number():
    adapter = ActionAdapter(gym.spaces.Box(0.0, 4.0, (), np.float32))
    assert adapter.space.shape == (1,) and adapter.convert(np.float32([0.5])) == 2


@pytest.mark.parametrize(
    "space",
    [
        None,
        gym.spaces.Box(-np.inf, np.inf, (1,), np.float32),
        gym.spaces.Dict({"a": gym.spaces.Discrete(2)}),
    ],
)
def test_other_spaces_are_refused(space):
    with pytest.raises(ValueError, match="expected Discrete, MultiDiscrete, MultiBinary or a bou"):
        ActionAdapter(space)


def test_too_many_choices_are_refused():
    with pytest.raises(
        ValueError, match=r"space Discrete\(100000\); expected at most 4096 choices"
    ):
        ActionAdapter(gym.spaces.Discrete(100_000))
