"""Statistics of detectors: area under the ROC curve, rank correlation, alarms and their delay.

Scores are larger where something is more unusual.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Return the ranks 1, 2, ... of values (K,), float64; equal values share their mean rank."""
    _, place, count = values.double().unique(return_inverse=True, return_counts=True)
    end = count.cumsum(0).double()
    return (end - (count - 1) / 2)[place]


def auroc(usual: Tensor, unusual: Tensor) -> float:
    """Return the probability that an unusual score (K,) is above a usual one (L,).

    Ties count half (Hanley and McNeil, "The meaning and use of the area under a ROC curve", 1982).
    """
    both = ranks(torch.cat([unusual.flatten(), usual.flatten()]))
    count, other = unusual.numel(), usual.numel()
    return ((both[:count].sum() - count * (count + 1) / 2) / (count * other)).item()


def spearman(one: Tensor, other: Tensor) -> float:
    """Return Spearman's rank correlation of two rows of numbers (K,); nan where one is constant."""
    pair = torch.stack([ranks(one.flatten()), ranks(other.flatten())])
    return torch.corrcoef(pair)[0, 1].item()


class Alarms(NamedTuple):
    """What a detector with a threshold does."""

    delay: float  # median decisions from the onset to the first alarm; inf if half have none
    detected: float  # share of videos with an alarm after the onset
    false_alarms: float  # share of usual frames that alarm


def alarms(scores: Tensor, onset: int, usual: Tensor, threshold: float) -> Alarms:
    """Return how videos (N, T) whose fault begins at `onset` alarm above a threshold.

    usual: scores of frames without a fault, of any shape. An alarm in the frame of the onset has a
    delay of 0.
    """
    loud = scores[:, onset:] > threshold  # (N, T - onset)
    detected = loud.any(1)
    delay = loud.double().argmax(1).double().masked_fill(~detected, torch.inf)
    middle = delay.sort().values[(len(delay) - 1) // 2].item()
    false = (usual > threshold).double().mean().item()
    return Alarms(middle, detected.double().mean().item(), false)
