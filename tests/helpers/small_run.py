"""A run of seconds, for tests of what trains and of what is made of it."""

from pathlib import Path

import torch

from agents.config import train as settings
from agents.training.logging.run_logger import RunLogger
from agents.training.trainer import Trainer

SMALL = [
    "env=cartpole-swingup",
    "env.action_repeat=2",
    "env.random_truncation_every=null",
    "hardware=cpu",
    "hardware.num_envs=2",
    "hardware.threads=2",
    "hardware.precision=float32",
    "world_model.latent_dim=8",
    "world_model.recurrent_dim=16",
    "world_model.hidden_dim=16",
    "world_model.width=8",
    "agent.imagination_batch=8",
    "agent.horizon=3",
    "agent.hidden_dim=16",
    "replay.batch_size=2",
    "replay.sequence_length=6",
    "frames=400",
    "prefill=80",
    "pretrain=3",
    "frames_per_update=40",
    "eval.every=1000000",
    "eval.episodes=2",
    "checkpoint_every=200",
]


def words(agent="imagination", *more):
    """Return the settings of a small run of an agent, without keys that the agent lacks."""
    lacking = {
        "sac": ("agent.imagination_batch", "agent.horizon"),
        "ppo": ("agent.imagination_batch", "agent.horizon"),
        "cmaes": ("agent.hidden_dim",),
        "random": ("agent.",),
        "scripted": ("agent.",),
    }.get(agent, ())
    return [*(w for w in SMALL if not w.startswith(lacking)), f"agent={agent}", *more]


def make(run: Path, *more: str) -> Trainer:
    """Return the trainer of a small run."""
    own = {word.partition("=")[0] for word in more} & {"env", "hardware"}
    base = [word for word in SMALL if word.partition("=")[0] not in own]
    return Trainer(settings.load([*base, *more]), run)


def logger(trainer: Trainer) -> RunLogger:
    """Return a logger for the trainer's run."""
    return RunLogger(trainer.run, "test", trainer.config.frames)


def weights(trainer: Trainer) -> torch.Tensor:
    """Return all weights of the averaged world model and the actor-critic as one vector."""
    networks = trainer.learner.agent.networks
    parts = [*trainer.learner.model.parameters(), *networks.parameters()]
    return torch.cat([p.detach().flatten() for p in parts])
