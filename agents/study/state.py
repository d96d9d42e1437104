"""Where a training stands, read from its folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from aef_worldmodel.utils.checkpoint import list_checkpoints
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import read_metrics

RECENT = 20  # rows of metrics over which the speed is averaged


class Progress(NamedTuple):
    """How far a training is."""

    frames: int
    score: float  # of the last evaluation, else of training episodes; NaN before either
    speed: float  # frames a minute, over the last rows; NaN at first


def progress(folder: Path) -> Progress:
    """Return how far a run's metrics reach; zeros where there are none yet."""
    try:
        rows = read_metrics(folder / "metrics.csv", "frames")
    except UserError:
        rows = []
    if not rows:
        return Progress(0, math.nan, math.nan)
    scores = [row["eval/return"] for row in rows if "eval/return" in row]
    scores = scores or [row["train/return"] for row in rows if "train/return" in row]
    recent = [row for row in rows if "minutes" in row][-RECENT:]
    minutes = recent[-1]["minutes"] - recent[0]["minutes"] if recent else 0.0
    speed = (recent[-1]["frames"] - recent[0]["frames"]) / minutes if minutes > 0 else math.nan
    return Progress(int(rows[-1]["frames"]), scores[-1] if scores else math.nan, speed)


def trained_frames(folder: Path) -> int:
    """Return the frames of a run's last checkpoint; 0 without one."""
    saved = list_checkpoints(folder / "checkpoints")
    return int(saved[-1].stem.rpartition("_")[2]) if saved else 0


def last_words(log: Path) -> str:
    """Return the last line that a training has printed, without "error: "."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return "it left no log"
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("error: ") if said else "it said nothing"
