"""Words of a command line and files of configs/ as plain values, and the help that lists them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import omegaconf
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from yaml import YAMLError

import configs
from aef_worldmodel.errors import UserError
from agents.hardware import choose_profile
from agents.schema import ConfigError, field_docs, hint, kind_of, leaves, members, takes

FOLDER = Path(configs.__file__).parent
FIXED = (  # what a run's replay, worlds and networks are made for
    "env.task", "env.action_repeat", "env.image_size", "env.crop", "env.backend", "agent.kind",
    "seed", "run",
)  # fmt: skip


def agent_name(kind: type) -> str:
    """The word after `agent=` for settings of that type."""
    return kind_of(kind) or "imagination"


def option(group: str, name: str) -> dict[str, Any]:
    """What the file says that `group=name` stands for."""
    return read_values(FOLDER / group / f"{name}.yaml")


def recipes() -> dict[tuple[str, str], Path]:
    """Task and agent -> the file of settings that a new run of theirs begins with."""
    files = sorted((FOLDER / "recipe").glob("*.yaml"))
    return {tuple(path.stem.rsplit("-", 1)): path for path in files}


def usage(kind: type, root: str) -> str:
    """Help text: the groups with their options, and every key with default and meaning."""
    groups = [f"  {group}={'|'.join(options)}" for group, options in _groups(kind).items()]
    head = [f"usage: python -m agents.{root} [key=value ...]", "", "groups (configs/):", *groups]
    if root == "train":
        pairs = [f"  env={task} agent={agent}" for task, agent in recipes()]
        head += ["", "recipes (configs/recipe/):", *pairs]
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


def split(word: str) -> tuple[str, str]:
    """The key and the value of key=value.

    Raises:
        ConfigError: it is something else.
    """
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


def composed(words: list[tuple[str, str]], kind: type, root: str) -> dict[str, Any]:
    """Values of the YAML files the words choose, changed as the words say.

    Raises:
        ConfigError: an unknown word or value.
    """
    groups, known = _groups(kind), leaves(kind)
    overrides = []
    if "hardware" in groups and "hardware" not in dict(words):
        overrides += _group_override("hardware", "auto", groups)
    for key, value in words:
        if key == "env.task":
            raise ConfigError(f"{key}={value} is said as env={value}, which reads what else the "
                              "task needs")  # fmt: skip
        if key in groups:
            overrides += _group_override(key, value, groups)
        else:
            overrides.append(_override(key, value, known, groups))
    try:
        with initialize_config_dir(str(FOLDER), version_base="1.3"):
            found = compose(root, overrides)
        return OmegaConf.to_container(found, resolve=True)
    except (HydraException, omegaconf.errors.OmegaConfBaseException) as error:
        given = " ".join("=".join(word) for word in words)
        raise ConfigError(f"cannot read the settings {given}: {_first_line(error)}") from error


def _group_override(group: str, option: str, groups: dict[str, list[str]]) -> list[str]:
    if group == "hardware" and option == "auto":
        return [f"hardware={choose_profile()[0]}"]
    if option in groups[group]:
        return [f"{group}={option}"]
    if group == "env":  # a task without a file of its own
        check_task(option)
        return ["env=default", f"++env.task={_quoted(option)}"]
    raise ConfigError(f"unknown {group}={option}: {hint(option, groups[group])}")


def check_task(task: str) -> None:
    """Raise ConfigError for a task that there is not."""
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


def resumed(words: list[tuple[str, str]], kind: type) -> dict[str, Any]:
    """Values of the run that is resumed, changed as the words say.

    Raises:
        ConfigError: there is no such run, or a word cannot change or is unknown.
    """
    run = Path(dict(words)["resume"])
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"resume={run} is not the folder of a run: it has no config.yaml")
    values, groups = saved_values(run / "config.yaml"), _groups(kind)
    for key, value in words:
        if key in groups:
            raise ConfigError(f"{key}={value} cannot change when a run is resumed; only keys can")
        if key in FIXED:
            raise ConfigError(
                f"{key}={value} cannot change when a run is resumed: its replay, worlds and "
                "networks are made for what it had; begin a new run"
            )
        if key == "data" and values.get("data") is None:
            raise ConfigError(f"data={value} cannot be given to a run that acts: begin a new one")
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


def saved_values(path: Path) -> dict[str, Any]:
    """What a file of settings holds that a command has written, and so is not empty.

    Raises:
        UserError: there is no such file or it does not hold such values.
    """
    if values := read_values(path):
        return values
    raise UserError(f"the settings {path} are damaged: the file is empty")


def read_values(path: Path) -> dict[str, Any]:
    """What a YAML file of keys and values holds.

    Raises:
        UserError: there is no such file or it does not hold such values.
    """
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, ValueError, YAMLError, omegaconf.errors.OmegaConfBaseException) as error:
        raise UserError(f"cannot read the settings {path} ({_first_line(error)})") from error
    if not isinstance(values, dict):
        raise UserError(f"the settings {path} are damaged: expected keys with values")
    return values
