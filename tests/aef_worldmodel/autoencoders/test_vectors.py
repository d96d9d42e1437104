"""Autoencoders of vectors (P,): invertible preprocessing, exact densities, real units."""

import pytest
import torch
from tiny import default_dtype, log_prior

from aef_worldmodel.autoencoders.preprocessing import Standardise, Symlog, state_vectors
from aef_worldmodel.autoencoders.registry import make_autoencoder

COUNT, LATENT = 4, 2


def states(number=200):
    torch.manual_seed(0)
    return torch.randn(number, COUNT) * torch.tensor([0.3, 1.0, 20.0, 0.0]) + 5


def made(name="aef-corner", latent_dim=LATENT):
    torch.manual_seed(0)
    options = {"networks": "mlp", "sigma_floor": 0.1, "hidden": 8}
    return make_autoencoder(name, (COUNT,), latent_dim, **options)


@pytest.mark.parametrize("bijection", [Standardise(COUNT), Symlog(), state_vectors(COUNT)])
def test_preprocessing_inverts_and_its_log_determinant_is_autograds(bijection):
    bijection, u = bijection.double(), 3 * torch.randn(3, COUNT).double()
    bijection.initialise(u)
    y = bijection(u)
    torch.testing.assert_close(bijection.inverse(y), u)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda row: bijection(row[None])[0], u[i])
        torch.testing.assert_close(bijection.log_det(y)[i], jacobian.slogdet().logabsdet)


def test_numbers_are_standardised_and_one_that_does_not_vary_is_not_blown_up():
    standard, u = Standardise(COUNT), states()
    standard.initialise(u)
    y = standard(u)
    torch.testing.assert_close(y.mean(0), torch.zeros(COUNT), rtol=0, atol=1e-4)
    torch.testing.assert_close(y[:, :3].std(0, correction=0), torch.ones(3), rtol=0, atol=1e-4)
    assert (standard.deviation[3] == 0.1).all()


def test_the_density_of_states_is_the_change_of_variables_formula():
    with default_dtype(torch.float64):
        autoencoder, u = made(), states(3).double() + torch.rand(3, COUNT)
        autoencoder.set_mean(states().double())
        code = autoencoder.encode_y(autoencoder.bijection(u))
        density = log_prior(code.latent) + code.log_det
        density += autoencoder.reconstruction_log_prob(code)

        def coordinates(row):
            y = autoencoder.bijection(row[None])
            latent, deviation, _ = autoencoder.forward_flow(y)
            return torch.cat([latent[0], deviation[0, LATENT:]])  # the core is the first numbers

        for i in range(3):
            jacobian = torch.autograd.functional.jacobian(coordinates, u[i])
            expected = log_prior(coordinates(u[i])[None])[0] + jacobian.slogdet().logabsdet
            torch.testing.assert_close(density[i], expected)


@pytest.mark.parametrize(
    ("name", "latent_dim"),
    [("aef", 3), ("aef-center", 2), ("expanded", 9), ("vae", 9), ("ae", 9)],
)
def test_every_autoencoder_sees_states(name, latent_dim):
    autoencoder = made(name, latent_dim)
    autoencoder.set_mean(states())
    latent = autoencoder.encode(states(5)).latent
    assert latent.shape == (5, latent_dim)
    decoded = autoencoder.decode(latent)
    assert decoded.shape == (5, COUNT) and decoded.max() > 1  # not clipped as images are


def test_the_latent_of_a_partition_is_smaller_than_the_state():
    with pytest.raises(ValueError, match=r"leaves no shell .* of shape \(4,\): choose 1..3"):
        made("aef", 4)


def test_images_and_wrong_types_are_refused():
    with pytest.raises(ValueError, match=r"expected \(N, 4\) float32"):
        made().encode(torch.zeros(2, COUNT, dtype=torch.uint8))
    options = {"networks": "conv", "sigma_floor": 0.1}
    with pytest.raises(ValueError, match=r"networks=conv see images, .* are 4 numbers: give world"):
        make_autoencoder("ae", (COUNT,), 2, **options)
