"""Changed worlds: other physics leaves the first image as it was, other appearance the motion."""

import pytest
import torch

import envs
from envs.changes import CHANGES, change, restore

PHYSICS = ("gravity", "friction", "mass", "actuator")
LOOKS = ("limb", "camera", "light")


def play(env, decisions=6):
    """Return the last images and states under the same actions from the same start."""
    frames, _ = env.reset(seed=3)
    generator = torch.Generator().manual_seed(0)
    begun = frames.clone()
    for _ in range(decisions):
        action = 2 * torch.rand(env.num_envs, env.model.nu, generator=generator) - 1
        frames = env.step(action)[0]
    return begun, frames.clone(), env.sim.qpos.clone()


def test_each_change_does_what_it_says_and_is_undone():
    env = envs.make("cheetah-run", 2, image_size=32, threads=1, samples_per_pixel=1)
    begun, seen, moved = play(env)
    one = torch.tensor([True, False])
    for name in (*PHYSICS, *LOOKS):
        change(env, name, where=one)
        first, last, qpos = play(env)
        assert torch.equal(last[1], seen[1]) and torch.equal(qpos[1], moved[1]), name
        if name in PHYSICS:
            assert not torch.equal(qpos[0], moved[0]), name
        else:
            assert not torch.equal(first[0], begun[0]), name
            assert torch.equal(qpos[0], moved[0]), name
        restore(env)
    again = play(env)
    assert all(torch.equal(a, b) for a, b in zip(again, (begun, seen, moved), strict=True))


def test_a_dead_actuator_moves_nothing():
    env = envs.make("cartpole-swingup", 1, obs="proprio", action_repeat=4)
    change(env, "actuator")
    states = []
    for push in (-1.0, 1.0):
        env.reset(seed=0)
        for _ in range(5):
            env.step(torch.full((1, 1), push))
        states.append(env.sim.qpos.clone())
    assert torch.equal(*states)


def test_unknown_changes_are_refused():
    env = envs.make("cartpole-swingup", 1, obs="proprio", action_repeat=4)
    with pytest.raises(ValueError, match="unknown change 'wind': give one of gravity"):
        change(env, "wind")
    with pytest.raises(ValueError, match="actuator 3 of 1: give 0 to 0"):
        change(env, "actuator", 3)
    finger = envs.make("finger-spin", 1, obs="proprio")
    with pytest.raises(ValueError, match="this task has no gravity"):
        change(finger, "gravity")
    assert set(CHANGES) == {*PHYSICS, *LOOKS}
