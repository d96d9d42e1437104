"""Rendered decisions a second of dm_control itself: `python -m benchmarks.dm_control`.

Prints the number and the CPU seconds of a decision. `benchmarks.envs` calls it in a process of its
own, or in several at once.
"""

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

import envs
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_positive
from agents.config import train as settings
from benchmarks.timing import mean_seconds
from envs import dm_control
from envs.suite import make_task

ASYNC_WORKERS = 2
PIXELS, REPEAT = 64, 2  # of an image, and control steps of a decision


@dataclass(frozen=True)
class DmControlConfig:
    """Settings of `python -m benchmarks.dm_control`."""

    task: str = "cheetah-run"
    """Task of `python -m envs`."""
    variant: Literal["default", "fast", "async"] = "default"
    """default as it is; fast without shadows, reflections, sky and multisampling; async as it is,
    in two processes that step together."""
    seconds: float = 4.0
    """How long it is timed."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_positive(self, "seconds")


def single(task: str, fast: bool) -> Callable[[], None]:
    """Return a function that makes and renders one decision, by dm_control's physics.render."""
    env, camera = dm_control.load(task, seed=0, images=True), make_task(task).camera
    env.reset()
    bounds, generator = env.action_spec(), np.random.default_rng(0)
    options = disable_effects(env) if fast else {}

    def step() -> None:
        action = generator.uniform(bounds.minimum, bounds.maximum)
        for _ in range(REPEAT):
            if env.step(action).last():
                env.reset()
        env.physics.render(PIXELS, PIXELS, camera_id=camera, **options)

    return step


def disable_effects(env: Any) -> dict[str, Any]:
    """Turn multisampling off; return the options of `render` that turn off the other effects."""
    import mujoco

    env.physics.model.vis.quality.offsamples = 0
    off = ("SHADOW", "REFLECTION", "SKYBOX", "HAZE")
    return {"render_flag_overrides": {getattr(mujoco.mjtRndFlag, f"mjRND_{n}"): False for n in off}}


def several(task: str) -> Callable[[], object]:
    """Return a function that makes one decision in each of ASYNC_WORKERS processes."""
    options = {"image_size": PIXELS, "action_repeat": REPEAT}
    env = envs.make(f"dm_control:{task}", ASYNC_WORKERS, threads=ASYNC_WORKERS, **options)
    env.reset()
    turns = itertools.cycle(torch.rand(16, *env.action_space.shape) * 2 - 1)
    return lambda: env.step(next(turns))


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    asked = settings.load(argv, DmControlConfig, "benchmarks.dm_control")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    alone = asked.variant != "async"
    step = single(asked.task, asked.variant == "fast") if alone else several(asked.task)
    wall, cpu = mean_seconds(step, asked.seconds)
    count = 1 if alone else ASYNC_WORKERS
    print(count / wall, cpu / count)


if __name__ == "__main__":
    run_command(main)
