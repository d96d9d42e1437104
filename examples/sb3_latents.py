"""Stable-Baselines3 on a trained world model. Run: `python examples/sb3_latents.py RUN`.

Three ways, none of which needs this project's trainer: PPO on features (h, z) in the real
environments, PPO in imagination alone, and SAC on the latents of the frozen encoder. It shows how
the parts fit together; in its two minutes none of them learns the task.
"""

import sys
from pathlib import Path

from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy

from aef_worldmodel.sb3 import EncodedVecEnv
from agents.config.hardware import HardwareConfig, resolve
from agents.latent_envs import DreamVecEnv, LatentVecEnv
from agents.training.runs import load_run
from envs.sb3 import SB3VecEnv


def main(run: str, decisions: int = 4_000) -> dict[str, tuple[float, float]]:
    """Learn for `decisions` in each of three ways; return mean and deviation of their returns."""
    loaded = load_run(Path(run), resolve(HardwareConfig(device="cpu")))
    model, env = loaded.learner.model.requires_grad_(False), loaded.config.env
    sizes = {"image_size": env.image_size, "action_repeat": env.action_repeat}
    returns = {}

    real = LatentVecEnv(model, env.task, num_envs=4, **sizes)
    agent = PPO("MlpPolicy", real, n_steps=256, gamma=0.99).learn(decisions)
    returns["PPO on features"] = evaluate_policy(agent, real, 4, warn=False)

    dream = DreamVecEnv(model, real.beginnings(64), num_envs=64, horizon=100)
    agent = PPO("MlpPolicy", dream, n_steps=64, gamma=0.99).learn(decisions)
    returns["PPO in imagination"] = evaluate_policy(agent, real, 4, warn=False)

    images = SB3VecEnv(env.task, num_envs=4, frame_stack=3, **sizes)
    encoded = EncodedVecEnv(images, model.autoencoder)
    agent = SAC("MlpPolicy", encoded, buffer_size=20_000).learn(decisions)
    returns["SAC on latents"] = evaluate_policy(agent, encoded, 4, warn=False)
    return returns


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/sb3_latents.py RUN, the folder of a trained run")
    for name, (mean, deviation) in main(sys.argv[1]).items():
        print(f"{name}: return {mean:.0f} +- {deviation:.0f} in the real environments")
