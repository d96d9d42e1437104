"""Batches of third-party environments."""

import gc
import weakref

import gymnasium as gym
import numpy as np
import pytest
import torch
from third_party import Dot, Fork, Pedals, Reused

from envs.gymnasium_envs import EnvironmentFailure, GymnasiumVectorEnv
from envs.seeds import env_seeds

LIMIT = {"time_limit": 5}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_batch(threads):
    options = {"image_size": 16, "action_repeat": 2, "seed": 5, "threads": threads}
    env = GymnasiumVectorEnv(Dot, 3, **options, **LIMIT)
    assert env.num_choices is None
    first, _ = env.reset()
    assert first.shape == (3, 3, 16, 16) and first.dtype == torch.uint8
    assert env.episode_decisions == 3 and env.single_action_space.shape == (1,)
    obs, reward, terminated, truncated, info = env.step(torch.full((3, 1), 0.5))  # 2 of 4
    assert reward.tolist() == [4.0, 4.0, 4.0] and reward.dtype == torch.float32
    assert info.keys() == {"frames"} and info["frames"].tolist() == [2, 2, 2]
    assert (obs[:, 0].float().mean((1, 2)) == first[:, 0].float().mean((1, 2))).all()
    assert not torch.equal(obs, first) and torch.equal(env.observe(), obs)
    env.step(torch.zeros(3, 1))
    obs, reward, terminated, truncated, info = env.step(np.ones((3, 1)))
    assert truncated.all() and not terminated.any() and reward.tolist() == [4.0] * 3
    assert info["frames"].tolist() == [1, 1, 1]  # the episode ended within the decision
    assert info["final_obs"].shape == obs.shape and info["_final_obs"].all()
    assert not torch.equal(info["final_obs"], obs)
    assert torch.equal(env.reset(seed=5)[0], first)
    assert torch.equal(env.reset(seed=env_seeds(5, 3))[0], first)
    env.close()


def test_processes_play_as_one_process_does():
    runs = []
    for threads in (1, 2):
        env = GymnasiumVectorEnv(Dot, 3, image_size=16, seed=4, threads=threads, **LIMIT)
        obs = [env.reset()[0]]
        obs += [env.step(torch.full((3, 1), t / 8))[0] for t in range(8)]
        obs.append(env.reset(options={"reset_mask": torch.tensor([True, False, True])})[0])
        assert torch.equal(obs[-1][1], obs[-2][1]) and not torch.equal(obs[-1], obs[-2])
        runs.append(torch.stack(obs))
        env.close()
    assert torch.equal(*runs)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_last_image_of_an_episode_is_its_own(threads):
    """Reused shows views of one buffer: 1, 2 and 3, and 100 after a reset."""
    options = {"action_repeat": 1, "time_limit": 3, "threads": threads}
    env = GymnasiumVectorEnv(Reused, 2, **options)
    env.reset(seed=0)
    for _ in range(3):
        obs, _, _, truncated, info = env.step(np.zeros((2, 1), np.float32))
    assert truncated.all()
    assert info["final_obs"].unique().tolist() == [3] and obs.unique().tolist() == [100]
    env.close()


def test_returned_images_are_not_overwritten():
    env = GymnasiumVectorEnv(Dot, 1, **LIMIT)
    first = env.reset(seed=0)[0]
    before = first.clone()
    env.reset(seed=3)
    assert torch.equal(first, before)
    first.zero_()
    assert env.observe().any()


def test_images_are_cropped():
    white = GymnasiumVectorEnv(Pedals, 2, crop=(4, 8, 2, 1), **LIMIT).reset()[0]
    assert white.shape == (2, 3, 64, 64) and (white == 255).all()
    assert (GymnasiumVectorEnv(Pedals, 1, crop=(4, 8, 2, 0), **LIMIT).reset()[0] < 255).any()


def test_discrete_actions():
    env = GymnasiumVectorEnv(Fork, 2, image_size=(6, 8), action_repeat=1, **LIMIT)
    assert env.single_action_space == gym.spaces.Discrete(2) and env.num_choices == 2
    assert env.action_space.shape == (2,)
    env.reset()
    obs, reward, terminated, *_ = env.step(torch.tensor([0, 1]))
    assert reward.tolist() == [1.0, 2.0] and terminated.tolist() == [False, True]
    # the edge between red and black lies two thirds inside the third of eight columns
    assert obs[0, 0, 0].tolist() == [240, 240, 160, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match=r"action\[1\] = 2 is not within 0 to 1"):
        env.step(torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"give integers of shape \(2,\)"):
        env.step(torch.zeros(2))


def test_bad_arguments():
    env = GymnasiumVectorEnv(Dot, 2, **LIMIT)
    env.reset()
    with pytest.raises(ValueError, match="is not within"):
        env.step(torch.full((2, 1), 2.0))
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        env.step(torch.zeros(2))
    with pytest.raises(ValueError, match="cannot be saved"):
        env.state()
    with pytest.raises(ValueError, match="cannot be saved"):
        env.set_state({})
    assert env.proprio().shape == (2, 0) and env.faults() == {}
    with pytest.raises(ValueError, match="time_limit=0 is not a count"):
        GymnasiumVectorEnv(Dot, 2, time_limit=0)
    with pytest.raises(ValueError, match="threads=0 is not a count"):
        GymnasiumVectorEnv(Dot, 2, threads=0)


def test_unsupported_actions_name_the_environment():
    class Unbounded(Dot):
        action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    sentence = r"gym:U-v0 \(environment 0\) has the action space .*; expected Discrete, M"
    with pytest.raises(EnvironmentFailure, match=sentence):
        GymnasiumVectorEnv(Unbounded, 1, name="gym:U-v0")


def test_it_is_freed_without_the_garbage_collector():
    gc.disable()
    try:
        env = GymnasiumVectorEnv(Dot, 2, **LIMIT)
        env.reset()
        gone = weakref.ref(env)
        env.close()
        del env
        assert gone() is None
    finally:
        gc.enable()
