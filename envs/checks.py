"""Checks of arguments: each returns the value, or raises ValueError with what to give instead."""

import os
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

ACTION_SLACK = 1e-6  # rounding of a float32 policy that ends in a tanh


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked_device(device: str | torch.device) -> torch.device:
    """Return the device, if this machine has it."""
    kind, _, index = str(device).partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError(f"device={str(device)!r} is unknown: give 'cpu' or 'cuda'.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda' needs an NVIDIA GPU and a CUDA build of torch: give 'cpu'.")
    return torch.device(device)


def positive(name: str, value: Any) -> int:
    """Return a count of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}={value!r} is not a count: give an integer of 1 or more.")
    return int(value)


def one_of(name: str, value: Any, known: Collection) -> Any:
    """Return one of the known values."""
    if value not in known:
        choices = " or ".join(repr(k) for k in known)
        raise ValueError(f"{name}={value!r} is unknown: give {choices}.")
    return value


def divisor(episode_length: int, repeat: int) -> int:
    """Return an action repeat that divides the frames of an episode."""
    if positive("action_repeat", repeat) > episode_length or episode_length % repeat:
        fit = [k for k in range(1, 21) if episode_length % k == 0]
        raise ValueError(
            f"action_repeat={repeat} does not divide {episode_length} frames: give one of {fit}."
        )
    return repeat


def image_shape(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Return (H, W) from a side or a pair."""
    if isinstance(value, tuple | list) and len(value) == 2:
        return positive(name, value[0]), positive(name, value[1])
    side = positive(name, value)
    return side, side


def camera_index(model: Any, camera: int | str) -> int:
    """Return the index of a camera given by name or index."""
    names = [model.camera(i).name for i in range(model.ncam)]
    if isinstance(camera, str) and camera in names:
        return names.index(camera)
    if not isinstance(camera, int) or camera not in range(model.ncam):
        raise ValueError(f"camera={camera!r} is not in the model: give an index or one of {names}.")
    return camera


def reset_mask(options: dict | None, num_envs: int) -> Tensor:
    """Return the mask in `options`, (N,) bool, or all environments without one."""
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return torch.ones(num_envs, dtype=torch.bool)
    mask = torch.as_tensor(mask).cpu()
    if mask.shape != (num_envs,) or mask.dtype != torch.bool:
        raise ValueError(
            f"reset_mask is {mask.dtype} of shape {tuple(mask.shape)}: give bool of ({num_envs},)."
        )
    return mask


def control_range(model: Any) -> Tensor:
    """Return the lowest and highest control of every actuator, float64 (2, A)."""
    for i in range(model.nu):
        if not model.actuator_ctrllimited[i]:
            name = model.actuator(i).name or i
            raise ValueError(f"Actuator {name} has no limits: give it a ctrlrange in the model.")
    return torch.from_numpy(model.actuator_ctrlrange.T.copy())


def check_choice(action: Tensor, num_envs: int, choices: int) -> None:
    """Check that discrete actions are integers (N,) from 0 to choices - 1."""
    if tuple(action.shape) != (num_envs,) or action.is_floating_point():
        given = f"{action.dtype} of shape {tuple(action.shape)}"
        raise ValueError(f"The action is {given}: give integers of shape ({num_envs},).")
    outside = (action < 0) | (action >= choices)
    if outside.any():
        env = int(outside.nonzero()[0])
        raise ValueError(f"action[{env}] = {int(action[env])} is not within 0 to {choices - 1}.")


def check_action(action: Tensor, shape: tuple[int, ...]) -> None:
    """Check that actions have the shape (N, A) and are within [-1, 1]."""
    if tuple(action.shape) != shape:
        given = tuple(action.shape)
        raise ValueError(f"The action has shape {given}: give (environments, actuators) = {shape}.")
    inside = action.abs() <= 1 + ACTION_SLACK
    if not inside.all():  # NaN is not inside either
        env, actuator = (~inside).nonzero()[0].tolist()
        raise ValueError(
            f"action[{env}, {actuator}] = {action[env, actuator].item()} is not within "
            "[-1, 1]: clip it to env.single_action_space."
        )


def check_state(state: dict, expected: dict) -> None:
    """Check that a saved state has the model and the tensor shapes of an environment's own."""
    model = expected["model"]
    if (other := state.get("model", model)) != model:
        raise ValueError(
            f"This state is of a {other!r}, this environment has a {model!r}: make it with the "
            "same task."
        )
    shapes, given = (
        {k: tuple(v.shape) for k, v in s.items() if isinstance(v, Tensor)}
        for s in (expected, state)
    )
    if shapes != given:
        raise ValueError(
            f"This state does not fit: its tensors are {given}, this environment's {shapes}; make "
            "the environment with the same task, device and num_envs."
        )
