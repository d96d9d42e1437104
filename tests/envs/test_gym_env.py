"""One environment for Gymnasium, and a batch for Stable-Baselines3."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import envs

SMALL = {"image_size": 16, "threads": 1}


@pytest.fixture(scope="module")
def single():
    made = gym.make("aef/cheetah-run-v0", render_mode="rgb_array", **SMALL)
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore:.*not within the observation space.*")
def test_gymnasiums_checker(single):
    check_env(single.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("obs", ["pixels", "proprio", "both"])
def test_stable_baselines3s_checker(obs):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    looks = envs.Randomization(colours=0.2, sky=0.5)
    options = {"obs": obs, "randomization": looks, **SMALL, "image_size": 36}  # it wants 36 or more
    env = gym.make("aef/reacher-easy-v0", **options)
    checker.check_env(env, warn=True, skip_render_check=False)
    env.close()


def test_every_task_is_registered():
    assert {f"aef/{name}-v0" for name in envs.tasks()} <= set(gym.registry)


def test_a_single_environment_is_the_first_of_a_batch(single):
    batch = envs.make("cheetah-run", 2, **SMALL)
    first, _ = batch.reset(seed=4)
    obs, info = single.reset(seed=4)
    assert obs.shape == (16, 16, 3) and obs.dtype == np.uint8 and info == {}
    np.testing.assert_array_equal(obs, first[0].permute(1, 2, 0))
    action = np.linspace(-1, 1, 6, dtype=np.float32)
    expected = batch.step(np.stack([action, action]))
    obs, reward, terminated, truncated, _ = single.step(action)
    np.testing.assert_array_equal(obs, expected[0][0].permute(1, 2, 0))
    assert reward == expected[1][0] and terminated is False and truncated is False
    assert single.render().shape == (240, 240, 3)


def test_an_ended_episode_asks_for_a_reset(single):
    single.reset(seed=0)
    single.unwrapped._batch.episodes.decision[:] = 499
    assert single.step(np.zeros(6))[3] is True
    with pytest.raises(ValueError, match="have ended"):
        single.step(np.zeros(6))


@pytest.mark.parametrize("obs", ["pixels", "both"])
def test_gymnasium_makes_batches_of_one_layout(obs):
    made = [
        gym.make_vec("aef/reacher-easy-v0", 2, vectorization_mode=mode, obs=obs, **SMALL)
        for mode in (None, "sync")
    ]
    assert isinstance(made[0].unwrapped, envs.BatchedEnv) and made[0].num_envs == 2
    assert made[0].observation_space == made[1].observation_space
    for env in made:
        first, _ = env.reset(seed=3)
        seen, reward, *_ = env.step(np.zeros((2, 2), np.float32))
        assert env.observation_space.contains(first) and env.observation_space.contains(seen)
        assert reward.shape == (2,)
    made[0].unwrapped.episodes.decision[:] = 499
    last = made[0].step(np.zeros((2, 2), np.float32))[4]["final_obs"]
    assert (last["pixels"] if obs == "both" else last).shape == (2, 16, 16, 3)
    for env in made:
        env.close()


def test_stable_baselines3_learns_from_it():
    ppo = pytest.importorskip("stable_baselines3").PPO
    from envs.sb3 import SB3VecEnv

    venv = SB3VecEnv("cheetah-run", num_envs=2, obs="proprio")
    model = ppo("MlpPolicy", venv, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu")
    before = [p.clone() for p in model.policy.parameters()]
    model.learn(32)
    changed = [
        not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True)
    ]
    assert any(changed) and model.num_timesteps == 32


def test_stable_baselines3_at_the_end_of_an_episode():
    pytest.importorskip("stable_baselines3")
    from envs.sb3 import SB3VecEnv

    venv = SB3VecEnv("cheetah-run", num_envs=2, **SMALL)
    venv.seed(3)
    first = venv.reset()
    venv.batch.episodes.decision[1] = 499
    obs, _, dones, infos = venv.step(np.zeros((2, 6), np.float32))
    assert dones.tolist() == [False, True] and infos[0] == {}
    assert infos[1]["TimeLimit.truncated"] and infos[1]["episode"]["l"] == 1
    assert infos[1]["terminal_observation"].shape == obs[1].shape == (3, 16, 16)
    assert not np.array_equal(infos[1]["terminal_observation"], obs[1])
    venv.seed(3)
    np.testing.assert_array_equal(venv.reset(), first)
    assert venv.get_attr("action_repeat") == [2, 2]
    with pytest.raises(ValueError, match="same_step"):
        SB3VecEnv("cheetah-run", autoreset="disabled", **SMALL)
