"""What dreams promise, beside what comes."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from aef_worldmodel.dynamics import State
from benchmarks.promises import LENGTH, STRIDE, measure, windows, worst


def test_windows_begin_every_so_many_decisions_and_end_with_the_rows():
    rows = torch.arange(500)[:, None] + torch.tensor([0, 1000])  # (T, N), two worlds
    found = windows(rows, LENGTH + 1)
    assert found.shape == (LENGTH + 1, 2 * 16) and found.max() < 1500
    assert found[0, :4].tolist() == [0, 1000, STRIDE, 1000 + STRIDE]
    assert torch.equal(found[-1], found[0] + LENGTH)


def test_the_worst_starts_are_those_after_which_least_came():
    reward = torch.tensor([3.0, 0.0, 2.0, 1.0]).repeat(LENGTH, 1)
    assert worst(reward, 0.5).tolist() == [1, 3]
    assert worst(reward, 0.01).tolist() == [1]
    assert sorted(worst(reward, 1).tolist()) == [0, 1, 2, 3]


def test_promises_are_discounted_and_end_with_the_critics_word():
    critic = SimpleNamespace(mean=lambda features: features[..., 0])
    agent = SimpleNamespace(config=SimpleNamespace(discount=0.9), slow_critic=critic)
    learner = SimpleNamespace(agent=agent, autocast=nullcontext)
    states = torch.full((LENGTH + 1, 3, 1), 2.0)
    states[-1] = 5.0
    reward = torch.ones(LENGTH, 3)
    reward[5:15] = 0.5
    found = measure(learner, State(states, states), reward)
    assert (found["reward_1_5"], found["reward_6_15"], found["reward_16_30"]) == (1, 0.5, 1)
    assert (found["value"], found["critic_end"]) == (2, 5)
    whole = (1 - 0.9**LENGTH) / 0.1 - 0.5 * (0.9**5 - 0.9**15) / 0.1 + 5 * 0.9**LENGTH
    assert found["return"] == pytest.approx(whole, rel=1e-5)
