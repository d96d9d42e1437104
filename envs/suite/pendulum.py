"""Pendulum: swing up with a motor too weak to lift it at once."""
# ruff: noqa: D102 - what the methods do is said once, in Task

import math

import torch
from torch import Tensor

from envs.engine import Engine
from envs.rewards import tolerance
from envs.suite.task import Draw, Task

UPRIGHT = math.cos(math.radians(8.0))  # the least cosine to the vertical that is rewarded


class Pendulum(Task):
    """Reward 1 within 8 degrees of upright, 0 elsewhere."""

    xml = "pendulum.xml"

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        sim.qpos[worlds] = draw.uniform(-math.pi, math.pi, 1)

    def reward(self, sim: Engine) -> Tensor:
        return tolerance(sim.xmat[:, sim.body("pole"), 2, 2], (UPRIGHT, 1.0))

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        pole = sim.xmat[:, sim.body("pole")]  # (N, 3, 3)
        return {
            "orientation": torch.stack([pole[:, 2, 2], pole[:, 0, 2]], 1),
            "velocity": sim.qvel,
        }


TASKS = {"pendulum-swingup": Pendulum}
