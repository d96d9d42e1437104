"""dm_control's own environments, to compare with: never used when training."""

import logging
import os
import warnings

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.engine import Engine
from envs.suite import make_task


def load(name: str, seed: int, pictures: bool = False):
    """dm_control's environment of a task, e.g. "cheetah-run".

    Args:
        name: one of `envs.tasks()`.
        seed: of its own random numbers.
        pictures: leave it to dm_control to look for OpenGL; without, it never does.

    Raises:
        ValueError: dm_control is not installed.
    """
    if not pictures:
        os.environ.setdefault("MUJOCO_GL", "off")
    logging.getLogger("absl").setLevel(logging.ERROR)  # deprecated attributes in the suite's XML
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from dm_control import suite
    except ImportError as error:
        raise ValueError(f"The reference needs dm_control: {error}.") from None
    domain = make_task(name).xml.removesuffix(".xml")
    task = name[len(domain) + 1 :].replace("-", "_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return suite.load(domain, task, task_kwargs={"random": seed})


def observation(env) -> np.ndarray:
    """The observation at the current state, flattened: (P,)."""
    parts = env.task.get_observation(env.physics).values()
    return np.concatenate([np.ravel(part) for part in parts])


def moved(physics, ours: mujoco.MjModel) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where dm_control's model has what hangs on each mocap body of ours.

    Returns:
        views of position (3,) and quaternion (4,), in the order of the mocap bodies.
    """
    model, found = physics.model, []
    for body in np.flatnonzero(ours.body_mocapid >= 0):
        name = ours.body(body).name
        for kind in ("body", "geom", "site"):
            index = mujoco.mj_name2id(model.ptr, mujoco.mju_str2Type(kind), name)
            if index >= 0:
                pose = (getattr(model, f"{kind}_{part}")[index] for part in ("pos", "quat"))
                found.append(tuple(pose))
                break
    return found


def start_state(physics, sim: Engine) -> np.ndarray:
    """What an episode starts from: state, what can move in the model and what varies in it, (S,).

    Args:
        sim: an engine with our model of the same task.
    """
    parts = [physics.data.qpos, physics.data.qvel, physics.data.act]
    parts += [np.concatenate(pose) for pose in moved(physics, sim.model)]
    parts += [np.ravel(getattr(physics.model, name)) for name in sim.expanded]
    return np.concatenate(parts)


def copy_state(physics, sim: Engine, world: int) -> None:
    """Puts dm_control's state into one of an engine's worlds; forward it afterwards."""

    def put(field: Tensor, value: np.ndarray) -> None:
        field[world] = torch.as_tensor(value, device=sim.device).to(sim.dtype).view_as(field[world])

    for name in ("qpos", "qvel", "act", "qacc_warmstart"):
        put(getattr(sim, name), getattr(physics.data, name).copy())
    for i, (position, quaternion) in enumerate(moved(physics, sim.model)):
        put(sim.mocap_pos[:, i], position)
        put(sim.mocap_quat[:, i], quaternion)
    for name, values in sim.expanded.items():
        put(values, getattr(physics.model, name))


def paste_state(sim: Engine, world: int, physics) -> None:
    """Puts one of an engine's worlds into dm_control and forwards it with the actuators off."""
    for name in ("qpos", "qvel", "act", "ctrl"):
        getattr(physics.data, name)[:] = getattr(sim, name)[world].cpu().numpy()
    for i, (position, quaternion) in enumerate(moved(physics, sim.model)):
        position[:] = sim.mocap_pos[world, i].cpu().numpy()
        quaternion[:] = sim.mocap_quat[world, i].cpu().numpy()
        lamp = mujoco.mj_name2id(physics.model.ptr, mujoco.mjtObj.mjOBJ_LIGHT, "target_light")
        if lamp >= 0:  # the swimmer's, above its target
            physics.model.light_pos[lamp, :2] = position[:2]
    for name, values in sim.expanded.items():
        field = getattr(physics.model, name)
        field[:] = values[world].cpu().numpy().reshape(field.shape)
    with physics.model.disable("actuation"):
        physics.forward()
