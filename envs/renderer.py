"""Pictures of batched worlds by ray tracing: no OpenGL, no display, on the CPU as on CUDA."""

import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import torch
import warp as wp
from torch import Tensor

import envs.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)

import mujoco_warp as mjw  # isort: skip

# What a picture depends on besides the model: where geoms, cameras and lights are.
POSES = ("geom_xpos", "geom_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir")
GOLDEN = (5**0.5 - 1) / 2


@wp.kernel(enable_backward=False)
def _average(packed: wp.array2d[wp.uint32], rays: int, rgb: wp.array4d[wp.uint8]):
    """The rays of pixels, packed 0xAARRGGBB, (N, rays*H*W), to their means, planes (N, 3, H, W)."""
    world, y, x = wp.tid()
    pixels = rgb.shape[2] * rgb.shape[3]
    pixel = y * rgb.shape[3] + x
    red = wp.uint32(rays // 2)  # so that the division rounds
    green = red
    blue = red
    for ray in range(rays):
        value = packed[world, ray * pixels + pixel]
        red += (value >> wp.uint32(16)) & wp.uint32(255)
        green += (value >> wp.uint32(8)) & wp.uint32(255)
        blue += value & wp.uint32(255)
    count = wp.uint32(rays)
    rgb[world, 0, y, x] = wp.uint8(red // count)
    rgb[world, 1, y, x] = wp.uint8(green // count)
    rgb[world, 2, y, x] = wp.uint8(blue // count)


def rooks(rays: int) -> list[tuple[int, int]]:
    """Where rays pass through a pixel: row and column of a grid of rays x rays, like rooks that do
    not attack each other, so that an edge near the vertical or the horizontal has as many shades
    as it can. The columns' order is that of multiples of the golden ratio; four are the rotated
    grid of graphics cards (Shirley 1991 calls such samples n-rooks).
    """
    places = [(0.5 + column * GOLDEN) % 1.0 for column in range(rays)]
    return [(sorted(places).index(place), column) for column, place in enumerate(places)]


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


def ray_tracer(
    model: mujoco.MjModel, num_worlds: int, size: tuple[int, int], camera: int, rays: int,
    geoms: bool,
):
    """mujoco-warp's render context for one camera, on Warp's current device.

    Its picture is (rays*H, W): one of H rows for the first ray of every pixel, below it one for
    the second, and so on. A pixel's rays are `rooks` of the picture (rays*H, rays*W).

    Args:
        size: (H, W) in pixels.
        rays: how many a pixel.
        geoms: keep which geom each ray met, too.
    """
    height, width = size
    context = _context(model, num_worlds, (rays * height, width), camera, geoms)
    if rays > 1:
        fine = _context(model, 1, (rays * height, rays * width), camera, False)
        for name in ("ray", "ray_offset"):
            every = getattr(fine, name).numpy().reshape(height, rays, width, rays, 3)
            chosen = np.stack([every[:, row, :, column] for row, column in rooks(rays)])
            getattr(context, name).assign(chosen.reshape(-1, 3))  # from (rays, H, W, 3)
    return context


def _context(
    model: mujoco.MjModel, num_worlds: int, size: tuple[int, int], camera: int, geoms: bool
):
    return mjw.create_render_context(
        model,
        nworld=num_worlds,
        cam_res=(size[1], size[0]),
        cam_active=[camera],
        render_rgb=True,
        render_depth=False,
        render_seg=geoms,
        render_skybox=True,
        use_shadows=True,
        enable_emission=bool(model.mat_emission.any()),  # leave out what would add nothing
        enable_per_light_ambient=bool(model.light_ambient.any()),
    )


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
        worlds, _, height, width = rgb.shape
        self.rgb, self.rays = wp.from_torch(rgb), rays
        with wp.ScopedDevice("cpu"):
            self.model = mjw.put_model(model)
            self.data = mjw.make_data(model, nworld=worlds, nconmax=1, njmax=1)
            size, wanted = (height, width), geoms is not None
            self.context = ray_tracer(model, worlds, size, camera, rays, wanted)
        targets = {name: wp.to_torch(getattr(self.data, name)) for name in POSES}
        self.copies = [(targets[k], poses[k].view(targets[k].shape)) for k in POSES]
        self.met = [] if geoms is None else [(geoms, _geoms(self.context, rgb, rays))]

    def draw(self) -> None:
        """Draws the worlds as they stand now."""
        for target, source in self.copies:
            target.copy_(source)
        with wp.ScopedDevice("cpu"):
            mjw.refit_bvh(self.model, self.data, self.context)
            mjw.render(self.model, self.data, self.context)
            average(self.context, self.rays, self.rgb)
        for target, source in self.met:
            target.copy_(source)


def average(context, rays: int, rgb: wp.array) -> None:
    """Writes the means of a context's rays, uint8 (N, 3, H, W)."""
    worlds, _, height, width = rgb.shape
    wp.launch(_average, dim=(worlds, height, width), inputs=[context.rgb_data, rays, rgb])


def _geoms(context, rgb: Tensor, rays: int) -> Tensor:
    """Which geom pixels' first rays met last, a view (N, H, W) of integers; -1 is the sky."""
    worlds, _, height, width = rgb.shape
    return wp.to_torch(context.seg_data).view(worlds, rays, height, width, 2)[:, 0, ..., 0]


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
        self._chunks = []
        with announced("the ray tracer for the CPU (about 5 seconds)"):
            for worlds in torch.arange(engine.num_worlds).chunk(threads):
                part = slice(int(worlds[0]), int(worlds[-1]) + 1)
                poses = {name: getattr(engine, name)[part] for name in POSES}
                self._owner[part] = len(self._chunks)
                met = self.geoms[part] if geoms else None
                rgb = self.rgb[part]
                self._chunks.append(Chunk(engine.model, camera, rays, poses, rgb, met))
                self._chunks[-1].draw()
        self._pool = ThreadPoolExecutor(len(self._chunks)) if len(self._chunks) > 1 else None

    def draw(self, changed: Tensor | None = None) -> Tensor:
        """Draws all worlds, or at least those whose mask in `changed` (N,) is set.

        Returns:
            The renderer's own buffer, uint8 (N, 3, H, W): copy what should outlive the next call.
        """
        chunks = self._chunks
        if changed is not None:
            chunks = [chunks[i] for i in self._owner[changed].unique().tolist()]
        if len(chunks) == 1 or self._pool is None:
            for chunk in chunks:
                chunk.draw()
        else:
            list(self._pool.map(Chunk.draw, chunks))
        return self.rgb

    def use(self, name: str, values: Tensor) -> None:
        """Draws with the worlds' own values (N, count, 3 or 4) of a model's colours or lights."""
        dtype = wp.vec4 if values.shape[-1] == 4 else wp.vec3
        counts = [len(chunk.rgb) for chunk in self._chunks]
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
        self._engine, self._rays = engine, rays
        device = str(engine.device)
        with wp.ScopedDevice(device), announced(f"the ray tracer for {device}"):
            model, worlds = engine.model, engine.num_worlds
            self._context = ray_tracer(model, worlds, size, camera, rays, geoms)
            self._rgb = wp.zeros((engine.num_worlds, 3, *size), dtype=wp.uint8)
            self.rgb = wp.to_torch(self._rgb)
            self.geoms = _geoms(self._context, self.rgb, rays) if geoms else None
            engine.programs.eager(self._draw)

    def _draw(self) -> None:
        engine = self._engine
        mjw.refit_bvh(engine.warp_model, engine.data, self._context)
        mjw.render(engine.warp_model, engine.data, self._context)
        average(self._context, self._rays, self._rgb)

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
