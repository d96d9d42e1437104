"""Tiny third-party environments: three buttons, and an image of one grey level."""

import gymnasium as gym
import numpy as np


class Grey(gym.Env):
    """Image of grey level `level`, which is `begins` after a reset.

    `press` of a subclass changes the level and returns the reward of a button.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium reads it of the class
    action_space = gym.spaces.Discrete(3)
    begins, size = 0, 16

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 255, (self.size, self.size, 3), np.uint8)

    def picture(self):
        return np.full(self.observation_space.shape, self.level, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level = self.begins
        return self.picture(), {}

    def step(self, action):
        reward = self.press(action)
        return self.picture(), reward, False, False, {}


class Dusk(Grey):
    """Every step is darker than the last: an image shows the age of its episode."""

    begins = 250

    def press(self, action):
        self.level -= 10
        return 0.0


class Fuse(Grey):
    """Raises OSError after 100 steps."""

    def press(self, action):
        self.level += 1
        if self.level > 100:
            raise OSError("the fuse has blown")
        return 0.0


class Lights(Grey):
    """Three lights, one of them with a reward."""

    size = 32

    def press(self, action):
        self.level = 80 * action
        return float(action == 1)


class Rich(Grey):
    """Every step has a reward of a million."""

    def press(self, action):
        return 1e6


class Blind(Grey):
    """Has no image."""

    def picture(self):
        raise ValueError("the lamp is broken")


gym.register("Blind-v0", Blind, max_episode_steps=6)
gym.register("Dusk-v0", Dusk, max_episode_steps=25)
gym.register("Fuse-v0", Fuse, max_episode_steps=200)
gym.register("Rich-v0", Rich, max_episode_steps=20)
gym.register("Lights-v0", Lights, max_episode_steps=6)
