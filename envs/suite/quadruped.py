"""Quadruped: a four-legged body in space, with filtered position actuators."""
# ruff: noqa: D102 - the methods are documented once, in Task

import math
from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import suite_spec
from envs.suite.rewards import tolerance
from envs.suite.task import Task

WALK_SPEED, RUN_SPEED = 0.5, 5.0  # metres a second
EPISODE_SECONDS = 20.0
LIFT = 0.01  # metres a try, in the search for a height without contacts
TRIES = 10_000
HINGES, HINGE_SPEEDS = slice(7, 23), slice(6, 22)  # all joints except the root's and a ball's
SPAWN_SHARE = 0.9  # share of the floor's extent where body and ball start
BALL_HEIGHT = 2.0  # metres
BALL_SPEED = 5.0  # metres a second
FORCES = (int(mujoco.mjtSensor.mjSENS_FORCE), int(mujoco.mjtSensor.mjSENS_TORQUE))
INERTIAL = (int(mujoco.mjtSensor.mjSENS_GYRO), int(mujoco.mjtSensor.mjSENS_ACCELEROMETER))


class Quadruped(Task):
    """A body to place and to observe, without a reward."""

    xml = "quadruped.xml"
    camera = 2
    control_timestep = 0.02
    needs_contacts = 48
    needs_rows = 192

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        ranges = [s for s in spec.sensors if s.type == mujoco.mjtSensor.mjSENS_RANGEFINDER]
        for element in (spec.geom("terrain"), *ranges):
            spec.delete(element)
        return spec

    def place(self, sim: Engine, env_ids: Tensor, xy: Tensor, quaternion: Tensor) -> None:
        """Place the body at the lowest height without contacts.

        Args:
            xy: position in metres, (K, 2).
            quaternion: its orientation, (K, 4), of any length.
        """
        sim.qpos[env_ids, :2] = xy
        sim.qpos[env_ids, 3:7] = torch.nn.functional.normalize(quaternion, dim=1)
        height = torch.zeros(len(env_ids), dtype=sim.dtype, device=sim.device)
        for _ in range(TRIES):
            sim.qpos[env_ids, 2] = height
            sim.forward(env_ids)
            touching = sim.touching(env_ids)
            if not touching.any():
                return
            env_ids, height = env_ids[touching], height[touching] + LIFT
        raise RuntimeError(f"No height without contacts was found in {TRIES} tries.")

    def uprightness(self, sim: Engine) -> Tensor:
        """Return 1 upright to 0 upside down, (N,)."""
        upright = sim.xmat[:, sim.body("torso"), 2, 2]
        return tolerance(upright, (1.0, torch.inf), 2.0, "linear", 0.0)

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        hinges = [sim.qpos[:, HINGES], sim.qvel[:, HINGE_SPEEDS], sim.act]
        return {
            "egocentric_state": torch.cat(hinges, 1),
            "torso_velocity": sim.sensor("velocimeter"),
            "torso_upright": sim.xmat[:, sim.body("torso"), 2, 2],
            "imu": _sensors(sim, INERTIAL),
            "force_torque": _sensors(sim, FORCES).arcsinh(),
        }


class Move(Quadruped):
    """Move forwards, upright.

    Args:
        speed: metres a second from which moving is fully rewarded.
    """

    def __init__(self, speed: float):
        self.speed = speed

    def spec(self) -> mujoco.MjSpec:
        spec = super().spec()
        extent = EPISODE_SECONDS * self.speed
        spec.geom("floor").size = [extent, extent, 0.5]
        walls = [spec.geom(f"wall_{side}") for side in ("px", "py", "nx", "ny")]
        for element in (*walls, spec.body("ball"), spec.site("target")):
            spec.delete(element)
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        quaternion = rng.normal(4)
        self.place(sim, env_ids, torch.zeros_like(quaternion[:, :2]), quaternion)

    def reward(self, sim: Engine) -> Tensor:
        speed = sim.sensor("velocimeter")[:, 0]
        move = tolerance(speed, (self.speed, torch.inf), self.speed, "linear", 0.5)
        return move * self.uprightness(sim)


class Fetch(Quadruped):
    """Reach the ball and bring it to the middle, upright."""

    needs_contacts = 64

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        half = rng.uniform(0, math.pi)  # (K,): half the angle of its turn
        zero = torch.zeros_like(half)
        quaternion = torch.stack([half.cos(), zero, zero, half.sin()], 1)
        reach = SPAWN_SHARE * float(sim.model.geom("floor").size[0])
        self.place(sim, env_ids, rng.uniform(-reach, reach, 2), quaternion)
        ball, speed = sim.joint("ball_root"), sim.dof("ball_root")
        sim.qpos[env_ids, ball : ball + 2] = rng.uniform(-reach, reach, 2)
        sim.qpos[env_ids, ball + 2] = BALL_HEIGHT
        sim.qvel[env_ids, speed : speed + 2] = BALL_SPEED * rng.normal(2)

    def reward(self, sim: Engine) -> Tensor:
        model, ball = sim.model, sim.xpos[:, sim.body("ball"), :2]  # (N, 2)
        arena = math.sqrt(2) * float(model.geom("floor").size[0])
        at_hand = float(model.site("workspace").size[0] + model.geom("ball").size[0])
        at_home = float(model.site("target").size[0])

        def near(site: str, radius: float) -> Tensor:
            distance = (sim.site_xpos[:, sim.site(site), :2] - ball).norm(dim=1)
            return tolerance(distance, (0.0, radius), arena, "linear", 0.0)

        fetched = (1 + near("target", at_home)) / 2
        return self.uprightness(sim) * near("workspace", at_hand) * fetched

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        frame, torso = sim.xmat[:, sim.body("torso")], sim.xpos[:, sim.body("torso")]
        speed = sim.dof("ball_root")
        ball = [
            sim.xpos[:, sim.body("ball")] - torso,
            sim.qvel[:, speed : speed + 3] - sim.qvel[:, :3],
            sim.qvel[:, speed + 3 : speed + 6],
        ]
        target = sim.site_xpos[:, sim.site("target")] - torso
        return super().proprio(sim) | {
            "ball_state": (torch.stack(ball, 1) @ frame).flatten(1),
            "target_position": (target[:, None] @ frame)[:, 0],
        }


def _sensors(sim: Engine, types: tuple) -> Tensor:
    """Return all sensors of these types in the model's order, (N, dims)."""
    ids = [i for i in range(sim.model.nsensor) if sim.model.sensor_type[i] in types]
    return torch.cat([sim.sensor(sim.model.sensor(i).name) for i in ids], 1)


TASKS = {
    "quadruped-run": partial(Move, RUN_SPEED),
    "quadruped-walk": partial(Move, WALK_SPEED),
    "quadruped-fetch": Fetch,
}
