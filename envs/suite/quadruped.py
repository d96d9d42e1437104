"""Quadruped: a four-legged body in space, with filtered position actuators."""
# ruff: noqa: D102 - what the methods do is said once, in Task

from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engine import Engine
from envs.model import suite_spec
from envs.rewards import tolerance
from envs.suite.task import Draw, Task

WALK_SPEED, RUN_SPEED = 0.5, 5.0  # metres a second
EPISODE_SECONDS = 20.0
LIFT = 0.01  # metres a try, when looking for a height free of contacts
TRIES = 10_000
FORCES = (int(mujoco.mjtSensor.mjSENS_FORCE), int(mujoco.mjtSensor.mjSENS_TORQUE))
INERTIAL = (int(mujoco.mjtSensor.mjSENS_GYRO), int(mujoco.mjtSensor.mjSENS_ACCELEROMETER))


class Quadruped(Task):
    """Move forwards, upright.

    Args:
        speed: metres a second from which moving is fully rewarded.
    """

    xml = "quadruped.xml"
    camera = 2
    control_timestep = 0.02
    needs_contacts = 48
    needs_rows = 192

    def __init__(self, speed: float):
        self.speed = speed

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        extent = EPISODE_SECONDS * self.speed
        spec.geom("floor").size = [extent, extent, 0.5]
        others = [spec.geom(f"wall_{side}") for side in ("px", "py", "nx", "ny")]
        others += [spec.geom("terrain"), spec.body("ball"), spec.site("target")]
        others += [s for s in spec.sensors if s.type == mujoco.mjtSensor.mjSENS_RANGEFINDER]
        for element in others:
            spec.delete(element)
        return spec

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        quaternion = draw.normal(4)
        sim.qpos[worlds, 3:7] = quaternion / quaternion.norm(dim=1, keepdim=True)
        height = torch.zeros(len(worlds), dtype=sim.dtype, device=sim.device)
        for _ in range(TRIES):
            sim.qpos[worlds, :2], sim.qpos[worlds, 2] = 0.0, height
            sim.forward(worlds)
            touching = sim.touching(worlds)
            if not touching.any():
                return
            worlds, height = worlds[touching], height[touching] + LIFT
        raise RuntimeError(f"No height free of contacts was found in {TRIES} tries.")

    def reward(self, sim: Engine) -> Tensor:
        speed = sim.sensor("velocimeter")[:, 0]
        move = tolerance(speed, (self.speed, torch.inf), self.speed, "linear", 0.5)
        upright = sim.xmat[:, sim.body("torso"), 2, 2]
        return move * tolerance(upright, (1.0, torch.inf), 2.0, "linear", 0.0)

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        hinges = [sim.qpos[:, 7:], sim.qvel[:, 6:], sim.act]  # all but the root's free joint
        return {
            "egocentric_state": torch.cat(hinges, 1),
            "torso_velocity": sim.sensor("velocimeter"),
            "torso_upright": sim.xmat[:, sim.body("torso"), 2, 2],
            "imu": _sensors(sim, INERTIAL),
            "force_torque": _sensors(sim, FORCES).arcsinh(),
        }


def _sensors(sim: Engine, types: tuple) -> Tensor:
    """All sensors of these types in the model's order, (N, dims)."""
    ids = [i for i in range(sim.model.nsensor) if sim.model.sensor_type[i] in types]
    return torch.cat([sim.sensor(sim.model.sensor(i).name) for i in ids], 1)


TASKS = {
    "quadruped-run": partial(Quadruped, RUN_SPEED),
    "quadruped-walk": partial(Quadruped, WALK_SPEED),
}
