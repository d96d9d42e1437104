"""Settings of a run: `key=value` words over YAML presets over dataclass defaults."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aef_worldmodel.data.episodes import read_info
from aef_worldmodel.utils.config import yaml_files
from aef_worldmodel.utils.config.cli import ONCE_EACH, split
from aef_worldmodel.utils.config.help import usage
from aef_worldmodel.utils.config.schema import (
    ConfigError,
    build,
    check_bounds,
    check_positive,
    shown,
)
from aef_worldmodel.utils.config.yaml_files import save
from aef_worldmodel.world_models.base import WorldModelConfig
from agents.base import AgentConfig
from agents.config import legacy
from agents.config.hardware import HardwareConfig, choose_profile, resolve
from agents.config.options import STUDY, check_names, command_line
from agents.config.sections import (
    EmaConfig,
    EnvConfig,
    EvalConfig,
    ObjectiveConfig,
    RateConfig,
    ReplayConfig,
)
from agents.config.trust import check_trusted

__all__ = ["ConfigError", "EnvConfig", "TrainConfig", "load", "read", "save"]

T = TypeVar("T")
FIXED = (  # a run's replay, environments and networks are made for the values of these
    "env.task",
    "env.action_repeat",
    "env.image_size",
    "world_model.kind",
    "agent.kind",
    "replay.held_out",
    "seed",
    "run",
)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `python -m agents.train`."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The task and how it is seen."""
    world_model: WorldModelConfig = field(
        default_factory=lambda: WorldModelConfig.select("recurrent")
    )
    """The world model."""
    agent: AgentConfig = field(default_factory=lambda: AgentConfig.select("imagination"))
    """The agent."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """Terms and stages of the world model's loss beyond the joint likelihood."""
    lr: RateConfig = field(default_factory=RateConfig)
    """Learning rates of Adam."""
    ema: EmaConfig = field(default_factory=EmaConfig)
    """Share of a network's weights that its moving average takes over at each update, 0 to 1."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """The replay buffer and the batches drawn from it."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """Evaluations during training."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine; `hardware=auto`, the default, is gpu where torch sees CUDA, else cpu."""
    frames: int = 100_000
    """Length of training in frames: simulator control steps over all environments."""
    seed: int = 0
    """Seed of networks, exploration, replay and environments."""
    run: str | None = None
    """Folder of the run; null for runs/<task>-<autoencoder>-<seed>, or for an agent other than
    imagination runs/<task>-<agent>-<autoencoder>-<seed>."""
    resume: str | None = None
    """Folder of a run to continue from its last checkpoint, with its settings."""
    trust: bool = False
    """Execute the code that the saved settings of `resume` name: a module that registers the
    environment and is not an installed package."""
    data: str | None = None
    """Folder of recorded episodes (agents.collect) to learn from without acting, in the
    environment they were recorded in unless `env=` names it; `frames` then gives the number of
    updates, as many as a run that acts makes in so many frames."""
    init_autoencoder_from: str | None = None
    """Folder of a run, of any task, whose autoencoder this run starts from and trains further;
    null for random weights."""
    encoder: str | None = None
    """A pretrained backbone (its name, for instance dmc, a folder, or OWNER/NAME of the Hugging
    Face Hub) whose autoencoder this run starts from and trains further; null for random weights."""
    prefill: int = 4_000
    """Frames with random actions before learning, over all environments; at least
    `replay.sequence_length` decisions are played in each environment."""
    pretrain: int = 150
    """Updates of the world model alone before the agent learns."""
    frames_per_update: float = 8.0
    """Frames, over all environments, between two updates."""
    checkpoint_every: int = 10_000
    """Frames between checkpoints."""
    monitor: bool = False
    """Log how likely the world model finds frames as they arrive, before it learns from them, as
    `act/...`; it must have a likelihood of images."""
    log: tuple[str, ...] = ("csv", "files", "tensorboard", "terminal")
    """Where metrics, images and films go: csv (metrics.csv), files (images and films in the run's
    folder), tensorboard, terminal, or a writer of your own."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(
            self,
            frames=(1, None),
            seed=(0, 2**32 - 1),
            prefill=(0, None),
            pretrain=(0, None),
            checkpoint_every=(1, None),
        )
        check_positive(self, "frames_per_update")
        if self.encoder is not None and self.init_autoencoder_from is not None:
            raise ValueError(
                f"encoder={self.encoder} and init_autoencoder_from={self.init_autoencoder_from} "
                "are two beginnings of one autoencoder: give one of them"
            )
        recency = self.replay.recency
        if recency is not None and recency > 1 and self.data is not None:
            raise ValueError(
                f"replay.recency={recency} with data={self.data}: recorded episodes are neither "
                "old nor new; leave replay.recency out"
            )

    @property
    def frames_before_learning(self) -> int:
        """Frames with random actions: `prefill`, and a sequence in every environment."""
        decisions = self.replay.sequence_length * self.hardware.num_envs
        return max(self.prefill, decisions * self.env.action_repeat)

    def check_learns(self) -> None:
        """Raise ConfigError for a run that would end before it has learnt anything."""
        count, length, before = self.hardware.num_envs, self.replay.sequence_length, self.prefill
        if self.replay.capacity // count < length:
            raise ConfigError(
                f"replay.capacity={self.replay.capacity} keeps fewer rows of each of {count} "
                f"environments than replay.sequence_length={length}: give {length * count} or more"
            )
        if self.frames <= self.frames_before_learning and self.data is None:
            raise ConfigError(
                f"frames={self.frames} end before learning begins, after "
                f"{self.frames_before_learning} frames with random actions: give more frames, or "
                f"less of prefill={before}, replay.sequence_length={length} or "
                f"hardware.num_envs={count}"
            )


def load(argv: Sequence[str], kind: type[T] = TrainConfig, command: str = "train") -> T:
    """Return settings from command-line words such as `env=walker-walk frames=50000`.

    `group=NAME` takes the values of configs/group/NAME.yaml, first of the current folder, then of
    this checkout; without such a file `env=` takes a task, `agent=` and `world_model=` a registered
    name. `group.key=value` changes one value. With `resume=RUN` the run's own settings are the
    base, and only keys can change. `--help` prints all of them and exits.

    Args:
        argv: the words.
        kind: the dataclass to make.
        command: module of agents, or dotted name of a module, for the help text.

    Raises:
        ConfigError: a word is unknown, misspelt or has a value of the wrong type.
        UserError: the settings of RUN cannot be read, or name code that is not trusted.
    """
    several = STUDY if issubclass(kind, TrainConfig) else ONCE_EACH
    line = command_line(kind, several)
    if {"-h", "--help"} & set(argv):
        print(usage(line, command if "." in command else f"agents.{command}"))
        sys.exit(0)
    words = split(argv, several)
    resumed = dict(words).get("resume", "null") != "null"
    if resumed:
        saved = legacy.update(line.saved(words, FIXED))
        saved.pop("trust", None)  # only the command line can say so
        _check_resumed(dict(words), saved)
        values = line.change(saved, words)
    else:
        values = line.compose(_with_hardware(words, kind))
        if issubclass(kind, TrainConfig):
            _take_recorded_env(values, dict(words))
    config: Any = build(kind, values)
    if resumed:
        check_trusted(config.env.task, Path(config.resume) / "config.yaml", config.trust)
    check_names(config)
    if hasattr(config, "hardware"):
        config = dataclasses.replace(config, hardware=resolve(config.hardware))
    return config


def world_model_values(name: str) -> dict[str, Any]:
    """Return the keys and values that `world_model=name` stands for.

    Raises ConfigError for an unknown name.
    """
    return command_line(TrainConfig).compose([("world_model", name)])["world_model"]


def read(path: str | Path, kind: type[T] = TrainConfig) -> T:
    """Return settings that `save` wrote, here or at commit 0f2081c.

    Raises:
        UserError: there is no such file, or it does not hold such settings.
    """
    return yaml_files.read(path, kind, legacy.update)


def _with_hardware(words: Sequence[tuple[str, str]], kind: type) -> list[tuple[str, str]]:
    """Return the words with the hardware preset that fits here where none is given, or auto."""
    groups = [field.name for field in dataclasses.fields(kind)]
    found = [word for word in words if word != ("hardware", "auto")]
    if "hardware" in groups and "hardware" not in dict(found):
        found.insert(0, ("hardware", choose_profile()[0]))
    return found


def _take_recorded_env(values: dict[str, Any], words: dict[str, str]) -> None:
    """Where recorded episodes are given and no environment, take theirs, in place."""
    data = words.get("data", "null")
    if data == "null" or "env" in words:
        return
    if not os.path.isfile(Path(data) / "info.json"):  # False for a name that no folder can have
        raise ConfigError(
            f"data={shown(data)} holds no recorded episodes: record some with agents.collect, or "
            "give another folder"
        )
    recorded = legacy.update_env(read_info(data)["env"])
    check_trusted(str(recorded.get("task")), Path(data) / "info.json", bool(values.get("trust")))
    values["env"] = recorded | values.get("env", {})


def _check_resumed(words: dict[str, str], saved: dict[str, Any]) -> None:
    """Raise ConfigError for a change that comes too late for a run."""
    if "data" in words and saved.get("data") is None:
        data = shown(words["data"])
        raise ConfigError(f"data={data} cannot be given to a run that acts: start a new one")
    for key in ("init_autoencoder_from", "encoder"):
        if key in words:
            raise ConfigError(
                f"{key}={shown(words[key])} comes too late for a run that has an autoencoder: "
                "start a new run with it, or leave it out"
            )
