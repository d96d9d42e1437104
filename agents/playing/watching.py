"""What the monitor says of evaluation episodes (aef_worldmodel/world_models/surprise.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Row
from aef_worldmodel.world_models.doubt import Doubt, Watched
from aef_worldmodel.world_models.surprise import PARTS, Calibration, Surprisal, Surprise
from agents.base import Policy
from agents.learning.learner import Learner
from agents.playing.evaluation import Episodes, run_episodes

ALARM_LEVEL = 0.01  # p-value of an alarm


def check_likelihood(learner: Learner, word: str) -> None:
    """Raise UserError, naming the `word` that asks for it, without a likelihood of images."""
    if learner.model.likelihood == "none" or not learner.sees_images:
        raise UserError(
            f"{word} needs a world model with a likelihood of images, for instance that of "
            "world_model=aef: leave it out"
        )


@torch.no_grad()
def calibrated(
    learner: Learner, policy: Policy, env: Any, seed: int | list[int], level: float | None
) -> Doubt | None:
    """Play an episode in each environment; return a filter that doubts frames below a quantile.

    None without a `level`. Raises UserError for a model without a likelihood of images.
    """
    if level is None:
        return None
    check_likelihood(learner, f"doubt={level}")
    watched = Watched(learner.model)
    run_episodes(learner, policy, env, seed, filmed=1, observe=watched.observe)
    return Doubt.of(learner.model, watched.seen, level)


def check_watchable(learner: Learner, episodes: int) -> None:
    """Raise UserError for a model without a likelihood of frames, or fewer than two episodes."""
    check_likelihood(learner, "monitor=true")
    if episodes < 2:
        raise UserError("monitor=true compares an episode with others: give episodes=2 or more")


def watch(learner: Learner, episodes: Episodes) -> tuple[list[Row], dict[str, Tensor]]:
    """Score the frames of the first filmed episode, calibrated on the other filmed ones.

    Returns a row for each frame (nats and p-values), and the p-values (T,) of each part.
    """
    count = len(episodes.frames)
    frames, actions = (part.to(learner.device) for part in (episodes.frames, episodes.actions))
    with learner.autocast():
        seen = Surprise(learner.model, count).episodes(frames, actions)  # T results, (N,) each
    others = torch.arange(count) > 0
    calibration = Calibration.of(seen, [others & alive for alive in episodes.alive.unbind(1)])
    own = [Surprisal(*(part[:1] for part in step)) for step in seen]
    own = own[: int(episodes.alive[0].sum())]
    p = [calibration.p_values(step) for step in own]
    p_values = {name: torch.cat([step[name] for step in p]) for name in (*PARTS, "any")}
    rows: list[Row] = []
    for t, step in enumerate(own):
        nats = {name: f"{getattr(step, name).item():.2f}" for name in (*PARTS, "total")}
        usual = {f"p_{name}": f"{values[t].item():.5f}" for name, values in p_values.items()}
        rows.append({"decision": str(t), **nats, **usual})
    return rows, p_values
