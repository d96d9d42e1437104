"""The folder of a run: its name, its lock, where it comes from, and how it is loaded."""

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from aef_worldmodel.utils.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    load_latest,
    restoring,
)
from aef_worldmodel.utils.command import as_typed
from aef_worldmodel.utils.config.schema import shown
from aef_worldmodel.utils.config.yaml_files import check_sealed
from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import atomic_write, exists, read_text
from aef_worldmodel.utils.registry import suggest
from agents.config import train as settings
from agents.config.hardware import HardwareConfig
from agents.config.train import TrainConfig
from agents.config.trust import check_trusted, trust_word
from agents.learning.build import make_learner
from agents.learning.learner import Learner
from agents.registry import agent_name
from agents.training.legacy import upgrade
from agents.training.provenance import commit, machine

PRETRAINED = Path(__file__).parents[1] / "pretrained"  # exported agents that this checkout holds
WEIGHTS = "weights.safetensors"  # of a run that agents.export wrote, instead of checkpoints/


class LoadedRun(NamedTuple):
    """A run at its last checkpoint, ready to play."""

    learner: Learner
    config: TrainConfig
    frames: int  # seen in training
    discrete: bool  # actions are choices
    images: Mapping[str, str] | None  # fingerprint of those it learnt from


def run_folder(config: TrainConfig) -> Path:
    """Return where a run is kept: `resume`, `run`, or runs/<task>[-<agent>]-<model>-<seed>.

    <model> is the autoencoder's name, or the world model's where it has none. Raises UserError if
    a new run would overwrite another one.
    """
    if config.resume:
        _refuse_export(Path(config.resume))
        return Path(config.resume)
    task = re.sub(r"[^\w.-]+", "-", config.env.task.removeprefix("gym:"))
    parts = [task, agent_name(config.agent), model_name(config), str(config.seed)]
    name = "-".join(part for part in parts if part != "imagination")
    run = Path(config.run or Path("runs") / name)
    if exists(run / "config.yaml"):
        saved = bool(list_checkpoints(run / "checkpoints"))
        way = (
            f"continue it with resume={run}{trust_word(config.env.task)}"
            if saved
            else "it has no checkpoint yet: delete it"
        )
        raise UserError(f"{run} already holds a run: {way}, or give another folder with run=...")
    return run


def _refuse_export(run: Path) -> None:
    if (run / WEIGHTS).is_file():
        raise UserError(
            f"resume={run} holds the weights of an agent alone (agents.export), and a run cannot "
            f"go on from them: resume the run itself, or start a new one with "
            f"init_autoencoder_from={run}"
        )


def model_name(config: TrainConfig) -> str:
    """Return the short name of a run's world model."""
    kind = config.world_model
    return str(getattr(kind, "autoencoder", getattr(kind, "kind", "model")))


def write_provenance(
    run: Path, argv: Sequence[str], config: TrainConfig, frames: int | None
) -> None:
    """Note what it takes to make the run again: command, commit, machine.

    Where the run was continued, at so many `frames`, what has changed is added.
    """
    path = run / "provenance.json"
    words = shlex.join(word for word in argv if not word.startswith(("run=", "resume=")))
    now = {"commit": commit(), "hardware": machine(config.hardware)}
    if frames is None or not path.exists():
        facts = {"command": f"python -m agents.train {words}", **now}
    else:
        facts = read_provenance(path)
        if words:
            facts["command"] += f"; from {frames:,} frames on {words}"
        for name, value in now.items():
            if value not in facts[name].split("; "):
                facts[name] += f"; {value}"
    with atomic_write(path) as file:
        file.write(json.dumps(facts, indent=1) + "\n")


def read_provenance(path: Path) -> dict[str, str]:
    """Return what `write_provenance` wrote. Raises UserError for a file that does not hold it."""
    try:
        facts = json.loads(read_text(path))
        return {name: str(facts[name]) for name in ("command", "commit", "hardware")}
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {reason(error)}): restore it, or delete "
            "it to continue without what it says of the run's beginning"
        ) from error


def pretrained_agents() -> list[str]:
    """Return the names of the trained agents that this checkout holds."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/config.yaml"))


def pretrained_run(name: str) -> Path:
    """Return the folder of a trained agent that this checkout holds.

    Raises UserError for an unknown name.
    """
    known = pretrained_agents()
    if name in known:
        return PRETRAINED / name
    hint = suggest(name, known) if known else "this checkout holds none"
    raise UserError(f"there is no pretrained agent {shown(name)}: {hint}")


def load_checkpoint_of(run: Path, config: TrainConfig) -> Checkpoint:
    """Return the last good checkpoint of a run or its export, whatever version saved it.

    Raises UserError if there is none, or if config.yaml is not the one that belongs to it.
    """
    found = _latest(run)
    if "settings" in found.meta:
        check_sealed(run / "config.yaml")
    return upgrade(found, getattr(config.world_model, "latent_dim", 0))


def _latest(run: Path) -> Checkpoint:
    weights = run / WEIGHTS
    if exists(weights):
        return load_checkpoint(weights)
    return load_latest(run / "checkpoints", "train")


def load_run(run: Path, hardware: HardwareConfig, trust: bool = False) -> LoadedRun:
    """Return a run at its last checkpoint, on this machine.

    Args:
        run: its folder.
        hardware: of this machine.
        trust: whether its settings may name code that is not an installed package.

    Raises:
        UserError: `run` is not a run's folder, its files cannot be read, or its environment is
            not trusted.
    """
    if not exists(run / "config.yaml"):
        raise UserError(f"run={run} is not the folder of a run: it has no config.yaml")
    config = settings.read(run / "config.yaml")
    check_trusted(config.env.task, run / "config.yaml", trust)
    config = dataclasses.replace(config, hardware=hardware)
    found = load_checkpoint_of(run, config)
    for sentence in found.skipped:
        print(sentence)
    with restoring(found.path):
        discrete = bool(found.meta.get("discrete", False))
        shape = tuple(map(int, found.meta["frame_shape"]))
        learner = make_learner(config, shape, int(found.meta["action_dim"]), discrete)
        learner.load_weights(found)
    return LoadedRun(learner, config, found.step, discrete, found.meta.get("images"))


def way_back(run: Path, task: str, how: str = "") -> str:
    """Return what to do after a failure of a run, which `how` may add to."""
    if saved := list_checkpoints(run / "checkpoints"):
        again = as_typed("agents.train", f"resume={run}") + trust_word(task)
        return f"nothing after {saved[-1]} was kept: continue from it{how}: {again}"
    return f"{run} has no checkpoint yet: start again{how}"


def autoencoder_of(run: Path) -> tuple[Checkpoint, dict[str, Tensor]]:
    """Return the checkpoint of a run with whose autoencoder another begins, and its weights.

    Raises UserError for a run without a usable checkpoint.
    """
    if not list_checkpoints(run / "checkpoints") and not (run / WEIGHTS).is_file():
        raise UserError(
            f"init_autoencoder_from={run}: the run has no checkpoint; give a run that has one"
        )
    found, prefix = upgrade(_latest(run), 0), "autoencoder."
    weights = found.state.get("learner", {}).get("model", {})
    return found, {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
