"""Reacher: a two-link arm in the plane, and a target near it."""
# ruff: noqa: D102 - the methods are documented once, in Task

import math
from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import move_to_mocap, suite_spec
from envs.suite.rewards import tolerance
from envs.suite.task import Task, randomize_joints

EASY, HARD = 0.05, 0.015  # the target's radius in metres


class Reacher(Task):
    """Reward 1 while the finger touches the target, 0 otherwise.

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

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        randomize_joints(sim, env_ids, rng)
        angle, radius = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.20)
        target = torch.stack([radius * angle.sin(), radius * angle.cos()], 1)  # (K, 2)
        sim.mocap_pos[env_ids, sim.mocap("target"), :2] = target

    def _to_target(self, sim: Engine) -> Tensor:
        """Return the vector from finger to target, (N, 2), in metres."""
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
