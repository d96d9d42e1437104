"""Manipulator: a planar arm that brings or inserts a ball or a peg."""
# ruff: noqa: D102 - the methods are documented once, in Task

import math
from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import suite_spec
from envs.suite.planar_arm import CLOSE, PlanarArm, distance, pose, put, turned, velocities
from envs.suite.rewards import tolerance
from envs.suite.task import place_until_free

RECEPTACLES = {"ball": "cup", "peg": "slot"}
IN_HAND, IN_TARGET = 0.1, 0.1  # shares of episodes that start with the object there
TARGETS = ([-0.4, 0.1], [0.4, 0.4])  # metres: x and z of the rectangle of targets
STARTS = ([-0.5, 0.0, 0.0], [0.5, 0.7, 2 * math.pi])  # x, z and turn of an object elsewhere
THROW = 5.0  # metres a second: the largest starting speed of such an object


class Bring(PlanarArm):
    """Bring a ball or a peg to its target.

    Args:
        thing: "ball" or "peg".
        insert: the target lies in a cup or slot.
    """

    xml = "manipulator.xml"

    def __init__(self, thing: str, insert: bool = False):
        self.thing, self.target = thing, f"target_{thing}"
        self.moved = [self.target] + [RECEPTACLES[thing]] * insert  # placed in every episode
        self.largest_turn = math.pi / 3 if insert else math.pi  # of the target, in radians
        self.joints = [f"{thing}_{axis}" for axis in "xzy"]

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        for thing, receptacle in RECEPTACLES.items():
            for body in (thing, f"target_{thing}", receptacle):
                if body not in (self.thing, *self.moved):
                    spec.delete(spec.body(body))
        for body in self.moved:
            spec.body(body).mocap = True
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        place_until_free(sim, env_ids, rng, partial(self._place, sim))

    def _place(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        self.place_arm(sim, env_ids, rng)
        target = rng.uniform(*TARGETS, 2)  # (K, 2)
        turn = rng.uniform(-self.largest_turn, self.largest_turn)  # (K,)
        for body in self.moved:
            put(sim.mocap_pos[:, sim.mocap(body)], env_ids, [0, 2], target)
            put(sim.mocap_quat[:, sim.mocap(body)], env_ids, [0, 2], turned(turn))
        sim.forward(env_ids)  # computes where the hand is
        chance = rng.uniform(0, 1)
        held, placed = chance < IN_HAND, chance >= 1 - IN_TARGET
        start = rng.uniform(*STARTS, 3)  # (K, 3): x, z, turn
        start[held] = self._in_hand(sim, env_ids[held])
        start[placed] = torch.cat([target, turn[:, None]], 1)[placed]
        put(sim.qpos, env_ids, [sim.joint(name) for name in self.joints], start)
        thrown = ~held & ~placed
        sim.qvel[env_ids[thrown], sim.dof(self.joints[0])] = rng.uniform(-THROW, THROW)[thrown]

    def _in_hand(self, sim: Engine, env_ids: Tensor) -> Tensor:
        """Return the pose at which the hand holds the object: x, z and turn, (K, 3)."""
        grasp = sim.site("grasp")
        across = sim.site_xmat[env_ids, grasp][:, [0, 2], 0]  # (K, 2): the grasp's x axis
        turn = math.pi - torch.atan2(across[:, 1], across[:, 0])
        return torch.cat([sim.site_xpos[env_ids, grasp][:, [0, 2]], turn[:, None]], 1)

    def reward(self, sim: Engine) -> Tensor:
        def near(site: str, other: str) -> Tensor:
            return tolerance(distance(sim, site, other), (0.0, CLOSE), margin=2 * CLOSE)

        if self.thing == "ball":
            return near("ball", "target_ball")
        grasping = (near("peg_grasp", "grasp") + near("peg_pinch", "pinch")) / 2
        bringing = (near("peg", "target_peg") + near("peg_tip", "target_peg_tip")) / 2
        return torch.maximum(bringing, grasping / 3)

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        return self.arm(sim) | {
            "object_pos": pose(sim, self.thing),
            "object_vel": velocities(sim, self.joints),
            "target_pos": pose(sim, self.target),
        }


TASKS = {
    "manipulator-bring-ball": partial(Bring, "ball"),
    "manipulator-bring-peg": partial(Bring, "peg"),
    "manipulator-insert-ball": partial(Bring, "ball", insert=True),
    "manipulator-insert-peg": partial(Bring, "peg", insert=True),
}
