"""An environment of one's own: images and a reward. Run: `python examples/own_environment.py`.

Agents learn it like any other; the name before the colon is the module that registers it:
`python -m agents.train env=gym:examples.own_environment:Catch-v0 env.action_repeat=1`.
"""

# ruff: noqa: D102 - the methods are documented once, in Gymnasium

import gymnasium as gym
import numpy as np

import envs


class Catch(gym.Env):
    """Keep the green cursor on the red dot: images in, one number out."""

    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium reads it of the class

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.dot = self.np_random.uniform(-1, 1)
        return self.image(0.0), {}

    def step(self, action):
        reward = 1.0 - abs(float(action[0]) - self.dot)
        return self.image(action[0]), reward, False, False, {}

    def image(self, cursor):
        image = np.zeros((64, 64, 3), np.uint8)
        for place, channel in ((self.dot, 0), (cursor, 1)):
            x = round(28 * float(place)) + 32
            image[28:36, x - 4 : x + 4, channel] = 255
        return image


gym.register("Catch-v0", Catch, max_episode_steps=50)

if __name__ == "__main__":
    env = envs.make("gym:Catch-v0", num_envs=4, action_repeat=1)
    env.reset()
    for _ in range(50):
        images, reward, *_ = env.step(env.action_space.sample())
    print(f"images {tuple(images.shape)}, rewards of the last decision {reward.tolist()}")
