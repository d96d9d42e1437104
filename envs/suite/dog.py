"""Dog: a four-legged body of many bones with filtered actuators; its skin is not rendered."""
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

EPISODE_SECONDS = 15
WALK_SPEED, TROT_SPEED, RUN_SPEED = 1.0, 3.0, 9.0  # metres a second
STAND_SHARE = 0.9  # share of the default pose's heights at which standing is fully rewarded
UPRIGHT = math.cos(math.radians(30))
START_SPEED = 2.0  # metres or radians a second
HINGES, HINGE_SPEEDS = slice(7, 80), slice(6, 79)
FUR = (0.76, 0.6, 0.42, 1.0)
COLLIDING, RENDERED = 3, 1  # groups of geoms
REACH_MARGIN = 2.0  # metres
BALL_START = 0.75  # share of the floor's half side: distance from the middle at the start
BALL_LIFT, BALL_SPEED = 3.0, 5.0  # largest height (metres) and speed (metres a second)
BALL_AIM = 0.05  # sideways speed, as a share of the speed towards the middle
TOUCHES = ("palm_L", "palm_R", "sole_L", "sole_R")


class Stand(Task):
    """Stand, upright, on all feet.

    The ray tracer cannot render skins: colliding geoms are rendered instead, in a fur colour.

    Args:
        speed: metres a second, from which the size of the floor follows.
    """

    xml = "dog.xml"
    control_timestep = 0.015
    engines = ("c",)

    def __init__(self, speed: float = WALK_SPEED):
        self.speed = speed
        self._stand_height: Tensor | None = None  # (2,): torso, pelvis

    def spec(self) -> mujoco.MjSpec:
        spec = show_body(suite_spec(self.xml))
        extent = EPISODE_SECONDS * self.speed
        spec.geom("floor").size = [extent, extent, 0.1]
        walls = [spec.geom(f"wall_{side}") for side in ("px", "py", "nx", "ny")]
        cameras = [spec.camera(name) for name in ("head", "ball")]
        for element in (*walls, *cameras, spec.geom("target"), spec.body("ball")):
            spec.delete(element)
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        if self._stand_height is None:
            sim.forward(env_ids)
            self._stand_height = STAND_SHARE * self.heights(sim)[env_ids[0]]
        half = rng.uniform(0, math.pi)  # (K,): half the angle of its turn
        zero = torch.zeros_like(half)
        sim.qpos[env_ids, 3:7] = torch.stack([half.cos(), zero, zero, half.sin()], 1)
        velocity = START_SPEED * rng.normal(3)
        for i, dof in enumerate((0, 1, 5)):
            sim.qvel[env_ids, dof] = velocity[:, i]
        low, high = sim.model.actuator_ctrlrange.T
        sim.act[env_ids] = rng.uniform(low, high, sim.model.nu)

    def heights(self, sim: Engine) -> Tensor:
        """Return the heights of torso and pelvis, metres, (N, 2)."""
        return sim.xpos[:, [sim.body("torso"), sim.body("pelvis")], 2]

    def z_axes(self, sim: Engine) -> Tensor:
        """Return z of the axes of skull, torso and pelvis, (N, 3 bodies, 3 axes)."""
        return sim.xmat[:, [sim.body(name) for name in ("skull", "torso", "pelvis")], 2]

    def velocity(self, sim: Engine) -> Tensor:
        """Return the velocity of the centre of mass in the torso's frame, (N, 3)."""
        frame = sim.xmat[:, sim.body("torso")]
        return (sim.sensor("torso_linvel")[:, None] @ frame)[:, 0]

    def reward(self, sim: Engine) -> Tensor:
        assert self._stand_height is not None  # since the first reset
        tall = [
            tolerance(height, (float(enough), torch.inf), float(enough))
            for height, enough in zip(self.heights(sim).T, self._stand_height, strict=True)
        ]
        upright = self.z_axes(sim)[..., 2]  # (N, 3)
        upright = tolerance(upright, (UPRIGHT, torch.inf), UPRIGHT + 1, "linear", 0.0).prod(1)
        model = sim.model
        weight = float(-model.opt.gravity[2] * model.body_subtreemass[sim.body("torso")])
        touch = _sensors(sim, TOUCHES).sum(1)
        touch = tolerance(touch, (weight, torch.inf), weight, "linear", 0.9)
        return tall[0] * tall[1] * upright * touch

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        return {
            "joint_angles": sim.qpos[:, HINGES],
            "joint_velocites": sim.qvel[:, HINGE_SPEEDS],
            "torso_pelvis_height": self.heights(sim),
            "z_projection": self.z_axes(sim).flatten(1),
            "torso_com_velocity": self.velocity(sim),
            "inertial_sensors": _sensors(sim, ("accelerometer", "velocimeter", "gyro")),
            "foot_forces": _sensors(sim, ("foot_L", "foot_R", "hand_L", "hand_R")),
            "touch_sensors": _sensors(sim, TOUCHES),
            "actuator_state": sim.act.clone(),
        }


