"""A study as its YAML file says it, and the grid of trainings that it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aef_worldmodel.utils.config.cli import split
from aef_worldmodel.utils.config.schema import ConfigError, shown, to_dict
from aef_worldmodel.utils.config.yaml_files import read_values
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.registry import suggest
from agents.config import train as settings
from agents.config.options import PRESETS
from agents.config.train import TrainConfig

FOLDERS = (Path("configs") / "study", PRESETS / "study")  # the first one that has a file counts
KEYS = ("tasks", "arms", "seeds", "frames", "words", "thresholds", "scale", "runs", "at", "groups")
OWNED = ("env", "env.task", "seed", "frames", "run", "resume")  # words that the grid gives
FREE = ("run", "resume", "frames", "log", "checkpoint_every", "hardware")  # no other experiment


@dataclass(frozen=True)
class Study:
    """Tasks x arms x seeds, each trained for so many frames."""

    name: str
    tasks: tuple[str, ...]
    arms: dict[str, tuple[str, ...]]  # name -> words of agents.train
    seeds: tuple[int, ...]
    frames: int
    words: tuple[str, ...] = ()  # of every training
    thresholds: dict[str, float] = field(default_factory=dict)  # task -> return to reach
    scale: float = 1_000.0  # return that counts as 1 where tasks are averaged
    runs: dict[str, tuple[str, ...]] = field(default_factory=dict)  # arm -> folders of other runs
    at: tuple[int, ...] = ()  # frames at which returns stand beside published ones
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)  # name -> tasks averaged


@dataclass(frozen=True)
class PlannedRun:
    """One training of a study."""

    arm: str
    task: str
    seed: int
    folder: Path
    words: tuple[str, ...]  # of agents.train, but for run= and threads
    config: TrainConfig

    @property
    def name(self) -> str:
        """Arm, task and seed in words."""
        return f"{self.arm} {self.task} {self.seed}"


def known_studies() -> list[str]:
    """Return the names of all studies with a file."""
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.yaml")})


def read_study(name: str) -> Study:
    """Return the study NAME of configs/study, or of a path that ends in .yaml.

    Raises:
        ConfigError: there is no such study, or its file is wrong.
    """
    paths = [Path(name)] if name.endswith(".yaml") else [f / f"{name}.yaml" for f in FOLDERS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ConfigError(f"unknown study {shown(name)}: {suggest(name, known_studies())}")
    try:
        return parse_study(path.stem, read_values(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_study(name: str, values: Mapping[str, Any]) -> Study:
    """Return the study of a file's values. Raises ConfigError for what makes no sense."""
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"unknown key {shown(key)}: {suggest(key, KEYS)}")
    tasks, seeds = _words(values, "tasks"), _seeds(values.get("seeds", ()))
    arms, frames = _arms(values.get("arms") or ()), values.get("frames")
    runs = {
        arm: tuple(map(str, _list(folders, f"runs: {arm}")))
        for arm, folders in _mapping(values, "runs").items()
    }
    if not (tasks and arms and seeds) and not runs:
        raise ConfigError("the study has no runs: give tasks, arms and seeds, or runs")
    if not isinstance(frames, int) or frames < 1:
        raise ConfigError(f"frames={shown(frames)} must be a whole number of at least 1")
    for what, found in (("tasks", tasks), ("seeds", seeds)):
        if twice := [x for i, x in enumerate(found) if x in found[:i]]:
            raise ConfigError(f"{what} names {shown(twice[0])} twice: leave one out")
    scale = _numbers({"scale": values.get("scale", 1_000.0)}, "scale")["scale"]
    if scale <= 0:
        raise ConfigError(f"scale={scale} must be above 0")
    thresholds = _numbers(_mapping(values, "thresholds"), "thresholds")
    words = _words(values, "words")
    at, groups = _marks(values, frames), _groups(values, tasks)
    return Study(name, tasks, arms, seeds, frames, words, thresholds, scale, runs, at, groups)


