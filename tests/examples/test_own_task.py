"""The example of a task of one's own: it is stepped, and a controller solves it."""

import runpy
from pathlib import Path

import torch

import envs

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_task.py"


def test_a_controller_solves_it():
    task = runpy.run_path(str(EXAMPLE))["Centre"]()
    env = envs.BatchedEnv(task, 2, obs="proprio")
    start, _ = env.reset(seed=0)
    assert start[0, 0] != start[1, 0] and (start[:, 0].abs() > 0.05).any()
    for _ in range(60):
        position, velocity = env.proprio().T
        reward = env.step((-2 * position - velocity).clamp(-1, 1)[:, None])[1]
    torch.testing.assert_close(reward, torch.full((2,), 2.0))  # 1 a frame, in the middle


def test_it_runs(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out.startswith("images (4, 3, 64, 64), reward of the last decision")
