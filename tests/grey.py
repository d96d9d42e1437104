"""Other people's worlds, as small as they come: three buttons, and a picture of one grey level."""

import gymnasium as gym
import numpy as np


class Grey(gym.Env):
    """`level` after a reset is `begins`; what a button does to it and pays is a child's `press`."""

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
    """Every step is darker than the last: a picture says how old its episode is."""

    begins = 250

    def press(self, action):
        self.level -= 10
        return 0.0


class Fuse(Grey):
    """It blows after a while."""

    def press(self, action):
        self.level += 1
        if self.level > 100:
            raise OSError("the fuse has blown")
        return 0.0


class Lights(Grey):
    """Three lights, one of them pays."""

    size = 32

    def press(self, action):
        self.level = 80 * action
        return float(action == 1)


class Blind(Grey):
    """It cannot draw."""

    def picture(self):
        raise ValueError("there is no light")


gym.register("Blind-v0", Blind, max_episode_steps=6)
gym.register("Dusk-v0", Dusk, max_episode_steps=25)
gym.register("Fuse-v0", Fuse, max_episode_steps=200)
gym.register("Lights-v0", Lights, max_episode_steps=6)
