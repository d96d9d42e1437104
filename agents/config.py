"""Settings of a run: `key=value` on the command line over YAML files over dataclass defaults."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import OmegaConf

from aef_worldmodel.config import WorldModelConfig
from aef_worldmodel.errors import UserError, writing
from agents.evolution import EvolutionConfig
from agents.hardware import HardwareConfig, resolve
from agents.imagination import ImaginationConfig
from agents.planner import PlannerConfig
from agents.sb3 import PpoConfig, SacConfig
from agents.schema import ConfigError, build, to_dict
from agents.scripted import RandomConfig, ScriptedConfig
from agents.words import check_task, composed, resumed, saved_values, split, usage

T = TypeVar("T")
AgentConfig = (
    ImaginationConfig | PlannerConfig | SacConfig | PpoConfig | EvolutionConfig | RandomConfig
    | ScriptedConfig
)  # fmt: skip


@dataclass(frozen=True)
class EnvConfig:
    """What is to be learnt."""

    task: str = "cheetah-run"
    """What env= says: a task of `envs.tasks()`, or gym: and what Gymnasium calls its own."""
    action_repeat: int = 2
    """Frames (simulator control steps) a decision lasts."""
    image_size: int = 64
    """Height and width of a frame in pixels."""
    rays: int = 2
    """Rays a pixel is the mean of: 2 smooth edges nearly as dm_control's OpenGL does, 4 more in
    twice the time, 1 leaves them jagged. Other people's environments draw as they do."""
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Pixels cut off at top, bottom, left and right of other people's pictures."""
    restart_every: int | None = None
    """Frames after which, on average, a world of the training begins anew at random, its episode
    cut short there; null for whole episodes. Evaluations play whole ones."""
    backend: Literal["dm_control"] | None = None
    """dm_control: its own simulator and OpenGL pictures, one process a thread; null for ours."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number that makes no sense."""
        for name in ("action_repeat", "image_size", "rays"):
            if getattr(self, name) < 1:
                raise ConfigError(f"env.{name}={getattr(self, name)} must be at least 1")
        if self.restart_every is not None and self.restart_every <= self.action_repeat:
            raise ConfigError(
                f"env.restart_every={self.restart_every} must be above env.action_repeat="
                f"{self.action_repeat}: a decision lasts that many frames"
            )


