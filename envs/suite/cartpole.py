"""Cartpole: a pole on a cart on a rail."""
# ruff: noqa: D102 - what the methods do is said once, in Task

import math
from functools import partial

import torch
from torch import Tensor

from envs.engine import Engine
from envs.rewards import tolerance
from envs.suite.task import Draw, Task

CART_RANGE = (-0.25, 0.25)  # metres
COSINE_RANGE = (0.995, 1.0)


class Cartpole(Task):
    """Keep the pole up, or swing it up first.

    Args:
        swing_up: start with the pole hanging down rather than nearly upright.
        sparse: reward 1 only upright in the middle, 0 elsewhere.
    """

    xml = "cartpole.xml"

    def __init__(self, swing_up: bool, sparse: bool):
        self.swing_up, self.sparse = swing_up, sparse

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        if self.swing_up:
            sim.qpos[worlds] = 0.01 * draw.normal(2)
            sim.qpos[worlds, 1] += math.pi
        else:
            sim.qpos[worlds] = draw.uniform([-0.1, -0.034], [0.1, 0.034], 2)
        sim.qvel[worlds] = 0.01 * draw.normal(2)

    def reward(self, sim: Engine) -> Tensor:
        cart, cosine = sim.qpos[:, 0], sim.xmat[:, sim.body("pole_1"), 2, 2]
        if self.sparse:
            return tolerance(cart, CART_RANGE) * tolerance(cosine, COSINE_RANGE)
        upright = (cosine + 1) / 2
        centred = (1 + tolerance(cart, margin=2.0)) / 2
        effort = tolerance(sim.ctrl[:, 0], margin=1.0, value_at_margin=0.0, shape="quadratic")
        calm = (1 + tolerance(sim.qvel[:, 1], margin=5.0)) / 2
        return upright * centred * calm * (4 + effort) / 5

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        pole = sim.xmat[:, sim.body("pole_1")]  # (N, 3, 3)
        position = torch.stack([sim.qpos[:, 0], pole[:, 2, 2], pole[:, 0, 2]], 1)
        return {"position": position, "velocity": sim.qvel}


TASKS = {
    "cartpole-balance": partial(Cartpole, swing_up=False, sparse=False),
    "cartpole-balance-sparse": partial(Cartpole, swing_up=False, sparse=True),
    "cartpole-swingup": partial(Cartpole, swing_up=True, sparse=False),
    "cartpole-swingup-sparse": partial(Cartpole, swing_up=True, sparse=True),
}
