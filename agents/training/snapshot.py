"""The whole state of a run as a checkpoint, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aef_worldmodel import __version__
from aef_worldmodel.utils.checkpoint import Checkpoint, restoring, save_checkpoint
from aef_worldmodel.utils.config.yaml_files import digest
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State
from agents.algorithms.fixed import CorrelatedNoise
from agents.playing.env_factory import state_of
from agents.playing.reference import redrawn
from agents.playing.rollout import EnvLoop
from agents.training.runs import load_checkpoint_of
from agents.training.seeds import RESUMED, SPACED

if TYPE_CHECKING:
    from agents.training.trainer import Trainer

COUNTERS = ("frames", "decisions", "updates", "unspent", "evaluations", "due", "last_return")
COUNTERS += ("centred", "episodes_begun")


def save(trainer: Trainer, minutes: float) -> Path:
    """Write a checkpoint of a run that has lasted `minutes`."""
    loop, learner = trainer.loop, trainer.learner
    now: dict[str, Tensor] = {name: getattr(loop, name) for name in EnvLoop.FIELDS}
    state = {
        "learner": learner.state_dict(),
        "policy": trainer.policy.state_dict(),
        "replay": trainer.replay.state_dict(),
        "env": state_of(trainer.env),
        "filter": dict(loop.state._asdict()),
        "now": now | {"returns": trainer.returns},
        "rng": rng_state(learner.device),
        "arrivals": trainer.arrivals.state_dict() if trainer.arrivals else {},
        "counters": {"minutes": minutes}
        | {name: getattr(trainer, name) for name in trainer.counted},
    }
    about = {
        "kind": "train",
        "version": __version__,
        "seeds": trainer.seeds,
        "settings": digest(trainer.config),
        "discrete": trainer.discrete,
        "frame_shape": list(learner.model.frame_shape),
        "action_dim": learner.model.action_dim,
        "images": trainer.fingerprint,
    }
    return save_checkpoint(trainer.run / "checkpoints", trainer.frames, state, about)


def restore(trainer: Trainer) -> Checkpoint:
    """Bring a run to its last good checkpoint and return the checkpoint.

    Raises UserError for a missing or damaged one, or one of another architecture.
    """
    found = load_checkpoint_of(trainer.run, trainer.config)
    with restoring(found.path):
        _restore(trainer, found)
    trainer.notes += redrawn(found.meta.get("images"), trainer.fingerprint, trainer.run)
    return found


def _restore(trainer: Trainer, found: Checkpoint) -> None:
    state, learner, loop = found.state, trainer.learner, trainer.loop
    trainer.seeds = str(found.meta.get("seeds", SPACED))
    device = learner.device
    learner.load_state_dict(state["learner"], found.path)
    played = {name: value.to(device) for name, value in state.get("policy", {}).items()}
    trainer.policy.load_state_dict(played)
    trainer.replay.load_state_dict(state["replay"])
    loop.state = State(**{name: value.to(device) for name, value in state["filter"].items()})
    now = {name: value.to(device) for name, value in state["now"].items()}
    trainer.returns = now.pop("returns")
    for name, value in now.items():
        setattr(loop, name, value)
    if isinstance(loop.policy, CorrelatedNoise):
        loop.policy.previous = loop.action.clone()
    if trainer.arrivals:
        trainer.arrivals.load_state_dict(state.get("arrivals", {}))
    restore_env(trainer, found)
    counters: dict[str, Any] = {"frames": found.step, "centred": state["counters"]["updates"] > 0}
    counters |= state["counters"]  # older checkpoints do not have these two
    for name in trainer.counted:
        setattr(trainer, name, counters.get(name, getattr(trainer, name)))
    set_rng_state(state["rng"], device)


def restore_env(trainer: Trainer, found: Checkpoint) -> None:
    """Restore the environments; third-party ones begin new episodes."""
    loop, saved = trainer.loop, found.state["env"]
    if saved is None:
        loop.frame, _ = trainer.env.reset(seed=RESUMED.of(trainer.config.seed, found.step))
        loop.first = torch.ones_like(loop.first)
        trainer.returns = torch.zeros_like(trainer.returns)
        return
    try:
        trainer.env.set_state(saved)
    except ValueError as error:
        raise UserError(f"the environments of {found.path} do not fit: {error}") from error


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators: the CPU's, and the device's if it is another."""
    own = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state()} | own


def set_rng_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore what `rng_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
