"""Scores of few runs, summarised with honest intervals.

Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", 2021: the
interquartile mean, the probability of improvement, and intervals by stratified bootstrap. On whole
matrices every number is that of the authors' package rliable, to its last digit.

Shapes: scores (N, M) of N runs on M tasks; NaN where a task has fewer runs.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Statistic = Callable[[Scores], float]

DRAWS = 2_000  # bootstrap samples
COVERAGE = 0.95
TRIMMED = 0.25  # share of scores left out at each end
POWER = 2.80  # 1.96 + 0.84: quantiles of a two-sided 5 % test that finds four of five differences


class Estimate(NamedTuple):
    """A number with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def mean(scores: Scores) -> float:
    """Return the mean over tasks of the mean over runs."""
    return float(np.mean(np.nanmean(scores, axis=0)))


def interquartile_mean(scores: Scores) -> float:
    """Return the mean of the middle half of all scores, rounded down at each end."""
    known = scores[~np.isnan(scores)]
    cut = int(TRIMMED * known.size)
    middle = np.partition(known, (cut, known.size - cut - 1))[cut : known.size - cut]
    return float(np.mean(middle))


def probability_of_improvement(first: Scores, second: Scores) -> float:
    """Return P(a run of `first` is above one of `second`), averaged over tasks; ties count half.

    first (N, M), second (K, M).
    """
    chances = []
    for one, other in zip(first.T, second.T, strict=True):
        one, other = one[~np.isnan(one)], other[~np.isnan(other)]
        above = (one[:, None] > other).sum() + 0.5 * (one[:, None] == other).sum()
        chances.append(above / (one.size * other.size))
    return float(np.mean(chances))


def estimate(scores: Scores, statistic: Statistic, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Return a statistic of scores with its 95 % interval by stratified bootstrap."""
    random = np.random.RandomState(seed)
    found = [statistic(resampled(scores, random)) for _ in range(draws)]
    return _interval(statistic(scores), found)


def estimate_improvement(
    first: Scores, second: Scores, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Return the probability of improvement with its 95 % interval; both are resampled."""
    random = np.random.RandomState(seed)
    found = []
    for _ in range(draws):
        pair = resampled(first, random), resampled(second, random)
        found.append(probability_of_improvement(*pair))
    return _interval(probability_of_improvement(first, second), found)


def resampled(scores: Scores, random: np.random.RandomState) -> Scores:
    """Return scores (N, M) in which each task's runs are drawn anew, with replacement."""
    count = (~np.isnan(scores)).sum(0)  # (M,)
    high = len(scores) if (count == len(scores)).all() else count
    drawn = np.take_along_axis(scores, random.randint(0, high, scores.shape), 0)
    return np.where(np.arange(len(scores))[:, None] < count, drawn, np.nan)


def detectable_difference(first: Scores, second: Scores) -> float:
    """Return the difference of two means that so many runs find in four of five repetitions.

    By a two-sided test at 5 %, from the spreads over runs within each task; NaN for single runs.
    """
    error = 0.0
    for scores in (first, second):
        count = (~np.isnan(scores)).sum(0)
        if (count < 2).any():
            return float("nan")
        error += float((np.nanvar(scores, axis=0, ddof=1) / count).sum()) / scores.shape[1] ** 2
    return POWER * error**0.5


def as_matrix(columns: list[list[float]]) -> Scores:
    """Return the scores of M tasks, each with its own number of runs, as (N, M) with NaN."""
    longest = max(map(len, columns), default=0)
    padded = [column + [float("nan")] * (longest - len(column)) for column in columns]
    return np.array(padded, dtype=np.float64).reshape(len(columns), longest).T


def _interval(value: float, found: list[float]) -> Estimate:
    tail = (1 - COVERAGE) / 2
    low, high = np.percentile(np.array(found), [100 * tail, 100 * (1 - tail)])
    return Estimate(value, float(low), float(high))
