"""A moving picture behind each world's scene: a distractor that has nothing to do with the task.

Where a ray meets the sky or the floor, the rendered colour is mixed with that of a few plane waves
that cross the picture. Everything is computed in integers, so that a pixel depends on nothing but
the rendered one, the episode and its frame, whatever the device and the number of worlds.
"""

from collections.abc import Callable

import mujoco
import torch
from torch import Tensor

from envs.suite.task import Draw

STREAM = 2  # of each episode's random numbers: not the task's, not that of colours and cameras
WAVES = 4  # a picture
STEPS = 1024  # along a side of a picture, whatever its size in pixels
TURN = 65536  # of a wave's phase
CYCLES = 2.5  # at most, of a wave along a side of a picture
FRAMES = (40.0, 200.0)  # control steps a wave takes to move by its length
OPAQUE = 256


class Backdrop:
    """What moves behind the worlds' scenes, by their episodes' seeds.

    A wave is a triangle between 0 and 1 of the phase
    (cycles_x x + cycles_y y + speed t + start) mod 1, with x and y in pictures and t in frames;
    a colour is 1/2 + sum_k weight_k (wave_k - 1/2), cut off at 0 and 1.

    Args:
        model: which geoms are floor: the planes that are fixed to the world.
        num_worlds: N.
        device: where the pictures are.
        sky, floor: how much of the backdrop is seen there, in [0, 1].
    """

    def __init__(self, model: mujoco.MjModel, num_worlds: int, device, sky: float, floor: float):
        planes = torch.as_tensor(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
        fixed = torch.as_tensor(model.body_weldid[model.geom_bodyid] == 0)
        opacity = torch.zeros(model.ngeom + 1, dtype=torch.int32)  # a ray that meets none has -1
        opacity[:-1][planes & fixed] = round(OPAQUE * floor)
        opacity[-1] = round(OPAQUE * sky)
        self._opacity = opacity.to(device)
        shape = (num_worlds, WAVES, 4)  # steps of phase for x, y, t and the start
        self._phase = torch.zeros(shape, dtype=torch.int32, device=device)
        self._weight = torch.zeros((num_worlds, WAVES, 3), dtype=torch.int32, device=device)

    def draw(self, worlds: Tensor, seeds: Tensor, episodes: Tensor) -> None:
        """Gives the worlds (K,) the waves of their episodes."""
        draw = Draw(seeds, episodes, worlds.device, torch.float64, STREAM)
        cycles = draw.uniform(-CYCLES, CYCLES, WAVES, 2) * (TURN // STEPS)
        speed = TURN / draw.uniform(*FRAMES, WAVES, 1)
        start = draw.uniform(0, TURN, WAVES, 1)
        self._phase[worlds] = torch.cat([cycles, speed, start], 2).int()
        self._weight[worlds] = draw.uniform(-OPAQUE, OPAQUE, WAVES, 3).int()

    def picture(self, frames: Tensor, size: tuple[int, int]) -> Tensor:
        """The worlds' backdrops, int32 (N, 3, H, W) in [0, 255].

        Args:
            frames: how many control steps each world's episode has lasted, int32 (N,).
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

    def behind(self, rgb: Tensor, geoms: Tensor, frames: Tensor) -> Tensor:
        """The pictures with the backdrops where their rays met sky or floor.

        Args:
            rgb: as rendered, uint8 (N, 3, H, W).
            geoms: the geom that each ray met, integers (N, H, W); -1 is the sky.
            frames: how many control steps each world's episode has lasted, (N,).
        """
        opacity = self._opacity[geoms.long()][:, None]  # (N, 1, H, W)
        moved = self.picture(frames.int(), rgb.shape[2:]) - rgb
        return (rgb + opacity * moved // OPAQUE).to(torch.uint8)


class BackedRenderer:
    """A renderer whose pictures have a backdrop.

    Args:
        renderer: what draws the scenes and says which geom each ray met.
        backdrop: of the same worlds.
        frames: says how many control steps each world's episode has lasted, (N,).
    """

    def __init__(self, renderer, backdrop: Backdrop, frames: Callable[[], Tensor]):
        self._renderer, self._backdrop, self._frames = renderer, backdrop, frames
        self.rgb = torch.zeros_like(renderer.rgb)

    def draw(self, changed: Tensor | None = None) -> Tensor:
        """Draws all worlds, or at least those whose mask in `changed` (N,) is set.

        Returns:
            The renderer's own buffer, uint8 (N, 3, H, W): copy what should outlive the next call.
        """
        rgb = self._renderer.draw(changed)
        frames = self._frames().to(rgb.device)
        return self.rgb.copy_(self._backdrop.behind(rgb, self._renderer.geoms, frames))

    def close(self) -> None:
        """Ends the drawing threads."""
        self._renderer.close()
