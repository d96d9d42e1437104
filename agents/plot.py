"""`python -m agents.plot runs/*`: learning curves of finished and running trainings.

Runs whose settings differ in nothing but the seed are one curve: their mean, and a band from the
lowest to the highest. Each task has two panels, returns against frames and against minutes, with
published curves where results/published.csv has some.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, shown, to_dict
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import read_metrics
from aef_worldmodel.viz import curves
from aef_worldmodel.viz.curves import Run, Series
from agents.config import train as settings
from agents.config.train import TrainConfig
from agents.registry import agent_name
from agents.training.published import METHODS, table
from agents.training.runs import model_name

COLOURS = ("#e8731a", "#8a4fbf", "#b3261e", "#b08900", "#00838f", "#5d4037", "#1b5e20", "#283593")
# what may differ between the runs of one curve
FREE = ("seed", "run", "resume", "frames", "log", "checkpoint_every", "eval", "hardware")


@dataclass(frozen=True)
class PlotConfig:
    """Settings of `python -m agents.plot`."""

    out: str = "curves.png"
    """Picture to write; its name ends in .png, .pdf or .svg."""


class Trained(NamedTuple):
    """A run's evaluations and its settings."""

    config: TrainConfig
    run: Run


def main(argv: Sequence[str]) -> int:
    """Draw the runs on the command line and print their last returns."""
    folders = [word for word in argv if not is_setting(word)]
    words = [word for word in argv if is_setting(word)]
    asked = settings.load(words, PlotConfig, "plot RUN [RUN ...]")
    if not folders:
        raise ConfigError("no run is given: for instance python -m agents.plot runs/*")
    found = [trained for folder in folders for trained in read(Path(folder))]
    if not found:
        raise UserError("none of these runs has an evaluation yet: nothing to draw")
    tasks = by_task(found)
    figure, panels = curves.subplots(len(tasks), 2, sharey="row")
    for row, (task, series) in zip(panels, tasks.items(), strict=True):
        limit = max(x for one in series for run in one.runs for x in run.frames)
        curves.draw_task(row, task, [*series, *published(task, 2 * limit)])
        row[0].set_xlim(0, 1.6 * limit / 1e3)
        for one in series:
            print(describe(task, one))
    curves.save(figure, asked.out)
    print(f"written to {asked.out}")
    return 0


def is_setting(word: str) -> bool:
    """Return whether a word is `key=value` or an option, not the folder of a run."""
    return word.startswith("-") or ("=" in word and not Path(word).exists())


def read(folder: Path) -> list[Trained]:
    """Return the evaluations of a run; none, and a sentence, if it has none or is no run."""
    if not (folder / "config.yaml").is_file():
        return leave_out(folder, "it is not the folder of a run")
    try:
        config = settings.read(folder / "config.yaml")
        rows = [row for row in read_metrics(folder / "metrics.csv") if "eval/return" in row]
    except UserError as error:
        return leave_out(folder, str(error))
    if not rows:
        return leave_out(folder, "it has no evaluation yet")
    columns = ([row[name] for row in rows] for name in ("frames", "minutes", "eval/return"))
    return [Trained(config, Run(*columns))]


def leave_out(folder: Path, why: str) -> list[Trained]:
    """Say why a folder is not drawn; return no run."""
    print(f"{folder} is left out: {why}")
    return []


def by_task(found: Iterable[Trained]) -> dict[str, list[Series]]:
    """Return task -> its curves, one for all runs of the same settings."""
    groups: dict[str, dict[tuple, list[Trained]]] = defaultdict(lambda: defaultdict(list))
    for trained in found:
        own = tuple(flat(settings_of(trained.config)).items())
        groups[trained.config.env.task][own].append(trained)
    tasks = {task: list(zip(labels(same), same.values())) for task, same in groups.items()}
    names = dict.fromkeys(label for pairs in tasks.values() for label, _ in pairs)
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(names)}
    return {
        task: [
            Series(f"{label}, {seeds(same)}", colours[label], [trained.run for trained in same])
            for label, same in pairs
        ]
        for task, pairs in tasks.items()
    }


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """Return the settings in which the runs of one curve agree."""
    values = {name: value for name, value in to_dict(config).items() if name not in FREE}
    return values | {"hardware": {"num_envs": config.hardware.num_envs}}


def labels(groups: Mapping[tuple, Sequence[Trained]]) -> list[str]:
    """Return a label for each group: its agent and model, and the settings that set it apart."""
    names = []
    for same in groups.values():
        config = same[0].config
        parts = [agent_name(config.agent), model_name(config)]
        names.append(" ".join(part for part in parts if part != "imagination"))
    result = []
    for name, own in zip(names, groups, strict=True):
        rivals = [dict(other) for other, label in zip(groups, names, strict=True) if label == name]
        differs = [
            f"{key}={shown(value)}"
            for key, value in own
            if any(other.get(key) != value for other in rivals)
        ]
        result.append(" ".join([name, *differs]))
    return result


def seeds(same: Sequence[Trained]) -> str:
    """Return how many runs a curve has, in words."""
    return "1 seed" if len(same) == 1 else f"{len(same)} seeds"


def describe(task: str, series: Series) -> str:
    """Return one line for the terminal: the last mean return and the way to it."""
    found = curves.summarise(series.runs)
    if not len(found.frames):
        return f"{task}  {series.label}: evaluated at different frames, so without a mean"
    last = f"{found.mean[-1]:.1f}"
    if len(series.runs) > 1:
        last += f" ({found.low[-1]:.1f} to {found.high[-1]:.1f})"
    bars = curves.sparkline(found.mean.tolist())
    return f"{task}  {series.label}: return {last} at {found.frames[-1]:,.0f} frames  {bars}"


def published(task: str, limit: float) -> list[Series]:
    """Return the published curves of a task up to `limit` frames; [] without the table."""
    rows = [row for row in table() if row["task"] == task]
    found = []
    for method, (label, colour) in METHODS.items():
        own = [r for r in rows if r["method"] == method and float(r["frames"]) <= limit]
        if len(own) > 1:
            hours = [row["hours"] for row in own]
            run = Run(
                [float(row["frames"]) for row in own],
                [60 * float(hour) for hour in hours] if all(hours) else [],
                [float(row["return_mean"]) for row in own],
            )
            found.append(Series(label, colour, [run], published=True, machine="one GPU"))
    return found


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Return nested settings by dotted key, as text."""
    found: dict[str, str] = {}
    for name, value in values.items():
        inner = f"{path}{name}"
        found |= flat(value, f"{inner}.") if isinstance(value, Mapping) else {inner: str(value)}
    return found


if __name__ == "__main__":
    run_command(main)
