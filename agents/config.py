"""Settings of a run: `key=value` on the command line over YAML files over dataclass defaults."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import omegaconf
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from yaml import YAMLError

import configs
from aef_worldmodel.config import WorldModelConfig
from aef_worldmodel.errors import UserError
from agents.evolution import EvolutionConfig
from agents.hardware import HardwareConfig, choose_profile, resolve
from agents.imagination import ImaginationConfig
from agents.planner import PlannerConfig
from agents.sb3 import PpoConfig, SacConfig
from agents.schema import (
    ConfigError,
    build,
    field_docs,
    hint,
    kind_of,
    leaves,
    members,
    takes,
    to_dict,
)
from agents.scripted import RandomConfig, ScriptedConfig

T = TypeVar("T")
AgentConfig = (
    ImaginationConfig | PlannerConfig | SacConfig | PpoConfig | EvolutionConfig | RandomConfig
    | ScriptedConfig
)  # fmt: skip
FOLDER = Path(configs.__file__).parent


@dataclass(frozen=True)
class EnvConfig:
    """What is to be learnt."""

    task: str = "cheetah-run"
    """A task of `envs.tasks()`, or gym: and what Gymnasium calls an environment."""
    action_repeat: int = 2
    """Frames (simulator control steps) a decision lasts."""
    image_size: int = 64
    """Height and width of a frame in pixels."""
    rays: int = 4
    """Rays a pixel is the mean of: 4 smooth edges as dm_control's OpenGL does, 2 nearly so in half
    the time, 1 leaves them jagged. Other people's environments draw as they do."""
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Pixels cut off at top, bottom, left and right of other people's pictures."""
    restart_every: int | None = None
    """Frames after which, on average, a world of the training begins anew at random, its episode
    cut short there; null for whole episodes. Evaluations play whole ones."""
    backend: Literal["dm_control"] | None = None
    """dm_control: its own simulator and OpenGL pictures, one process a thread; null for ours."""

    def __post_init__(self) -> None:
        """Raise ConfigError for worlds that would begin anew before they begin."""
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
    frames_per_update: float = 12.0
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
    recency: float = 1.0
    """How much oftener new rows are drawn than old ones: half of a batch begins in the newest
    2^-recency of them; 1 draws all alike (docs/tried/walker-walk.md). Without `data` alone."""
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
        if self.recency < 1:
            raise ConfigError(f"recency={self.recency} must be at least 1, where rows are alike")
        if self.recency > 1 and self.data is not None:
            raise ConfigError(
                f"recency={self.recency} with data={self.data}: recorded episodes are neither old "
                "nor new; leave recency out"
            )
        if self.average_rate > 1:
            raise ConfigError(
                f"average_rate={self.average_rate} must be at most 1, where it copies"
            )


def agent_name(kind: type) -> str:
    """The word after `agent=` for settings of that type."""
    return kind_of(kind) or "imagination"


