"""Acrobot: two links with one motor at the elbow, to balance upright."""
# ruff: noqa: D102 - the methods are documented once, in Task

import math
from functools import partial

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.rewards import tolerance
from envs.suite.task import Task


class Acrobot(Task):
    """Bring the tip to the target above.

    Args:
        sparse: reward 1 inside the target and 0 elsewhere; otherwise by distance.
    """

    xml = "acrobot.xml"

    def __init__(self, sparse: bool):
        self.sparse = sparse

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        sim.qpos[env_ids] = rng.uniform(-math.pi, math.pi, 2)

    def reward(self, sim: Engine) -> Tensor:
        target, tip = sim.site("target"), sim.site("tip")
        distance = (sim.site_xpos[:, target] - sim.site_xpos[:, tip]).norm(dim=1)
        radius = float(sim.model.site("target").size[0])
        return tolerance(distance, (0.0, radius), margin=0.0 if self.sparse else 1.0)

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        arms = sim.xmat[:, [sim.body("upper_arm"), sim.body("lower_arm")]]  # (N, 2, 3, 3)
        return {
            "orientations": torch.cat([arms[:, :, 0, 2], arms[:, :, 2, 2]], 1),
            "velocity": sim.qvel,
        }


TASKS = {
    "acrobot-swingup": partial(Acrobot, sparse=False),
    "acrobot-swingup-sparse": partial(Acrobot, sparse=True),
}
