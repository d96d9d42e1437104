"""BatchedEnv: shapes, seeds, observations, and its sentences about bad input."""

import gc
import weakref

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import SIZE, actions, make, play, same, skip_to
from gymnasium.vector import AutoresetMode

import envs
from envs.seeds import env_seeds


@pytest.fixture(scope="module")
def env():
    """One environment for the tests that may leave it anywhere."""
    made = make()
    made.reset(seed=0)
    yield made
    made.close()


def test_shapes_dtypes_and_spaces(env):
    assert isinstance(env, gym.vector.VectorEnv)
    obs, info = env.reset(seed=0)
    assert obs.shape == (3, 3, SIZE, SIZE) and obs.dtype == torch.uint8 and info == {}
    obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert obs.numpy() in env.observation_space and obs[0].numpy() in env.single_observation_space
    assert reward.shape == (3,) and reward.dtype == torch.float32
    assert terminated.dtype == truncated.dtype == torch.bool and info == {}
    assert env.single_action_space == gym.spaces.Box(-1, 1, (6,), np.float32)
    assert env.episode_decisions == 500 and env.action_repeat == 2
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert obs.float().std() > 1, "the images are blank"


def test_proprio_is_named(env):
    env.reset(seed=0)
    assert env.proprio().shape == (3, len(env.proprio_names)) == (3, 17)
    assert env.proprio().dtype == torch.float32
    assert env.proprio_names[0] == "position[0]" and env.proprio_names[-1] == "velocity[8]"


def test_a_decision_sums_the_rewards_of_its_frames():
    once, twice = make(action_repeat=1), make(action_repeat=2)
    once.reset(seed=1), twice.reset(seed=1)
    for action in actions(once, 5):
        rewards = once.step(action)[1] + once.step(action)[1]
        torch.testing.assert_close(twice.step(action)[1], rewards)
    assert torch.equal(once.proprio(), twice.proprio())


def test_returned_observations_are_not_overwritten(env):
    obs, _ = env.reset(seed=0)
    before = obs.clone()
    env.step(torch.ones(3, 6))
    assert torch.equal(obs, before)


def test_same_seed_same_run_whatever_the_threads_and_the_number_of_environments():
    runs = []
    for threads in (1, 2, 3):
        env = make(threads=threads)
        first, _ = env.reset(seed=7)
        runs.append([(first,), *play(env, actions(env, 10))])
    assert same(runs[0], runs[1]) and same(runs[0], runs[2])
    fewer = make(num_envs=1)
    first, _ = fewer.reset(seed=env_seeds(7, 2)[1:])
    assert torch.equal(first[0], runs[0][0][0][1])
    for action, expected in zip(actions(env, 10), runs[0][1:], strict=True):
        obs, reward, *_ = fewer.step(action[1:2])
        assert torch.equal(obs[0], expected[0][1]) and reward[0] == expected[1][1]


def test_seeds_and_episodes_differ(env):
    first = env.reset(seed=0)[0]
    second = env.reset()[0]
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(env.reset(seed=0)[0], first)
    assert torch.equal(env.reset(seed=env_seeds(0, 3))[0], first)


