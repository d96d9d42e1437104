"""Hopper: a planar monoped."""
# ruff: noqa: D102 - the methods are documented once, in Task

from functools import partial

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.rewards import tolerance
from envs.suite.task import Task, randomize_joints

STAND_HEIGHT = 0.6  # metres, of the torso over the foot
HOP_SPEED = 2.0  # metres a second


class Hopper(Task):
    """Stand with little effort, or hop forwards.

    Args:
        hop: reward speed; otherwise reward small actions.
    """

    xml = "hopper.xml"
    control_timestep = 0.02

    def __init__(self, hop: bool):
        self.hop = hop

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        randomize_joints(sim, env_ids, rng)

    def reward(self, sim: Engine) -> Tensor:
        height = sim.xipos[:, sim.body("torso"), 2] - sim.xipos[:, sim.body("foot"), 2]
        standing = tolerance(height, (STAND_HEIGHT, 2.0))
        if self.hop:
            speed = sim.sensor("torso_subtreelinvel")[:, 0]
            return standing * tolerance(speed, (HOP_SPEED, torch.inf), HOP_SPEED / 2, "linear", 0.5)
        ease = tolerance(sim.ctrl, margin=1.0, shape="quadratic", value_at_margin=0.0).mean(1)
        return standing * (ease + 4) / 5

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        touch = torch.cat([sim.sensor("touch_toe"), sim.sensor("touch_heel")], 1)
        return {"position": sim.qpos[:, 1:], "velocity": sim.qvel, "touch": touch.log1p()}


TASKS = {
    "hopper-hop": partial(Hopper, hop=True),
    "hopper-stand": partial(Hopper, hop=False),
}
