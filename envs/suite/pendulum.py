"""Pendulum: swing up with a motor too weak to lift it directly."""
# ruff: noqa: D102 - the methods are documented once, in Task

import math

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.rewards import tolerance
from envs.suite.task import Task

UPRIGHT = math.cos(math.radians(8.0))  # the least cosine to the vertical that is rewarded


class Pendulum(Task):
    """Reward 1 within 8 degrees of upright, 0 elsewhere."""

    xml = "pendulum.xml"

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        sim.qpos[env_ids] = rng.uniform(-math.pi, math.pi, 1)

    def reward(self, sim: Engine) -> Tensor:
        return tolerance(sim.xmat[:, sim.body("pole"), 2, 2], (UPRIGHT, 1.0))

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        pole = sim.xmat[:, sim.body("pole")]  # (N, 3, 3)
        return {
            "orientation": torch.stack([pole[:, 2, 2], pole[:, 0, 2]], 1),
            "velocity": sim.qvel,
        }


TASKS = {"pendulum-swingup": Pendulum}
