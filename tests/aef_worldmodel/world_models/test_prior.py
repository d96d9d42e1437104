"""The prior over latents: a density, and its draws."""

import torch
from torch.distributions import Normal

from aef_worldmodel.world_models.prior import Prior


def make(dims=2, count=5):
    """Return the prior of `count` states."""
    torch.manual_seed(0)
    mean = torch.randn(count, dims, dtype=torch.float64)
    return Prior(mean, 0.3 + torch.rand(count, dims, dtype=torch.float64))


@torch.no_grad()
def test_it_is_a_diagonal_gaussian():
    prior, noise = make(), torch.randn(5, 2, dtype=torch.float64)
    latent = prior.draw(noise)
    torch.testing.assert_close(latent, prior.mean + prior.std * noise)
    expected = Normal(prior.mean, prior.std).log_prob(latent).sum(-1)
    torch.testing.assert_close(prior.log_prob(latent), expected)


@torch.no_grad()
def test_its_density_integrates_to_one():
    prior = make(count=1)
    axis = torch.linspace(-10, 10, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)  # (N, 2)
    inside = prior.log_prob(prior.mean + grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(inside - 1) < 1e-3


@torch.no_grad()
def test_the_centre_is_the_draw_of_no_noise():
    prior = make(dims=3, count=4)
    torch.testing.assert_close(prior.centre, prior.draw(torch.zeros(4, 3, dtype=torch.float64)))
