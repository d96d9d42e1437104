"""Densities and the two-hot head against closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from aef_worldmodel.nn.distributions import TwoHotHead, normal_log_prob, symexp, symlog

numbers = st.floats(-20_000, 20_000, width=32)


def bare(bins=101):
    """A head whose features are its logits."""
    head = TwoHotHead(3, 4, 1, bins)
    head.network = nn.Identity()
    return head


def code(head, target):
    """The two-hot code of targets (N,): (N, bins), from the gradient softmax(0) - code."""
    logits = torch.zeros(len(target), head.bins, requires_grad=True)
    head.loss(logits, target).sum().backward()
    return 1 / head.bins - logits.grad


def test_normal_log_prob():
    x, mean, std = torch.randn(5, 3), torch.randn(5, 3), torch.rand(5, 3) + 0.1
    torch.testing.assert_close(normal_log_prob(x, mean, std), Normal(mean, std).log_prob(x).sum(-1))


@settings(deadline=None)
@given(value=numbers)
def test_symexp_inverts_symlog(value):
    x = torch.tensor(value)
    torch.testing.assert_close(symexp(symlog(x)), x, rtol=1e-4, atol=1e-6)
    assert symlog(-x) == -symlog(x)


@settings(deadline=None, max_examples=50)
@given(values=st.lists(numbers | st.floats(-2, 2, width=32), min_size=1, max_size=8))
def test_a_number_is_the_mean_of_its_code(values):
    head, target = bare(), torch.tensor(values)
    weights = code(head, target)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(values)), rtol=0, atol=1e-5)
    used = weights > 1e-5
    assert (used.sum(1) <= 2).all() and weights.min() > -1e-6
    for row in used:
        assert row.nonzero().diff(dim=0).eq(1).all()  # neighbours
    error = weights.double() @ head.support.double() - target
    # a rounding of a weight moves the mean by as much of the bins' distance
    assert (error.abs() <= 1e-5 + 3e-6 * target.abs()).all()


def test_targets_at_the_bins_are_one_hot_and_beyond_them_the_last():
    head = bare()
    torch.testing.assert_close(code(head, head.support), torch.eye(101), rtol=0, atol=2e-5)
    ends = code(head, torch.tensor([-1e9, 1e9]))
    torch.testing.assert_close(ends, torch.eye(101)[[0, 100]], rtol=0, atol=1e-6)


def test_loss_is_the_cross_entropy_and_mean_the_expectation():
    head, logits = bare(), 3 * torch.randn(6, 101)
    target = torch.tensor([-300.0, -0.1, 0.0, 0.05, 1.7, 9000.0])
    expected = -(code(head, target) * F.log_softmax(logits, -1)).sum(-1)
    torch.testing.assert_close(head.loss(logits, target), expected, rtol=1e-4, atol=1e-4)
    expected = logits.double().softmax(-1) @ head.support.double()
    torch.testing.assert_close(head.mean(logits).double(), expected, rtol=1e-4, atol=1e-2)


def test_the_best_fit_to_random_targets_is_their_mean():
    """The bins add no bias: the minimum of the mean loss predicts the mean target."""
    head, target = bare(), 0.3 + 0.2 * torch.randn(4000)
    best = code(head, target).mean(0).clamp(min=1e-12).log()[None]
    torch.testing.assert_close(head.mean(best)[0], target.mean(), rtol=0, atol=1e-4)


def test_a_new_head_predicts_exactly_zero():
    assert (TwoHotHead(5, 8, 2).mean(torch.randn(7, 5)) == 0).all()


@pytest.mark.parametrize("bins", [0, 1, 2, 100])
def test_bins_without_a_zero_are_refused(bins):
    with pytest.raises(ValueError, match=f"bins={bins} must be odd"):
        TwoHotHead(3, 4, 1, bins)
