"""The tables of a study's report, from the results of its trainings.

Every interval is a 95 % one by stratified bootstrap over seeds (metrics/aggregate.py).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from aef_worldmodel.metrics import aggregate
from aef_worldmodel.metrics.aggregate import Estimate, Scores, as_matrix
from aef_worldmodel.utils.progress import duration
from agents.study.gather import Result
from agents.study.plan import Study


class Sheet(NamedTuple):
    """A table of text."""

    title: str
    note: str
    heads: list[str]
    rows: list[list[str]]


def names(results: Sequence[Result]) -> tuple[list[str], list[str]]:
    """Return the arms and the tasks of results, each in the order they came."""
    arms = list(dict.fromkeys(result.arm for result in results))
    return arms, list(dict.fromkeys(result.task for result in results))


def scores(results: Sequence[Result], arm: str, tasks: Sequence[str], scale: float) -> Scores:
    """Return the final returns of an arm (N, M), 1 for `scale`; NaN where runs are missing."""
    columns = [
        [r.final / scale for r in results if (r.arm, r.task) == (arm, task)] for task in tasks
    ]
    return as_matrix(columns)


def shared_tasks(results: Sequence[Result]) -> list[str]:
    """Return the tasks that every arm has a run of: those that arms are compared over."""
    arms, tasks = names(results)
    known = {(result.arm, result.task) for result in results}
    return [task for task in tasks if all((arm, task) in known for arm in arms)]


def sheets(study: Study, results: Sequence[Result]) -> list[Sheet]:
    """Return all tables; [] without results."""
    if not results:
        return []
    made = [final_returns(results), over_tasks(study, results), improvement(study, results)]
    made += [thresholds(study, results), steadiness(results), costs(results)]
    made += [power(study, results)]
    return [sheet for sheet in made if sheet.rows]


def final_returns(results: Sequence[Result]) -> Sheet:
    """Mean and interquartile mean of each arm on each task."""
    rows = []
    for arm, task, column in by_task(results):
        matrix = as_matrix([[result.final for result in column]])
        found = [
            aggregate.estimate(matrix, statistic)
            for statistic in (aggregate.mean, aggregate.interquartile_mean)
        ]
        singles = ", ".join(f"{result.final:.0f}" for result in column)
        rows.append([task, arm, *(shown(one, 0) for one in found), singles])
    return Sheet(
        "Final returns",
        "Mean and interquartile mean over seeds with 95 % intervals, and every seed.",
        ["task", "arm", "mean", "interquartile mean", "seeds"],
        rows,
    )


def over_tasks(study: Study, results: Sequence[Result]) -> Sheet:
    """Both means over all tasks that every arm has."""
    arms, _ = names(results)
    tasks, rows = shared_tasks(results), []
    for arm in arms if tasks else []:
        matrix = scores(results, arm, tasks, study.scale)
        found = [
            aggregate.estimate(matrix, statistic)
            for statistic in (aggregate.interquartile_mean, aggregate.mean)
        ]
        rows.append([arm, *(shown(one, 3) for one in found), str(int((matrix == matrix).sum()))])
    return Sheet(
        "Over tasks",
        f"{', '.join(tasks)}; a return of {study.scale:g} counts as 1.",
        ["arm", "interquartile mean", "mean", "runs"],
        rows,
    )


def improvement(study: Study, results: Sequence[Result]) -> Sheet:
    """Probability that a run of one arm ends above one of another, for every pair."""
    rows = [
        [one, other, shown(aggregate.estimate_improvement(first, second), 2)]
        for one, other, first, second in pairs(study, results)
    ]
    return Sheet(
        "Probability of improvement",
        "That a run of the first arm ends above one of the second on the same task. 0.5 is "
        "undecided, and so is an interval that holds 0.5.",
        ["arm", "above", "probability"],
        rows,
    )


def thresholds(study: Study, results: Sequence[Result]) -> Sheet:
    """Frames and minutes to a return, medians over the seeds that reach it."""
    rows = []
    for arm, task, column in by_task(results):
        if task not in study.thresholds:
            continue
        reached = [result.reached(study.thresholds[task]) for result in column]
        reached = [pair for pair in reached if pair[0] == pair[0]]
        frames = f"{statistics.median(f for f, _ in reached):,.0f}" if reached else "-"
        minutes = f"{statistics.median(m for _, m in reached):.1f}" if reached else "-"
        count = f"{len(reached)} of {len(column)}"
        rows.append([task, f"{study.thresholds[task]:g}", arm, frames, minutes, count])
    return Sheet(
        "Frames and minutes to a return",
        "First evaluation at or above it: medians over the seeds that reach it.",
        ["task", "return", "arm", "frames", "minutes", "seeds that reach it"],
        rows,
    )


def steadiness(results: Sequence[Result]) -> Sheet:
    """Return the largest drop between evaluations of each arm on each task."""
    rows = []
    for arm, task, column in by_task(results):
        drops = [result.largest_drop for result in column]
        singles = ", ".join(f"{drop:.0f}" for drop in drops)
        rows.append([task, arm, f"{max(drops):.0f}", singles])
    return Sheet(
        "Largest drops",
        "Largest fall of the return from one evaluation to the next: the largest of all seeds, "
        "and every seed.",
        ["task", "arm", "largest", "seeds"],
        rows,
    )


def costs(results: Sequence[Result]) -> Sheet:
    """Parameters and time of each arm on each task."""
    rows = []
    for arm, task, column in by_task(results):
        known = [result.update_ms for result in column if result.update_ms == result.update_ms]
        update = f"{statistics.median(known):.0f}" if known else "-"
        minutes = statistics.median(result.evaluations[-1]["minutes"] for result in column)
        rows.append([task, arm, f"{column[0].parameters:,}", update, duration(60 * minutes)])
    return Sheet(
        "Costs",
        "Parameters of the world model, milliseconds from one update to the next with the acting "
        "between them, and wall-clock time of a run: medians, beside whatever else ran.",
        ["task", "arm", "parameters", "ms an update", "time"],
        rows,
    )


def power(study: Study, results: Sequence[Result]) -> Sheet:
    """Difference of each pair, and the smallest one that so many runs can be expected to show."""
    rows = []
    for one, other, first, second in pairs(study, results):
        seen = aggregate.mean(first) - aggregate.mean(second)
        least = aggregate.detectable_difference(first, second)
        rows.append([one, other, f"{seen:+.3f}", "-" if math.isnan(least) else f"{least:.3f}"])
    return Sheet(
        "What so many runs can see",
        "Difference of the means over tasks, and the smallest true difference that four of five "
        "such studies would find (two-sided 5 % test, from the spread over seeds).",
        ["arm", "less", "seen", "smallest that shows"],
        rows,
    )


def pairs(study: Study, results: Sequence[Result]) -> Iterator[tuple[str, str, Scores, Scores]]:
    """Yield the names of each pair of arms, and their scores on the tasks that every arm has."""
    (arms, _), tasks = names(results), shared_tasks(results)
    for one, other in combinations(arms, 2) if tasks else []:
        first, second = (scores(results, arm, tasks, study.scale) for arm in (one, other))
        yield one, other, first, second


def by_task(results: Sequence[Result]) -> list[tuple[str, str, list[Result]]]:
    """Return arm, task and results of each pair that has some, task by task."""
    arms, tasks = names(results)
    pairs = [(arm, task) for task in tasks for arm in arms]
    found = [(a, t, [r for r in results if (r.arm, r.task) == (a, t)]) for a, t in pairs]
    return [(arm, task, column) for arm, task, column in found if column]


def shown(found: Estimate, digits: int) -> str:
    """Return a number with its interval."""
    value, low, high = (f"{x:.{digits}f}" for x in found)
    return f"{value} ({low} to {high})"
