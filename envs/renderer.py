"""Pictures of batched worlds by ray tracing: no OpenGL, no display, on the CPU as on CUDA."""

import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
import warp as wp
from torch import Tensor

import envs.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)
from envs.ray_tracer import RayTracer

import mujoco_warp as mjw  # isort: skip

# What a picture depends on besides the model: where geoms, cameras and lights are.
POSES = ("geom_xpos", "geom_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir")


@contextlib.contextmanager
def announced(what: str, after_seconds: float = 2.5):
    """Says on stderr that `what` is being prepared, if it takes long enough to wonder."""
    where = wp.config.kernel_cache_dir
    line = f"envs: preparing {what}; compiled on first use, then kept in {where}."
    timer = threading.Timer(after_seconds, print, (line,), {"file": sys.stderr, "flush": True})
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Chunk:
    """The pictures of some consecutive worlds, drawn by one thread on the CPU.

    Args:
        poses: POSES of these worlds, live views of the engine's fields.
        rgb: where the pictures go, uint8 (n, 3, H, W).
        rays: how many a pixel.
        geoms: where the geoms that the first rays met go, int32 (n, H, W); None if nobody asks.
    """

    def __init__(
        self, model, camera: int, rays: int, poses: dict[str, Tensor], rgb: Tensor,
        geoms: Tensor | None,
    ):
        worlds = len(rgb)
        with wp.ScopedDevice("cpu"):
            self.model = mjw.put_model(model)
            self.data = mjw.make_data(model, nworld=worlds, nconmax=1, njmax=1)
            self.tracer = RayTracer(model, wp.from_torch(rgb), camera, rays, geoms is not None)
        targets = {name: wp.to_torch(getattr(self.data, name)) for name in POSES}
        self.copies = [(targets[k], poses[k].view(targets[k].shape)) for k in POSES]
        self.met = [] if geoms is None else [(geoms, self.tracer.geoms)]

    def draw(self) -> None:
        """Draws the worlds as they stand now, where Warp's device is the CPU."""
        for target, source in self.copies:
            target.copy_(source)
        self.tracer.draw(self.model, self.data)
        for target, source in self.met:
            target.copy_(source)


class CpuRenderer:
    """Pictures of the worlds of a CPU engine, drawn in chunks by a pool of threads.

    Warp's CPU kernels run on one thread each but release Python's lock, so that a few chunks
    keep a few cores busy. The pixels do not depend on the number of threads.

    Args:
        engine: whose worlds to draw.
        size: (H, W) in pixels.
        camera: index of the model's camera.
        threads: how many chunks and threads.
        rays: how many a pixel; it is their mean.
        geoms: keep in `geoms`, int32 (N, H, W), which geom each pixel's first ray met; -1 is the
            sky.
    """

    def __init__(
        self, engine, size: tuple[int, int], camera: int, threads: int, rays: int,
        geoms: bool = False,
    ):
        self.rgb = torch.zeros((engine.num_worlds, 3, *size), dtype=torch.uint8)
        self.geoms = torch.zeros((engine.num_worlds, *size), dtype=torch.int32) if geoms else None
        self._owner = torch.empty(engine.num_worlds, dtype=torch.long)  # the chunk of a world
        self._chunks, self._pool = [], None
        with announced("the ray tracer for the CPU (5 to 10 seconds)"):
            for worlds in torch.arange(engine.num_worlds).chunk(threads):
                part = slice(int(worlds[0]), int(worlds[-1]) + 1)
                poses = {name: getattr(engine, name)[part] for name in POSES}
                self._owner[part] = len(self._chunks)
                met = self.geoms[part] if geoms else None
                rgb = self.rgb[part]
                self._chunks.append(Chunk(engine.model, camera, rays, poses, rgb, met))
            self._draw(self._chunks[:1])  # compiles
        if len(self._chunks) > 1:
            self._pool = ThreadPoolExecutor(len(self._chunks))
        self._draw(self._chunks[1:])

    def draw(self, changed: Tensor | None = None) -> Tensor:
        """Draws all worlds, or at least those whose mask in `changed` (N,) is set.

        Returns:
            The renderer's own buffer, uint8 (N, 3, H, W): copy what should outlive the next call.
        """
        chunks = self._chunks
        if changed is not None:
            chunks = [chunks[i] for i in self._owner[changed].unique().tolist()]
        self._draw(chunks)
        return self.rgb

    def _draw(self, chunks: list[Chunk]) -> None:
        """Warp's device is one for all threads, so it is not theirs to set."""
        with wp.ScopedDevice("cpu"):
            list((self._pool.map if len(chunks) > 1 else map)(Chunk.draw, chunks))

    def use(self, name: str, values: Tensor) -> None:
        """Draws with the worlds' own values (N, count, 3 or 4) of a model's colours or lights."""
        dtype = wp.vec4 if values.shape[-1] == 4 else wp.vec3
        counts = [chunk.data.nworld for chunk in self._chunks]
        for chunk, part in zip(self._chunks, values.split(counts), strict=True):
            setattr(chunk.model, name, wp.from_torch(part, dtype=dtype))

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class WarpRenderer:
    """Pictures of the worlds of a warp engine, drawn where its physics runs.

    Args:
        engine: a WarpEngine.
        size: (H, W) in pixels.
        camera: index of the model's camera.
        rays: how many a pixel; it is their mean.
        geoms: keep in `geoms`, int32 (N, H, W), which geom each pixel's first ray met; -1 is the
            sky.
    """

    def __init__(
        self, engine, size: tuple[int, int], camera: int, rays: int, geoms: bool = False
    ):
        self._engine = engine
        device = str(engine.device)
        with wp.ScopedDevice(device), announced(f"the ray tracer for {device}"):
            model, worlds = engine.model, engine.num_worlds
            rgb = wp.zeros((worlds, 3, *size), dtype=wp.uint8)
            self._tracer = RayTracer(model, rgb, camera, rays, geoms)
            self.rgb = wp.to_torch(rgb)
            self.geoms = self._tracer.geoms if geoms else None
            engine.programs.eager(self._draw)

    def _draw(self) -> None:
        self._tracer.draw(self._engine.warp_model, self._engine.data)

    def draw(self, changed: Tensor | None = None) -> Tensor:
        """Draws all worlds, whatever `changed` says: mujoco-warp cannot draw only some.

        Returns:
            The renderer's own buffer, uint8 (N, 3, H, W): copy what should outlive the next call.
        """
        self._engine.programs.run(("draw", id(self)), self._draw)
        return self.rgb

    def use(self, name: str, values: Tensor) -> None:
        """Draws with the worlds' own values (N, count, 3 or 4) of a model's colours or lights."""
        dtype = wp.vec4 if values.shape[-1] == 4 else wp.vec3
        setattr(self._engine.warp_model, name, wp.from_torch(values, dtype=dtype))
        self._engine.programs.forget()

    def close(self) -> None:
        """Nothing to end."""
