"""A moving image behind each environment's scene: a distractor independent of the task.

Where a ray meets the sky or the floor, the rendered colour is mixed with that of a few plane waves
that cross the image. All arithmetic is in integers, so that a pixel depends only on the rendered
one, the episode and its frame, whatever the device and the number of environments.
"""

from collections.abc import Callable

import mujoco
import torch
from torch import Tensor

from envs.engines.episode_rng import EpisodeRng
from envs.rendering.renderer import Renderer

STREAM = 2  # of each episode's random numbers; 0 is the task's, 1 that of colours and cameras
WAVES = 4  # in an image
STEPS = 1024  # along a side of an image, whatever its size in pixels
TURN = 65536  # steps of a full phase
CYCLES = 2.5  # most cycles of a wave along a side of an image
FRAMES = (40.0, 200.0)  # control steps in which a wave moves by its length
OPAQUE = 256


class Backdrop:
    """The waves behind the environments' scenes, by their episodes' seeds.

    A wave is a triangle between 0 and 1 of the phase
    (cycles_x x + cycles_y y + speed t + start) mod 1, with x and y in images and t in frames;
    a colour is 1/2 + sum_k weight_k (wave_k - 1/2), clamped to [0, 1].

    Args:
        model: its planes that are fixed to the world are the floor.
        num_envs: N.
        device: where the images are.
        sky: opacity of the backdrop before the sky, in [0, 1].
        floor: opacity of the backdrop before the floor, in [0, 1].
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_envs: int,
        device: torch.device | str,
        sky: float,
        floor: float,
    ):
        planes = torch.as_tensor(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
        fixed = torch.as_tensor(model.body_weldid[model.geom_bodyid] == 0)
        opacity = torch.zeros(model.ngeom + 1, dtype=torch.int32)  # a ray that meets none has -1
        opacity[:-1][planes & fixed] = round(OPAQUE * floor)
        opacity[-1] = round(OPAQUE * sky)
        self._opacity = opacity.to(device)
        shape = (num_envs, WAVES, 4)  # steps of phase for x, y, t and the start
        self._phase = torch.zeros(shape, dtype=torch.int32, device=device)
        self._weight = torch.zeros((num_envs, WAVES, 3), dtype=torch.int32, device=device)

    def randomize(self, env_ids: Tensor, seeds: Tensor, episodes: Tensor) -> None:
        """Give environments (K,) the waves of their episodes."""
        rng = EpisodeRng(seeds, episodes, env_ids.device, torch.float64, STREAM)
        cycles = rng.uniform(-CYCLES, CYCLES, WAVES, 2) * (TURN // STEPS)
        speed = TURN / rng.uniform(*FRAMES, WAVES, 1)
        start = rng.uniform(0, TURN, WAVES, 1)
        self._phase[env_ids] = torch.cat([cycles, speed, start], 2).int()
        self._weight[env_ids] = rng.uniform(-OPAQUE, OPAQUE, WAVES, 3).int()

    def image(self, frames: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the environments' backdrops, int32 (N, 3, H, W) in [0, 255].

        Args:
            frames: control steps since the start of each episode, int32 (N,).
            size: (H, W) in pixels.
        """
        y, x = (torch.arange(n, device=frames.device).int() * STEPS // n for n in size)
        color = frames.new_full((len(frames), 3, *size), TURN // 4)  # in units of 2/TURN
        for wave in range(WAVES):
            along_x, along_y, speed, start = self._phase[:, wave, :, None, None].unbind(1)
            now = start + speed * frames[:, None, None]  # (N, 1, 1)
            phase = (along_x * x + along_y * y[:, None] + now) % TURN  # (N, H, W)
            triangle = (phase - TURN // 2).abs() - TURN // 4  # in [-TURN/4, TURN/4]
            color += self._weight[:, wave, :, None, None] * triangle[:, None] // OPAQUE
        return (color * 256 // (TURN // 2)).clamp_(0, 255)

    def blend(self, rgb: Tensor, geoms: Tensor, frames: Tensor) -> Tensor:
        """Mix the backdrops into images where their rays met sky or floor.

        Args:
            rgb: as rendered, uint8 (N, 3, H, W).
            geoms: the geom that each ray met, integers (N, H, W); -1 is the sky.
            frames: control steps since the start of each episode, (N,).
        """
        opacity = self._opacity[geoms.long()][:, None]  # (N, 1, H, W)
        height, width = rgb.shape[2:]
        change = self.image(frames.int(), (height, width)) - rgb
        return (rgb + opacity * change // OPAQUE).to(torch.uint8)


class BackdropRenderer:
    """A renderer whose images have a backdrop.

    Args:
        renderer: renders the scenes, with geoms.
        backdrop: of the same environments.
        frames: returns the control steps since the start of each episode, (N,).
    """

    def __init__(self, renderer: Renderer, backdrop: Backdrop, frames: Callable[[], Tensor]):
        self._renderer, self._backdrop, self._frames = renderer, backdrop, frames
        self.rgb, self.geoms = torch.zeros_like(renderer.rgb), renderer.geoms

    def render(self, changed: Tensor | None = None) -> Tensor:
        """Render as `Renderer.render`, then blend the backdrops in."""
        rgb = self._renderer.render(changed)
        assert self.geoms is not None
        frames = self._frames().to(rgb.device)
        return self.rgb.copy_(self._backdrop.blend(rgb, self.geoms, frames))

    def set_field(self, name: str, values: Tensor) -> None:
        """Render with each environment's own colours or lights, values (N, count, 3 or 4)."""
        self._renderer.set_field(name, values)

    def close(self) -> None:
        """End the rendering threads."""
        self._renderer.close()
