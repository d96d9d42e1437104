"""The environments of a run: training may truncate their episodes at random."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import envs
from aef_worldmodel.utils.errors import UserError
from agents.config.hardware import HardwareConfig
from agents.config.train import EnvConfig
from agents.playing.env_factory import (
    OneHotActions,
    RandomTruncation,
    is_discrete,
    make_envs,
    make_training_envs,
    state_of,
    unwrap_chain,
)

SMALL = {
    "image_size": 16,
    "action_repeat": 100,
    "samples_per_pixel": 1,
    "threads": 1,
}  # ten decisions


def test_a_truncation_ends_its_environment_and_no_other():
    worlds = RandomTruncation(envs.make("cartpole-swingup", 6, seed=3, **SMALL), 0.1)
    whole = envs.make("cartpole-swingup", 6, seed=3, **SMALL)
    assert torch.equal(worlds.reset()[0], whole.reset()[0])
    torch.manual_seed(0)
    fresh = torch.ones(6, dtype=torch.bool)  # environments that were not truncated yet
    seen = 0
    for t in range(9):
        action = torch.full((6, 1), 0.1 * t)
        obs, reward, terminated, truncated, info = worlds.step(action)
        other, expected, *_ = whole.step(action)
        assert torch.equal(reward[fresh], expected[fresh]) and not terminated.any()
        last = info.get("final_obs", obs)
        assert torch.equal(last[fresh], other[fresh])
        fresh &= ~truncated
        assert torch.equal(obs[fresh], other[fresh])
        if truncated.any():
            assert torch.equal(info["_final_obs"], truncated)
            start = worlds.state()
            assert (start["decision"][truncated] == 0).all()
            assert (start["decision"][fresh] == t + 1).all()
            seen += int(truncated.sum())
    assert 0 < fresh.sum() < 6 and seen > 2


def test_truncations_are_as_frequent_as_asked():
    env = EnvConfig(
        "cartpole-swingup",
        image_size=4,
        samples_per_pixel=1,
        action_repeat=4,
        random_truncation_every=40,
    )
    worlds = make_training_envs(env, 50, HardwareConfig(device="cpu", threads=1), seed=0)
    worlds.reset()
    torch.manual_seed(1)
    count = sum(int(worlds.step(torch.zeros(50, 1))[3].sum()) for _ in range(60))
    assert abs(count - 300) < 5 * np.sqrt(300 * 0.9)  # 3,000 decisions, one in ten
    judged = make_envs(env, 1, HardwareConfig(device="cpu", threads=1), seed=0)
    assert not isinstance(judged, RandomTruncation)


def test_time_limit_and_truncations_together():
    worlds = RandomTruncation(envs.make("cartpole-swingup", 40, **SMALL), 0.2)
    worlds.reset()
    torch.manual_seed(0)
    for _ in range(9):
        worlds.step(torch.zeros(40, 1))
    due = worlds.state()["decision"] == 9
    *_, truncated, info = worlds.step(torch.zeros(40, 1))
    assert due.any() and truncated[due].all() and truncated[~due].any() and not truncated.all()
    assert torch.equal(info["_final_obs"], truncated)
    assert (worlds.state()["decision"][truncated] == 0).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_third_party_environments_are_truncated_too(threads):
    env = EnvConfig("gym:grey:Dusk-v0", image_size=16, action_repeat=1, random_truncation_every=4)
    worlds = make_training_envs(env, 4, HardwareConfig(device="cpu", threads=threads))
    assert is_discrete(worlds) and state_of(worlds) is None
    assert isinstance(worlds.single_action_space, gym.spaces.Box)
    worlds.reset(seed=0)
    torch.manual_seed(0)
    age = torch.zeros(4, dtype=torch.int64)
    seen = 0
    for _ in range(12):
        obs, _, _, truncated, info = worlds.step(torch.eye(3)[[2, 2, 0, 0]])
        age += 1
        last = info["final_obs"] if truncated.any() else obs
        assert torch.equal(last[:, 0, 0, 0], 250 - 10 * age)
        age[truncated] = 0
        assert torch.equal(obs[:, 0, 0, 0], 250 - 10 * age)
        seen += int(truncated.sum())
    assert 0 < seen < 48
    assert isinstance(unwrap_chain(worlds)[1], OneHotActions)
    worlds.close()


def test_a_truncation_takes_longer_than_a_decision():
    with pytest.raises(
        ValueError, match=r"random_truncation_every=2 must be above env\.action_rep"
    ):
        EnvConfig(random_truncation_every=2)


def test_an_argument_that_an_environment_does_not_take_is_named():
    env = EnvConfig("gym:grey:Dusk-v0?colour=3", image_size=16)
    with pytest.raises(UserError, match=r"its constructor raised TypeError: .*colour"):
        make_envs(env, 1, HardwareConfig(device="cpu", threads=1))


@pytest.mark.parametrize("threads", [1, 2])
def test_environments_that_cannot_render_are_one_sentence(threads):
    env = EnvConfig("gym:grey:Blind-v0", image_size=16)
    with pytest.raises(UserError, match=r"env=gym:grey:Blind-v0: .*the lamp is broken"):
        make_envs(env, 2, HardwareConfig(device="cpu", threads=threads))
