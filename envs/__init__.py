"""Batched pixel environments: many worlds stepped and drawn at once, without OpenGL.

>>> env = envs.make("cheetah-run", num_envs=8, seed=0)
>>> obs, info = env.reset()                      # (8, 3, 64, 64) uint8
>>> obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
"""

from envs.randomize import Randomization
from envs.single import register
from envs.suite import make_task, registry
from envs.vector import BatchedEnv

__all__ = ["BatchedEnv", "Randomization", "make", "tasks"]


def tasks() -> list[str]:
    """The names `make` knows."""
    return list(registry())


def make(task: str, num_envs: int = 1, **options) -> BatchedEnv:
    """Worlds of a task, stepped together.

    Args:
        task: one of `tasks()`.
        num_envs: how many worlds, N.
        options: what `BatchedEnv` takes: device, seed, image_size, action_repeat, camera,
            autoreset, threads, ...

    Raises:
        ValueError: an unknown task (the sentence names those that look alike) or a bad option.
    """
    return BatchedEnv(make_task(task), num_envs, **options)


register()  # gymnasium.make("aef/cheetah-run-v0")
