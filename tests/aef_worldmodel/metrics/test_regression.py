"""Regressions, R2 and effective rank against closed forms."""

import math

import pytest
import torch

from aef_worldmodel.metrics.regression import (
    effective_rank,
    network_regression,
    r_squared,
    ridge,
)


def test_probes_find_what_is_there_and_nothing_else():
    x, noise = torch.randn(3000, 6), torch.randn(3000, 1)
    y = torch.cat([3 + x[:, :1] - 2 * x[:, 1:2], noise, x[:, 2:3] ** 2 - 1], 1)
    fit, test = slice(0, 2000), slice(2000, None)
    linear = r_squared(ridge(x[fit], y[fit], x[test]), y[test].double())
    assert linear[0] > 0.999 and linear[1:].abs().max() < 0.1
    network = r_squared(network_regression(x[fit], y[fit], x[test]), y[test].double())
    assert network[0] > 0.95 and network[2] > 0.8 and network[1] < 0.1


def test_r_squared_by_definition():
    truth = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    assert r_squared(truth, truth)[0] == 1 and r_squared(truth, truth)[1].isnan()
    assert r_squared(torch.full((3, 2), 2.0), truth)[0] == 0
    assert r_squared(truth + 1, truth)[0].item() == pytest.approx(1 - 3 / 8)


def test_effective_rank_counts_dimensions():
    x = torch.randn(20_000, 3)
    assert effective_rank(x) == pytest.approx(3, abs=0.01)
    assert effective_rank(torch.cat([x, x[:, :2]], 1)) == pytest.approx(
        math.exp(0.8 * math.log(2.5) + 0.2 * math.log(5)), abs=0.02
    )
    assert effective_rank(x[:, :1].expand(-1, 4)) == pytest.approx(1, abs=1e-6)
