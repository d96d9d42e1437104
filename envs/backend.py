"""Which engine steps the worlds and which renderer draws them."""

import mujoco
import torch

from envs.checks import one_of
from envs.engine import Engine
from envs.engine_cpu import CpuEngine
from envs.renderer import CpuRenderer, WarpRenderer, announced
from envs.suite.task import Task


def make_engine(
    name: str | None, model: mujoco.MjModel, num_worlds: int, device: torch.device, task: Task
) -> Engine:
    """The engine called "c" or "warp"; None for the one that suits the device.

    Raises:
        ValueError: an unknown engine, or one that does not run on the device or carry the task.
    """
    name = name or {"cpu": "c", "cuda": "warp"}[device.type]
    if one_of("engine", name, ("c", "warp")) not in task.engines:
        raise ValueError(
            f"{type(task).__name__} does not run on engine={name!r}: give device='cpu' and "
            f"engine={task.engines[0]!r}."
        )
    if name == "c":
        if device.type != "cpu":
            raise ValueError("engine='c' runs on the CPU only: give device='cpu' or 'warp'.")
        return CpuEngine(model, num_worlds)
    from envs.engine_warp import WarpEngine  # takes a while to import: only when asked for

    with announced(f"the physics for {device} (a minute or more)"):
        return WarpEngine(model, num_worlds, device, task.needs_contacts, task.needs_rows)


def make_renderer(
    engine: Engine, size: tuple[int, int], camera: int, threads: int, rays: int,
    geoms: bool = False,
):
    """What draws the engine's worlds; `threads` matter to the C engine only.

    Args:
        rays: how many a pixel; it is their mean.
        geoms: keep which geom each pixel's first ray met, too.
    """
    if isinstance(engine, CpuEngine):
        return CpuRenderer(engine, size, camera, threads, rays, geoms)
    return WarpRenderer(engine, size, camera, rays, geoms)
