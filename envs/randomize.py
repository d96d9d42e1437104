"""Looks that differ from world to world and from episode to episode."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from envs.backdrop import Backdrop, BackedRenderer
from envs.suite.task import Draw

STREAM = 1  # of each episode's random numbers; 0 is the task's, so that the physics stays the same


@dataclass(frozen=True)
class Randomization:
    """How much pictures vary; each world draws anew when an episode begins.

    Attributes:
        colours: a material's or geom's red, green and blue each move by up to this, in [0, 1].
        light: lights' brightness is multiplied by a factor from 1 - light to 1 + light, in [0, 1].
        camera: the camera is moved by up to this along each axis, in metres.
        sky, floor: how much of a moving backdrop is seen in place of them, in [0, 1]: a
            distractor. At 1 nothing is left of the sky, or of the floor, its pattern and shadows.

    Raises:
        ValueError: a negative amount, or a share above 1.
    """

    colours: float = 0.0
    light: float = 0.0
    camera: float = 0.0
    sky: float = 0.0
    floor: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value, most = getattr(self, field.name), 1.0 if field.name != "camera" else torch.inf
            if not 0 <= value <= most:
                raise ValueError(f"{field.name}={value} is out of range: give 0 to {most:g}.")


class Looks:
    """What is drawn differently in each world, written into the arrays the ray tracer reads.

    Args:
        amount: how much.
        engine: whose cameras to move.
    """

    def __init__(self, amount: Randomization, engine):
        self.amount, self._shown, self._arrays = amount, {}, {}
        names = ["mat_rgba", "geom_rgba"] * bool(amount.colours)
        names += ["light_diffuse"] * bool(amount.light)
        for name in names:
            usual = torch.as_tensor(getattr(engine.model, name), device=engine.device).float()
            self._shown[name] = usual.repeat(engine.num_worlds, 1, 1)  # (N, count, 4 or 3)
        self._arrays |= self._shown
        if amount.camera:
            for name in ("cam_pos", "cam_pos0", "cam_poscom0"):
                self._arrays[name] = engine.expand(name)  # (N, cameras, 3)
        self._backdrop = None
        if amount.sky or amount.floor:
            where = engine.model, engine.num_worlds, engine.device
            self._backdrop = Backdrop(*where, amount.sky, amount.floor)
        self._usual = {name: array[0].clone() for name, array in self._arrays.items()}

    @property
    def needs_geoms(self) -> bool:
        """Whether a renderer must say which geom each ray met."""
        return self._backdrop is not None

    def shown_in(self, renderer, frames: Callable[[], Tensor]):
        """A renderer of the engine's worlds that draws their own looks.

        Args:
            renderer: one that has not drawn them yet; it is changed.
            frames: says how many control steps each world's episode has lasted, (N,).
        """
        for name, array in self._shown.items():
            renderer.use(name, array)
        if self._backdrop is None:
            return renderer
        return BackedRenderer(renderer, self._backdrop, frames)

    def draw(self, worlds: Tensor, seeds: Tensor, episodes: Tensor) -> None:
        """Gives the worlds (K,) the looks of their episodes; forward them afterwards."""
        device = worlds.device
        if self._backdrop is not None:
            self._backdrop.draw(worlds, seeds, episodes)
        draw = Draw(seeds, episodes, device, torch.float64, STREAM)
        amount = self.amount
        for name, array in self._arrays.items():
            usual = self._usual[name].double()  # (count, 4 or 3)
            count = len(usual)
            if name.endswith("rgba"):
                new = usual.expand(len(worlds), -1, -1).clone()
                moved = usual[:, :3] + draw.uniform(-amount.colours, amount.colours, count, 3)
                new[:, :, :3] = moved.clamp(0, 1)
                if name == "geom_rgba":  # a geom of MuJoCo's default grey shows its material
                    plain = (usual == torch.tensor([0.5, 0.5, 0.5, 1.0], device=device)).all(1)
                    new[:, plain] = usual[plain]
            elif name == "light_diffuse":
                new = usual * draw.uniform(1 - amount.light, 1 + amount.light, count, 1)
            else:  # cam_pos, then the same camera as other ways of following see it
                if name == "cam_pos":
                    moved = draw.uniform(-amount.camera, amount.camera, 1, 3)
                new = usual + moved
            array[worlds] = new.to(array.dtype)
