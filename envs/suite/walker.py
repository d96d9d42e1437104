"""Walker: a planar biped."""
# ruff: noqa: D102 - the methods are documented once, in Task

from functools import partial

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.rewards import tolerance
from envs.suite.task import Task, randomize_joints

STAND_HEIGHT = 1.2  # metres, of the torso
WALK_SPEED = 1.0  # metres a second
RUN_SPEED = 8.0


class Walker(Task):
    """Stand, and move at a speed unless it is 0.

    Args:
        speed: metres a second from which moving is fully rewarded; 0 rewards standing alone.
    """

    xml = "walker.xml"
    control_timestep = 0.025

    def __init__(self, speed: float):
        self.speed = speed

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        randomize_joints(sim, env_ids, rng)

    def reward(self, sim: Engine) -> Tensor:
        torso = sim.body("torso")
        standing = tolerance(sim.xpos[:, torso, 2], (STAND_HEIGHT, torch.inf), STAND_HEIGHT / 2)
        upright = (1 + sim.xmat[:, torso, 2, 2]) / 2
        stand = (3 * standing + upright) / 4
        if self.speed == 0:
            return stand
        speed = sim.sensor("torso_subtreelinvel")[:, 0]
        move = tolerance(speed, (self.speed, torch.inf), self.speed / 2, "linear", 0.5)
        return stand * (5 * move + 1) / 6

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        bodies = sim.xmat[:, 1:]  # (N, bodies, 3, 3)
        return {
            "orientations": torch.stack([bodies[:, :, 0, 0], bodies[:, :, 0, 2]], 2).flatten(1),
            "height": sim.xpos[:, sim.body("torso"), 2],
            "velocity": sim.qvel,
        }


TASKS = {
    "walker-stand": partial(Walker, speed=0.0),
    "walker-walk": partial(Walker, speed=WALK_SPEED),
    "walker-run": partial(Walker, speed=RUN_SPEED),
}
