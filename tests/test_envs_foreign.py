"""Somebody else's environments behind the same face."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import envs
from envs.foreign import ForeignEnv


class Dot(gym.Env):
    """A red dot that an action in [0, 4] moves; the episode ends after five steps."""

    render_mode = "rgb_array"
    action_space = gym.spaces.Box(0.0, 4.0, (1,), np.float32)
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = int(self.np_random.integers(0, 8)), 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x, self.t = (self.x + round(float(action[0]))) % 32, self.t + 1
        return np.array([self.x], np.float32), float(action[0]), False, self.t >= 5, {}

    def render(self):
        image = np.zeros((32, 32, 3), np.uint8)
        image[:, self.x, 0] = 255
        return image


@pytest.mark.parametrize("processes", [False, True])
def test_any_gymnasium_env(processes):
    env = ForeignEnv(Dot, 3, frames=5, image_size=16, action_repeat=2, seed=1, processes=processes)
    first, _ = env.reset()
    assert first.shape == (3, 3, 16, 16) and first.dtype == torch.uint8
    assert env.episode_decisions == 3 and env.single_action_space.shape == (1,)
    obs, reward, terminated, truncated, info = env.step(torch.zeros(3, 1))  # the middle: 2
    assert reward.tolist() == [4.0, 4.0, 4.0] and info == {}
    assert (obs[:, 0].float().mean((1, 2)) == first[:, 0].float().mean((1, 2))).all()
    assert not torch.equal(obs, first)
    env.step(torch.zeros(3, 1))
    obs, reward, terminated, truncated, info = env.step(np.ones((3, 1)))
    assert truncated.all() and not terminated.any() and reward.tolist() == [4.0] * 3
    assert info["final_obs"].shape == obs.shape and info["_final_obs"].all()
    assert not torch.equal(info["final_obs"], obs)
    assert torch.equal(env.reset(seed=1)[0], first)
    env.close()


def test_what_it_cannot_do_it_says():
    env = ForeignEnv(Dot, 2, frames=5)
    env.reset()
    with pytest.raises(ValueError, match="is not within"):
        env.step(torch.full((2, 1), 2.0))
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        env.step(torch.zeros(2))
    with pytest.raises(ValueError, match="cannot be saved"):
        env.state()
    assert env.proprio().shape == (2, 0) and env.faults() == {}
    with pytest.raises(ValueError, match="only a bounded Box"):
        envs.make("gym:CartPole-v1")
    with pytest.raises(ValueError, match="Gymnasium cannot make 'NoSuchEnv-v0'"):
        envs.make("gym:NoSuchEnv-v0")
    with pytest.raises(ValueError, match="backend='unity' is not known"):
        envs.make("cheetah-run", backend="unity")
