"""The meaning of `env=NAME` and `world_model=NAME` without a preset file, and of foreign keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym

from aef_worldmodel.autoencoders.networks import NETWORKS
from aef_worldmodel.autoencoders.registry import AUTOENCODERS
from aef_worldmodel.utils.config.cli import ONCE_EACH, CommandLine, Source
from aef_worldmodel.utils.config.schema import ConfigError, leaves, shown
from aef_worldmodel.utils.registry import suggest
from aef_worldmodel.world_models.base import WORLD_MODELS
from agents.config import legacy

PRESETS = Path(__file__).resolve().parents[2] / "configs"
STUDY = (
    "write a study, for instance with seeds: [1, 2, 3], and run python -m agents.study FILE.yaml "
    "(docs/how-to/study.md)"
)
PEERS = {  # key of other libraries -> ours
    "steps": "frames",
    "max_steps": "frames",
    "num_steps": "frames",
    "total_steps": "frames",
    "total_timesteps": "frames",
    "total_frames": "frames",
    "num_frames": "frames",
    "num_train_frames": "frames",
    "lr": "lr.model",
    "learning_rate": "lr.model",
    "batch_size": "replay.batch_size",
    "batch_length": "replay.sequence_length",
    "buffer_size": "replay.capacity",
    "gamma": "agent.discount",
    "gae_lambda": "agent.return_lambda",
    "tau": "ema.critic",
    "eval_freq": "eval.every",
    "n_envs": "hardware.num_envs",
    "num_envs": "hardware.num_envs",
    "device": "hardware.device",
    "frame_skip": "env.action_repeat",
    "img_size": "env.image_size",
    "logdir": "run",
    "log_dir": "run",
    "model": "world_model",
    "algo": "agent",
    "task": "env",
    "env_id": "env",
    "env_name": "env",
}


def command_line(kind: type, several: str = ONCE_EACH) -> CommandLine:
    """Return the reader of a command's words; presets of the current folder come first.

    Args:
        kind: the settings dataclass of the command.
        several: what to do for several values of a key: the end of a sentence.
    """
    sources = {
        "env": Source(_tasks, lambda name: {"task": name} if _known(name) else None, "task"),
        "world_model": Source(_world_models, _world_model),
        "hardware": Source(lambda: ("auto",), lambda name: None),
    }
    known = {*leaves(kind), *(field.name for field in fields(kind))}
    return CommandLine(kind, (Path("configs"), PRESETS), sources, partial(explain, known), several)


def check_names(config: Any) -> None:
    """Raise ConfigError for an unknown task of ours, autoencoder or networks of settings.

    Tasks with a colon are other simulators' or the user's own, which are asked when they start.
    """
    task = config.env.task if hasattr(config, "env") else None
    if task is not None and not _known(task):
        raise ConfigError(f"unknown env={shown(task)}: {suggest(task, _tasks())}")
    for key, registry in (("autoencoder", AUTOENCODERS), ("networks", NETWORKS)):
        name = getattr(getattr(config, "world_model", None), key, None)
        if name is not None and name not in registry:
            raise ConfigError(
                f"unknown world_model.{key}={shown(name)}: {suggest(name, registry.names())}"
            )


def explain(known: Collection[str], key: str, value: str) -> str | None:
    """Return the sentence about a key or group=name of another version or library.

    Args:
        known: keys and groups of the command; no other is suggested.
        key: the unknown key, or the group whose name is unknown.
        value: what was given.
    """
    if key == "env":
        return _explain_env(value)
    if PEERS.get(key) in known:
        own = f"gym:{value}" if PEERS[key] == "env" and value in gym.registry else value
        return f"unknown key {key!r}: give {PEERS[key]}={shown(own)}"
    return legacy.explain(key, value)


def _explain_env(value: str) -> str | None:
    """Return the sentence about an unknown environment; None where a task of ours is close."""
    same = [name for name in gym.registry if value.lower() in _spellings(name)]
    if same:
        best = max(same, key=lambda name: (name == value, "/" not in name, name))
        return f"env={shown(value)} is the name of a Gymnasium environment: give env=gym:{best}"
    if re.fullmatch(r"[\w/-]+-v\d+", value):
        return (
            f"env={shown(value)} looks like a Gymnasium environment that nothing has registered: "
            f"give env=gym:MODULE:{value} with the module that does, as gym:ale_py:ALE/Pong-v5"
        )
    if suggest(value, _tasks()).startswith("did you mean"):
        return None
    return (
        f"unknown env={shown(value)}: `python -m envs` lists the tasks; gym:ID is a Gymnasium "
        "environment, gym:MODULE:ID one that a module registers, module:Class a task of your own"
    )


def _spellings(name: str) -> set[str]:
    """Return how a Gymnasium environment may be called: with or without namespace and version."""
    bare = name.rpartition("/")[2].lower()
    return {name.lower(), bare, bare.rpartition("-v")[0]} if "aef/" not in name else {name.lower()}


def _known(task: str) -> bool:
    return ":" in task or task in _tasks()


def _tasks() -> list[str]:
    from envs import tasks  # imports simulators: not before it is needed

    return tasks()


def _world_models() -> Iterable[str]:
    return [*WORLD_MODELS, *AUTOENCODERS]


def _world_model(name: str) -> dict[str, Any] | None:
    if name in WORLD_MODELS:
        return {"kind": name}
    return {"autoencoder": name} if name in AUTOENCODERS else None
