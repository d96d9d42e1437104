"""Images of batched environments by ray tracing: no OpenGL and no display, on CPU and CUDA."""

import contextlib
import gc
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import mujoco
import torch
import warp as wp
from torch import Tensor

import envs.engines.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)
from envs.engines.base import Engine
from envs.rendering.ray_tracer import RayTracer

import mujoco_warp as mjw  # isort: skip

# Fields that an image depends on besides the model: poses of geoms, cameras and lights.
POSES = ("geom_xpos", "geom_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir")


class Renderer(Protocol):
    """Images of one camera of N environments.

    Attributes:
        rgb: the latest images, uint8 (N, 3, H, W), overwritten by the next `render`.
        geoms: the geom that each pixel's first ray meets, int32 (N, H, W), -1 for the sky; None
            unless asked for.
    """

    rgb: Tensor
    geoms: Tensor | None

    def render(self, changed: Tensor | None = None) -> Tensor:
        """Render at least the environments whose mask in `changed` (N,) is set; None for all.

        Returns:
            `rgb`: copy what must outlive the next call.
        """
        ...

    def set_field(self, name: str, values: Tensor) -> None:
        """Render with each environment's own colours or lights, values (N, count, 3 or 4)."""

    def close(self) -> None:
        """End the rendering threads."""


@contextlib.contextmanager
def announce_compilation(what: str, after_seconds: float = 2.5) -> Iterator[None]:
    """Print on stderr that `what` is being prepared, if it takes longer than `after_seconds`."""
    where = wp.config.kernel_cache_dir
    line = f"envs: preparing {what}; compiled on first use, then kept in {where}."
    timer = threading.Timer(after_seconds, print, (line,), {"file": sys.stderr, "flush": True})
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Chunk:
    """Images of some consecutive environments, rendered by one thread on the CPU.

    Args:
        model: the compiled model.
        camera: index of its camera.
        samples: rays that each pixel averages.
        poses: POSES of these environments, live views of the engine's fields.
        rgb: where the images go, uint8 (n, 3, H, W).
        geoms: where the geoms that the first rays meet go, int32 (n, H, W); None to leave out.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        camera: int,
        samples: int,
        poses: dict[str, Tensor],
        rgb: Tensor,
        geoms: Tensor | None,
    ):
        with wp.ScopedDevice("cpu"):
            self.model = mjw.put_model(model)
            self.data = mjw.make_data(model, nworld=len(rgb), nconmax=1, njmax=1)
            output = wp.from_torch(rgb)
            self.tracer = RayTracer(model, output, camera, samples, geoms is not None)
        targets = {name: wp.to_torch(getattr(self.data, name)) for name in POSES}
        self.inputs = [(targets[k], poses[k].view(targets[k].shape)) for k in POSES]
        self.outputs = [] if geoms is None else [(geoms, self.tracer.geoms)]

    def render(self) -> None:
        """Render the current poses; Warp's device must be the CPU."""
        for target, source in self.inputs:
            target.copy_(source)
        self.tracer.render(self.model, self.data)
        for target, source in self.outputs:
            target.copy_(source)


