"""Autoreset, exact resume, and episodes that end early."""

import pytest
import torch
from batches import actions, make, play, same, skip_to
from gymnasium.vector import AutoresetMode


@pytest.fixture(scope="module")
def env():
    """One environment for the tests that may leave it anywhere."""
    made = make()
    made.reset(seed=0)
    yield made
    made.close()


def test_same_step_autoreset():
    env = make()
    env.reset(seed=0)
    skip_to(env, 498)
    some = actions(env, 3)
    assert not env.step(some[0])[3].any()
    env.episodes.decision[1] = 0  # one environment is elsewhere in its episode
    obs, _, terminated, truncated, info = env.step(some[1])
    assert truncated.tolist() == [True, False, True] and not terminated.any()
    assert torch.equal(info["_final_obs"], truncated)
    assert info["final_obs"].shape == obs.shape
    assert torch.equal(info["final_obs"][1], obs[1])
    assert not torch.equal(info["final_obs"][0], obs[0])
    fresh = make()
    fresh.reset(seed=0)
    assert torch.equal(fresh.reset()[0][[0, 2]], obs[[0, 2]])  # episode 1 of the same seeds
    assert env.step(some[2])[4] == {}


def test_next_step_autoreset():
    env = make(autoreset="next_step")
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    env.reset(seed=0)
    skip_to(env, 499)
    _, _, _, truncated, info = env.step(torch.zeros(3, 6))
    assert truncated.all() and info == {}
    obs, reward, terminated, truncated, _ = env.step(torch.ones(3, 6))
    assert not (terminated | truncated).any() and (reward == 0).all()
    fresh = make()
    fresh.reset(seed=0)
    assert torch.equal(fresh.reset()[0], obs)
    assert (env.episodes.decision == 0).all()


def test_disabled_autoreset_waits_for_the_mask():
    env = make(autoreset="disabled")
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    env.reset(seed=0)
    env.episodes.decision[:2] = 499
    before, _, _, truncated, _ = env.step(torch.zeros(3, 6))
    assert truncated.tolist() == [True, True, False]
    with pytest.raises(ValueError, match=r"\[0, 1\] have ended"):
        env.step(torch.zeros(3, 6))
    obs, _ = env.reset(options={"reset_mask": truncated.numpy()})
    assert torch.equal(obs[2], before[2]) and not torch.equal(obs[0], before[0])
    env.step(torch.zeros(3, 6))
    assert env.episodes.decision.tolist() == [1, 1, 2]


@pytest.mark.parametrize("task", ["cheetah-run", "reacher-easy", "hopper-stand"])
def test_resume_is_exact(task):
    env, other = make(task), make(task)
    env.reset(seed=3)
    play(env, actions(env, 4))
    skip_to(env, 497)  # so that the steps cross an autoreset
    state = env.state()
    proprio = env.proprio()
    rest = actions(env, 6, seed=1)
    expected = play(env, rest)
    end = env.proprio()
    other.set_state(state)
    assert torch.equal(other.proprio(), proprio)
    assert same(play(other, rest), expected)
    assert torch.equal(other.proprio(), end)


def test_state_survives_torch_save(env, tmp_path):
    env.reset(seed=0)
    torch.save(env.state(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    expected = play(env, actions(env, 2))
    env.set_state(state)
    assert same(play(env, actions(env, 2)), expected)


def test_a_state_of_another_shape_is_refused(env):
    with pytest.raises(ValueError, match="does not fit"):
        env.set_state(make(num_envs=2).state())
    walker = make("walker-walk", num_envs=env.num_envs)  # its tensors have the same shapes
    with pytest.raises(ValueError, match=r"state is of a 'planar walker', .* has a 'cheetah'"):
        env.set_state(walker.state())


def test_diverged_physics_ends_only_its_environment():
    env = make()
    env.reset(seed=0)
    env.sim.qvel[1] = 1e30
    with pytest.warns(UserWarning, match=r"non_finite in environments \[1\]"):
        _, reward, terminated, truncated, info = env.step(torch.zeros(3, 6))
    assert terminated.tolist() == [False, True, False] and not truncated.any()
    assert torch.isfinite(reward).all() and env.faults()["non_finite"] == 1
    assert info["_final_obs"].tolist() == [False, True, False]
    assert torch.isfinite(env.proprio()).all() and env.episodes.decision.tolist() == [1, 0, 1]


def test_bad_reset_mask_and_seeds(env):
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": [1, 0, 1]})
    with pytest.raises(ValueError, match="2 seeds for 3 environments"):
        env.reset(seed=[1, 2])


def test_frame_stack_restarts_under_next_step():
    env = make(frame_stack=2, autoreset="next_step")
    env.reset(seed=0)
    skip_to(env, 499)
    env.step(torch.ones(3, 6))
    begun = env.step(torch.ones(3, 6))[0]
    assert torch.equal(begun[:, :3], begun[:, 3:])
