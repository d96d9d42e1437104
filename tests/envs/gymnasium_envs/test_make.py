"""Task strings of third-party environments."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch

import envs

ONE = {"image_size": 16, "action_repeat": 1}


def test_settings_follow_a_question_mark():
    with pytest.raises(ValueError, match="'fast' is not a setting of an environment: give name="):
        envs.make("gym:CartPole-v1?fast")
    with pytest.raises(envs.EnvironmentFailure, match=r"constructor raised TypeError: .*colour"):
        envs.make("gym:third_party:Steady-v0?colour=3")
    with pytest.raises(ValueError, match=r"no setting 'fast': give crop or nothing"):
        envs.make("dm_control:cheetah-run?fast=1")


@pytest.mark.parametrize(
    ("crop", "shown"), [("1,2,3", r"\(1, 2, 3\)"), ("0,-1,0,0", r".*-1"), ("all", "'all'")]
)
def test_crop_is_four_counts(crop, shown):
    with pytest.raises(ValueError, match=f"crop={shown}.* is invalid: give four counts as top,bot"):
        envs.make(f"gym:third_party:Steady-v0?crop={crop}")


def test_crop_reaches_the_images():
    env = envs.make("gym:third_party:Steady-v0?crop=8,0,0,0", **ONE)
    with pytest.raises(ValueError, match="crop=8,0,0,0 leaves no pixel"):
        env.reset()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "steps"), [("Steady", 100), ("Steady", 10), ("Endless", 20)])
def test_the_time_limit_after_the_name_counts(name, steps, threads):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = f"gym:third_party:{name}-v0?max_episode_steps={steps}"
        env = envs.make(task, 2, threads=threads, **ONE)
    env.reset()
    rewards = 0
    for decision in range(env.episode_decisions):
        _, reward, _, truncated, _ = env.step(torch.zeros(2, 1))
        rewards += reward
        assert truncated.all() == (decision == steps - 1)
    assert rewards.tolist() == [steps, steps]
    env.close()


def test_no_time_limit_is_said_once():
    with pytest.warns(UserWarning, match=r"no registered time limit: .* after 10000 steps; give"):
        env = envs.make("gym:third_party:Endless-v0", 2, **ONE)
    assert env.episode_decisions == 10_000


def test_a_constructor_without_render_mode_is_made():
    env = envs.make("gym:third_party:Plain-v0?size=9", 2, **ONE)
    assert env.source == "the observation, uint8 (9, 9, 3)" and env.reset()[0].shape[0] == 2


def test_a_constructor_without_any_argument_is_made():
    class Bare(gym.Env):
        action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        observation_space = gym.spaces.Box(0, 255, (9, 9, 3), np.uint8)

        def reset(self, *, seed=None, options=None):
            return np.zeros((9, 9, 3), np.uint8), {}

    gym.register("Bare-v0", Bare, max_episode_steps=3)
    env = envs.make("gym:Bare-v0", 2, **ONE)
    gym.registry.pop("Bare-v0")
    assert env.source == "the observation, uint8 (9, 9, 3)"


def test_the_environment_knows_its_limit():
    env = envs.make("gym:third_party:Steady-v0?max_episode_steps=7", 1, **ONE)
    assert env._groups[0]._envs[0]._env.unwrapped.spec.max_episode_steps == 7
    with pytest.raises(ValueError, match="time_limit=0 is not a count"):
        envs.make("gym:third_party:Steady-v0?max_episode_steps=0", 1)


def test_unknown_names():
    with pytest.raises(ValueError, match="'no_such_module' that is to register 'Catch-v0' cannot"):
        envs.make("gym:no_such_module:Catch-v0")
    with pytest.raises(ValueError, match="Gymnasium cannot make 'third_party:NoSuchEnv-v0'"):
        envs.make("gym:third_party:NoSuchEnv-v0")
    with pytest.raises(ValueError, match="Gymnasium cannot make 'NoSuchEnv-v0'"):
        envs.make("gym:NoSuchEnv-v0")
    with pytest.raises(ValueError, match="module 'unity' of the task 'unity:run' cannot be import"):
        envs.make("unity:run")
    with pytest.raises(ValueError, match="'cheetah-runs' is unknown: did you mean cheetah"):
        envs.make("dm_control:cheetah-runs")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_car_racing():
    pytest.importorskip("Box2D", reason="needs Box2D: pip install 'aef-worldmodel[box2d]'")
    env = envs.make("gym:CarRacing-v3?crop=0,12,0,0", 2, action_repeat=4)
    first, _ = env.reset()
    assert first.shape == (2, 3, 64, 64) and first.float().std() > 10
    assert env.single_action_space.shape == (3,) and env.episode_decisions == 250
    coast, gas = torch.tensor([0.0, -1.0, -1.0]), torch.tensor([0.0, 1.0, -1.0])
    for _ in range(15):  # the first second zooms in; then the car with gas moves
        obs, *_ = env.step(torch.stack([coast, gas]))
    later, reward, *_ = env.step(torch.stack([coast, gas]))
    moved = (later.float() - obs.float()).abs().mean((1, 2, 3))
    assert moved[1] > 3 * moved[0] and torch.isfinite(reward).all()
    env.close()
    choosing = envs.make("gym:CarRacing-v3?continuous=False", 1, image_size=32)
    assert choosing.num_choices == 5 and choosing.reset()[0].shape == (1, 3, 32, 32)
    choosing.close()