class CpuRenderer:
    """Images of a CPU engine's environments, rendered in chunks by a pool of threads.

    Warp's CPU kernels run on one thread each but release Python's lock, so that a few chunks
    keep a few cores busy. The pixels do not depend on the number of threads.

    Args:
        engine: the engine.
        size: (H, W) in pixels.
        camera: index of the model's camera.
        threads: number of chunks and threads.
        samples: rays that each pixel averages.
        geoms: also keep the geom that each pixel's first ray meets.
    """

    def __init__(
        self,
        engine: Engine,
        size: tuple[int, int],
        camera: int,
        threads: int,
        samples: int,
        geoms: bool = False,
    ):
        num_envs = engine.num_envs
        self.rgb = torch.zeros((num_envs, 3, *size), dtype=torch.uint8)
        self.geoms = torch.zeros((num_envs, *size), dtype=torch.int32) if geoms else None
        self._chunk_of = torch.empty(num_envs, dtype=torch.long)  # index of an environment's chunk
        self._chunks: list[Chunk] = []
        self._pool = None
        with announce_compilation("the ray tracer for the CPU (5 to 10 seconds)"):
            for env_ids in torch.arange(num_envs).chunk(threads):
                part = slice(int(env_ids[0]), int(env_ids[-1]) + 1)
                poses = {name: getattr(engine, name)[part] for name in POSES}
                met = None if self.geoms is None else self.geoms[part]
                self._chunk_of[part] = len(self._chunks)
                chunk = Chunk(engine.model, camera, samples, poses, self.rgb[part], met)
                self._chunks.append(chunk)
            for chunk in self._chunks:  # one by one: mujoco-warp builds a chunk's kernel in its
                self._render([chunk])  # first rendering, and two threads would mix kernels up
        if len(self._chunks) > 1:
            self._pool = ThreadPoolExecutor(len(self._chunks))

    def render(self, changed: Tensor | None = None) -> Tensor:
        """Render as `Renderer.render`: here, the chunks with a changed environment."""
        chunks = self._chunks
        if changed is not None:
            chunks = [chunks[i] for i in self._chunk_of[changed].unique().tolist()]
        self._render(chunks)
        return self.rgb

    def _render(self, chunks: list[Chunk]) -> None:
        """Render chunks; all threads share one Warp device, so it is set here."""
        with wp.ScopedDevice("cpu"):
            if self._pool is None or len(chunks) == 1:
                for chunk in chunks:
                    chunk.render()
            else:
                list(self._pool.map(Chunk.render, chunks))

    def set_field(self, name: str, values: Tensor) -> None:
        """Render with each environment's own colours or lights, values (N, count, 3 or 4)."""
        dtype = wp.vec4 if values.shape[-1] == 4 else wp.vec3
        counts = [chunk.data.nworld for chunk in self._chunks]
        for chunk, part in zip(self._chunks, values.split(counts), strict=True):
            setattr(chunk.model, name, wp.from_torch(part, dtype=dtype))

    def close(self) -> None:
        """End the rendering threads; later images are rendered in the caller's.

        mujoco-warp builds a kernel for each chunk, whose code refers to itself: the memory of
        environments that were closed and forgotten is collected here.
        """
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        gc.collect()


class WarpRenderer:
    """Images of a warp engine's environments, rendered where its physics runs.

    Args:
        engine: a WarpEngine.
        size: (H, W) in pixels.
        camera: index of the model's camera.
        samples: rays that each pixel averages.
        geoms: also keep the geom that each pixel's first ray meets.
    """

    def __init__(
        self, engine: Any, size: tuple[int, int], camera: int, samples: int, geoms: bool = False
    ):
        self._engine = engine
        device = str(engine.device)
        with wp.ScopedDevice(device), announce_compilation(f"the ray tracer for {device}"):
            rgb = wp.zeros((engine.num_envs, 3, *size), dtype=wp.uint8)
            self._tracer = RayTracer(engine.model, rgb, camera, samples, geoms)
            self.rgb: Tensor = wp.to_torch(rgb)
            self.geoms = self._tracer.geoms if geoms else None
            engine.graphs.run_eagerly(self._render)

    def _render(self) -> None:
        self._tracer.render(self._engine.warp_model, self._engine.data)

    def render(self, changed: Tensor | None = None) -> Tensor:
        """Render as `Renderer.render`: here all, since mujoco-warp cannot render only some."""
        self._engine.graphs.run(("render", id(self)), self._render)
        return self.rgb

    def set_field(self, name: str, values: Tensor) -> None:
        """Render with each environment's own colours or lights, values (N, count, 3 or 4)."""
        dtype = wp.vec4 if values.shape[-1] == 4 else wp.vec3
        setattr(self._engine.warp_model, name, wp.from_torch(values, dtype=dtype))
        self._engine.graphs.clear()

    def close(self) -> None:
        """Do nothing: the engine owns no threads."""
