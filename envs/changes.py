"""Changed worlds: other physics and other appearances of environments that are already made.

    change(env, "gravity")             # all environments, from now on, episodes to come included
    change(env, "camera", 2.0, mask)   # two degrees, where `mask` is true

Physics: gravity, friction, mass, actuator. Appearance: limb (the colour of the last moving body),
camera, light. A change is one of `MjModel` fields, with values of their own for each environment.
A second change of the same kind takes the place of the first. For the C engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import mujoco
import torch
from torch import Tensor

from envs.batched import BatchedEnv
from envs.engines.cpu import CpuEngine


class Change(NamedTuple):
    """One kind of change."""

    usual: float
    """The amount where none is given."""
    meaning: str
    fields: tuple[str, ...]
    """Fields of `MjModel` that change."""
    apply: Callable[[mujoco.MjModel, str, Tensor, float], Tensor]
    """model, field, its usual values, amount -> changed values."""
    drawn: bool = False
    """Whether the renderer alone reads the fields."""


def _scaled(model: mujoco.MjModel, field: str, usual: Tensor, amount: float) -> Tensor:
    return usual * amount


def _dead(model: mujoco.MjModel, field: str, usual: Tensor, amount: float) -> Tensor:
    if not 0 <= int(amount) < len(usual):
        raise ValueError(f"actuator {amount:g} of {len(usual)}: give 0 to {len(usual) - 1}.")
    changed = usual.clone()
    changed[int(amount)] = 0
    return changed


def _turned(model: mujoco.MjModel, field: str, usual: Tensor, amount: float) -> Tensor:
    """Turn every camera to its left by `amount` degrees; fields hold quaternions or matrices."""
    half = math.radians(amount) / 2
    turn = torch.tensor([math.cos(half), 0.0, math.sin(half), 0.0], dtype=usual.dtype)  # about y
    if field == "cam_quat":
        turned = torch.empty_like(usual)
        for one, result in zip(usual.numpy(), turned.numpy(), strict=True):
            mujoco.mju_mulQuat(result, one, turn.numpy())
        return turned
    matrix = torch.zeros(9, dtype=usual.dtype)
    mujoco.mju_quat2Mat(matrix.numpy(), turn.numpy())
    return (usual.reshape(-1, 3, 3) @ matrix.view(3, 3)).reshape(usual.shape)


def _coloured(model: mujoco.MjModel, field: str, usual: Tensor, amount: float) -> Tensor:
    """Exchange red and blue of the last moving body, and mix them with `amount` of green."""
    moving = [body for body in range(model.nbody) if model.body_jntnum[body]]
    geoms = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] == moving[-1]]
    changed = usual.clone()
    for geom in geoms:
        material = model.geom_matid[geom]
        colour = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
        red, green, blue, alpha = (float(value) for value in colour)
        new = torch.tensor([blue, (1 - amount) * green + amount, red, alpha]).clamp(0, 1)
        changed[geom] = new.to(usual.dtype)
    return changed


CHANGES = {
    "gravity": Change(1.5, "times the usual gravity", ("opt.gravity",), _scaled),
    "friction": Change(0.3, "times the usual friction", ("geom_friction", "dof_damping"), _scaled),
    "mass": Change(1.5, "times the usual masses", ("body_mass", "body_inertia"), _scaled),
    "actuator": Change(0, "is the actuator without force", ("actuator_gainprm",), _dead),
    "limb": Change(0.5, "of green in the last limb", ("geom_rgba",), _coloured, True),
    "camera": Change(1.0, "degrees that cameras turn", ("cam_quat", "cam_mat0"), _turned),
    "light": Change(
        0.0, "times the usual light", ("light_diffuse", "light_ambient"), _scaled, True
    ),
}


def change(
    env: BatchedEnv, name: str, amount: float | None = None, where: Tensor | None = None
) -> None:
    """Change environments in place, from the next decision on.

    Args:
        env: the environments, or a wrapper around them.
        name: one of `CHANGES`.
        amount: what `CHANGES[name].meaning` says; None for the usual one.
        where: environments to change, (N,) bool; None for all. The others become as they were.

    Raises:
        ValueError: there is no such change, or no such actuator, or the engine is not "c".
    """
    if name not in CHANGES:
        raise ValueError(f"unknown change {name!r}: give one of {', '.join(CHANGES)}.")
    if not isinstance(env.sim, CpuEngine):
        raise ValueError("changed worlds need engine='c': give device='cpu'.")
    if name == "gravity" and env.sim.model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_GRAVITY:
        raise ValueError("this task has no gravity: give another change.")
    kind = CHANGES[name]
    amount = kind.usual if amount is None else amount
    chosen = torch.ones(env.num_envs, dtype=torch.bool) if where is None else where.cpu()
    for field in kind.fields:
        usual = _usual(env.sim.model, field)
        changed = kind.apply(env.sim.model, field, usual, amount)
        values = torch.where(chosen.view(-1, *(1,) * usual.dim()), changed, usual)  # (N, ...)
        if kind.drawn:
            env.set_appearance(field, values.float())
        else:
            live = env.sim.expand(field)
            live.copy_(values.reshape(live.shape))


def restore(env: BatchedEnv) -> None:
    """Undo every change."""
    nowhere = torch.zeros(env.num_envs, dtype=torch.bool)
    for name, kind in CHANGES.items():
        if not kind.drawn and not set(kind.fields) & set(env.sim.expanded):
            continue
        change(env, name, where=nowhere)


def _usual(model: mujoco.MjModel, field: str) -> Tensor:
    owner, _, name = field.rpartition(".")
    values = getattr(getattr(model, owner) if owner else model, name)
    return torch.as_tensor(values.copy())
