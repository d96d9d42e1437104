"""One camera's pictures of batched worlds by mujoco-warp's ray tracer, on any device of Warp's."""

import mujoco
import numpy as np
import warp as wp
from torch import Tensor

import envs.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)
from envs.sky import draw_sky, is_still

import mujoco_warp as mjw  # isort: skip

GOLDEN = (5**0.5 - 1) / 2


@wp.kernel(enable_backward=False)
def _average(
    packed: wp.array2d[wp.uint32], sky: wp.array[wp.uint32], rays: int, rgb: wp.array4d[wp.uint8]
):
    """The rays of pixels, packed 0xAARRGGBB, (N, rays*H*W), to their means, planes (N, 3, H, W).
    Where a ray's alpha is 0 it met nothing, and the sky (rays*H*W) has its colour."""
    world, y, x = wp.tid()
    pixels = rgb.shape[2] * rgb.shape[3]
    pixel = y * rgb.shape[3] + x
    red = wp.uint32(rays // 2)  # so that the division rounds
    green = red
    blue = red
    for ray in range(rays):
        value = packed[world, ray * pixels + pixel]
        if value >> wp.uint32(24) == wp.uint32(0):
            value = sky[ray * pixels + pixel]
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


class RayTracer:
    """Draws the worlds of a mujoco-warp model and data, on Warp's current device.

    mujoco-warp's own picture is (rays*H, W): one of H rows for the first ray of every pixel, below
    it one for the second, and so on. A pixel's rays are `rooks` of the picture (rays*H, rays*W).

    Args:
        rgb: where the pictures go, uint8 (N, 3, H, W).
        camera: index of the model's camera.
        rays: how many a pixel.
        geoms: keep which geom each ray met, too.
    """

    def __init__(self, model: mujoco.MjModel, rgb: wp.array, camera: int, rays: int, geoms: bool):
        worlds, _, height, width = rgb.shape
        self.rgb, self.rays, still = rgb, rays, is_still(model, camera)
        self._context = context = _context(
            model, worlds, (rays * height, width), camera, geoms, not still
        )
        if rays > 1:
            fine = _context(model, 1, (rays * height, rays * width), camera, False, False)
            for name in ("ray", "ray_offset"):
                every = getattr(fine, name).numpy().reshape(height, rays, width, rays, 3)
                chosen = np.stack([every[:, row, :, column] for row, column in rooks(rays)])
                getattr(context, name).assign(chosen.reshape(-1, 3))  # from (rays, H, W, 3)
        everywhere = context.rgb_data[0]  # not looked at, where every ray has its colour
        self._sky = draw_sky(model, camera, context.ray.numpy()) if still else everywhere

    def draw(self, model, data) -> None:
        """Writes the pictures of mujoco-warp's data."""
        mjw.refit_bvh(model, data, self._context)
        mjw.render(model, data, self._context)
        worlds, _, height, width = self.rgb.shape
        inputs = [self._context.rgb_data, self._sky, self.rays, self.rgb]
        wp.launch(_average, dim=(worlds, height, width), inputs=inputs)

    @property
    def geoms(self) -> Tensor:
        """Which geom pixels' first rays met last, a view (N, H, W) of integers; -1 is the sky."""
        worlds, _, height, width = self.rgb.shape
        every = wp.to_torch(self._context.seg_data).view(worlds, self.rays, height, width, 2)
        return every[:, 0, ..., 0]


def _context(
    model: mujoco.MjModel, worlds: int, size: tuple[int, int], camera: int, geoms: bool, sky: bool
):
    """mujoco-warp's buffers for pictures of a size (H, W); without the sky its alpha is 0."""
    return mjw.create_render_context(
        model,
        nworld=worlds,
        cam_res=(size[1], size[0]),
        cam_active=[camera],
        render_rgb=True,
        render_depth=False,
        render_seg=geoms,
        render_skybox=sky,
        background_color=(0.0, 0.0, 0.0, 0.0),
        use_shadows=True,
        enable_emission=bool(model.mat_emission.any()),  # leave out what would add nothing
        enable_per_light_ambient=bool(model.light_ambient.any()),
    )
