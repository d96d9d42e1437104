"""Frames of control tasks as a set of still images, rendered by `envs`: of one task, or of all."""

import importlib
from types import ModuleType

import torch
from torch import Tensor

HOLD = 8  # control steps an action is held
KEEP_EVERY = 5  # one image in so many is kept: 25 of an episode of 1000 control steps
ENVS = 40  # environments rendered together


def render_frames(task: str, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return frames of a task under uniform random actions, and the environment of each.

    `ENVS` environments (fewer for fewer than 10 frames each) run side by side, environment i with
    the seed `ENVS seed + i`: other seeds share no environment. Actions are drawn every `HOLD`
    control steps, and one image in `KEEP_EVERY` is kept. Frames are ordered by environment; the
    same arguments give the same frames.

    Args:
        task: name of a task of `envs`.
        count: number of frames, at least 30.
        seed: of environments and actions.

    Returns:
        (count, 3, 64, 64) uint8, and (count,) int64.

    Raises:
        ValueError: fewer than 30 frames, or an unknown task (the sentence names similar ones).
    """
    if count < 30:
        raise ValueError(
            f"{count} frames of {task}: ask for at least 30, ten of three environments"
        )
    envs = _environments()
    num_envs = min(ENVS, count // 10)
    length = -(-count // num_envs)
    env = envs.make(task, num_envs=num_envs, action_repeat=HOLD)
    random = torch.Generator().manual_seed(seed)
    shape = (length * KEEP_EVERY, *env.action_space.shape)  # (5 T, N, A)
    actions = torch.rand(shape, generator=random) * 2 - 1
    try:
        env.reset(seed=[ENVS * seed + i for i in range(num_envs)])
        seen = (env.step(action)[0] for action in actions)
        frames = torch.stack([f for i, f in enumerate(seen, 1) if i % KEEP_EVERY == 0], 1)
    finally:
        env.close()
    frames, origin = frames.flatten(0, 1), torch.arange(num_envs).repeat_interleave(length)
    return frames[:count], origin[:count]  # (N, T, 3, 64, 64) -> (count, 3, 64, 64)


def render_suite(
    count: int, seed: int = 0, without: tuple[str, ...] = ()
) -> tuple[Tensor, Tensor, list[str]]:
    """Return frames of all the suite's models in random states, and the environment of each.

    Of each model half of the frames have the usual looks, and half random colours, lights and
    cameras (`envs.scenes`). The environments are numbered from 0 for each model, the two kinds in
    turn.

    Args:
        count: frames of a model, a multiple of 40.
        seed: of environments, states, looks and actions.
        without: domains that are left out, for instance "finger".

    Returns:
        (models * count, 3, 64, 64) uint8, (models * count,) int64, and a task of each model.

    Raises:
        ValueError: `count` is no multiple of 40, or there is no such domain.
    """
    scenes = _environments("envs.scenes")
    if count < 2 * scenes.ENVS or count % (2 * scenes.ENVS):
        raise ValueError(f"{count} frames of a model: give a multiple of {2 * scenes.ENVS}")
    tasks, frames, origin = scenes.distinct_tasks(without), [], []
    for task in tasks:
        for looks in (0, 1):
            found = scenes.random_scenes(task, count // 2, 2 * seed + looks, bool(looks))
            frames.append(found.frames)
            origin.append(2 * found.origin + looks)
    return torch.cat(frames), torch.cat(origin), tasks


def _environments(module: str = "envs") -> ModuleType:
    """Return the package `envs`, or a module of it, which a checkout has and the wheel has not.

    The library imports it here alone, when someone asks for frames of tasks. Raises ValueError if
    it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"frames of a task need the package envs and its dependencies ({error}): run from a "
            "checkout of this project after `pip install -e '.[train]'`"
        ) from error
