"""States copied between dm_control's environments and an engine's."""

from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.engines.base import Engine


def mocap_poses(physics: Any, ours: mujoco.MjModel) -> list[tuple[np.ndarray, np.ndarray]]:
    """Find in dm_control's model what hangs on each mocap body of ours.

    Returns:
        Views of position (3,) and quaternion (4,), in the order of the mocap bodies.
    """
    model, poses = physics.model, []
    for body in np.flatnonzero(ours.body_mocapid >= 0):
        name = ours.body(body).name
        for kind in ("body", "geom", "site"):
            index = mujoco.mj_name2id(model.ptr, mujoco.mju_str2Type(kind), name)
            if index >= 0:
                pose = (getattr(model, f"{kind}_{part}")[index] for part in ("pos", "quat"))
                poses.append(tuple(pose))
                break
    return poses


def start_state(physics: Any, sim: Engine) -> np.ndarray:
    """Return what an episode starts from: state, mocap poses and varying model fields, (S,).

    Args:
        physics: dm_control's.
        sim: an engine with our model of the same task.
    """
    parts = [physics.data.qpos, physics.data.qvel, physics.data.act]
    parts += [np.concatenate(pose) for pose in mocap_poses(physics, sim.model)]
    parts += [np.ravel(getattr(physics.model, name)) for name in sim.expanded]
    return np.concatenate(parts)


def copy_from(physics: Any, sim: Engine, env: int) -> None:
    """Copy dm_control's state to one of an engine's environments; forward it afterwards."""

    def put(field: Tensor, value: np.ndarray) -> None:
        field[env] = torch.as_tensor(value, device=sim.device).to(sim.dtype).view_as(field[env])

    for name in ("qpos", "qvel", "act", "qacc_warmstart"):
        put(getattr(sim, name), getattr(physics.data, name).copy())
    for i, (position, quaternion) in enumerate(mocap_poses(physics, sim.model)):
        put(sim.mocap_pos[:, i], position)
        put(sim.mocap_quat[:, i], quaternion)
    for name, values in sim.expanded.items():
        put(values, getattr(physics.model, name))


def copy_to(sim: Engine, env: int, physics: Any) -> None:
    """Copy one of an engine's environments to dm_control and forward it with actuators off."""
    for name in ("qpos", "qvel", "act", "ctrl"):
        getattr(physics.data, name)[:] = getattr(sim, name)[env].cpu().numpy()
    for i, (position, quaternion) in enumerate(mocap_poses(physics, sim.model)):
        position[:] = sim.mocap_pos[env, i].cpu().numpy()
        quaternion[:] = sim.mocap_quat[env, i].cpu().numpy()
        light = mujoco.mj_name2id(physics.model.ptr, mujoco.mjtObj.mjOBJ_LIGHT, "target_light")
        if light >= 0:  # the swimmer's, above its target
            physics.model.light_pos[light, :2] = position[:2]
    for name, values in sim.expanded.items():
        field = getattr(physics.model, name)
        field[:] = values[env].cpu().numpy().reshape(field.shape)
    with physics.model.disable("actuation"):
        physics.forward()
