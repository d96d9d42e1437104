"""Tables of a study beside published results: task by task, and means over groups of tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aef_worldmodel.metrics import aggregate
from aef_worldmodel.metrics.aggregate import as_matrix
from agents.study.gather import Result
from agents.study.plan import Study
from agents.study.summary import Sheet, by_task, names, shown
from agents.training import published

SHOWN = ("efficientzero-v2-digitised", "dreamerv3", "tdmpc2-pixels", "drqv2")
HEADS = [published.label(method) for method in SHOWN]
NOTE = "* repeats an action as often as the DMControl-100k protocol says: up to 8 times."


def beside(study: Study, results: Sequence[Result]) -> list[Sheet]:
    """Return two tables for each of the frames that the study compares at."""
    made = [make(study, results, frames) for frames in study.at for make in (by_tasks, by_groups)]
    return [sheet for sheet in made if sheet.rows]


def by_tasks(study: Study, results: Sequence[Result], frames: int) -> Sheet:
    """Each arm and each task at some frames: mean, every seed, and what others have."""
    rows = []
    for arm, task, column in by_task(results):
        ours = [value for r in column if not math.isnan(value := r.at(frames))]
        if not ours:
            continue
        others = published.scores(task, frames)
        known = {score.method: f"{score.value:.0f}" for score in others}
        best = f"{others[0].value:.0f} {published.label(others[0].method)}" if others else "-"
        mean = shown(aggregate.estimate(as_matrix([ours]), aggregate.mean), 0)
        seeds = ", ".join(f"{value:.0f}" for value in ours)
        rows.append([task, arm, mean, seeds, best, *(known.get(name, "-") for name in SHOWN)])
    return Sheet(
        f"At {frames:,} frames, beside published returns",
        f"Mean over seeds with 95 % interval, every seed, and published means. {NOTE}",
        ["task", "arm", "mean", "seeds", "best published", *HEADS],
        rows,
    )


def by_groups(study: Study, results: Sequence[Result], frames: int) -> Sheet:
    """Means over groups of tasks, for arms that have run all of a group."""
    rows, groups = [], study.groups | {f"all {len(study.tasks)}": study.tasks}
    for arm in names(results)[0]:
        for group, tasks in groups.items():
            columns = [
                [r.at(frames) for r in results if (r.arm, r.task) == (arm, task)] for task in tasks
            ]
            columns = [[x for x in column if not math.isnan(x)] for column in columns]
            if not (columns and all(columns)):
                continue
            matrix = as_matrix(columns)
            found = [
                aggregate.estimate(matrix, statistic)
                for statistic in (aggregate.interquartile_mean, aggregate.mean)
            ]
            means = [published.mean(method, tasks, frames) for method in SHOWN]
            others = ["-" if value is None else f"{value:.0f}" for value in means]
            rows.append([group, arm, *(shown(one, 0) for one in found), *others])
    return Sheet(
        f"At {frames:,} frames, over groups of tasks",
        "Arms that have a run of every task of the group; published means beside ours.",
        ["tasks", "arm", "interquartile mean", "mean", *HEADS],
        rows,
    )
