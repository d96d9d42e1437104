"""The warp engine, run on the CPU: the code a GPU runs, a hundred times slower."""

import pytest
import torch

import envs
from envs.engines.mjcf import compile_model
from envs.verification.comparison import compare_stepped

pytestmark = pytest.mark.slow  # its kernels take minutes to compile the first time


def warp(task, contacts=24, rows=96):
    from envs.engines.warp import WarpEngine

    return compare_stepped(
        task,
        lambda model, num_envs: WarpEngine(model, num_envs, "cpu", contacts, rows),
        num_envs=2,
        steps=15,
        resync=True,
    )


@pytest.mark.parametrize("task", ["cheetah-run", "cartpole-swingup", "reacher-easy", "hopper-hop"])
def test_one_step_is_that_of_dm_control(task):
    errors = warp(task)
    assert errors.reward <= 1e-5
    assert errors.trajectory <= 1e-5
    assert errors.proprio <= 1e-3  # velocities of the order of 10, in single precision


def test_a_batch_on_the_warp_engine():
    env = envs.make("cheetah-run", 2, engine="warp", image_size=16)
    obs, _ = env.reset(seed=0)
    assert obs.shape == (2, 3, 16, 16) and obs.float().std() > 1
    same_start = envs.make("cheetah-run", 2, image_size=16)
    c_obs, _ = same_start.reset(seed=0)
    # 200 settling steps in another precision: nearly the same image
    assert (obs.float() - c_obs.float()).abs().mean() < 5
    env.episodes.decision[1] = 499
    obs, reward, terminated, truncated, info = env.step(torch.zeros(2, 6))
    assert truncated.tolist() == [False, True] and not terminated.any()
    assert torch.isfinite(reward).all() and info["_final_obs"].tolist() == [False, True]
    state, action = env.state(), torch.full((2, 6), 0.5)
    expected = env.step(action)
    env.set_state(state)
    again = env.step(action)
    torch.testing.assert_close(again[1], expected[1], atol=1e-5, rtol=0)


def test_overflow_is_counted_not_silent():
    from envs.engines.warp import WarpEngine
    from envs.suite import make_task

    task = make_task("cheetah-run")
    engine = WarpEngine(compile_model(task.spec()), 2, "cpu", contacts=1, rows=4)
    env_ids = torch.arange(2)
    engine.qpos[:, 1] = -0.4  # into the ground
    engine.forward(env_ids)
    engine.step(1)
    faults = engine.faults()
    assert faults["contact_overflow"].any() or faults["constraint_overflow"].any()
    engine.qvel[0] = torch.nan
    assert engine.faults()["non_finite"].tolist() == [True, False]


def test_appearances_vary_and_resume():
    """Colours, lights, cameras and backdrops of each environment, on the engine a GPU uses."""
    options = {"engine": "warp", "image_size": 16}
    usual = envs.make("cheetah-run", 3, **options).reset(seed=0)[0]
    for amount in ({"colours": 0.4}, {"light": 0.8}, {"camera": 0.5}, {"sky": 1.0, "floor": 0.5}):
        env = envs.make("cheetah-run", 3, randomization=envs.Randomization(**amount), **options)
        change = env.reset(seed=0)[0].float() - usual.float()  # (N, 3, H, W)
        assert (change.abs().mean((1, 2, 3)) > 0.1).all(), f"{amount} changes nothing"
        assert not torch.equal(change[0], change[1]), f"{amount}: the environments look alike"
        state, action = env.state(), torch.ones(3, 6)
        expected = env.step(action)[0]
        env.reset(seed=9)
        env.set_state(state)
        assert torch.equal(env.step(action)[0], expected)
