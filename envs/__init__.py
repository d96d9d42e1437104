"""Batched environments that are seen as images: stepped and rendered together, without OpenGL.

>>> env = envs.make("cheetah-run", num_envs=8, seed=0)
>>> obs, info = env.reset()                      # (8, 3, 64, 64) uint8
>>> obs, reward, terminated, truncated, info = env.step(env.action_space.sample())

Simulators are imported when an environment is made, so that `import envs` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from envs import opengl
from envs.verification.command import prepare

prepare()
opengl.check()

import gymnasium  # noqa: E402 - a command is prepared before the slow imports

if TYPE_CHECKING:
    from envs.batched import BatchedEnv
    from envs.gymnasium_envs import EnvironmentFailure, GymnasiumVectorEnv
    from envs.rendering.randomize import Randomization

__all__ = [
    "BatchedEnv",
    "EnvironmentFailure",
    "GymnasiumVectorEnv",
    "Randomization",
    "make",
    "tasks",
]
LAZY = {
    "BatchedEnv": "envs.batched",
    "EnvironmentFailure": "envs.gymnasium_envs",
    "GymnasiumVectorEnv": "envs.gymnasium_envs",
    "Randomization": "envs.rendering.randomize",
}


def __getattr__(name: str) -> Any:
    """Import a public class when it is first used."""
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(LAZY[name]), name)


def tasks() -> list[str]:
    """Return the names of the suite's tasks."""
    from envs.suite import task_modules

    return list(task_modules())


def make(task: str, num_envs: int = 1, **options: Any) -> BatchedEnv | GymnasiumVectorEnv:
    """Make N environments of a task, stepped together.

    Args:
        task: one of `tasks()`; "gym:ID" for a Gymnasium environment, with its arguments after a
            question mark, e.g. "gym:CarRacing-v3?continuous=False&crop=0,12,0,0"; or
            "dm_control:TASK" for dm_control's own simulator, slow, with OpenGL images; or
            "module:Class" for a `Task` of your own, which is imported.
        num_envs: N.
        options: arguments of `BatchedEnv` (device, seed, image_size, action_repeat, camera,
            autoreset, threads, ...), or of `GymnasiumVectorEnv` for "gym:" and "dm_control:".

    Raises:
        ValueError: the task is unknown, or an option is out of range.
        EnvironmentFailure: a third-party environment raised.
    """
    kind, _, name = task.partition(":")
    if kind in ("gym", "dm_control"):
        from envs.gymnasium_envs import make_third_party

        return make_third_party(kind, name, num_envs, **options)
    from envs.batched import BatchedEnv
    from envs.suite import make_task

    return BatchedEnv(make_task(task), num_envs, **options)


def _register() -> None:
    """Register every task with Gymnasium: `gymnasium.make("aef/cheetah-run-v0")`."""
    for name in tasks():
        gymnasium.register(
            f"aef/{name}-v0",
            entry_point="envs.gym_env:SingleEnv",
            vector_entry_point="envs.gym_env:NumpyBatch",
            kwargs={"task": name},
        )


_register()
