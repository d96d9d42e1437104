"""The engine that steps the environments and the renderer that draws them, by name and device."""

import mujoco
import torch

from envs.checks import one_of
from envs.engines.base import Engine
from envs.engines.cpu import CpuEngine
from envs.rendering.renderer import CpuRenderer, WarpRenderer, announce_compilation
from envs.suite.task import Task


def make_engine(
    name: str | None, model: mujoco.MjModel, num_envs: int, device: torch.device, task: Task
) -> Engine:
    """Make the engine called "c" or "warp"; None chooses by the device.

    Raises:
        ValueError: the engine is unknown, or cannot run on the device or run the task.
    """
    name = name or {"cpu": "c", "cuda": "warp"}[device.type]
    if one_of("engine", name, ("c", "warp")) not in task.engines:
        raise ValueError(
            f"{type(task).__name__} does not run on engine={name!r}: give device='cpu' and "
            f"engine={task.engines[0]!r}."
        )
    if name == "c":
        if device.type != "cpu":
            raise ValueError("engine='c' runs on the CPU only: give device='cpu' or engine='warp'.")
        return CpuEngine(model, num_envs)
    from envs.engines.warp import WarpEngine  # slow to import

    with announce_compilation(f"the physics for {device} (a minute or more)"):
        return WarpEngine(model, num_envs, device, task.needs_contacts, task.needs_rows)


def make_renderer(
    engine: Engine,
    size: tuple[int, int],
    camera: int,
    threads: int,
    samples: int,
    geoms: bool = False,
) -> CpuRenderer | WarpRenderer:
    """Make the renderer of an engine's environments.

    Args:
        engine: the engine.
        size: (H, W) in pixels.
        camera: index of the model's camera.
        threads: number of rendering threads, for the C engine.
        samples: rays that each pixel averages.
        geoms: also keep the geom that each pixel's first ray meets.
    """
    if isinstance(engine, CpuEngine):
        return CpuRenderer(engine, size, camera, threads, samples, geoms)
    return WarpRenderer(engine, size, camera, samples, geoms)