@dataclass(frozen=True)
class TrainConfig:
    """Everything `python -m agents.train` can be told."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The task."""
    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    """The world model."""
    agent: AgentConfig = field(default_factory=ImaginationConfig)
    """What learns to act (docs/agents.md)."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine."""
    frames: int = 100_000
    """Length of training in frames, that is simulator control steps over all worlds."""
    seed: int = 0
    """Seed of networks, exploration, replay and environments."""
    run: str | None = None
    """Folder of the run; null for runs/<task>-<autoencoder>-<seed>, or with an agent other
    than imagination runs/<task>-<agent>-<autoencoder>-<seed>."""
    resume: str | None = None
    """Folder of a run to continue from its last checkpoint, with its settings."""
    data: str | None = None
    """Folder of recorded episodes (agents.collect) to learn from, without acting. `frames` then
    says for how many updates: as many as a run that acts makes in so many frames."""
    eye: str | None = None
    """Folder of a run, of this task or another one, with whose eye this run begins and goes on
    learning; null for an eye that has seen nothing (docs/tried/walker-walk.md)."""
    prefill: int = 4_000
    """Frames with random actions before learning, over all worlds; never fewer than `length`
    decisions in each of them."""
    pretrain: int = 150
    """Updates of the world model alone before the actor starts."""
    frames_per_update: float = 8.0
    """Frames, over all worlds, between two updates."""
    batch: int = 12
    """Sequences of a batch, B."""
    length: int = 16
    """Rows of a sequence, T."""
    model_rate: float = 8e-4
    """Adam's learning rate of the world model."""
    actor_rate: float = 3e-4
    """Adam's learning rate of the actor."""
    critic_rate: float = 8e-4
    """Adam's learning rate of the critic."""
    average_rate: float = 0.03
    """How far the averaged world model, in which the agent acts and dreams, follows an update; at
    most 1, where it is the model of the moment."""
    replay_rows: int = 500_000
    """Rows the replay samples from, over all worlds."""
    recency: float | None = None
    """How much oftener new rows are drawn than old ones: half of a batch begins in the newest
    2^-recency of them; 1 draws all alike. null for 3 (docs/agent.md#new-rows-oftener), or for 1
    with `data`, whose episodes are neither old nor new."""
    eval_every: int = 10_000
    """Frames between evaluations."""
    eval_episodes: int = 10
    """Episodes of an evaluation, run as one batch."""
    checkpoint_every: int = 10_000
    """Frames between checkpoints."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number that makes no sense."""
        least = {"prefill": 0, "pretrain": 0, "seed": 0, "length": 2}
        for name, value in vars(self).items():
            if isinstance(value, int) and value < least.get(name, 1):
                raise ConfigError(f"{name}={value} must be at least {least.get(name, 1)}")
            if isinstance(value, float) and value <= 0:
                raise ConfigError(f"{name}={value} must be above 0")
        if self.seed >= 2**32:
            raise ConfigError(f"seed={self.seed} must be below 2^32")
        recency = 1.0 if self.recency is None else self.recency
        if recency < 1:
            raise ConfigError(f"recency={recency} must be at least 1, where rows are alike")
        if recency > 1 and self.data is not None:
            raise ConfigError(
                f"recency={self.recency} with data={self.data}: recorded episodes are neither old "
                "nor new; leave recency out"
            )
        if self.average_rate > 1:
            raise ConfigError(
                f"average_rate={self.average_rate} must be at most 1, where it copies"
            )

    @property
    def frames_before_learning(self) -> int:
        """Frames with random actions: `prefill`, and in every world the rows of a sequence."""
        return max(self.prefill, self.length * self.hardware.num_envs * self.env.action_repeat)

    def check_learns(self) -> None:
        """Raise ConfigError for a run that would end without having learnt anything."""
        worlds, before = self.hardware.num_envs, self.frames_before_learning
        if self.replay_rows // worlds < self.length:
            raise ConfigError(
                f"replay_rows={self.replay_rows} keep less of each of {worlds} worlds than a "
                f"sequence of length={self.length}: give {self.length * worlds} or more"
            )
        if self.frames <= before and self.data is None:
            raise ConfigError(
                f"frames={self.frames} are over before learning begins, after {before} frames with "
                f"random actions: give more, or less of prefill={self.prefill}, "
                f"length={self.length} or hardware.num_envs={worlds}"
            )


def load(argv: Sequence[str], kind: type[T] = TrainConfig, root: str = "train") -> T:
    """Settings from command-line words such as `env=walker-walk frames=50000`.

    A word names a group's file (`env=cheetah-run` reads configs/env/cheetah-run.yaml) or a key
    (`world_model.latent_dim=64`). A task and an agent may have a recipe together: where there is
    configs/recipe/<env>-<agent>.yaml, what it says holds unless a word says otherwise. With
    `resume=RUN` the run's own settings are the base, and only keys may be changed.

    Args:
        argv: the words.
        kind: the dataclass to make.
        root: the file in configs/ that lists the default groups.

    Raises:
        ConfigError: anything unknown, misspelt or of the wrong type.
    """
    if {"-h", "--help"} & set(argv):
        print(usage(kind, root))
        sys.exit(0)
    words = [split(word) for word in argv]
    values = resumed(words, kind) if "resume" in dict(words) else composed(words, kind, root)
    config = build(kind, values)
    if hasattr(config, "env"):
        check_task(config.env.task)
    if hasattr(config, "hardware"):
        config = dataclasses.replace(config, hardware=resolve(config.hardware))
    return config


def save(path: str | Path, config: Any) -> None:
    """Write settings as YAML that `read` takes back. Raises UserError if it cannot be written."""
    temporary = Path(f"{path}.tmp")
    with writing(path):
        OmegaConf.save(OmegaConf.create(to_dict(config)), temporary)
        os.replace(temporary, path)


def read(path: str | Path, kind: type[T] = TrainConfig) -> T:
    """Settings written by `save`.

    Raises:
        UserError: there is no such file or it does not hold such settings.
    """
    values = saved_values(Path(path))
    try:
        return build(kind, values)
    except ConfigError as error:
        raise UserError(f"the settings {path} do not fit this version: {error}") from error
