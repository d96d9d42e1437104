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


def target_position(physics) -> np.ndarray | None:
    """The position of the world's "target" in the model, a (3,) view; None if it has none."""
    model = physics.model
    kinds = (mujoco.mjtObj.mjOBJ_GEOM, model.geom_pos), (mujoco.mjtObj.mjOBJ_SITE, model.site_pos)
    for kind, positions in kinds:
        index = mujoco.mj_name2id(model.ptr, kind, "target")
        if index >= 0:
            return positions[index]
    return None


def start_state(physics) -> np.ndarray:
    """What an episode starts from: positions, velocities and a target that can move, (S,)."""
    parts = [physics.data.qpos, physics.data.qvel]
    target = target_position(physics)
    return np.concatenate(parts if target is None else [*parts, target])


def copy_state(physics, sim: Engine, world: int) -> None:
    """Puts dm_control's state into one of an engine's worlds; forward it afterwards."""

    def put(field: Tensor, value: np.ndarray) -> None:
        field[world] = torch.as_tensor(value, device=sim.device).to(sim.dtype).view_as(field[world])

    for name in ("qpos", "qvel", "act", "qacc_warmstart"):
        put(getattr(sim, name), getattr(physics.data, name).copy())
    if sim.model.nmocap:
        put(sim.mocap_pos, target_position(physics))


def paste_state(sim: Engine, world: int, physics) -> None:
    """Puts one of an engine's worlds into dm_control and forwards it with the actuators off."""
    for name in ("qpos", "qvel", "act", "ctrl"):
        getattr(physics.data, name)[:] = getattr(sim, name)[world].cpu().numpy()
    if sim.model.nmocap:
        target_position(physics)[:] = sim.mocap_pos[world, 0].cpu().numpy()
    with physics.model.disable("actuation"):
        physics.forward()
