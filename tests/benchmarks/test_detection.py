"""Statistics of detectors equal those of scipy, and closed forms."""

import pytest
import scipy.stats
import torch

from benchmarks.detection import alarms, auroc, ranks, spearman


def numbers(count, seed, levels=None):
    values = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return values if levels is None else (levels * values).round()  # with ties


@pytest.mark.parametrize("levels", [None, 2])
def test_ranks_correlation_and_area_are_those_of_scipy(levels):
    one, other = numbers(80, 0, levels), numbers(80, 1, levels) + 0.5 * numbers(80, 0)
    assert ranks(one).tolist() == scipy.stats.rankdata(one).tolist()
    assert spearman(one, other) == pytest.approx(scipy.stats.spearmanr(one, other).statistic)
    more = numbers(50, 2, levels) + 1
    u = scipy.stats.mannwhitneyu(more, one).statistic
    assert auroc(one, more) == pytest.approx(u / (50 * 80))


def test_the_area_of_two_normals_is_known():
    usual, unusual = numbers(40_000, 3), numbers(40_000, 4) + 1
    expected = scipy.stats.norm.cdf(1 / 2**0.5)
    assert auroc(usual, unusual) == pytest.approx(expected, abs=0.005)
    assert auroc(usual, usual) == 0.5


def test_alarms_count_from_the_onset():
    scores = torch.tensor([[9.0, 0, 0, 5], [0, 0, 5, 0], [9, 9, 0, 0], [0, 0, 5, 5]])
    found = alarms(scores, 2, torch.tensor([0.0, 0, 0, 2]), 1.0)
    assert (found.delay, found.detected, found.false_alarms) == (0.0, 0.75, 0.25)
    assert alarms(scores[2:3], 2, scores, 1.0).delay == float("inf")
