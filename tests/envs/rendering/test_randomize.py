"""Colours, lights and cameras that vary; the physics that does not."""

import pytest
import torch

import envs

SMALL = {"image_size": 16, "threads": 2}


def make(**amounts):
    return envs.make("cheetah-run", 3, randomization=envs.Randomization(**amounts), **SMALL)


@pytest.mark.parametrize("amount", [{"colours": 0.4}, {"light": 0.8}, {"camera": 0.5}])
def test_appearances_vary_and_physics_does_not(amount):
    plain, varied = envs.make("cheetah-run", 3, **SMALL), make(**amount)
    usual, first = plain.reset(seed=0)[0], varied.reset(seed=0)[0]
    assert torch.equal(plain.proprio(), varied.proprio())
    change = first.float() - usual.float()  # (N, 3, H, W)
    assert (change.abs().mean((1, 2, 3)) > 0.1).all(), "the images are as usual"
    assert not torch.equal(change[0], change[1]), "the environments look alike"
    action = torch.ones(3, 6)
    expected, obs = plain.step(action), varied.step(action)
    assert torch.equal(expected[1], obs[1]) and torch.equal(plain.proprio(), varied.proprio())
    assert not torch.equal(varied.reset()[0] - first, plain.reset()[0] - usual)
    assert torch.equal(varied.reset(seed=0)[0], first)


def test_appearances_resume_exactly():
    amount = {"colours": 0.4, "light": 0.5, "camera": 0.3}
    env, other = make(**amount), make(**amount)
    env.reset(seed=1)
    state, action = env.state(), torch.ones(3, 6)
    expected = env.step(action)[0]
    other.reset(seed=9)
    other.set_state(state)
    assert torch.equal(other.step(action)[0], expected)


def test_amounts_out_of_range():
    with pytest.raises(ValueError, match=r"colours=2\.0 is out of range: give 0 to 1"):
        envs.Randomization(colours=2.0)
    with pytest.raises(ValueError, match="camera=-1 is out of range"):
        envs.Randomization(camera=-1)
