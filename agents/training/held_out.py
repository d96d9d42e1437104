"""Episodes that are kept out of what a run learns from, and what its world model says of them.

With `replay.held_out=K` one episode in K, counted in the order in which they begin, is stored but
never sampled for an update: the middle one of each K, so that learning never waits for the first.
Each logged row then has the world model's terms on sequences of these rows, drawn and computed as
those of an update are: `train/log_prob - held_out/log_prob` is over-fitting, in nats a frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.data.replay import HELD_OUT

if TYPE_CHECKING:
    from agents.training.trainer import Trainer


def is_held_out(number: Tensor, every: int) -> Tensor:
    """Return which episodes (K,), numbered from 0, are held out: one in `every`, (K,) bool."""
    return number % every == every // 2


def flags(trainer: Trainer, first: Tensor) -> dict[str, Tensor]:
    """Return the field `held_out` (N,) of each environment's next row; {} where none is kept.

    first (N,) bool says where the row begins an episode, which is counted here. Other rows are of
    the same kind as the row before.
    """
    every = trainer.config.replay.held_out
    if every is None:
        return {}
    begins = first.cpu()
    number = trainer.episodes_begun + begins.cumsum(0) - 1  # (N,)
    trainer.episodes_begun += int(begins.sum())
    before = trainer.replay.newest(HELD_OUT)
    return {HELD_OUT: torch.where(begins, is_held_out(number, every), before)}


def terms(trainer: Trainer) -> dict[str, float]:
    """Return the world model's terms on rows that are held out, `held_out/...`.

    {} as long as there is no sequence of them. Training's random numbers stay as they were.
    """
    c, learner = trainer.config.replay, trainer.learner
    if c.held_out is None or not trainer.replay.can_sample(c.sequence_length, held_out=True):
        return {}
    with torch.random.fork_rng([learner.device] if learner.device.type == "cuda" else []):
        rows = trainer.replay.sample(
            c.batch_size, c.sequence_length, recency=trainer.recency, held_out=True
        )
        index = rows.pop("index")
        batch = Batch.from_rows(rows).to(learner.device)
        pretraining = trainer.updates <= trainer.config.pretrain
        recurrent, found = learner.judge(batch, pretraining)
    trainer.replay.write("recurrent", index, recurrent)
    return {f"held_out/{name}": value.item() for name, value in found.items()}
