"""Reacher: a two-link arm in the plane, and a target somewhere near it."""
# ruff: noqa: D102 - what the methods do is said once, in Task

import math
from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engine import Engine
from envs.model import move_to_mocap, suite_spec
from envs.rewards import tolerance
from envs.suite.task import Draw, Task, randomize_joints

EASY, HARD = 0.05, 0.015  # the target's radius in metres


class Reacher(Task):
    """Touch the target with the finger: 1 while it does, 0 otherwise.

    Args:
        radius: of the target, in metres.
    """

    xml = "reacher.xml"

    def __init__(self, radius: float):
        self.radius = radius

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        spec.geom("target").size[0] = self.radius
        move_to_mocap(spec, "target")
        return spec

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        randomize_joints(sim, worlds, draw)
        angle, radius = draw.uniform(0, 2 * math.pi), draw.uniform(0.05, 0.20)
        target = torch.stack([radius * angle.sin(), radius * angle.cos()], 1)  # (K, 2)
        sim.mocap_pos[worlds, sim.mocap("target"), :2] = target

    def _to_target(self, sim: Engine) -> Tensor:
        """From finger to target, (N, 2), in metres."""
        finger, target = sim.geom("finger"), sim.geom("target")
        return sim.geom_xpos[:, target, :2] - sim.geom_xpos[:, finger, :2]

    def reward(self, sim: Engine) -> Tensor:
        finger = float(sim.model.geom("finger").size[0])
        return tolerance(self._to_target(sim).norm(dim=1), (0.0, self.radius + finger))

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        return {"position": sim.qpos, "to_target": self._to_target(sim), "velocity": sim.qvel}


TASKS = {
    "reacher-easy": partial(Reacher, EASY),
    "reacher-hard": partial(Reacher, HARD),
}
