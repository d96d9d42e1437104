"""Vanilla Stable-Baselines3 on a trained world model. Run: python examples/sb3_latents.py RUN

Three ways, none of which needs this project's trainer: PPO on (h, z) in the real worlds, PPO inside
the dream alone, and SAC straight from pixels through the frozen AEF.
"""

import sys

from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy

from agents.extractor import AEFExtractor
from agents.sb3_envs import DreamVecEnv, LatentVecEnv, load_run
from envs.sb3 import SB3VecEnv


def main(run: str, decisions: int = 20_000) -> None:
    """Learns for so many decisions each way, and plays."""
    learner, config = load_run(run)
    model, task = learner.model.requires_grad_(False), config.env.task

    real = LatentVecEnv(model, task, num_envs=4)
    agent = PPO("MlpPolicy", real, n_steps=256, gamma=0.99).learn(decisions)
    print("PPO on (h, z):", *evaluate_policy(agent, real, 4, warn=False))

    dream = DreamVecEnv(model, real.beginnings(64), num_envs=64, horizon=100)
    agent = PPO("MlpPolicy", dream, n_steps=64, gamma=0.99).learn(decisions)
    print("PPO from the dream, in the real worlds:", *evaluate_policy(agent, real, 4, warn=False))

    pixels = SB3VecEnv(task, num_envs=4, frame_stack=3)
    options = {"eye": model.eye, "trainable": False}
    kwargs = {"features_extractor_class": AEFExtractor, "features_extractor_kwargs": options}
    agent = SAC("CnnPolicy", pixels, policy_kwargs=kwargs, buffer_size=20_000).learn(decisions)
    print("SAC through the frozen eye:", *evaluate_policy(agent, pixels, 4, warn=False))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/sb3_latents.py RUN, the folder of a trained run")
    main(sys.argv[1])