def load(argv: Sequence[str], kind: type[T] = TrainConfig, root: str = "train") -> T:
    """Settings from command-line words such as `env=walker-walk frames=50000`.

    A word names a group's file (`env=cheetah-run` reads configs/env/cheetah-run.yaml) or a key
    (`world_model.latent_dim=64`). With `resume=RUN` the run's own settings are the base, and only
    keys may be changed.

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
    words = [_split(word) for word in argv]
    values = _resumed(words, kind) if "resume" in dict(words) else _composed(words, kind, root)
    config = build(kind, values)
    if hasattr(config, "env"):
        _check_task(config.env.task)
    if hasattr(config, "hardware"):
        config = dataclasses.replace(config, hardware=resolve(config.hardware))
    return config


def save(path: str | Path, config: Any) -> None:
    """Write settings as YAML that `read` takes back."""
    temporary = Path(f"{path}.tmp")
    OmegaConf.save(OmegaConf.create(to_dict(config)), temporary)
    os.replace(temporary, path)


def read(path: str | Path, kind: type[T] = TrainConfig) -> T:
    """Settings written by `save`.

    Raises:
        UserError: there is no such file or it does not hold such settings.
    """
    values = _read_values(Path(path))
    try:
        return build(kind, values)
    except ConfigError as error:
        raise UserError(f"the settings {path} do not fit this version: {error}") from error


def option(group: str, name: str) -> dict[str, Any]:
    """What the file says that `group=name` stands for."""
    return _read_values(FOLDER / group / f"{name}.yaml")


def usage(kind: type, root: str) -> str:
    """Help text: the groups with their options, and every key with default and meaning."""
    groups = [f"  {group}={'|'.join(options)}" for group, options in _groups(kind).items()]
    head = [f"usage: python -m agents.{root} [key=value ...]", "", "groups (configs/):", *groups]
    return "\n".join([*head, "", "keys:", *_key_lines(kind(), "")])


def _key_lines(config: Any, path: str) -> list[str]:
    lines, types = [], get_type_hints(type(config))
    for name, text in field_docs(type(config)).items():
        value, key, kinds = getattr(config, name), f"{path}{name}", members(types[name])
        if len(kinds) > 1:
            for kind in kinds:
                lines.append(f"  with {key}={agent_name(kind)}:")
                lines += [f"  {line}" for line in _key_lines(kind(), f"{key}.")]
        elif dataclasses.is_dataclass(value):
            lines += _key_lines(value, f"{key}.")
        elif name != "kind":
            lines.append(f"  {key}={'null' if value is None else value}  {text}")
    return lines


def _split(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise ConfigError(f"expected key=value, got {word!r}; for instance env=cheetah-run")
    return key, value


def _groups(kind: type) -> dict[str, list[str]]:
    """Group -> its options: the folders of configs/ that are named like a part of the settings."""
    options = {
        name: sorted(f.stem for f in (FOLDER / name).glob("*.yaml")) for name in vars(kind())
    }
    return {name: found for name, found in options.items() if found}


def _composed(words: list[tuple[str, str]], kind: type, root: str) -> dict[str, Any]:
    """Values of the YAML files the words choose, changed as the words say."""
    groups, known = _groups(kind), leaves(kind)
    overrides = []
    if "hardware" in groups and "hardware" not in dict(words):
        overrides += _group_override("hardware", "auto", groups)
    for key, value in words:
        if key in groups:
            overrides += _group_override(key, value, groups)
        else:
            overrides.append(_override(key, value, known, groups))
    try:
        with initialize_config_dir(str(FOLDER), version_base="1.3"):
            composed = compose(root, overrides)
        return OmegaConf.to_container(composed, resolve=True)
    except (HydraException, omegaconf.errors.OmegaConfBaseException) as error:
        given = " ".join("=".join(word) for word in words)
        raise ConfigError(f"cannot read the settings {given}: {_first_line(error)}") from error


def _group_override(group: str, option: str, groups: dict[str, list[str]]) -> list[str]:
    if group == "hardware" and option == "auto":
        return [f"hardware={choose_profile()[0]}"]
    if option in groups[group]:
        return [f"{group}={option}"]
    if group == "env":  # a task without a file of its own
        _check_task(option)
        return ["env=default", f"++env.task={_quoted(option)}"]
    raise ConfigError(f"unknown {group}={option}: {hint(option, groups[group])}")


def _check_task(task: str) -> None:
    from envs import tasks  # imports simulators: not before it is needed

    if task not in tasks() and not task.startswith("gym:"):
        raise ConfigError(f"unknown env={task}: {hint(task, tasks())}")


def _override(key: str, value: str, known: dict[str, Any], groups: dict[str, list[str]]) -> str:
    """A key=value in hydra's grammar, where words are quoted: a path may hold any character."""
    if key not in known:
        raise ConfigError(f"unknown key {key!r}: {_key_hint(key, known, groups)}")
    if takes(known[key], str) and value != "null":
        value = _quoted(value)
    return f"++{key}={value}"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "\\'") + "'"


def _key_hint(key: str, known: dict[str, Any], groups: dict[str, list[str]]) -> str:
    same_end = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    if same_end:
        return f"did you mean {' or '.join(same_end)}?"
    return hint(key, [*known, *groups]) if "." in key else hint(key, [*groups, *known])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _resumed(words: list[tuple[str, str]], kind: type) -> dict[str, Any]:
    """Values of the run that is resumed, changed as the words say."""
    run = Path(dict(words)["resume"])
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"resume={run} is not the folder of a run: it has no config.yaml")
    values, groups = _read_values(run / "config.yaml"), _groups(kind)
    for key, value in words:
        if key in groups:
            raise ConfigError(f"{key}={value} cannot change when a run is resumed; only keys can")
        if key == "eye":
            raise ConfigError(f"eye={value} comes too late for a run that has its own: begin a new "
                              f"run with it, or leave it out")  # fmt: skip
        _put(values, key, _override(key, value, leaves(kind), groups))
    return values


def _put(values: dict[str, Any], key: str, override: str) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    try:
        values[name] = OverridesParser.create().parse_override(override).value()
    except HydraException as error:
        raise ConfigError(f"cannot read {override}: {_first_line(error)}") from error


def _read_values(path: Path) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, ValueError, YAMLError, omegaconf.errors.OmegaConfBaseException) as error:
        raise UserError(f"cannot read the settings {path} ({_first_line(error)})") from error
    if not isinstance(values, dict):
        raise UserError(f"the settings {path} are damaged: expected keys with values")
    return values
