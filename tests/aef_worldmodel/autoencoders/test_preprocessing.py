"""Elementwise bijections: invertible, with the log-determinant of autograd."""

import pytest
import torch

from aef_worldmodel.autoencoders.preprocessing import ActNorm, Chain, Logit

SHAPE = (2, 2, 3)


def make(name, dtype=torch.float64):
    torch.manual_seed(0)
    norm = ActNorm(2)
    torch.nn.init.normal_(norm.shift)
    torch.nn.init.normal_(norm.log_scale)
    parts = {"logit": [Logit(0.05)], "actnorm": [norm], "chain": [Logit(0.01), norm, ActNorm(2)]}
    return Chain(parts[name]).to(dtype)


@pytest.mark.parametrize("name", ["logit", "actnorm", "chain"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_inverts(name, dtype, error):
    bijection, u = make(name, dtype), torch.rand(5, *SHAPE, dtype=dtype)
    u[0, 0, 0] = torch.tensor([0.0, 1.0, 0.5])
    torch.testing.assert_close(bijection.inverse(bijection(u)), u, rtol=0, atol=error)


@pytest.mark.parametrize("name", ["logit", "actnorm", "chain"])
def test_log_determinant_is_that_of_autograds_jacobian(name):
    bijection, u = make(name), torch.rand(2, *SHAPE).double()
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda flat: bijection(flat.view(1, *SHAPE)).flatten(), u[i].flatten()
        )
        expected = jacobian.slogdet().logabsdet
        torch.testing.assert_close(bijection.log_det(bijection(u))[i], expected)


def test_actnorm_starts_with_standard_channels_behind_what_comes_before_it():
    bijection = Chain([Logit(), ActNorm(2)])
    u = torch.rand(400, *SHAPE) * torch.tensor([0.2, 1.0])[:, None, None]
    bijection.initialise(u)
    y = bijection(u)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.std((0, 2, 3)), torch.ones(2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0])
def test_a_logit_without_room_is_refused(alpha):
    with pytest.raises(ValueError, match=f"alpha={alpha} must be between 0 and 0.5"):
        Logit(alpha)
