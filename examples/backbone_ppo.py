"""PPO of Stable-Baselines3 on a frozen backbone: `python examples/backbone_ppo.py NAME`."""

import sys

from stable_baselines3 import PPO

from aef_worldmodel import AEFBackbone
from aef_worldmodel.sb3 import EncodedVecEnv
from envs.sb3 import SB3VecEnv


def main(name: str, decisions: int = 10_000) -> PPO:
    """Learn for so many decisions and return the model."""
    backbone = AEFBackbone.from_pretrained(name).freeze()
    size = backbone.image_size[0]
    env = SB3VecEnv("cartpole-balance", num_envs=4, frame_stack=3, action_repeat=4, image_size=size)
    encoded = EncodedVecEnv(env, backbone.autoencoder)  # each frame is encoded once
    return PPO("MlpPolicy", encoded, n_steps=256, gamma=0.99).learn(decisions)


if __name__ == "__main__":
    main(sys.argv[1]).save("ppo-on-backbone")
