"""A run of seconds, for tests of what trains and of what is made of it."""

from pathlib import Path

import torch

from agents import config as settings
from agents.logbook import Logbook
from agents.progress import Progress
from agents.trainer import Trainer

SMALL = [
    "env=cartpole-swingup", "env.action_repeat=2", "env.restart_every=null",
    "hardware=cpu", "hardware.num_envs=2", "hardware.threads=2",
    "hardware.autocast=float32", "world_model.latent_dim=8", "world_model.recurrent_dim=16",
    "world_model.hidden_dim=16", "world_model.width=8", "world_model.decoded_frames=8",
    "agent.starts=8", "agent.horizon=3", "agent.hidden_dim=16", "batch=2", "length=6",
    "frames=400", "prefill=80", "pretrain=3", "frames_per_update=40", "eval_every=1000000",
    "eval_episodes=2", "checkpoint_every=200",
]  # fmt: skip


def make(run: Path, *words: str) -> Trainer:
    return Trainer(settings.load([*SMALL, *words]), run)


def book(trainer: Trainer) -> Logbook:
    return Logbook(trainer.run, Progress("test", trainer.config.frames))


def weights(trainer: Trainer) -> torch.Tensor:
    parts = [*trainer.learner.model.parameters(), *trainer.learner.agent.parameters()]
    return torch.cat([p.detach().flatten() for p in parts])
