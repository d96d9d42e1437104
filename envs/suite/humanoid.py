"""Humanoid: a body with 21 motors, and CMU's with 56."""
# ruff: noqa: D102 - the methods are documented once, in Task

from functools import partial

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.rewards import tolerance
from envs.suite.task import Task, place_until_free, randomize_joints

STAND_HEIGHT = 1.4  # metres, of the head
WALK_SPEED, RUN_SPEED = 1.0, 10.0  # metres a second
UPRIGHT = 0.9  # the cosine to the vertical from which the torso counts as upright


class Humanoid(Task):
    """Stand still, or move in any direction at a speed, with little effort.

    Args:
        speed: metres a second from which moving is fully rewarded; 0 rewards standing still.
        pure_state: observe joint positions and velocities only, the root's among them.

    Attributes:
        torso: the body whose frame and velocity are rewarded and observed.
        up: the axis of the torso that points up when it stands.
        limbs: the bodies whose positions in the torso's frame are observed.
    """

    xml = "humanoid.xml"
    control_timestep = 0.025
    needs_contacts = 48
    needs_rows = 256
    torso = "torso"
    up = 2
    limbs = ("left_hand", "left_foot", "right_hand", "right_foot")

    def __init__(self, speed: float, pure_state: bool = False):
        self.speed, self.pure_state = speed, pure_state

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        place_until_free(sim, env_ids, rng, partial(randomize_joints, sim))

    def _momentum(self, sim: Engine) -> Tensor:
        """Return the velocity of the centre of mass, (N, 3), metres a second."""
        return sim.sensor(f"{self.torso}_subtreelinvel")

    def reward(self, sim: Engine) -> Tensor:
        height = sim.xpos[:, sim.body("head"), 2]
        standing = tolerance(height, (STAND_HEIGHT, torch.inf), STAND_HEIGHT / 4)
        vertical = sim.xmat[:, sim.body(self.torso), 2, self.up]
        upright = tolerance(vertical, (UPRIGHT, torch.inf), 1 + UPRIGHT, "linear", 0.0)
        ease = tolerance(sim.ctrl, margin=1.0, shape="quadratic", value_at_margin=0.0).mean(1)
        horizontal = self._momentum(sim)[:, :2]
        if self.speed == 0:
            move = tolerance(horizontal, margin=2.0).mean(1)
        else:
            speed = horizontal.norm(dim=1)
            moving = tolerance(speed, (self.speed, torch.inf), self.speed, "linear", 0.0)
            move = (5 * moving + 1) / 6
        return (4 + ease) / 5 * standing * upright * move

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        if self.pure_state:
            return {"position": sim.qpos, "velocity": sim.qvel}
        torso = sim.body(self.torso)
        limbs = sim.xpos[:, [sim.body(name) for name in self.limbs]]  # (N, 4, 3)
        return {
            "joint_angles": sim.qpos[:, 7:],
            "head_height": sim.xpos[:, sim.body("head"), 2],
            "extremities": ((limbs - sim.xpos[:, torso, None]) @ sim.xmat[:, torso]).flatten(1),
            "torso_vertical": sim.xmat[:, torso, 2],
            "com_velocity": self._momentum(sim),
            "velocity": sim.qvel,
        }


class HumanoidCMU(Humanoid):
    """The humanoid with the skeleton of CMU's motion captures."""

    xml = "humanoid_CMU.xml"
    control_timestep = 0.02
    torso = "thorax"
    up = 1
    limbs = ("lhand", "lfoot", "rhand", "rfoot")


TASKS = {
    "humanoid-stand": partial(Humanoid, speed=0.0),
    "humanoid-walk": partial(Humanoid, WALK_SPEED),
    "humanoid-run": partial(Humanoid, RUN_SPEED),
    "humanoid-run-pure-state": partial(Humanoid, RUN_SPEED, pure_state=True),
    "humanoid-CMU-stand": partial(HumanoidCMU, speed=0.0),
    "humanoid-CMU-walk": partial(HumanoidCMU, WALK_SPEED),
    "humanoid-CMU-run": partial(HumanoidCMU, RUN_SPEED),
}
