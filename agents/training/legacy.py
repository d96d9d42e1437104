"""Checkpoints of commit 0f2081c or earlier: their state as this version names it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from aef_worldmodel.utils.checkpoint import Checkpoint
from aef_worldmodel.utils.errors import UserError

TENSORS = (  # old beginning of a tensor's name -> new one
    (re.compile(r"^eye\."), "autoencoder."),
    (re.compile(r"^slow_critic\."), "target_critic."),
    (re.compile(r"^slow_actor\."), "ema_actor."),
    (re.compile(r"^spread$"), "return_scale"),
    (re.compile(r"^(\w+)_after$"), r"future_\1"),
    (re.compile(r"^future_there$"), "future_valid"),
)
UNSUPPORTED = ("prior_flow.", "inverse_head.")


def upgrade(found: Checkpoint, latent_dim: int) -> Checkpoint:
    """Return a run's checkpoint with the names of this version; one of this version as it is.

    Raises UserError for a world model with parts that no longer exist.
    """
    learner = found.state.get("learner", {})
    if "optimisers" not in learner:
        return found
    model = renamed(learner["model"])
    removed = [name for name in model if name.startswith(UNSUPPORTED)]
    if removed:
        raise UserError(
            f"{found.path} has a {removed[0].partition('.')[0]}, which was last supported at "
            "commit 0f2081c: play it with that version"
        )
    optimisers = dict(learner["optimisers"])
    new = {
        "model": model,
        "online": renamed(learner["online"]),
        "optimiser": optimisers.pop("model"),
        "agent": learner["agent"],
        "last": None if learner["last"] is None else renamed(learner["last"]),
    }
    if optimisers:  # an actor-critic in imagination
        networks = renamed(learner["agent"])
        generator = learner["generator"]
        new["agent"] = {"networks": networks, "optimisers": optimisers, "generator": generator}
    weight = model["cell.input.0.weight"]
    channels, height, width = model["autoencoder.mean"].shape
    meta = {
        "frame_shape": [channels, height, width],
        "action_dim": weight.shape[1] - latent_dim,
        **found.meta,
    }
    return dataclasses.replace(found, state={**found.state, "learner": new}, meta=meta)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return tensors by their names today, in the same order."""
    return {_name(name): value for name, value in state.items()}


def _name(name: str) -> str:
    for pattern, new in TENSORS:
        name = pattern.sub(new, name)
    return name
