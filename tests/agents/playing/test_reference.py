"""Images that are drawn differently from those a model learnt from are said."""

import torch

import envs
from agents.playing.reference import fingerprint_of, redrawn


def test_the_fingerprint_is_of_one_frame_and_leaves_the_environments_as_they_were():
    env = envs.make("cartpole-swingup", num_envs=2, seed=3)
    env.reset(seed=5)
    before = env.step(torch.zeros(2, 1))[0].clone()
    state = env.state()
    found = fingerprint_of(env)
    env.step(torch.zeros(2, 1))
    again = fingerprint_of(env)
    assert found == again and set(found) == {"of", "frame", "drawn_by"}
    env.set_state(state)
    following = env.step(torch.ones(2, 1))[0]
    env.set_state(state)
    fingerprint_of(env)
    assert torch.equal(env.step(torch.ones(2, 1))[0], following)
    assert not torch.equal(before, following)
    other = envs.make("cartpole-swingup", num_envs=1, samples_per_pixel=1)
    assert fingerprint_of(other)["frame"] != found["frame"]


def test_a_difference_is_said_in_one_sentence_and_nothing_else_is():
    saved = {"of": "A", "frame": "1", "drawn_by": "mujoco-warp 3.17 on cpu"}
    assert redrawn(saved, saved, "run=x") == redrawn(None, saved, "run=x") == []
    (sentence,) = redrawn(saved, saved | {"frame": "2", "drawn_by": "mujoco-warp 3.18"}, "run=x")
    assert sentence.startswith("run=x is of images drawn by mujoco-warp 3.17 on cpu")
    assert "mujoco-warp 3.18 draws a reference frame differently here" in sentence
    other = saved | {"of": "B", "frame": "3"}
    assert redrawn(saved, other, "run=x") == []  # another task, the same renderer
