"""Importance-sampled bounds against closed forms and quadrature."""

import math

import pytest
import torch
from tiny import (
    Decoder,
    Encoder,
    LinearDecoder,
    LinearEncoder,
    default_dtype,
    grid,
    log_density,
    log_prior,
    partition,
    small_model,
)
from torch.distributions import MultivariateNormal, kl_divergence

from aef_worldmodel import AEF, VAE
from aef_worldmodel.autoencoders.aef import ExpandedAEF
from aef_worldmodel.autoencoders.vae import VariationalAutoencoder
from aef_worldmodel.image_models.importance import importance_log_prob

SHAPE, LATENT = (2, 2, 3), 3
BOUNDS = {
    "vae": (VAE, {}),
    "vae, iaf posterior": (VAE, {"posterior": "iaf"}),
    "vae, maf posterior and prior": (VAE, {"posterior": "maf", "prior": "maf"}),
    "vae, dependent": (VAE, {"variance": "dependent"}),
    "linear": (AEF, {"core": "linear"}),
    "linear, coupling core, dependent": (
        AEF,
        {"core": "linear", "core_flow": "coupling", "variance": "dependent"},
    ),
}


class Linear:
    """z ~ N(0, I), y = G z + g + sigma noise, columns of G orthogonal: closed forms for all."""

    def __init__(self):
        torch.manual_seed(3)
        scales = torch.tensor([1.5, 0.8, 0.4]).double()
        self.matrix = torch.linalg.qr(torch.randn(12, LATENT).double()).Q * scales  # (D, d)
        self.offset, self.sigma = torch.randn(12).double(), 0.6
        self.variance = 1 / (1 + scales.square() / self.sigma**2)  # of the posterior, (d,)
        self.gain = self.variance[:, None] * self.matrix.T / self.sigma**2  # (d, D)
        noise = self.sigma**2 * torch.eye(12).double()
        self.marginal = MultivariateNormal(self.offset, self.matrix @ self.matrix.T + noise)
        self.y = self.marginal.sample((6,)).view(6, *SHAPE)

    def log_prob(self, y, scale):
        return self.marginal.log_prob(y.flatten(1)) + 12 * math.log(scale)

    def autoencoder(self, kind, shift=0.0, log_ratio=0.0):
        """Return an autoencoder whose encoder is the posterior, off by `shift` and `log_ratio`."""
        log_scale = self.variance.log() / 2 + log_ratio
        offset = shift - self.gain @ self.offset
        decoder = LinearDecoder(self.matrix, self.offset, SHAPE)
        with default_dtype(torch.float64):
            autoencoder = kind(LinearEncoder(self.gain, offset, log_scale), decoder, SHAPE, LATENT)
        autoencoder.raw_sigma.data.fill_(math.log(math.expm1(self.sigma - autoencoder.sigma_floor)))
        if kind is ExpandedAEF:  # mu_e + sigma_e W y = the posterior's mean
            weight = autoencoder.expansion.weight
            autoencoder.encoder.matrix = self.gain - log_scale.exp()[:, None] * weight.detach()
        return autoencoder

    def kl(self, shift, log_ratio):
        """Return the KL divergence of that encoder from the posterior, nats."""
        std = self.variance.sqrt()
        posterior = torch.distributions.Normal(torch.zeros(LATENT).double(), std)
        moved = torch.distributions.Normal(
            shift * torch.ones(LATENT).double(), std * math.exp(log_ratio)
        )
        return kl_divergence(moved, posterior).sum().item()


@pytest.mark.parametrize(("shift", "log_ratio"), [(0.0, 0.0), (0.3, 0.0), (-0.2, 0.4)])
@torch.no_grad()
def test_elbo_is_the_log_likelihood_less_the_divergence(shift, log_ratio):
    model = Linear()
    autoencoder = model.autoencoder(VariationalAutoencoder, shift, log_ratio)
    many = model.y.repeat(4000, 1, 1, 1)
    elbo = log_density(autoencoder, many).view(4000, 6)
    error = elbo.std(0) / 4000**0.5
    expected = model.log_prob(model.y, autoencoder.scale) - model.kl(shift, log_ratio)
    assert ((elbo.mean(0) - expected).abs() < 5 * error).all()
    assert model.kl(shift, log_ratio) == 0 or model.kl(shift, log_ratio) > 10 * error.max()


@pytest.mark.parametrize("kind", [VariationalAutoencoder, ExpandedAEF])
@torch.no_grad()
def test_importance_weights_of_the_exact_posterior_have_no_variance(kind):
    model = Linear()
    autoencoder = model.autoencoder(kind)
    for samples in (1, 7):
        found = importance_log_prob(autoencoder, model.y, log_prior, samples)
        torch.testing.assert_close(found, model.log_prob(model.y, autoencoder.scale))


