"""Published returns of the DeepMind Control tasks, from results/published.csv.

All are returns from images against frames (simulator control steps). Methods of the DMControl-100k
protocol, whose names end in `-dmc100k`, repeat an action 2 to 8 times, depending on the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from aef_worldmodel.utils.tables import Row, Table

PUBLISHED = Path(__file__).parents[2] / "results" / "published.csv"
METHODS = {  # those that have curves of most tasks: label, colour
    "dreamerv3": ("DreamerV3", "#7a7a7a"),
    "drqv2": ("DrQ-v2", "#3b7dd8"),
    "tdmpc2-pixels": ("TD-MPC2 (pixels)", "#4fa36b"),
    "efficientzero-v2-digitised": ("EfficientZero V2 (read off a figure)", "#a0527a"),
}
NAMES = {  # of the others
    "cclf": "CCLF",
    "curl": "CURL",
    "drm": "DrM",
    "drq": "DrQ",
    "drq-debiased": "DR.Q",
    "eadream": "EADream",
    "flashsac-visual": "FlashSAC",
    "mlr": "MLR",
    "mrq": "MR.Q",
    "playvirtual": "PlayVirtual",
    "psrl": "PSRL",
    "resact": "ResAct",
    "simoun": "Simoun",
    "spr": "SPR",
    "svea": "SVEA",
    "taco": "TACO",
    "xqc-visual": "XQC",
}
REPEATS = "-dmc100k"  # end of the name of a method with another action repeat


class Score(NamedTuple):
    """A method's mean return."""

    method: str
    value: float


@cache
def table() -> list[Row]:
    """Return all rows; [] without the file."""
    return Table(PUBLISHED).rows


def scores(task: str, frames: int) -> list[Score]:
    """Return what every method has on a task after exactly so many frames, best first."""
    found = [
        Score(row["method"], float(row["return_mean"]))
        for row in table()
        if row["task"] == task and int(row["frames"]) == frames
    ]
    return sorted(found, key=lambda score: -score.value)


def mean(method: str, tasks: Sequence[str], frames: int) -> float | None:
    """Return a method's mean over tasks; None unless it has all of them."""
    found = [s.value for task in tasks for s in scores(task, frames) if s.method == method]
    return sum(found) / len(tasks) if len(found) == len(tasks) > 0 else None


def label(method: str) -> str:
    """Return a method's name as its authors write it, with * for another action repeat."""
    known = method.removesuffix(REPEATS)
    name = METHODS[known][0] if known in METHODS else NAMES.get(known, known)
    return name.partition(" (")[0] + "*" * method.endswith(REPEATS)
