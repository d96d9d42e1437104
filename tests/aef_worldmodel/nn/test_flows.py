"""Flows on vectors: invertible, with the log-determinant of autograd, at the stated cost."""

import pytest
import torch

from aef_worldmodel.nn.flows import FLOWS, Flow


def make(kind, dims, context=0, seed=0):
    torch.manual_seed(seed)
    flow = Flow(kind, dims, context, hidden=8).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    x = torch.randn(5, dims).double()
    return flow, x, torch.randn(5, context).double() if context else None


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize(("dims", "context"), [(1, 0), (3, 0), (1, 2), (3, 2)])
def test_both_directions_invert_each_other(kind, dims, context):
    flow, x, c = make(kind, dims, context)
    y, forward = flow(x, c)
    again, backward = flow.inverse(y, c)
    assert y.shape == x.shape and forward.shape == (5,) and (y - x).abs().max() > 0.01
    torch.testing.assert_close(again, x)
    torch.testing.assert_close(backward, -forward)


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize(("dims", "context"), [(1, 2), (3, 0)])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_log_determinant_is_that_of_autograds_jacobian(kind, dims, context, direction):
    flow, x, c = make(kind, dims, context)
    map, c = getattr(flow, direction), None if c is None else c[0]
    jacobian = torch.autograd.functional.jacobian(lambda row: map(row, c)[0], x[0])
    torch.testing.assert_close(map(x[0], c)[1], jacobian.slogdet().logabsdet)


@pytest.mark.parametrize("kind", FLOWS)
def test_a_context_is_taken_row_by_row_over_any_batch(kind):
    flow, _, _ = make(kind, 3, 4)
    x, c = torch.randn(2, 5, 3).double(), torch.randn(2, 5, 4).double()
    y, log_det = flow(x, c)
    alone = flow(x[1, 2], c[1, 2])
    torch.testing.assert_close((y[1, 2], log_det[1, 2]), alone)
    assert not torch.allclose(flow(x[1, 2], c[0, 0])[0], alone[0])


@pytest.mark.parametrize(
    ("kind", "forward", "inverse"), [("maf", 1, 6), ("iaf", 6, 1), ("coupling", 1, 1)]
)
def test_passes_through_the_networks_are_those_of_the_table(kind, forward, inverse):
    """Sequential passes of one layer for 6 dimensions; one more gives the log-determinant."""
    torch.manual_seed(0)
    flow, passes = Flow(kind, 6, layers=1), []
    next(m for n, m in flow.named_modules() if n.endswith("hyper")).register_forward_hook(
        lambda *_: passes.append(1)
    )
    for direction, expected in ((flow.forward, forward), (flow.inverse, inverse)):
        passes.clear()
        direction(torch.randn(2, 6))
        assert expected <= len(passes) <= expected + 1


def test_under_autocast_a_flow_stays_in_float32():
    torch.manual_seed(0)
    flow, x = Flow("maf", 4), torch.randn(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        low = flow(x.bfloat16().float())
    torch.testing.assert_close(low, flow(x.bfloat16().float()), rtol=0, atol=0)
    assert low[0].dtype == low[1].dtype == torch.float32


def test_impossible_flows_are_refused():
    with pytest.raises(ValueError, match="unknown flow 'mfa': did you mean maf"):
        Flow("mfa", 3)
    with pytest.raises(ValueError, match="dims=0"):
        Flow("maf", 0)
    with pytest.raises(ValueError, match="a context \\(1, 3\\) but is unconditional"):
        Flow("maf", 2)(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="given no context: give a context of width 3"):
        Flow("maf", 2, 3)(torch.zeros(1, 2))