@pytest.mark.parametrize("kind", [VariationalAutoencoder, ExpandedAEF])
@torch.no_grad()
def test_importance_estimate_rises_to_the_log_likelihood(kind):
    model = Linear()
    autoencoder = model.autoencoder(kind, shift=0.5)
    exact = model.log_prob(model.y, autoencoder.scale)
    gaps = []
    for samples in (1, 10, 500):
        many = model.y.repeat(200, 1, 1, 1)
        found = importance_log_prob(autoencoder, many, log_prior, samples, width=1.3, batch=100_000)
        gaps.append((exact - found.view(200, 6)).mean().item())
    assert gaps[0] > 5 * gaps[1] > 0 and abs(gaps[2]) < 0.02 < gaps[1]


@torch.no_grad()
def test_importance_estimate_does_not_depend_on_the_batch():
    model = Linear()
    autoencoder = model.autoencoder(VariationalAutoencoder, shift=0.1)
    found = [
        importance_log_prob(autoencoder, model.y, log_prior, 500, width=1.2, batch=batch)
        for batch in (7, 600, 10**6)
    ]
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=0, atol=0.1)


@torch.no_grad()
def test_importance_of_a_nonlinear_expansion_agrees_with_quadrature():
    with default_dtype(torch.float64):
        torch.manual_seed(1)
        shape = (1, 1, 2)
        autoencoder = ExpandedAEF(Encoder(shape, 1), Decoder(shape, 1), shape, 1)
        autoencoder.raw_sigma.fill_(0.0)
        y = torch.randn(3, *shape)
        latent, cell = grid(4001, 10.0, 1)
    residual = y[:, None] - autoencoder.decoded(latent[:, None])  # (3, G, 1, 1, 2)
    pixels = autoencoder.gaussian(residual.flatten(0, 1)).view(3, -1)
    integral = (pixels + log_prior(latent[:, None])).logsumexp(1) + math.log(cell)
    found = importance_log_prob(autoencoder, y, log_prior, 40_000, width=2.0)
    torch.testing.assert_close(found, integral + 2 * math.log(autoencoder.scale), rtol=0, atol=0.03)


@torch.no_grad()
def test_expanded_density_is_of_the_pair_and_no_density_of_the_image():
    """log p(y, w = W y) by the definition: change of variables of (y, w) -> (y, z)."""
    model = Linear()
    autoencoder = model.autoencoder(ExpandedAEF, shift=0.2)
    with default_dtype(torch.float64):
        log_scale = model.variance.log().sum() / 2
        mean = (model.y.flatten(1) - model.offset) @ model.gain.T + 0.2
        given = MultivariateNormal(mean @ model.matrix.T + model.offset, 0.36 * torch.eye(12))
        pair = log_prior(mean) + given.log_prob(model.y.flatten(1)) + log_scale
    torch.testing.assert_close(
        log_density(autoencoder, model.y), pair + 12 * math.log(autoencoder.scale)
    )


def test_exact_likelihoods_and_no_samples_are_refused():
    y = torch.zeros(1, *SHAPE).double()
    with pytest.raises(ValueError, match="exact already"):
        importance_log_prob(partition("dct", SHAPE, LATENT), y, log_prior, 3)
    with pytest.raises(ValueError, match="samples=0"):
        importance_log_prob(Linear().autoencoder(VariationalAutoencoder), y, log_prior, 0)


@pytest.mark.parametrize("name", BOUNDS)
@torch.no_grad()
def test_importance_estimate_agrees_with_quadrature(name):
    """Integrates p(z) p(y | z) over a one-dimensional latent, whatever q is."""
    constructor, options = BOUNDS[name]
    shape = (1, 1, 2)
    model = small_model(constructor, options, shape, 1)
    y = torch.randn(3, *shape).double()
    latent, cell = grid(3001, 9.0, 1)
    pixels = model.autoencoder.decoder_log_prob(
        latent.view(-1, 1).repeat(3, 1), y.repeat_interleave(3001, 0)
    ).view(3, -1)
    integral = (pixels + model.log_prior(latent.view(-1, 1))).logsumexp(1) + math.log(cell)
    expected = integral + model.autoencoder.preprocessing_log_det(y)
    found = importance_log_prob(model.autoencoder, y, model.log_prior, 20_000, width=1.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.06)
    once = y.repeat(300, 1, 1, 1)  # and one sample gives a bound from below
    bound = model._sum(once, once).view(300, 3) if constructor is VAE else None
    if bound is not None:
        assert (bound.mean(0) < expected + 4 * bound.std(0) / 300**0.5).all()