def test_render_at_any_size():
    env = make(render_mode="rgb_array", render_size=(40, 60))
    env.reset(seed=0)
    frames = env.render()
    assert frames.shape == (3, 40, 60, 3) and frames.dtype == np.uint8 and frames.std() > 1
    assert make().render() is None


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (torch.zeros(3, 5), r"shape \(3, 5\): give .* \(3, 6\)"),
        (torch.zeros(6), r"shape \(6,\)"),
        (np.full((3, 6), np.nan), r"action\[0, 0\] = nan is not within"),
        (torch.full((3, 6), 1.5), r"= 1.5 is not within \[-1, 1\]"),
        (torch.full((3, 6), -torch.inf), "= -inf is not within"),
    ],
)
def test_bad_actions(env, action, sentence):
    with pytest.raises(ValueError, match=sentence):
        env.step(action)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_envs": 0}, "num_envs=0 is not a count"),
        ({"action_repeat": 3}, "does not divide 1000 frames: give one of"),
        ({"camera": "front"}, "camera='front' is not in the model: .*'side'"),
        ({"camera": 9}, "camera=9 is not in the model"),
        ({"autoreset": "always"}, "autoreset='always' is unknown: give 'same_step' or"),
        ({"render_mode": "human"}, "render_mode='human' is unknown"),
        ({"device": "tpu"}, "device='tpu' is unknown"),
        ({"image_size": 0}, "image_size=0 is not a count"),
        ({"samples_per_pixel": 0}, "samples_per_pixel=0 is not a count"),
        ({"samples_per_pixel": 1.5}, "samples_per_pixel=1.5 is not a count"),
        ({"image_size": (8, 8, 3)}, r"image_size=\(8, 8, 3\) is not a count"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"obs": "depth"}, "obs='depth' is unknown: give 'pixels' or"),
        ({"frame_stack": 0}, "frame_stack=0 is not a count"),
        ({"array": "jax"}, "array='jax' is unknown"),
        ({"engine": "physx"}, "engine='physx' is unknown: give 'c' or 'warp'"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**options)


def test_an_unknown_task_names_its_neighbours():
    with pytest.raises(ValueError, match=r"cheetah-runs.*cheetah-run"):
        envs.make("cheetah-runs")


def test_numpy_out_for_gymnasiums_own_wrappers():
    env = gym.wrappers.vector.RecordEpisodeStatistics(make(array="numpy"))
    obs, _ = env.reset(seed=0)
    assert isinstance(obs, np.ndarray) and obs in env.observation_space
    skip_to(env.unwrapped, 499)
    *_, info = env.step(np.zeros((3, 6), np.float32))
    assert isinstance(info["final_obs"], np.ndarray)
    assert info["_episode"].all() and (info["episode"]["l"] == 1).all()


def test_the_state_beside_or_instead_of_pixels():
    seen, both, blind = make(), make(obs="both"), make(obs="proprio")
    for env in (seen, both, blind):
        env.reset(seed=5)
    for action in actions(seen, 3):
        pixels = seen.step(action)[0]
        together, state = both.step(action)[0], blind.step(action)[0]
        assert torch.equal(together["pixels"], pixels)
        assert torch.equal(together["proprio"], state) and torch.equal(state, seen.proprio())
    assert blind.observation_space.shape == (3, 17)
    assert both.single_observation_space["pixels"].shape == (3, SIZE, SIZE)
    blind.episodes.decision[:] = 499
    *_, info = blind.step(torch.zeros(3, 6))
    assert info["final_obs"].shape == (3, 17)


def test_frame_stack():
    single, stacked = make(), make(frame_stack=3)
    first, _ = single.reset(seed=2)
    assert torch.equal(stacked.reset(seed=2)[0], first.repeat(1, 3, 1, 1))
    some = actions(single, 4)
    seen = [single.step(action)[0] for action in some]
    obs = [stacked.step(action)[0] for action in some]
    assert torch.equal(obs[0], torch.cat([first, first, seen[0]], 1))
    assert torch.equal(obs[3], torch.cat(seen[1:], 1))
    state, action = stacked.state(), torch.ones(3, 6)
    expected = stacked.step(action)[0]
    stacked.set_state(state)
    assert torch.equal(stacked.observe(), obs[3])
    assert torch.equal(stacked.step(action)[0], expected)
    skip_to(stacked, 499)
    begun, *_, info = stacked.step(action)
    assert torch.equal(begun, begun[:, :3].repeat(1, 3, 1, 1))
    assert torch.equal(info["final_obs"][:, 3:6], expected[:, 6:])


def test_it_is_freed_without_the_garbage_collector():
    looks = envs.Randomization(camera=0.1, sky=0.5)
    gc.disable()
    try:
        env = make(num_envs=2, threads=2, randomization=looks)
        env.reset()
        env.step(torch.zeros(2, 6))
        env.close()
        parts = [env, env.sim, env._observer._renderer, env._observer._renderer._renderer]
        gone = [weakref.ref(part) for part in parts]
        del env, parts
        assert [ref() for ref in gone] == [None] * 4
    finally:
        gc.enable()
