"""Where a dream begins, and what is usual in it: from the rows that a run has recorded.

The page asks of every imagined frame how likely it is. What is usual is what it says of a single
decision imagined from the state of recorded frames, under the action that was taken: there the
model knows its way. One frame's values vary much, so means over `WINDOW` decisions are compared.

Shapes: B sequences, T rows, H, d parts of a state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.world_models.base import State, WorldModel
from agents.playable.graphs import PARTS, Step

WINDOW = 8  # decisions whose mean is judged
WARM = 8  # rows of a sequence before its recurrent states count
SEQUENCES, LENGTH = 64, 40  # B, T: most that is read of a run
LEVEL = 0.01  # share of usual windows that alarm
STARTS = 8  # frames to choose from
AT_ONCE = 8  # sequences that are filtered at once


class Start(NamedTuple):
    """A recorded frame and the state it was filtered into."""

    frame: Tensor  # (H, W, C) uint8
    state: State  # (H,), (d,)


@torch.no_grad()
def filtered(model: WorldModel, rows: dict[str, Tensor]) -> State:
    """Return the states (B, T, .) of sequences (B, T, ...)."""
    parts = (rows[name].split(AT_ONCE) for name in ("frame", "action", "first"))
    states = [model.filter_frames(*some) for some in zip(*parts, strict=True)]
    return State(*(torch.cat(part) for part in zip(*states, strict=True)))


def choose_starts(rows: dict[str, Tensor], states: State) -> list[Start]:
    """Return starts whose latents are far from each other, one of a sequence (B, T, ...)."""
    frames = rows["frame"][:, WARM - 1].permute(0, 2, 3, 1)  # (B, H, W, C)
    states = states.map(lambda part: part[:, WARM - 1])
    chosen = spread_out(states.latent, STARTS)
    return [Start(frames[i], states.map(lambda part, i=i: part[i])) for i in chosen]


def spread_out(points: Tensor, count: int) -> list[int]:
    """Return the indices of `count` points (B, d) far from each other: each the farthest yet."""
    chosen, distance = [0], torch.full((len(points),), torch.inf)
    while len(chosen) < min(count, len(points)):
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(-1))
        chosen.append(int(distance.argmax()))
    return chosen


@torch.no_grad()
def usual_surprise(
    step: Step, rows: dict[str, Tensor], states: State, generator: torch.Generator
) -> Tensor:
    """Return minus the parts of the log-density of imagined frames, nats (3, B, T - 1).

    Each is imagined from the state of the row before. States (B, T, .) of sequences (B, T, ...).
    """
    found = []
    for i in range(len(states.latent)):
        before = states.map(lambda part, i=i: part[i, :-1])
        noise = torch.randn(len(before.latent), step.noise_dim, generator=generator)
        made = step(*before, rows["action"][i, :-1], noise)
        found.append(-torch.stack(made[-len(PARTS) :]))
    return torch.stack(found, 1)


def usual_range(surprise: Tensor, first: Tensor) -> dict[str, Any] | None:
    """Return what is usual, as the page reads it.

    Args:
        surprise: of rows after the first, nats (3, B, T - 1).
        first: where an episode begins, (B, T) bool; no window reaches across.

    Returns:
        "window", and "median" and "highest" of each part's means over windows: at most a share
        `LEVEL` of usual windows is above one of the highest. None where no window lies within an
        episode.
    """
    inside = ~first[:, 1:]
    inside = inside & (torch.arange(inside.shape[1]) >= WARM - 1)
    whole = inside.unfold(-1, WINDOW, 1).all(-1)  # (B, T - WINDOW)
    means = surprise.unfold(-1, WINDOW, 1).mean(-1)[:, whole].double()  # (3, windows)
    if not means.numel():
        return None
    highest = means.quantile(1 - LEVEL / len(PARTS), dim=1)
    return {
        "window": WINDOW,
        "median": means.median(1).values.tolist(),
        "highest": highest.tolist(),
    }
