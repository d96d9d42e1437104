"""Appearances that vary between environments and between episodes."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.rendering.backdrop import Backdrop, BackdropRenderer
from envs.rendering.renderer import CpuRenderer, Renderer, WarpRenderer

STREAM = 1  # of each episode's random numbers; 0 is the task's, so the physics stays the same
DEFAULT_GREY = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's colour of a geom that shows its material


@dataclass(frozen=True)
class Randomization:
    """How much images vary; each environment varies at the start of every episode.

    Attributes:
        colours: a material's or geom's red, green and blue each change by up to this, in [0, 1].
        light: lights' brightness is multiplied by a factor from 1 - light to 1 + light, in [0, 1].
        camera: the camera moves by up to this along each axis, in metres.
        sky: opacity of a moving backdrop before the sky, a distractor, in [0, 1]. At 1 it hides
            the sky.
        floor: opacity of the same backdrop before the floor, in [0, 1]. At 1 it hides the floor
            with its pattern and shadows.

    Raises:
        ValueError: an amount is negative, or one except `camera` is above 1.
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


class VisualRandomizer:
    """Colours, lights, cameras and backdrops of each environment, in arrays the renderer reads.

    Args:
        amount: how much they vary.
        engine: the engine whose environments vary.
    """

    def __init__(self, amount: Randomization, engine: Engine):
        self.amount = amount
        self._renderer_fields: dict[str, Tensor] = {}
        names = ["mat_rgba", "geom_rgba"] * bool(amount.colours)
        names += ["light_diffuse"] * bool(amount.light)
        for name in names:
            usual = torch.as_tensor(getattr(engine.model, name), device=engine.device).float()
            repeated = usual.repeat(engine.num_envs, 1, 1)  # (N, count, 4 or 3)
            self._renderer_fields[name] = repeated
        self._fields = dict(self._renderer_fields)
        if amount.camera:
            for name in ("cam_pos", "cam_pos0", "cam_poscom0"):
                self._fields[name] = engine.expand(name)  # (N, cameras, 3)
        self._backdrop = None
        if amount.sky or amount.floor:
            where = engine.model, engine.num_envs, engine.device
            self._backdrop = Backdrop(*where, amount.sky, amount.floor)
        self._usual = {name: values[0].clone() for name, values in self._fields.items()}

    @property
    def needs_geoms(self) -> bool:
        """Whether the renderer must keep the geom that each ray meets."""
        return self._backdrop is not None

    def wrap(self, renderer: CpuRenderer | WarpRenderer, frames: Callable[[], Tensor]) -> Renderer:
        """Return a renderer of the same environments that shows their own appearances.

        Args:
            renderer: one that has not rendered them yet; it is changed.
            frames: returns the control steps since the start of each episode, (N,).
        """
        for name, values in self._renderer_fields.items():
            renderer.set_field(name, values)
        if self._backdrop is None:
            return renderer
        return BackdropRenderer(renderer, self._backdrop, frames)

    def randomize(self, env_ids: Tensor, seeds: Tensor, episodes: Tensor) -> None:
        """Give environments (K,) the appearances of their episodes; forward them afterwards."""
        if self._backdrop is not None:
            self._backdrop.randomize(env_ids, seeds, episodes)
        rng = EpisodeRng(seeds, episodes, env_ids.device, torch.float64, STREAM)
        amount, shift = self.amount, None
        for name, values in self._fields.items():
            usual = self._usual[name].double()  # (count, 4 or 3)
            if name.endswith("rgba"):
                new = self._colours(usual, rng, keep_grey=name == "geom_rgba")
            elif name == "light_diffuse":
                new = usual * rng.uniform(1 - amount.light, 1 + amount.light, len(usual), 1)
            else:  # the three fields of a camera, for its modes of following, move alike
                if shift is None:
                    shift = rng.uniform(-amount.camera, amount.camera, 1, 3)  # (K, 1, 3)
                new = usual + shift
            values[env_ids] = new.to(values.dtype)

    def _colours(self, usual: Tensor, rng: EpisodeRng, keep_grey: bool) -> Tensor:
        """Return colours (K, count, 4) near the usual ones (count, 4)."""
        most = self.amount.colours
        new = usual.expand(len(rng), -1, -1).clone()
        new[:, :, :3] = (usual[:, :3] + rng.uniform(-most, most, len(usual), 3)).clamp(0, 1)
        if keep_grey:
            plain = (usual == usual.new_tensor(DEFAULT_GREY)).all(1)  # (count,)
            new[:, plain] = usual[plain]
        return new
