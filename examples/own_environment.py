"""An environment of one's own: pictures and a reward. Run: python examples/own_environment.py

It is learnt like any other; what stands before the colon is the module that registers it:
`python -m agents.train env=gym:examples.own_environment:Catch-v0 env.action_repeat=1`.
"""

# ruff: noqa: D102 - what the methods do is said once, in Gymnasium

import gymnasium as gym
import numpy as np

import envs


class Catch(gym.Env):
    """A dot to be kept under the cursor: pictures in, one number out."""

    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium reads it of the class

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.dot = self.np_random.uniform(-1, 1)
        return self.picture(0.0), {}

    def step(self, action):
        return self.picture(action[0]), 1.0 - abs(float(action[0]) - self.dot), False, False, {}

    def picture(self, cursor):
        image = np.zeros((64, 64, 3), np.uint8)
        for place, colour in ((self.dot, 0), (cursor, 1)):
            x = round(28 * float(place)) + 32
            image[28:36, x - 4 : x + 4, colour] = 255
        return image


gym.register("Catch-v0", Catch, max_episode_steps=50)

if __name__ == "__main__":
    worlds = envs.make("gym:Catch-v0", num_envs=4, action_repeat=1)
    worlds.reset()
    for _ in range(50):
        pictures, reward, *_ = worlds.step(worlds.action_space.sample())
    print(f"pictures {tuple(pictures.shape)}, rewards of the last decision {reward.tolist()}")
