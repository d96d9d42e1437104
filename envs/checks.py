"""What may be asked of an environment: each check returns the value or says what to give."""

import os

import numpy as np
import torch
from torch import Tensor

ACTION_SLACK = 1e-6  # rounding of a float32 policy that ends in a tanh


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked_device(device: str | torch.device) -> torch.device:
    """The device, if there is such a one here."""
    kind, _, index = str(device).partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError(f"device={str(device)!r} is not known: give 'cpu' or 'cuda'.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda' needs an NVIDIA GPU and a CUDA build of torch: give 'cpu'.")
    return torch.device(device)


def positive(name: str, value: int) -> int:
    """A count of 1 or more."""
    if value != int(value) or value < 1:
        raise ValueError(f"{name}={value!r} is not a count: give an integer of 1 or more.")
    return int(value)


def one_of(name: str, value, known):
    """One of the known values."""
    if value not in known:
        choices = " or ".join(repr(k) for k in known)
        raise ValueError(f"{name}={value!r} is not known: give {choices}.")
    return value


def divisor(frames: int, repeat: int) -> int:
    """An action repeat that divides the episode's frames."""
    if repeat < 1 or frames % repeat:
        fit = [k for k in range(1, 21) if frames % k == 0]
        raise ValueError(
            f"action_repeat={repeat} does not divide {frames} frames: give one of {fit}."
        )
    return repeat


def image_shape(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """(H, W)."""
    height, width = (value, value) if isinstance(value, int) else value
    return positive(name, height), positive(name, width)


def camera_index(model, camera: int | str) -> int:
    """The index of a camera given by name or index."""
    names = [model.camera(i).name for i in range(model.ncam)]
    if camera in names:
        return names.index(camera)
    if camera not in range(model.ncam):
        raise ValueError(f"camera={camera!r} is not in the model: give an index or one of {names}.")
    return camera


def world_seeds(seed: int | list[int], num_envs: int) -> Tensor:
    """(N,) integers."""
    if isinstance(seed, int | np.integer):
        return torch.arange(num_envs) + int(seed)
    if len(seed) != num_envs:
        raise ValueError(
            f"{len(seed)} seeds for {num_envs} worlds: give one a world, or one number."
        )
    return torch.tensor([int(s) for s in seed])


def reset_mask(options: dict | None, num_envs: int) -> Tensor:
    """(N,) bool, all set if `options` names none."""
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return torch.ones(num_envs, dtype=torch.bool)
    mask = torch.as_tensor(mask).cpu()
    if mask.shape != (num_envs,) or mask.dtype != torch.bool:
        raise ValueError(
            f"reset_mask is {mask.dtype} of shape {tuple(mask.shape)}: give bool of ({num_envs},)."
        )
    return mask


def control_range(model) -> Tensor:
    """Lowest and highest control of every actuator, float64 (2, A)."""
    for i in range(model.nu):
        if not model.actuator_ctrllimited[i]:
            name = model.actuator(i).name or i
            raise ValueError(f"Actuator {name} has no limits: give it a ctrlrange in the model.")
    return torch.from_numpy(model.actuator_ctrlrange.T.copy())


def checked_choice(action: Tensor, num_envs: int, choices: int) -> None:
    """Sees that discrete actions are integers (N,) from 0 to choices - 1."""
    if tuple(action.shape) != (num_envs,) or action.is_floating_point():
        given = f"{action.dtype} of shape {tuple(action.shape)}"
        raise ValueError(f"The action is {given}: give integers of shape ({num_envs},).")
    outside = (action < 0) | (action >= choices)
    if outside.any():
        world = int(outside.nonzero()[0])
        raise ValueError(
            f"action[{world}] = {int(action[world])} is not within 0 to {choices - 1}."
        )


def checked_action(action: Tensor, shape: tuple[int, ...]) -> None:
    """Sees that an action has the shape (N, A) and is within [-1, 1]."""
    if tuple(action.shape) != shape:
        given = tuple(action.shape)
        raise ValueError(f"The action has shape {given}: give (worlds, actuators) = {shape}.")
    inside = action.abs() <= 1 + ACTION_SLACK
    if not inside.all():  # NaN is not inside either
        world, actuator = (~inside).nonzero()[0].tolist()
        raise ValueError(
            f"action[{world}, {actuator}] = {action[world, actuator].item()} is not within "
            "[-1, 1]: clip it to env.single_action_space."
        )