def grid(study: Study, out: Path) -> list[PlannedRun]:
    """Return the trainings of a study, seed by seed, so that an early report has every arm.

    Raises ConfigError, naming the arm, for words that agents.train does not understand.
    """
    planned = []
    for seed in study.seeds:
        for task in study.tasks:
            for arm, own in study.arms.items():
                words = (f"env={task}", f"seed={seed}", f"frames={study.frames}", *study.words)
                folder = out / "runs" / f"{arm}-{_slug(task)}-{seed}"
                try:
                    config = settings.load([*words, *own, f"run={folder}"])
                    config.check_learns()
                except ConfigError as error:
                    raise ConfigError(f"arm {arm} of study {study.name}: {error}") from error
                planned.append(PlannedRun(arm, task, seed, folder, (*words, *own), config))
    return planned


def check_owner(run: PlannedRun) -> None:
    """Raise UserError if the run's folder holds a run of another experiment."""
    if not (run.folder / "config.yaml").is_file():
        return
    saved, wanted = (_flat(to_dict(c)) for c in (_saved(run.folder), run.config))
    other = [key for key in {**wanted, **saved} if saved.get(key) != wanted.get(key)]
    if other := [key for key in other if key.partition(".")[0] not in FREE]:
        key = other[0]
        raise UserError(
            f"{run.folder} holds a run of another study: {key}={shown(saved.get(key))}, not "
            f"{shown(wanted.get(key))} as arm {run.arm} has it; give another folder with out=..."
        )


def _saved(folder: Path) -> TrainConfig:
    return settings.read(folder / "config.yaml")


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        here = f"{path}{key}"
        flat |= _flat(value, f"{here}.") if isinstance(value, Mapping) else {here: value}
    return flat


def _slug(task: str) -> str:
    return re.sub(r"[^\w.-]+", "-", task.removeprefix("gym:"))


def _arms(found: Any) -> dict[str, tuple[str, ...]]:
    """Return name -> words; a name without words is one that world_model= takes."""
    if isinstance(found, list | tuple):
        found = {str(name): [f"world_model={name}"] for name in found}
    if not isinstance(found, Mapping):
        raise ConfigError(f"arms={shown(found)} must be a list of names, or names with words")
    arms = {}
    for name, words in found.items():
        if not re.fullmatch(r"[\w.+-]+", str(name)):
            raise ConfigError(f"arm {shown(name)}: a name is made of letters, digits and .+-_")
        arms[str(name)] = _checked(_list(words, f"arms: {name}"), f"arms: {name}")
    return arms


def _words(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = _list(values.get(key) or [], key)
    return _checked(found, key) if key == "words" else tuple(map(str, found))


def _checked(words: Sequence[Any], where: str) -> tuple[str, ...]:
    words = tuple(map(str, words))
    for key, _ in split(words):
        if key in OWNED:
            raise ConfigError(f"{where} gives {key}, which the study gives: leave it out")
    return words


def _list(found: Any, where: str) -> list[Any]:
    if found is None:
        return []
    if not isinstance(found, list) or any(isinstance(item, list | dict) for item in found):
        raise ConfigError(f"{where}: {shown(found)} must be a list [...]")
    return found


def _mapping(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key) or {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"{key}={shown(found)} must be names with values")
    return found


def _numbers(found: Mapping[str, Any], key: str) -> dict[str, float]:
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{key}: {name}={shown(value)} must be a number")
    return {str(name): float(value) for name, value in found.items()}


def _marks(values: Mapping[str, Any], frames: int) -> tuple[int, ...]:
    found = _list(values.get("at") or [], "at")
    for mark in found:
        if isinstance(mark, bool) or not isinstance(mark, int) or not 1 <= mark <= frames:
            raise ConfigError(f"at: {shown(mark)} must be a whole number from 1 to frames={frames}")
    return tuple(found)


def _groups(values: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return name -> tasks, all of them tasks of the study where it names any."""
    groups = {}
    for name, members in _mapping(values, "groups").items():
        groups[str(name)] = tuple(map(str, _list(members, f"groups: {name}")))
        for task in groups[str(name)] if tasks else ():
            if task not in tasks:
                raise ConfigError(f"groups: {name}: {shown(task)} is not in tasks")
    return groups


def _seeds(found: Any) -> tuple[int, ...]:
    """Return the seeds of a list, or 0, 1, ... for a number of them."""
    if isinstance(found, int) and not isinstance(found, bool):
        return tuple(range(found))
    seeds = found if isinstance(found, list | tuple) else [found]
    if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise ConfigError(f"seeds={shown(found)} must be a number of seeds, or a list of them")
    return tuple(seeds)
