"""dm_control's own environments: the reference of `envs.verify`, and tasks "dm_control:TASK"."""

import logging
import os
import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from envs.suite import make_task

GRAPHICS_REMEDY = "install OpenGL (libegl1 libgl1) and set MUJOCO_GL=egl"


def load(name: str, seed: int, images: bool = False) -> Any:
    """Load dm_control's environment of a task, e.g. "cheetah-run".

    Args:
        name: one of `envs.tasks()`.
        seed: of its own random numbers.
        images: let dm_control look for OpenGL.

    Raises:
        ValueError: dm_control is not installed, or the task is unknown.
    """
    if not images:
        os.environ.setdefault("MUJOCO_GL", "off")
    logging.getLogger("absl").setLevel(logging.ERROR)  # deprecated attributes in the suite's XML
    domain = make_task(name).xml.removesuffix(".xml")
    task = name[len(domain) + 1 :].replace("-", "_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from dm_control import suite
        except ImportError as error:
            raise ValueError(f"dm_control cannot be imported: {error}.") from None
        return suite.load(domain, task, task_kwargs={"random": seed})


def observation(env: Any) -> np.ndarray:
    """Return the observation at the current state, flattened: (P,)."""
    parts = env.task.get_observation(env.physics).values()
    return np.concatenate([np.ravel(part) for part in parts])


class DmControlEnv(gym.Env):
    """dm_control's own environment for Gymnasium: observes its state, renders with OpenGL.

    Args:
        task: one of `envs.tasks()`.
        size: (H, W) of the images.
    """

    render_mode = "rgb_array"

    def __init__(self, task: str, size: tuple[int, int]):
        self._size, self._camera = size, make_task(task).camera
        self.reference = load(task, seed=0, images=True)
        bounds = self.reference.action_spec()
        self.action_space = gym.spaces.Box(
            bounds.minimum.astype(np.float32), bounds.maximum.astype(np.float32)
        )
        state = self.reference.observation_spec().values()
        count = int(sum(np.prod(part.shape) for part in state))
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (count,), dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        """Start a new episode; with a seed, the first of that seed."""
        super().reset(seed=seed)
        if seed is not None:
            self.reference.task.random.seed(seed)
        self.reference.reset()
        return observation(self.reference), {}

    def step(self, action: np.ndarray) -> tuple:
        """Make one control step."""
        step = self.reference.step(np.asarray(action, np.float64))
        terminated = step.last() and step.discount == 0
        truncated = step.last() and not terminated
        return observation(self.reference), step.reward, terminated, truncated, {}

    def render(self) -> Any:
        """Return the image now, uint8 (H, W, 3).

        Raises:
            ValueError: OpenGL does not work here.
        """
        try:
            return self.reference.physics.render(*self._size, camera_id=self._camera)
        except Exception as error:  # each OpenGL library fails in its own way
            raise ValueError(f"dm_control cannot draw here ({error}): {GRAPHICS_REMEDY}") from None
