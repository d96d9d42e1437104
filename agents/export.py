"""`python -m agents.export run=RUN out=FOLDER`: the weights of a trained agent, and nothing else.

A checkpoint holds what a run needs to go on: optimisers, the replay buffer's state, random
numbers. The export holds what is needed to play: a folder with `config.yaml`, `provenance.json`
and `weights.safetensors`, in the format of checkpoints. Every command that plays a run plays it.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from aef_worldmodel.utils.checkpoint import write_checkpoint
from aef_worldmodel.utils.command import as_typed, run_command
from aef_worldmodel.utils.config.schema import ConfigError
from aef_worldmodel.utils.config.yaml_files import digest
from aef_worldmodel.utils.errors import UserError, writing
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.config.train import TrainConfig
from agents.config.trust import trust_word
from agents.training.runs import WEIGHTS, load_run


@dataclass(frozen=True)
class ExportConfig:
    """Settings of `python -m agents.export`."""

    run: str | None = None
    """Folder of the run whose last checkpoint is exported."""
    out: str | None = None
    """Folder to write; null for RUN-export, beside the run."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type of the weights in the file: float16 halves it and rounds them to 3 digits."""


def main(argv: Sequence[str]) -> int:
    """Write the folder and print how to use it."""
    asked = settings.load(argv, ExportConfig, "export")
    if asked.run is None:
        raise ConfigError("run is not set: give run=RUN_DIR, the folder of a trained run")
    out = Path(asked.out or f"{asked.run.rstrip('/')}-export")
    config = export(Path(asked.run), out, getattr(torch, asked.dtype))
    size = (out / WEIGHTS).stat().st_size / 1e6
    play = as_typed("agents.evaluate", f"run={out}") + trust_word(config.env.task)
    print(f"{out}: {size:.1f} MB of weights; play them with {play}")
    return 0


def export(run: Path, out: Path, dtype: torch.dtype = torch.float32) -> TrainConfig:
    """Write what playing a run needs into a new folder; return its settings.

    Raises:
        UserError: `run` cannot be loaded, or `out` exists or cannot be written.
    """
    if out.exists():
        raise UserError(f"out={out} exists already: give another folder, or delete it")
    loaded = load_run(run, resolve(HardwareConfig()), trust=True)  # makes no environment
    learner, config = loaded.learner, loaded.config
    config = dataclasses.replace(config, run=None, resume=None, trust=False)
    meta = {
        "kind": "export",
        "settings": digest(config),
        "images": loaded.images,
        "discrete": loaded.discrete,
        "frame_shape": list(learner.model.frame_shape),
        "action_dim": learner.model.action_dim,
    }
    state = {"learner": as_type(learner.weights(), dtype)}
    with writing(out):
        out.mkdir(parents=True)
    try:
        write_checkpoint(out / WEIGHTS, loaded.frames, state, meta)
        settings.save(out / "config.yaml", config)
        if (run / "provenance.json").is_file():
            with writing(out):
                shutil.copyfile(run / "provenance.json", out / "provenance.json")
    except UserError:
        shutil.rmtree(out)
        raise
    return config


def as_type(state: Any, dtype: torch.dtype) -> Any:
    """Return nested values with floating-point tensors of another type, on the CPU."""
    if isinstance(state, Mapping):
        return {name: as_type(value, dtype) for name, value in state.items()}
    if not isinstance(state, torch.Tensor):
        return state
    return state.to("cpu", dtype if state.is_floating_point() else state.dtype)


if __name__ == "__main__":
    run_command(main)
