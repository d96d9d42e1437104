"""What a study's trainings measured: one result for each, and their tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from aef_worldmodel.utils.checkpoint import load_latest
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table, read_metrics
from aef_worldmodel.viz.curves import Run
from agents.config import train as settings
from agents.config.train import TrainConfig
from agents.learning.build import make_model
from agents.study.plan import PlannedRun, Study
from agents.study.state import trained_frames
from agents.training.runs import read_provenance

Numbers = dict[str, float]


@dataclass(frozen=True)
class Result:
    """What one training measured."""

    arm: str
    task: str
    seed: int
    folder: Path
    evaluations: list[Numbers]  # rows of metrics.csv with eval/return, up to the study's frames
    complete: bool  # it has all frames of the study
    parameters: int  # of the world model; 0 where no checkpoint tells
    update_ms: float  # median, with the frames between two updates; NaN before any
    origin: dict[str, str]  # command, commit, hardware

    @property
    def curve(self) -> Run:
        """The evaluations as a curve."""
        names = ("frames", "minutes", "eval/return")
        frames, minutes, returns = ([row[name] for row in self.evaluations] for name in names)
        return Run(frames, minutes, returns)

    @property
    def final(self) -> float:
        """Return of the last evaluation."""
        return self.evaluations[-1]["eval/return"]

    def at(self, frames: int) -> float:
        """Return the return of the last evaluation up to `frames`; NaN if that is 10 % before."""
        known = [row for row in self.evaluations if row["frames"] <= frames]
        near = known and known[-1]["frames"] >= 0.9 * frames
        return known[-1]["eval/return"] if near else math.nan

    @property
    def largest_drop(self) -> float:
        """Largest fall of the return from one evaluation to the next; 0 if it never falls."""
        return max(0.0, *(a - b for a, b in pairwise(self.curve.returns)), 0.0)

    def reached(self, threshold: float) -> tuple[float, float]:
        """Return frames and minutes of the first evaluation at a threshold; NaN for never."""
        for row in self.evaluations:
            if row["eval/return"] >= threshold:
                return row["frames"], row["minutes"]
        return math.nan, math.nan


def gather(study: Study, planned: Sequence[PlannedRun]) -> tuple[list[Result], list[str]]:
    """Return the results of a study, and a sentence for each training that is missing."""
    results, missing = [], []
    sizes: dict[tuple[str, str], int] = {}
    found = [(run.arm, run.folder) for run in planned]
    found += [(arm, Path(folder)) for arm, folders in study.runs.items() for folder in folders]
    for arm, folder in found:
        name = folder.name
        try:
            result = result_of(arm, folder, study.frames, sizes)
        except UserError as error:
            missing.append(f"{name}: {error}")
            continue
        if not result.complete:
            frames = trained_frames(folder)
            missing.append(f"{name}: {frames:,} of {study.frames:,} frames")
        elif not result.evaluations:
            missing.append(f"{name}: it has no evaluation within {study.frames:,} frames")
        else:
            results.append(result)
    return results, missing


def result_of(arm: str, folder: Path, frames: int, sizes: dict[tuple[str, str], int]) -> Result:
    """Return what the run in a folder measured in its first `frames` frames.

    `sizes` keeps parameters by arm and task: one checkpoint of each is read. Raises UserError if
    the folder holds no run.
    """
    if not (folder / "config.yaml").is_file():
        raise UserError("it has not begun")
    config = settings.read(folder / "config.yaml")
    rows = [r for r in read_metrics(folder / "metrics.csv", "frames") if r["frames"] <= frames]
    complete = trained_frames(folder) >= frames
    key = (arm, config.env.task)
    if complete and key not in sizes:
        sizes[key] = parameters(folder, config)
    return Result(
        arm,
        config.env.task,
        config.seed,
        folder,
        [row for row in rows if "eval/return" in row],
        complete,
        sizes.get(key, 0),
        update_ms(rows),
        read_provenance(folder / "provenance.json"),
    )


def parameters(folder: Path, config: TrainConfig) -> int:
    """Return how many numbers the run's world model learns."""
    meta = load_latest(folder / "checkpoints").meta
    channels, height, width = map(int, meta["frame_shape"])
    model = make_model(config, (channels, height, width), int(meta["action_dim"]))
    return sum(part.numel() for part in model.parameters())


def update_ms(rows: Iterable[Numbers]) -> float:
    """Return the median milliseconds from an update to the next, acting included."""
    train = [row for row in rows if "train/loss" in row and "minutes" in row]
    steps = [
        60_000 * (later["minutes"] - row["minutes"]) / (later["updates"] - row["updates"])
        for row, later in pairwise(train)
        if later["updates"] > row["updates"]
    ]
    return statistics.median(steps) if steps else math.nan


def write_tables(study: Study, results: Sequence[Result], out: Path) -> None:
    """Write evaluations.csv and runs.csv of a study's folder anew."""
    evaluations, runs = out / "evaluations.csv", out / "runs.csv"
    for path in (evaluations, runs):
        path.unlink(missing_ok=True)
    if not results:
        return
    Table(evaluations).add(
        *(
            origin(result)
            | {name: row[name] for name in ("frames", "minutes", "updates")}
            | {"return": row["eval/return"], "std": row["eval/std"]}
            for result in results
            for row in result.evaluations
        )
    )
    Table(runs).add(*(summary_row(study, result) for result in results))


def summary_row(study: Study, result: Result) -> dict[str, object]:
    """Return the row of a run in runs.csv."""
    threshold = study.thresholds.get(result.task, math.nan)
    frames, minutes = result.reached(threshold)
    return origin(result) | {
        "return": result.final,
        "largest_drop": result.largest_drop,
        "frames": int(result.evaluations[-1]["frames"]),
        "minutes": result.evaluations[-1]["minutes"],
        "threshold": threshold,
        "frames_to_threshold": frames,
        "minutes_to_threshold": minutes,
        "parameters": result.parameters,
        "update_ms": result.update_ms,
        **result.origin,
    }


def origin(result: Result) -> dict[str, object]:
    """Return the columns that name a run."""
    return {"arm": result.arm, "task": result.task, "seed": result.seed}
