"""Manipulator: a planar arm, and a ball or a peg to bring or to insert."""
# ruff: noqa: D102 - what the methods do is said once, in Task

import math
from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engine import Engine
from envs.model import suite_spec
from envs.rewards import tolerance
from envs.suite.planar_arm import CLOSE, PlanarArm, distance, pose, put, turned, velocities
from envs.suite.task import Draw, draw_until_free

RECEPTACLES = {"ball": "cup", "peg": "slot"}
IN_HAND, IN_TARGET = 0.1, 0.1  # shares of the episodes that start so
TARGETS = ([-0.4, 0.1], [0.4, 0.4])  # metres: x and z of the rectangle they lie in
STARTS = ([-0.5, 0.0, 0.0], [0.5, 0.7, 2 * math.pi])  # x, z and turn of a thing in the open
THROW = 5.0  # metres a second: the largest speed at which such a thing starts


class Bring(PlanarArm):
    """Bring a ball or a peg to its target.

    Args:
        thing: "ball" or "peg".
        insert: the target lies in a cup or slot.
    """

    xml = "manipulator.xml"

    def __init__(self, thing: str, insert: bool):
        self.thing, self.target = thing, f"target_{thing}"
        self.moved = [self.target] + [RECEPTACLES[thing]] * insert  # from episode to episode
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

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        draw_until_free(sim, worlds, draw, lambda w, d: self._place(sim, w, d))

    def _place(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        self.place_arm(sim, worlds, draw)
        target = draw.uniform(*TARGETS, 2)  # (K, 2)
        turn = draw.uniform(-self.largest_turn, self.largest_turn)  # (K,)
        for body in self.moved:
            put(sim.mocap_pos[:, sim.mocap(body)], worlds, [0, 2], target)
            put(sim.mocap_quat[:, sim.mocap(body)], worlds, [0, 2], turned(turn))
        sim.forward(worlds)  # where the hand is
        chance = draw.uniform(0, 1)
        held, there = chance < IN_HAND, chance >= 1 - IN_TARGET
        place = draw.uniform(*STARTS, 3)  # (K, 3): x, z, turn
        place[held] = self._in_hand(sim, worlds[held])
        place[there] = torch.cat([target, turn[:, None]], 1)[there]
        put(sim.qpos, worlds, [sim.joint(name) for name in self.joints], place)
        thrown = ~held & ~there
        sim.qvel[worlds[thrown], sim.dof(self.joints[0])] = draw.uniform(-THROW, THROW)[thrown]

    def _in_hand(self, sim: Engine, worlds: Tensor) -> Tensor:
        """Where the hand would hold it: x, z and turn, (K, 3)."""
        grasp = sim.site("grasp")
        across = sim.site_xmat[worlds, grasp][:, [0, 2], 0]  # (K, 2): the grasp's x axis
        turn = math.pi - torch.atan2(across[:, 1], across[:, 0])
        return torch.cat([sim.site_xpos[worlds, grasp][:, [0, 2]], turn[:, None]], 1)

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
    f"manipulator-{verb}-{thing}": partial(Bring, thing, insert=verb == "insert")
    for verb in ("bring", "insert")
    for thing in ("ball", "peg")
}
