"""Summaries of scores, by hand and beside rliable."""

import numpy as np
import pytest

from aef_worldmodel.metrics import aggregate
from aef_worldmodel.metrics.aggregate import as_matrix

RUNS, TASKS = 5, 3
NAN = float("nan")


def scores(seed=0, runs=RUNS):
    return np.random.RandomState(seed).normal(0.5, 0.2, (runs, TASKS))


def test_the_interquartile_mean_leaves_a_quarter_out_at_each_end():
    assert aggregate.interquartile_mean(np.arange(8.0).reshape(4, 2)) == 3.5
    assert aggregate.interquartile_mean(np.array([[1.0], [100.0], [2.0]])) == 103 / 3
    assert aggregate.interquartile_mean(as_matrix([[0.0, 1, 2], [90.0]])) == 1.5


def test_the_mean_is_of_tasks():
    assert aggregate.mean(as_matrix([[1.0, 3.0], [8.0]])) == 5.0


def test_improvement_counts_pairs_and_halves_ties():
    found = aggregate.probability_of_improvement(
        as_matrix([[1.0, 2.0]]),
        as_matrix(
            [
                [1.0],
            ]
        ),
    )
    assert found == 0.75
    assert aggregate.probability_of_improvement(scores(), scores()) == 0.5


def test_a_task_is_resampled_from_its_own_runs():
    matrix = as_matrix([[1.0, 2.0, 3.0], [10.0]])
    for seed in range(20):
        drawn = aggregate.resampled(matrix, np.random.RandomState(seed))
        assert set(drawn[:, 0]) <= {1.0, 2.0, 3.0}
        assert drawn[0, 1] == 10 and np.isnan(drawn[1:, 1]).all()


def test_intervals_cover_the_truth_and_shrink_with_runs():
    widths, hits = [], 0
    for runs in (4, 16):
        found = aggregate.estimate(scores(1, runs), aggregate.mean)
        widths.append(found.high - found.low)
        assert found.low < found.value < found.high
    assert widths[1] < 0.7 * widths[0]
    for seed in range(100):
        found = aggregate.estimate(scores(seed, 20), aggregate.mean, draws=200)
        hits += found.low < 0.5 < found.high
    assert hits > 85


def test_a_single_run_has_an_interval_of_no_width():
    found = aggregate.estimate(np.array([[3.0, 5.0]]), aggregate.mean)
    assert found == (4.0, 4.0, 4.0)


def test_the_detectable_difference_is_found_in_four_of_five_repetitions():
    random, sd, runs = np.random.RandomState(0), 0.2, 400
    first, second = (random.normal(0, sd, (runs, 2)) for _ in range(2))
    found = aggregate.detectable_difference(first, second)
    error = sd * (2 / (2 * runs)) ** 0.5
    assert found == pytest.approx(2.8 * error, rel=0.1)
    means = random.normal(found, error, 4_000)
    assert 0.75 < (np.abs(means) > 1.96 * error).mean() < 0.85
    assert np.isnan(aggregate.detectable_difference(first, np.array([[1.0, 2.0]])))


def test_every_number_is_rliables():
    """Optional: the authors' package, on the same random numbers."""
    metrics = pytest.importorskip("rliable.metrics")
    library = pytest.importorskip("rliable.library")
    first, second = scores(3), scores(4, 7)
    assert aggregate.interquartile_mean(first) == metrics.aggregate_iqm(first)
    assert aggregate.mean(first) == metrics.aggregate_mean(first)
    assert aggregate.probability_of_improvement(
        first, second
    ) == metrics.probability_of_improvement(first, second)
    both = lambda x: np.array([metrics.aggregate_iqm(x), metrics.aggregate_mean(x)])  # noqa: E731
    np.random.seed(11)
    _, theirs = library.get_interval_estimates({"a": first}, both, reps=500)
    ours = [
        aggregate.estimate(first, statistic, draws=500, seed=11)
        for statistic in (aggregate.interquartile_mean, aggregate.mean)
    ]
    assert [[o.low for o in ours], [o.high for o in ours]] == theirs["a"].tolist()
    np.random.seed(11)
    _, theirs = library.get_interval_estimates(
        {"ab": (first, second)}, metrics.probability_of_improvement, reps=500
    )
    found = aggregate.estimate_improvement(first, second, draws=500, seed=11)
    assert [found.low, found.high] == theirs["ab"].ravel().tolist()
