"""Cheetah: a planar runner."""
# ruff: noqa: D102 - the methods are documented once, in Task

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.rewards import tolerance
from envs.suite.task import Task

RUN_SPEED = 10.0  # metres a second
SETTLE_STEPS = 200


class Cheetah(Task):
    """Run forwards: the reward grows linearly with the speed up to RUN_SPEED."""

    xml = "cheetah.xml"

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        limited = sim.model.jnt_limited == 1
        low, high = sim.model.jnt_range[limited].T
        sim.qpos[env_ids, 3:] = rng.uniform(low, high, len(low))
        sim.settle(env_ids, SETTLE_STEPS)

    def reward(self, sim: Engine) -> Tensor:
        speed = sim.sensor("torso_subtreelinvel")[:, 0]
        return tolerance(speed, (RUN_SPEED, torch.inf), RUN_SPEED, "linear", value_at_margin=0.0)

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        return {"position": sim.qpos[:, 1:], "velocity": sim.qvel}


TASKS = {"cheetah-run": Cheetah}
