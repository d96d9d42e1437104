"""Partition AEFs are invertible, normalised, and equal to closed forms where these exist."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import (
    CORES,
    LinearDecoder,
    LinearEncoder,
    default_dtype,
    grid,
    log_density,
    log_prior,
    partition,
    shell_basis,
)
from torch.distributions import MultivariateNormal

SHAPE, LATENT = (2, 2, 3), 3
ROUND_TRIP = {torch.float32: 2e-4, torch.float64: 1e-12}


@st.composite
def cases(draw):
    """(shape, latent_dim, dtype) for which every core exists."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 4)), draw(st.integers(2, 4)))
    room = min(shape[0] * min(shape[1:]) ** 2, math.prod(shape) - 1)
    return shape, draw(st.integers(1, min(room, 5))), draw(st.sampled_from(list(ROUND_TRIP)))


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=12, deadline=None)
@given(case=cases(), seed=st.integers(0, 99))
def test_partition_inverts_exactly_both_ways(core, case, seed):
    shape, latent_dim, dtype = case
    autoencoder = partition(core, shape, latent_dim, dtype, seed)
    y = 2 * torch.randn(4, *shape, dtype=dtype)
    latent, deviation, _ = autoencoder.forward_flow(y)
    close = {"rtol": 0, "atol": ROUND_TRIP[dtype]}
    torch.testing.assert_close(autoencoder.inverse(latent, deviation), y, **close)
    latent = torch.randn(4, latent_dim, dtype=dtype)  # and a sample is encoded as it was drawn
    deviation = autoencoder.split.shell_of(torch.randn(4, *shape, dtype=dtype))
    again = autoencoder.forward_flow(autoencoder.inverse(latent, deviation))
    torch.testing.assert_close(again[0], latent, **close)
    torch.testing.assert_close(again[1], deviation, **close)


def flow_coordinates(autoencoder, basis):
    """y (D,) -> (z, r) (D,), r in orthonormal coordinates of the shell."""

    def map(flat):
        latent, deviation, _ = autoencoder.forward_flow(flat.view(1, *autoencoder.shape))
        return torch.cat([latent[0], basis @ deviation.flatten()])

    return map


@pytest.mark.parametrize("core", CORES)
def test_log_determinant_is_that_of_autograds_jacobian(core):
    autoencoder = partition(core, SHAPE, LATENT)
    coordinates = flow_coordinates(autoencoder, shell_basis(autoencoder.split))
    for _ in range(3):
        y = torch.randn(1, *SHAPE).double()
        jacobian = torch.autograd.functional.jacobian(coordinates, y.flatten())
        torch.testing.assert_close(autoencoder.forward_flow(y)[2][0], jacobian.slogdet().logabsdet)


@pytest.mark.parametrize("core", CORES)
def test_density_is_the_change_of_variables_formula(core):
    autoencoder = partition(core, SHAPE, LATENT)
    y = torch.randn(4, *SHAPE).double()
    latent, deviation, log_det = autoencoder.forward_flow(y)
    shell = deviation.flatten(1) @ shell_basis(autoencoder.split).T  # (N, D - d)
    preprocessing = 12 * math.log(autoencoder.scale)
    expected = log_prior(latent) + log_prior(shell) + log_det + preprocessing
    torch.testing.assert_close(log_density(autoencoder, y), expected)


@pytest.mark.parametrize(
    ("core", "shape", "latent_dim", "points"),
    [
        ("dct", (1, 1, 2), 1, 150),
        ("corner", (1, 1, 2), 1, 150),
        ("own", (1, 1, 2), 1, 150),
        ("dct", (1, 1, 3), 2, 60),
        ("own", (3, 1, 1), 1, 60),
        ("center", (3, 1, 1), 2, 60),
    ],
)
@torch.no_grad()
def test_density_of_u_integrates_to_one(core, shape, latent_dim, points):
    autoencoder = partition(core, shape, latent_dim)
    torch.nn.init.constant_(
        autoencoder.raw_sigma, 0.0
    )  # sigma .79: no spike between two grid points
    autoencoder.mean.copy_(torch.rand(shape).double())
    u, cell = grid(points, 2.5, math.prod(shape))
    y = autoencoder.scale * (u.view(-1, *shape) - autoencoder.mean)  # preprocessing, written out
    total = log_density(autoencoder, y).exp().sum() * cell
    assert total.item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("core", CORES)
def test_linear_networks_make_a_gaussian(core):
    autoencoder = partition(core, SHAPE, LATENT)
    with default_dtype(torch.float64):
        autoencoder.encoder = LinearEncoder(
            torch.randn(LATENT, 12), torch.randn(LATENT), torch.tensor([0.3, -0.5, 0.1])
        )
        autoencoder.decoder = LinearDecoder(torch.randn(12, LATENT), torch.randn(12), SHAPE)
    origin = autoencoder.inverse(torch.zeros(1, LATENT).double(), torch.zeros(1, *SHAPE).double())
    basis = shell_basis(autoencoder.split)
    latents = torch.cat([torch.eye(LATENT).double(), torch.zeros(9, LATENT).double()])
    shells = torch.cat([torch.zeros(LATENT, 12).double(), basis]).view(12, *SHAPE)
    columns = (autoencoder.inverse(latents, shells) - origin).flatten(
        1
    )  # (D, D), images of the axes
    gaussian = MultivariateNormal(origin.flatten(), columns.T @ columns)
    y = torch.randn(5, *SHAPE).double()
    expected = gaussian.log_prob(y.flatten(1)) + 12 * math.log(autoencoder.scale)
    torch.testing.assert_close(log_density(autoencoder, y), expected)
