"""One camera's images of batched environments by mujoco-warp's ray tracer, on any Warp device."""

# Warp compiles kernels from their text: Python's types do not apply to them.
# pyright: reportAssignmentType=false, reportGeneralTypeIssues=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false

from typing import Any

import mujoco
import numpy as np
import warp as wp
from torch import Tensor

import envs.engines.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)
from envs.rendering.sky import draw_sky, is_still

import mujoco_warp as mjw  # isort: skip

GOLDEN_RATIO = (5**0.5 - 1) / 2


@wp.kernel(enable_backward=False)
def _average(
    packed: wp.array2d[wp.uint32],
    sky: wp.array[wp.uint32],
    samples: int,
    rgb: wp.array4d[wp.uint8],
):
    """Average the rays of each pixel: packed 0xAARRGGBB (N, samples*H*W) to planes (N, 3, H, W).

    A ray whose alpha is 0 met nothing and gets the colour of the sky (samples*H*W).
    """
    env, y, x = wp.tid()
    pixels = rgb.shape[2] * rgb.shape[3]
    pixel = y * rgb.shape[3] + x
    red = wp.uint32(samples // 2)  # so that the division rounds
    green = red
    blue = red
    for ray in range(samples):
        value = packed[env, ray * pixels + pixel]
        if value >> wp.uint32(24) == wp.uint32(0):
            value = sky[ray * pixels + pixel]
        red += (value >> wp.uint32(16)) & wp.uint32(255)
        green += (value >> wp.uint32(8)) & wp.uint32(255)
        blue += value & wp.uint32(255)
    count = wp.uint32(samples)
    rgb[env, 0, y, x] = wp.uint8(red // count)
    rgb[env, 1, y, x] = wp.uint8(green // count)
    rgb[env, 2, y, x] = wp.uint8(blue // count)


def rooks(samples: int) -> list[tuple[int, int]]:
    """Return where rays pass through a pixel: row and column of a grid of samples x samples.

    Like rooks that do not attack each other, no two share a row or a column, so that an edge near
    the vertical or the horizontal has as many shades as possible (n-rooks sampling, Shirley 1991).
    The order of the columns is that of multiples of the golden ratio; four samples are the
    rotated grid of graphics cards.
    """
    places = [(0.5 + column * GOLDEN_RATIO) % 1.0 for column in range(samples)]
    return [(sorted(places).index(place), column) for column, place in enumerate(places)]


class RayTracer:
    """Renders the environments of a mujoco-warp model and data, on Warp's current device.

    mujoco-warp's own image is (samples*H, W): H rows for the first ray of every pixel, below them
    H rows for the second, and so on. A pixel's rays are `rooks` of the image
    (samples*H, samples*W).

    Args:
        model: the compiled model.
        rgb: where the images go, uint8 (N, 3, H, W).
        camera: index of the model's camera.
        samples: rays that each pixel averages.
        geoms: also keep the geom that each ray meets.
    """

    def __init__(
        self, model: mujoco.MjModel, rgb: wp.array, camera: int, samples: int, geoms: bool
    ):
        num_envs, _, height, width = rgb.shape
        self.rgb, self.samples, still = rgb, samples, is_still(model, camera)
        size = (samples * height, width)
        self._context = context = _context(model, num_envs, size, camera, geoms, not still)
        if samples > 1:
            fine = _context(model, 1, (samples * height, samples * width), camera, False, False)
            for name in ("ray", "ray_offset"):
                grid = getattr(fine, name).numpy().reshape(height, samples, width, samples, 3)
                chosen = np.stack([grid[:, row, :, column] for row, column in rooks(samples)])
                getattr(context, name).assign(chosen.reshape(-1, 3))  # from (samples, H, W, 3)
        unused = context.rgb_data[0]  # where the sky is rendered in every image
        self._sky = draw_sky(model, camera, context.ray.numpy()) if still else unused

    def render(self, model: Any, data: Any) -> None:
        """Write the images of mujoco-warp's model and data."""
        mjw.refit_bvh(model, data, self._context)
        mjw.render(model, data, self._context)
        num_envs, _, height, width = self.rgb.shape
        inputs = [self._context.rgb_data, self._sky, self.samples, self.rgb]
        wp.launch(_average, dim=(num_envs, height, width), inputs=inputs)

    @property
    def geoms(self) -> Tensor:
        """Geoms that pixels' first rays met last, an int32 view (N, H, W); -1 is the sky."""
        num_envs, _, height, width = self.rgb.shape
        met = wp.to_torch(self._context.seg_data).view(num_envs, self.samples, height, width, 2)
        return met[:, 0, ..., 0]


def _context(
    model: mujoco.MjModel, num_envs: int, size: tuple[int, int], camera: int, geoms: bool, sky: bool
) -> Any:
    """Make mujoco-warp's buffers for images of a size (H, W); without the sky its alpha is 0."""
    return mjw.create_render_context(
        model,
        nworld=num_envs,
        cam_res=(size[1], size[0]),
        cam_active=[camera],
        render_rgb=True,
        render_depth=False,
        render_seg=geoms,
        render_skybox=sky,
        background_color=(0.0, 0.0, 0.0, 0.0),
        use_shadows=True,
        enable_emission=bool(model.mat_emission.any()),  # leave out terms that are zero
        enable_per_light_ambient=bool(model.light_ambient.any()),
    )
