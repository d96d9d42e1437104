"""The prior over latents, Gaussian or seen through a conditional flow: a density, and its draws."""

import torch
from torch.distributions import Normal

from aef_worldmodel.flows import Flow
from aef_worldmodel.prior import Prior


def make(dims=2, count=1, bent=True, dtype=torch.float64):
    """A prior of `count` states, with a flow that is far from the identity if `bent`."""
    torch.manual_seed(0)
    mean, std = torch.randn(count, dims, dtype=dtype), 0.3 + torch.rand(count, dims, dtype=dtype)
    if not bent:
        return Prior(mean, std)
    flow = Flow("coupling", dims, context=3, hidden=16).to(dtype)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return Prior(mean, std, flow, torch.randn(count, 3, dtype=dtype))


@torch.no_grad()
def test_without_a_flow_it_is_the_gaussian():
    prior, noise = make(count=5, bent=False), torch.randn(5, 2, dtype=torch.float64)
    latent = prior.draw(noise)
    torch.testing.assert_close(latent, prior.mean + prior.std * noise)
    expected = Normal(prior.mean, prior.std).log_prob(latent).sum(-1)
    torch.testing.assert_close(prior.log_prob(latent), expected)
    assert torch.equal(prior.centre, prior.mean)


@torch.no_grad()
def test_its_density_integrates_to_one():
    prior = make()
    axis = torch.linspace(-10, 10, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)  # (N, 2)
    many = Prior(prior.mean, prior.std, prior.flow, prior.context.expand(len(grid), -1))
    inside = many.log_prob(prior.mean + grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(inside - 1) < 1e-3


def test_density_of_a_draw_is_that_of_its_noise_over_autograds_jacobian():
    prior, noise = make(dims=4), torch.randn(1, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda e: prior.draw(e[None])[0], noise[0])
    expected = Normal(0, 1).log_prob(noise).sum() - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(prior.log_prob(prior.draw(noise))[0], expected)


@torch.no_grad()
def test_the_centre_is_the_draw_of_no_noise():
    prior = make(dims=3, count=4)
    torch.testing.assert_close(prior.centre, prior.draw(torch.zeros(4, 3, dtype=torch.float64)))
    assert (prior.centre != prior.mean).any()


def test_a_flow_learns_what_a_gaussian_cannot_be():
    """z_2 follows the square of z_1, which a diagonal Gaussian can only cover with its spread."""
    torch.manual_seed(0)
    first = torch.randn(2000, 1)
    latents = torch.cat([first, first**2 + 0.1 * torch.randn(2000, 1)], 1)
    flow, context = Flow("coupling", 2, context=1), torch.zeros(2000, 1)
    prior = Prior(latents.mean(0), latents.std(0), flow, context)
    optimiser = torch.optim.Adam(flow.parameters(), 5e-3)
    for _ in range(300):
        loss = -prior.log_prob(latents).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    gaussian = Prior(latents.mean(0), latents.std(0)).log_prob(latents).mean()
    assert -loss.item() > gaussian + 1.0  # nats
