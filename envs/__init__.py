"""Batched pixel environments: many worlds stepped and drawn at once, without OpenGL.

>>> env = envs.make("cheetah-run", num_envs=8, seed=0)
>>> obs, info = env.reset()                      # (8, 3, 64, 64) uint8
>>> obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
"""

from envs.foreign import ForeignEnv, make_foreign
from envs.pictures import WorldError
from envs.randomize import Randomization
from envs.single import register
from envs.suite import make_task, registry
from envs.vector import BatchedEnv

__all__ = ["BatchedEnv", "ForeignEnv", "Randomization", "WorldError", "make", "tasks"]


def tasks() -> list[str]:
    """The names `make` knows."""
    return list(registry())


def make(
    task: str, num_envs: int = 1, backend: str | None = None, **options
) -> BatchedEnv | ForeignEnv:
    """Worlds of a task, stepped together.

    Args:
        task: one of `tasks()`, or "gym:" and a Gymnasium environment, e.g. "gym:CarRacing-v3".
        num_envs: how many worlds, N.
        backend: "dm_control" for dm_control's own, slow, with OpenGL pictures.
        options: what `BatchedEnv` takes: device, seed, image_size, action_repeat, camera,
            autoreset, threads, ...; somebody else's environments take those of `ForeignEnv`.

    Raises:
        ValueError: an unknown task (the sentence names those that look alike) or a bad option.
    """
    foreign = make_foreign(task, num_envs, backend, **options)
    return BatchedEnv(make_task(task), num_envs, **options) if foreign is None else foreign


register()  # gymnasium.make("aef/cheetah-run-v0")
