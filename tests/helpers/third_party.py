"""Third-party environments for tests: small, and some of them faulty."""

import os
import signal
import sys
import time

import gymnasium as gym
import numpy as np
import torch


class Dot(gym.Env):
    """A red dot that an action in [0, 4] moves; the episode ends after five steps."""

    render_mode = "rgb_array"
    action_space = gym.spaces.Box(0.0, 4.0, (1,), np.float32)
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = int(self.np_random.integers(0, 8)), 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x, self.t = (self.x + round(float(action[0]))) % 32, self.t + 1
        return np.array([self.x], np.float32), float(action[0]), False, self.t >= 5, {}

    def render(self):
        image = np.zeros((32, 32, 3), np.uint8)
        image[:, self.x, 0] = 255
        return image


class Fork(gym.Env):
    """Left or right, counted from 1; the image is the observation, and its left third is red."""

    action_space = gym.spaces.Discrete(2, start=1)
    observation_space = gym.spaces.Box(0, 255, (9, 12, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        image = np.zeros((9, 12, 3), np.uint8)
        image[:, :4, 0] = 240
        return image, {}

    def step(self, action):
        assert type(action) is int and action in (1, 2)
        return self.reset()[0], float(action), action == 2, False, {}


class Pedals(Dot):
    """Keeps its action, and has a black frame around a white image."""

    action_space = gym.spaces.Box(np.float32([-2, 0, 10]), np.float32([6, 1, 20]))

    def step(self, action):
        self.given = action.tolist()
        return self.reset()[0], 0.0, False, False, {}

    def render(self):
        image = np.full((32, 32, 3), 255, np.uint8)
        image[:4], image[-8:], image[:, :2], image[:, -1:] = 0, 0, 0, 0
        return image


class Stubborn(Dot):
    """Does not end on SIGTERM, as if SDL had drawn it."""

    def reset(self, **options):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return super().reset(**options)


class Still(gym.Env):
    """A black image and the reward 1, for ever: what subclasses replace is what they test."""

    render_mode = "rgb_array"
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium reads it of the class

    def __init__(self, render_mode=None):
        pass

    def image(self):
        return np.zeros((8, 8, 3), np.uint8)

    def result(self):
        return self.image(), 1.0, False, False, {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.image(), {}

    def step(self, action):
        self.t += 1
        return self.result()


class Reused(Still):
    """Shows views of one buffer, channel-first inside, that the next step overwrites."""

    def __init__(self, render_mode=None):
        self.buffer = np.zeros((3, 8, 8), np.uint8)

    def image(self):
        self.buffer[:] = 100 if self.t == 0 else self.t
        return self.buffer.transpose(1, 2, 0)

    def reset(self, **options):
        self.t = 0
        return super().reset(**options)


class Faulty(Still):
    """Does one of FAULTS in its third step."""

    def __init__(self, fault, render_mode=None):
        self.fault = fault
        if fault == "constructor":
            raise KeyError("no such road")

    def reset(self, **options):
        if self.fault == "reset":
            raise StopIteration
        return super().reset(**options)

    def result(self):
        if self.t < 3:
            return super().result()
        return FAULTS[self.fault]()


def _raise(error):
    raise error


FAULTS = {
    "constructor": None,
    "reset": None,
    "value": lambda: _raise(ValueError("probabilities do not sum to 1")),
    "stop": lambda: _raise(StopIteration()),
    "exit": lambda: sys.exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(60),
}


class Thoughtful(Still):
    """Computes its image with torch, on as many threads as torch has."""

    def image(self):
        torch.randn(64 * 64 * 300).sin().sum()
        return super().image()


class Counter(Still):
    """Ends never of its own accord."""


class Plain(Still):
    """Has no render_mode; its images are its observations."""

    def __init__(self, size):
        self.size = size
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)

    def image(self):
        return np.zeros((self.size, self.size, 3), np.uint8)


gym.register("Plain-v0", Plain, max_episode_steps=5)
gym.register("Reused-v0", Reused, max_episode_steps=3)
gym.register("Steady-v0", Counter, max_episode_steps=50)
gym.register("Endless-v0", Counter)
gym.register("Faulty-v0", Faulty, max_episode_steps=50)
