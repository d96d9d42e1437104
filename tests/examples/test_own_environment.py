"""The example of an environment of one's own: a module that registers it is enough."""

import runpy
from pathlib import Path

import torch

import envs

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_environment.py"


def test_it_runs(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out.startswith("images (4, 3, 64, 64), rewards of the last decision")


def test_the_cursor_follows_the_action():
    env = envs.make("gym:examples.own_environment:Catch-v0", 2, action_repeat=1)
    env.reset(seed=0)
    left, reward, *_ = env.step(torch.full((2, 1), -1.0))
    right, other, *_ = env.step(torch.full((2, 1), 1.0))
    columns = [obs[0, 1, 32].nonzero().flatten().tolist() for obs in (left, right)]
    assert columns == [list(range(8)), list(range(56, 64))]
    assert not torch.equal(reward, other)