class Move(Stand):
    """Move forwards while standing."""

    def reward(self, sim: Engine) -> Tensor:
        bounds, margin = (self.speed, 2 * self.speed), max(1.0, self.speed)
        forward = tolerance(self.velocity(sim)[:, 0], bounds, margin, "linear", 0.0)
        return super().reward(sim) * ((4 * forward + 1) / 5)


class Fetch(Stand):
    """Catch a thrown ball with the mouth and bring it to the target, while standing."""

    camera = 2

    def spec(self) -> mujoco.MjSpec:
        spec = show_body(suite_spec(self.xml))
        for kind, name in ((mujoco.mjtObj.mjOBJ_SITE, "head"), (mujoco.mjtObj.mjOBJ_GEOM, "ball")):
            kinds = {"type": mujoco.mjtSensor.mjSENS_FRAMELINVEL, "objtype": kind}
            spec.add_sensor(name=f"{name}_velocity", objname=name, **kinds)
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        super().reset(sim, env_ids, rng)
        ball, speed = sim.joint("ball_root"), sim.dof("ball_root")
        angle = rng.uniform(0, 2 * math.pi)
        outward = torch.stack([angle.sin(), angle.cos()], 1)  # (K, 2)
        radius = BALL_START * float(sim.model.geom("floor").size[0])
        sim.qpos[env_ids, ball : ball + 2] = radius * outward
        sim.qpos[env_ids, ball + 2] = 0.05
        gravity = float(-sim.model.opt.gravity[2])
        sim.qvel[env_ids, speed + 2] = (2 * gravity * rng.uniform(0, BALL_LIFT)).sqrt()
        along = rng.uniform(0, BALL_SPEED, 1) * (BALL_AIM * rng.normal(2) - outward)
        sim.qvel[env_ids, speed : speed + 2] = along

    def reward(self, sim: Engine) -> Tensor:
        model, ball = sim.model, sim.geom_xpos[:, sim.geom("ball")]  # (N, 3)
        bites = [sim.site_xpos[:, sim.site(f"{jaw}_bite")] for jaw in ("upper", "lower")]
        mouth = ((ball - bites[0]).norm(dim=1) + (ball - bites[1]).norm(dim=1)) / 2  # (N,)
        bite = float(model.site("upper_bite").size[0])
        reach = tolerance(mouth, (0.0, bite), REACH_MARGIN, "reciprocal")
        reach = (6 * reach + 1) / 7
        home = (ball - sim.geom_xpos[:, sim.geom("target")]).norm(dim=1)
        radius, extent = (float(model.geom(name).size[0]) for name in ("target", "floor"))
        reach = torch.where(home < 2 * radius, 1.0, reach)  # near the target it may drop the ball
        fetch = (tolerance(home, (0.0, radius), extent, "reciprocal") + 1) / 2
        return super().reward(sim) * reach * fetch

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        head = sim.site("head")
        frame, position = sim.site_xmat[:, head], sim.site_xpos[:, head]
        seen = [
            sim.geom_xpos[:, sim.geom("ball")] - position,
            sim.sensor("ball_velocity") - sim.sensor("head_velocity"),
            sim.geom_xpos[:, sim.geom("target")] - position,
        ]
        seen = torch.stack(seen, 1) @ frame  # (N, 3, 3)
        return super().proprio(sim) | {
            "ball_state": seen[:, :2].flatten(1),
            "target_position": seen[:, 2],
        }


def show_body(spec: mujoco.MjSpec) -> mujoco.MjSpec:
    """Move colliding geoms into a group that is rendered."""
    for geom in spec.geoms:
        if geom.group == COLLIDING:
            geom.group, geom.rgba = RENDERED, FUR
    return spec


def _sensors(sim: Engine, names: tuple[str, ...]) -> Tensor:
    """Return the sensors side by side, (N, dims)."""
    return torch.cat([sim.sensor(name) for name in names], 1)


TASKS = {
    "dog-stand": Stand,
    "dog-walk": partial(Move, WALK_SPEED),
    "dog-trot": partial(Move, TROT_SPEED),
    "dog-run": partial(Move, RUN_SPEED),
    "dog-fetch": Fetch,
}
