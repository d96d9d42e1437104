"""Scenes: random states and looks, the same for the same arguments."""

import pytest
import torch

from envs.scenes import ENVS, distinct_tasks, random_scenes


def test_scenes_repeat_vary_and_change_their_looks_alone():
    usual = random_scenes("cartpole-swingup", 2 * ENVS, 3)
    again = random_scenes("cartpole-swingup", 2 * ENVS, 3)
    looks = random_scenes("cartpole-swingup", 2 * ENVS, 3, random_looks=True)
    assert usual.frames.shape == (40, 3, 64, 64) and usual.origin.tolist()[:4] == [0, 0, 1, 1]
    assert all(torch.equal(a, b) for a, b in zip(usual, again))
    assert torch.equal(usual.proprio, looks.proprio)  # the physics is the same
    assert (usual.frames != looks.frames).float().mean() > 0.2  # all but the sky
    angles = usual.proprio[::2, 1]  # cosines of the pole
    assert angles.max() > 0.8 and angles.min() < -0.3


def test_tasks_of_one_model_count_once_and_domains_are_left_out():
    left = ("dog", "fish", "humanoid", "manipulator", "quadruped", "stacker", "swimmer", "finger")
    tasks = distinct_tasks(left)
    assert "walker-run" in tasks and "walker-walk" not in tasks
    assert {"reacher-easy", "reacher-hard"} <= set(tasks)  # targets of two sizes
    assert not [name for name in tasks if name.startswith(left)]
    with pytest.raises(ValueError, match="no tasks fingers-"):
        distinct_tasks(("fingers",))


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="count=30 of images must be a multiple of 20"):
        random_scenes("cartpole-swingup", 30)
