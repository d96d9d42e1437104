"""Every task against dm_control's own: rewards, observations, trajectories, starts, limits."""

import numpy as np
import pytest

import envs
from envs import reference, verify
from envs.model import compile_model
from envs.suite import make_task

TASKS = envs.tasks()
DMC_VISION = {
    "acrobot-swingup",
    "ball-in-cup-catch",
    "cartpole-balance",
    "cartpole-balance-sparse",
    "cartpole-swingup",
    "cartpole-swingup-sparse",
    "cheetah-run",
    "finger-spin",
    "finger-turn-easy",
    "finger-turn-hard",
    "hopper-hop",
    "hopper-stand",
    "pendulum-swingup",
    "quadruped-run",
    "quadruped-walk",
    "reacher-easy",
    "reacher-hard",
    "walker-run",
    "walker-stand",
    "walker-walk",
}


def test_the_benchmark_is_complete():
    assert not DMC_VISION - set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_same_actions_give_the_same_trajectory(name):
    errors = verify.compare(name, worlds=4, steps=100)
    assert errors.trajectory <= verify.TOLERANCE
    assert errors.reward <= verify.TOLERANCE
    assert errors.proprio <= verify.TOLERANCE


@pytest.mark.parametrize("name", TASKS)
def test_same_state_gives_the_same_reward_and_observation(name):
    states = 1000 if name == "ball-in-cup-catch" else 400  # the ball is seldom in the cup
    errors = verify.compare_placed(name, states)
    low, high = errors.reward_range
    assert high - low > 0.25, "the states met too few rewards for the comparison to mean anything"
    assert errors.reward <= verify.TOLERANCE
    assert errors.proprio <= verify.TOLERANCE


@pytest.mark.parametrize("name", TASKS)
def test_episodes_start_where_dm_controls_do(name):
    assert verify.start_p_value(name, episodes=80) > verify.LEVEL


def test_a_wrong_start_is_noticed():
    generator = np.random.default_rng(0)
    theirs = generator.normal(size=(80, 5))
    assert verify._smallest_p_value(generator.normal(size=(80, 5)), theirs) > verify.LEVEL
    shifted = generator.normal([0, 0, 0.8, 0, 0], size=(80, 5))
    assert verify._smallest_p_value(shifted, theirs) < verify.LEVEL
    constant = theirs.copy()
    constant[:, 0] = 1.0
    assert verify._smallest_p_value(constant, constant - 0.1) == 0.0


@pytest.mark.parametrize("name", TASKS)
def test_timing_and_action_bounds(name):
    theirs, task = reference.load(name, seed=0), make_task(name)
    model = compile_model(task.spec())
    assert theirs._step_limit == task.frames
    assert theirs.physics.timestep() == model.opt.timestep
    assert theirs._n_sub_steps == task.substeps(model)
    bounds = theirs.action_spec()
    np.testing.assert_array_equal(model.actuator_ctrlrange.T, [bounds.minimum, bounds.maximum])
    assert task.camera == (2 if name.startswith("quadruped") else 0)
    for field in ("cam_pos", "cam_quat", "cam_fovy"):
        np.testing.assert_array_equal(getattr(model, field), getattr(theirs.physics.model, field))
