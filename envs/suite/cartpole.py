"""Cartpole: a pole, or several end to end, on a cart on a rail."""
# ruff: noqa: D102 - the methods are documented once, in Task

import math
from functools import partial

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import suite_spec
from envs.suite.rewards import tolerance
from envs.suite.task import Task

CART_RANGE = (-0.25, 0.25)  # metres
COSINE_RANGE = (0.995, 1.0)


class Cartpole(Task):
    """Keep the poles up, or swing them up first.

    Args:
        swing_up: start with the poles hanging down; otherwise nearly upright.
        sparse: reward 1 only upright in the middle, 0 elsewhere.
        poles: number of poles, each on the end of the one before.
    """

    xml = "cartpole.xml"

    def __init__(self, swing_up: bool, sparse: bool, poles: int = 1):
        self.swing_up, self.sparse, self.poles = swing_up, sparse, poles

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        if self.poles == 1:
            return spec
        pole, parent = spec.find_default("pole"), spec.body("pole_1")
        for i in range(2, self.poles + 1):
            parent = parent.add_body(name=f"pole_{i}", pos=[0, 0, 1], childclass="pole")
            parent.add_joint(pole, name=f"hinge_{i}")
            parent.add_geom(pole, name=f"pole_{i}")
        spec.geom("floor").pos = [0, 0, 1 - self.poles - 0.05]
        spec.camera("fixed").pos = [0, -1 - 2 * self.poles, 1]
        spec.camera("lookatcart").pos = [0, -2 * self.poles, 2]
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        joints = 1 + self.poles
        if self.swing_up:
            sim.qpos[env_ids] = 0.01 * rng.normal(joints)
            sim.qpos[env_ids, 1] += math.pi
            sim.qpos[env_ids, 2:] *= 10
        else:
            widest = np.array([0.1] + [0.034] * self.poles)
            sim.qpos[env_ids] = rng.uniform(-widest, widest, joints)
        sim.qvel[env_ids] = 0.01 * rng.normal(joints)

    def _poles(self, sim: Engine) -> Tensor:
        """Return z and x of the poles' axes, (N, poles, 2)."""
        return sim.xmat[:, sim.body("pole_1") :, [2, 0], 2]

    def reward(self, sim: Engine) -> Tensor:
        cart, cosines = sim.qpos[:, 0], self._poles(sim)[:, :, 0]  # (N,), (N, poles)
        if self.sparse:
            return tolerance(cart, CART_RANGE) * tolerance(cosines, COSINE_RANGE).prod(1)
        upright = (cosines.mean(1) + 1) / 2
        centred = (1 + tolerance(cart, margin=2.0)) / 2
        effort = tolerance(sim.ctrl[:, 0], margin=1.0, value_at_margin=0.0, shape="quadratic")
        calm = (1 + tolerance(sim.qvel[:, 1:], margin=5.0).amin(1)) / 2
        return upright * centred * calm * (4 + effort) / 5

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        position = torch.cat([sim.qpos[:, :1], self._poles(sim).flatten(1)], 1)
        return {"position": position, "velocity": sim.qvel}


TASKS = {
    "cartpole-balance": partial(Cartpole, swing_up=False, sparse=False),
    "cartpole-balance-sparse": partial(Cartpole, swing_up=False, sparse=True),
    "cartpole-swingup": partial(Cartpole, swing_up=True, sparse=False),
    "cartpole-swingup-sparse": partial(Cartpole, swing_up=True, sparse=True),
    "cartpole-two-poles": partial(Cartpole, swing_up=True, sparse=False, poles=2),
    "cartpole-three-poles": partial(Cartpole, swing_up=True, sparse=False, poles=3),
}
