"""Observations of third-party environments, as images or as vectors."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from envs.gymnasium_envs.images import EXPECTED, fit, is_image_space, to_rgb, white_of_floats
from envs.gymnasium_envs.returns import Misreturned, short

SMALLEST_IMAGE = 16  # pixels a side of an image among other observations: smaller ones are codes
LONGEST_VECTOR = 65_536


class Observations(ABC):
    """Converts what an environment shows.

    Attributes:
        space: of the results.
        source: where they come from, in words.
    """

    space: gym.spaces.Box
    source: str

    @abstractmethod
    def convert(self, obs: Any, render: Callable[[], Any]) -> np.ndarray:
        """Return a new array for an observation; raise Misreturned for one of another kind."""


class Images(Observations):
    """Images, uint8 (3, H, W): of the observation where it is or holds one, else rendered.

    Args:
        space: of the environment's observations.
        render_mode: of the environment.
        size: (H, W) in pixels.
        crop: pixels cut off at (top, bottom, left, right) before resizing.

    Raises:
        ValueError: there are neither images nor "rgb_array".
    """

    def __init__(
        self,
        space: gym.Space | None,
        render_mode: str | None,
        size: tuple[int, int],
        crop: tuple[int, int, int, int],
    ):
        self._size, self._crop = size, crop
        self._shape: tuple[int, ...] | None = None  # of the first image
        self._path, self._white = None, 1.0
        self.space = gym.spaces.Box(0, 255, (3, *size), dtype=np.uint8)
        self.source = "render()"
        images = list(_images_in(space))
        if len(images) == 1:
            self._path, found = images[0]
            self._white = white_of_floats(found)
            part = "".join(f"[{key!r}]" for key in self._path)
            self.source = f"the observation{part}, {found.dtype} {found.shape}"
        elif render_mode != "rgb_array":
            raise ValueError(
                f"the observation space {short(space)} with {len(images)} images and "
                f"render_mode={render_mode!r}; expected one image or 'rgb_array', or obs=proprio"
            )

    def convert(self, obs: Any, render: Callable[[], Any]) -> np.ndarray:
        """Return the image of an observation, copied, cropped and resized."""
        image = render() if self._path is None else _part_of(obs, self._path)
        try:
            rgb = to_rgb(image, self._white)
        except ValueError as error:
            raise Misreturned(f"{error} from {self._place}; expected {EXPECTED}") from None
        self._shape = self._shape or rgb.shape
        if rgb.shape != self._shape:
            raise Misreturned(
                f"an image of {_pixels(rgb.shape)} from {self._place} after one of "
                f"{_pixels(self._shape)}; expected one size"
            )
        return fit(rgb, self._size, self._crop)

    @property
    def _place(self) -> str:
        return self.source.partition(",")[0].removesuffix("()")


class Vectors(Observations):
    """All numbers of an observation in one row, float32 (P,): dictionaries and tuples too.

    Args:
        space: of the environment's observations.

    Raises:
        ValueError: the space is of images, or has no fixed number of numbers, or over 65,536.
    """

    def __init__(self, space: gym.Space | None):
        if is_image_space(space):
            raise ValueError(f"images {short(space)}; expected numbers, or give obs=pixels")
        flat = gym.spaces.flatten_space(space) if _is_flattenable(space) else None
        if not isinstance(flat, gym.spaces.Box) or not 0 < flat.shape[0] <= LONGEST_VECTOR:
            raise ValueError(
                f"the observation space {short(space)}; expected 1 to {LONGEST_VECTOR} numbers"
            )
        self._original = space
        self.space = gym.spaces.Box(-np.inf, np.inf, flat.shape, np.float32)
        self.source = f"the observation, {flat.shape[0]} numbers"

    def convert(self, obs: Any, render: Callable[[], Any]) -> np.ndarray:
        """Return the numbers of an observation."""
        try:
            row = np.array(gym.spaces.flatten(self._original, obs), np.float32)
        except Exception:
            raise Misreturned(
                f"{short(obs)} from the observation; expected {short(self._original)}"
            ) from None
        if row.shape != self.space.shape or not np.isfinite(row).all():
            raise Misreturned(
                f"{short(obs)} from the observation; expected {self.space.shape[0]} finite numbers"
            )
        return row


def _is_flattenable(space: gym.Space | None) -> bool:
    """Return whether all of a space is numbers; spaces of others may not even say so."""
    try:
        return isinstance(space, gym.Space) and space.is_np_flattenable
    except NotImplementedError:
        return False


def _images_in(space: gym.Space | None) -> Iterator[tuple[tuple, gym.spaces.Box]]:
    """Yield the images of a space, with the keys that lead to each in an observation."""
    if is_image_space(space):
        assert isinstance(space, gym.spaces.Box)
        yield (), space
    parts = {}
    if isinstance(space, gym.spaces.Dict):
        parts = dict(space.spaces)
    elif isinstance(space, gym.spaces.Tuple):
        parts = dict(enumerate(space.spaces))
    for key, part in parts.items():
        for path, image in _images_in(part):
            if path or min(sorted(image.shape)[-2:]) >= SMALLEST_IMAGE:
                yield (key, *path), image


def _part_of(obs: Any, path: tuple) -> Any:
    """Return the part of an observation that keys lead to."""
    for key in path:
        try:
            obs = obs[key]
        except (LookupError, TypeError):
            raise Misreturned(f"{short(obs)} as observation; expected {key!r} in it") from None
    return obs


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]} pixels"
