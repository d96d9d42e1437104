"""Finger: a two-link finger and a free spinner to turn."""
# ruff: noqa: D102 - the methods are documented once, in Task

import math
from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import move_to_mocap, suite_spec
from envs.suite.task import Task, place_until_free, randomize_joints

EASY, HARD = 0.07, 0.03  # the target's radius in metres
SPIN_VELOCITY = 15.0  # radians a second
SPIN_DAMPING = 0.03


class Finger(Task):
    """The finger and its spinner, without a reward."""

    xml = "finger.xml"
    control_timestep = 0.02

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        place_until_free(sim, env_ids, rng, partial(randomize_joints, sim))

    def _from_spinner(self, sim: Engine, name: str) -> Tensor:
        """Return a site's position from the spinner's hinge, in the plane: (N, 2), metres."""
        return (sim.sensor(name) - sim.sensor("spinner"))[:, [0, 2]]

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        joints = [sim.sensor("proximal"), sim.sensor("distal"), self._from_spinner(sim, "tip")]
        names = ("proximal_velocity", "distal_velocity", "hinge_velocity")
        touch = torch.cat([sim.sensor("touchtop"), sim.sensor("touchbottom")], 1)
        return {
            "position": torch.cat(joints, 1),
            "velocity": torch.cat([sim.sensor(name) for name in names], 1),
            "touch": touch.log1p(),
        }


class Spin(Finger):
    """Reward 1 while the spinner turns fast enough, 0 otherwise."""

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        spec.joint("hinge").damping[0] = SPIN_DAMPING
        for name in ("target", "tip"):
            spec.site(name).rgba[3] = 0  # this task has neither
        return spec

    def reward(self, sim: Engine) -> Tensor:
        return (sim.sensor("hinge_velocity")[:, 0] <= -SPIN_VELOCITY).to(sim.dtype)


class Turn(Finger):
    """Reward 1 while the spinner's tip is inside the target, 0 otherwise.

    Args:
        radius: of the target, in metres.
    """

    def __init__(self, radius: float):
        self.radius = radius

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        spec.site("target").size[0] = self.radius
        move_to_mocap(spec, "target")
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        angle = rng.uniform(-math.pi, math.pi)  # (K,)
        hinge, reach = sim.model.body("spinner").pos, sim.model.geom("cap1").size.sum()
        x, z = hinge[0] + reach * angle.sin(), hinge[2] + reach * angle.cos()
        sim.mocap_pos[env_ids, sim.mocap("target")] = torch.stack([x, torch.zeros_like(x), z], 1)
        super().reset(sim, env_ids, rng)

    def _distance(self, sim: Engine) -> Tensor:
        """Return the distance from tip to target surface, (N,), metres; negative inside."""
        apart = self._from_spinner(sim, "target") - self._from_spinner(sim, "tip")
        return apart.norm(dim=1) - self.radius

    def reward(self, sim: Engine) -> Tensor:
        return (self._distance(sim) <= 0).to(sim.dtype)

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        return super().proprio(sim) | {
            "target_position": self._from_spinner(sim, "target"),
            "dist_to_target": self._distance(sim),
        }


TASKS = {
    "finger-spin": Spin,
    "finger-turn-easy": partial(Turn, EASY),
    "finger-turn-hard": partial(Turn, HARD),
}
