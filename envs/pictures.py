"""Any Gymnasium environment seen as pictures, with plain actions."""

import contextlib
from collections.abc import Callable

import gymnasium as gym
import numpy as np
from PIL import Image


class WorldError(RuntimeError):
    """Somebody else's environment raised, or its process died; the message says which and what."""


class Pictures(gym.Wrapper):
    """One environment as a batch wants it: pictures (3, H, W), plain actions, repeated.

    The picture is the observation if that is one, uint8 (H, W, 3), and what `render` gives if not;
    it is cropped, then resized with antialiasing, whatever its shape was. Actions that are a
    bounded box are scaled from [-1, 1], upwards and downwards apart where the box has a 0, which
    stays 0: a gas pedal of [0, 1] is not touched by [-1, 0]. Discrete ones are counted from 0.

    Args:
        make_one: makes the environment.
        size: (H, W) in pixels.
        action_repeat: steps a decision lasts; their rewards are summed.
        crop: pixels cut off at (top, bottom, left, right) before resizing.
        world: its number in the batch, for messages.

    Raises:
        ValueError: actions of another kind, or no pictures.
        WorldError: the environment raised; the sentence says which world and what.
    """

    def __init__(
        self,
        make_one: Callable[[], gym.Env],
        size: tuple[int, int],
        action_repeat: int,
        crop: tuple[int, int, int, int] = (0, 0, 0, 0),
        world: int = 0,
    ):
        super().__init__(make_one())
        actions, shown = self.env.action_space, self.env.observation_space
        self._discrete = isinstance(actions, gym.spaces.Discrete)
        if self._discrete:
            self.action_space = gym.spaces.Discrete(int(actions.n))
        elif isinstance(actions, gym.spaces.Box) and _is_bounded_row(actions):
            self.action_space = gym.spaces.Box(-1.0, 1.0, actions.shape, dtype=np.float32)
        else:
            raise ValueError(
                f"Its actions are {actions}: only Discrete and a bounded Box of one axis are known."
            )
        self._seen = shown.dtype == np.uint8 and len(shown.shape) == 3 and shown.shape[-1] == 3
        if not self._seen and self.env.render_mode != "rgb_array":
            raise ValueError(f"It shows {shown} and cannot render: give one with pictures.")
        self._given, self._size, self._repeat = actions, size, action_repeat
        self._crop, self._world = crop, world
        self.observation_space = gym.spaces.Box(0, 255, (3, *size), dtype=np.uint8)

    def reset(self, **options):
        """A new episode's first picture."""
        with self._named():
            obs, info = self.env.reset(**options)
            return self._picture(obs), info

    def step(self, action):
        """One decision; it ends early where the episode does."""
        total, action = 0.0, self._theirs(action)
        with self._named():
            for _ in range(self._repeat):
                obs, reward, terminated, truncated, info = self.env.step(action)
                total += float(reward)
                if terminated or truncated:
                    break
            return self._picture(obs), total, terminated, truncated, info

    @contextlib.contextmanager
    def _named(self):
        """Says which world it is when the environment raises."""
        try:
            yield
        except ValueError:  # a sentence of ours, about all worlds
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise WorldError(f"The environment of world {self._world} raised {what}") from error

    def _theirs(self, action):
        """Our action as the environment wants it."""
        given = self._given
        if self._discrete:
            return int(given.start) + int(action)
        action = np.asarray(action)
        zero = (given.low <= 0) & (given.high >= 0)
        apart = np.where(action < 0, -action * given.low, action * given.high)
        whole = given.low + (action + 1) / 2 * (given.high - given.low)
        return np.where(zero, apart, whole).astype(given.dtype)

    def _picture(self, obs) -> np.ndarray:
        image = np.asarray(obs if self._seen else self.env.render())  # (H', W', 3)
        top, bottom, left, right = self._crop
        image = image[top : len(image) - bottom, left : image.shape[1] - right]
        if not image.size:
            raise ValueError(f"crop={self._crop} leaves nothing of its pictures: cut off less.")
        height, width = self._size
        if image.shape[:2] != self._size:
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            image = np.asarray(resized)
        return np.ascontiguousarray(image.transpose(2, 0, 1))


def _is_bounded_row(space: gym.spaces.Box) -> bool:
    return space.is_bounded() and len(space.shape) == 1
