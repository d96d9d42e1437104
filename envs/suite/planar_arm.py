"""Planar arm: the arm with a two-fingered hand that stacker and manipulator share."""

import math

import numpy as np
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.task import Task

JOINTS = (
    "arm_root",
    "arm_shoulder",
    "arm_elbow",
    "arm_wrist",
    "finger",
    "fingertip",
    "thumb",
    "thumbtip",
)
TOUCH = ("palm", "finger", "thumb", "fingertip", "thumbtip")
CLOSE = 0.01  # metres


class PlanarArm(Task):
    """An arm that starts at any joint angles, with both fingers at the same angle."""

    control_timestep = 0.01
    needs_contacts = 64
    needs_rows = 256

    def place_arm(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        """Place the arm's joints at random in environments (K,)."""
        joints = [sim.model.joint(name) for name in JOINTS]
        ranges = [j.range if j.limited[0] else (-math.pi, math.pi) for j in joints]
        angles = rng.uniform(*np.transpose(ranges), len(JOINTS))  # (K, 8)
        angles[:, JOINTS.index("finger")] = angles[:, JOINTS.index("thumb")]
        put(sim.qpos, env_ids, [sim.joint(name) for name in JOINTS], angles)

    def arm(self, sim: Engine) -> dict[str, Tensor]:
        """Return the arm's parts of the observation, the hand's pose last."""
        angles = sim.qpos[:, [sim.joint(name) for name in JOINTS]]  # (N, 8)
        touch = torch.cat([sim.sensor(f"{name}_touch") for name in TOUCH], 1)
        return {
            "arm_pos": torch.stack([angles.sin(), angles.cos()], 2).flatten(1),
            "arm_vel": velocities(sim, JOINTS),
            "touch": touch.log1p(),
            "hand_pos": pose(sim, "hand"),
        }


def put(field: Tensor, env_ids: Tensor, columns: list[int], values: Tensor) -> None:
    """Write values (K, n) into n columns of a field, for environments (K,)."""
    field[env_ids[:, None], torch.tensor(columns, device=field.device)] = values


def velocities(sim: Engine, joints) -> Tensor:
    """Return the joints' velocities, (N, joints)."""
    return sim.qvel[:, [sim.dof(name) for name in joints]]


def pose(sim: Engine, *bodies: str) -> Tensor:
    """Return x, z (metres) and the quaternion's w, y of each body: (N, 4 * bodies)."""
    indices = [sim.body(name) for name in bodies]
    parts = [sim.xpos[:, indices][:, :, [0, 2]], sim.xquat[:, indices][:, :, [0, 2]]]
    return torch.cat(parts, 2).flatten(1)


def distance(sim: Engine, site: str, other: str) -> Tensor:
    """Return the distance between two sites, (N,), in metres."""
    return (sim.site_xpos[:, sim.site(site)] - sim.site_xpos[:, sim.site(other)]).norm(dim=1)


def turned(angle: Tensor) -> Tensor:
    """Return the quaternion's w, y of rotations in the plane: (K,) radians to (K, 2)."""
    return torch.stack([(angle / 2).cos(), (angle / 2).sin()], 1)
