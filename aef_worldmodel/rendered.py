"""Frames of control tasks as a set of still images, drawn by `envs` under random actions."""

import torch
from torch import Tensor

HELD = 8  # control steps an action is held
KEPT = 5  # of so many pictures one is kept: 25 an episode of 1000 control steps
WORLDS = 40  # worlds drawn together


def render_frames(task: str, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Frames of a task under uniform random actions: (count, 3, 64, 64) uint8, and the world each
    is from, (count,).

    `WORLDS` worlds (fewer for fewer than 10 frames each) live side by side, world i with seed
    `seed + i`. Actions are drawn anew every `HELD` control steps, and after `KEPT` of them a
    picture is kept. Frames are ordered by world; the same arguments give the same frames.

    Raises:
        ValueError: fewer than 30 frames, or an unknown task (the sentence names similar ones).
    """
    if count < 30:
        raise ValueError(f"{count} frames of {task}; ask for at least 30: three worlds of ten")
    import envs  # nothing else in the library needs an environment

    worlds = min(WORLDS, count // 10)
    length = -(-count // worlds)
    env = envs.make(task, num_envs=worlds, seed=seed, action_repeat=HELD)
    random = torch.Generator().manual_seed(seed)
    shape = (length * KEPT, *env.action_space.shape)  # (5 T, N, A)
    actions = torch.rand(shape, generator=random) * 2 - 1
    try:
        env.reset(seed=seed)
        seen = (env.step(action)[0] for action in actions)
        frames = torch.stack([f for i, f in enumerate(seen, 1) if i % KEPT == 0], 1)
    finally:
        env.close()
    frames, world = frames.flatten(0, 1), torch.arange(worlds).repeat_interleave(length)
    return frames[:count], world[:count]  # (N, T, 3, 64, 64) -> (count, 3, 64, 64)
