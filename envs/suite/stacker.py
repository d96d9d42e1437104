"""Stacker: a planar arm that stacks boxes."""
# ruff: noqa: D102 - the methods are documented once, in Task

import math
from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import suite_spec
from envs.suite.planar_arm import CLOSE, PlanarArm, distance, pose, put, velocities
from envs.suite.rewards import tolerance
from envs.suite.task import place_until_free

MOST_BOXES = 4
LOWEST, HIGHEST = [0.1, 0.0, 0.0], [0.3, 0.7, 2 * math.pi]  # boxes' x, z and turn at the start
TARGET_REACH = 0.37  # metres to either side
HAND_AWAY = 0.1  # metres from the target


class Stack(PlanarArm):
    """Put a box at the target, on top of those below it, and take the hand away.

    Args:
        boxes: number of boxes, at most 4.
    """

    xml = "stacker.xml"

    def __init__(self, boxes: int):
        self.boxes = [f"box{i}" for i in range(boxes)]

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        for i in range(len(self.boxes), MOST_BOXES):
            spec.delete(spec.body(f"box{i}"))
        spec.body("target").mocap = True
        return spec

    def _joints(self, box: str) -> list[str]:
        return [f"{box}_{axis}" for axis in "xzy"]

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        half = float(sim.model.geom("target").size[0])

        def place(env_ids: Tensor, rng: EpisodeRng) -> None:
            self.place_arm(sim, env_ids, rng)
            floor = rng.uniform(0, len(self.boxes)).floor()
            x, z = rng.uniform(-TARGET_REACH, TARGET_REACH), half * (2 * floor + 1)
            put(sim.mocap_pos[:, sim.mocap("target")], env_ids, [0, 2], torch.stack([x, z], 1))
            for box in self.boxes:
                columns = [sim.joint(name) for name in self._joints(box)]
                put(sim.qpos, env_ids, columns, rng.uniform(LOWEST, HIGHEST, 3))

        place_until_free(sim, env_ids, rng, place)

    def reward(self, sim: Engine) -> Tensor:
        half = float(sim.model.geom("target").size[0])
        nearest = torch.stack([distance(sim, box, "target") for box in self.boxes]).amin(0)
        away = tolerance(distance(sim, "grasp", "target"), (HAND_AWAY, torch.inf), CLOSE)
        return tolerance(nearest, margin=2 * half) * away

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        joints = [f"{box}_{axis}" for box in self.boxes for axis in "xyz"]
        return self.arm(sim) | {
            "box_pos": pose(sim, *self.boxes),
            "box_vel": velocities(sim, joints),
            "target_pos": sim.xpos[:, sim.body("target")][:, [0, 2]],
        }


TASKS = {"stacker-stack-2": partial(Stack, boxes=2), "stacker-stack-4": partial(Stack, boxes=4)}
