"""Rivals of the AEF: constant noise, whitened latents, a random encoder."""

import math

import pytest
import torch
from tiny import Decoder, Encoder, log_density, partition, random_images

from aef_worldmodel.autoencoders.frozen import FrozenEncoder
from aef_worldmodel.autoencoders.noisy_aef import NOISE, NoisyAEF
from aef_worldmodel.autoencoders.sigreg import DIRECTIONS, NATS, WhitenedAutoencoder, sigreg
from aef_worldmodel.image_models.zoo import make_model

SHAPE, LATENT = (1, 4, 4), 3


def make(kind):
    torch.manual_seed(0)
    return kind(Encoder(SHAPE, LATENT), Decoder(SHAPE, LATENT), SHAPE, LATENT)


def directions(dims, count=DIRECTIONS, seed=5):
    noise = torch.randn(dims, count, generator=torch.Generator().manual_seed(seed))
    return noise / noise.norm(dim=0)


# -- constant noise ----------------------------------------------------------------------


def test_noise_is_constant_and_leaves_volume_and_target():
    noisy, y = make(NoisyAEF), torch.randn(20_000, *SHAPE)
    plain, drawn = noisy.encode_y(y, sample=False), noisy.encode_y(y)
    added = drawn.latent - plain.latent
    assert added.mean().abs() < 5 * NOISE / 60_000**0.5
    torch.testing.assert_close(added.std(), torch.tensor(NOISE), rtol=0.02, atol=0)
    assert torch.equal(drawn.log_det, plain.log_det) and torch.equal(drawn.target, plain.target)


def test_without_noise_it_is_the_partition_aef():
    noisy, usual = make(NoisyAEF), partition("dct", SHAPE, LATENT, torch.float32)
    noisy.load_state_dict(usual.state_dict())
    images = random_images(5, SHAPE)
    assert torch.equal(noisy.encode(images).latent, usual.encode(images).latent)
    y = noisy.preprocess(images, dequantise=False)
    assert not torch.equal(log_density(noisy, y), log_density(usual, y))  # it draws
    for a, b in zip(noisy.forward_flow(y), usual.forward_flow(y), strict=True):
        assert torch.equal(a, b)


def test_the_likelihood_of_an_image_model_has_no_noise():
    torch.manual_seed(0)
    model, images = make_model("aef-noise", (1, 16, 16), 2), random_images(3, (1, 16, 16))
    losses = [model.loss(images) for _ in range(2)]
    y = model.autoencoder.preprocess(images, dequantise=False)
    once, twice = (model._sum(y, y, sample=False) for _ in range(2))
    assert torch.equal(once, twice) and losses[0] != losses[1]


# -- whitened latents --------------------------------------------------------------------


def test_the_statistic_is_zero_for_normal_latents_and_known_for_equal_ones():
    normal = torch.randn(50_000, 8, generator=torch.Generator().manual_seed(1))
    assert sigreg(normal, directions(8)) < 1e-4
    collapsed = sigreg(torch.zeros(10, 8), directions(8))
    root = (2 * math.pi) ** 0.5  # integral of (1 - exp(-t^2/2))^2 exp(-t^2/2)
    expected = root * (1 - 2 / 2**0.5 + 1 / 3**0.5)
    torch.testing.assert_close(collapsed, torch.tensor(expected), rtol=1e-3, atol=0)


@pytest.mark.parametrize("change", ["scale", "shift", "rotated square"])
def test_other_distributions_are_told_from_a_normal_one(change):
    normal = torch.randn(5_000, 2, generator=torch.Generator().manual_seed(1))
    uniform = 12**0.5 * (torch.rand(5_000, 2, generator=torch.Generator().manual_seed(2)) - 0.5)
    other = {"scale": 0.7 * normal, "shift": normal + 0.5, "rotated square": uniform}[change]
    assert sigreg(other, directions(2)) > 3 * sigreg(normal, directions(2))


def test_its_weight_holds_latents_that_are_predicted_perfectly():
    """A prior of standard deviation .03 rewards a latent of 32 dimensions for shrinking."""
    x = torch.randn(4_096, 32, generator=torch.Generator().manual_seed(1))
    scales = torch.logspace(math.log10(0.03), 0.3, 60)
    pull = 32 * scales.log()
    statistic = torch.stack([sigreg(c * x, directions(32)) for c in scales])
    assert 0.9 < scales[(NATS * statistic + pull).argmin()] < 1.1
    assert scales[(200 * statistic + pull).argmin()] < 0.05


def test_the_statistic_takes_the_place_of_the_log_determinant():
    model, y = make(WhitenedAutoencoder), torch.randn(64, *SHAPE)
    code, plain = model.encode_y(y), model.encode_y(y, sample=False)
    assert torch.equal(code.latent, plain.latent) and not plain.log_det.any()
    assert code.log_det.shape == (64,) and (code.log_det == code.log_det[0]).all()
    many = torch.stack([model.encode_y(y).log_det[0] for _ in range(100)])
    expected = -NATS * sigreg(code.latent, directions(LATENT, 6_400))
    assert abs(many.mean() - expected) < 5 * many.std() / 10 + 0.02 * expected.abs()
    code.log_det.sum().backward()
    assert any(p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_whitening_reaches_image_models():
    torch.manual_seed(0)
    model = make_model("ae-sigreg", (1, 16, 16), 2)
    model.loss(random_images(9, (1, 16, 16))).backward()
    plain = make_model("ae", (1, 16, 16), 2)
    plain.load_state_dict(model.state_dict())
    gradient = model.autoencoder.encoder.out.weight.grad.clone()
    plain.loss(random_images(9, (1, 16, 16))).backward()
    assert not torch.allclose(gradient, plain.autoencoder.encoder.out.weight.grad, rtol=0.5)


# -- a random encoder --------------------------------------------------------------------


def test_the_encoder_never_learns_and_its_latents_are_standardised():
    model, images = make(FrozenEncoder), random_images(200, SHAPE)
    model.set_mean(images)
    code = model.encode(images)
    torch.testing.assert_close(code.latent.mean(0), torch.zeros(LATENT), atol=1e-4, rtol=0)
    torch.testing.assert_close(code.latent.std(0, correction=0), torch.ones(LATENT))
    model.reconstruction_log_prob(code).sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.decoder.parameters())
