"""Uses of an image model: learning, sampling, encoding, interpolating, bounds."""

import pytest
import torch
from tiny import random_images, small_model

from aef_worldmodel import AE, AEF, VAE
from aef_worldmodel.image_models.importance import importance_log_prob
from aef_worldmodel.image_models.model import WIDTHS
from aef_worldmodel.image_models.zoo import MODELS, PLAIN, make_model

SHAPE, LATENT = (1, 2, 3), 2


def build(constructor, options, shape=SHAPE, latent_dim=LATENT, dtype=torch.float64):
    return small_model(constructor, options, shape, latent_dim, dtype)


def frames(count=16, shape=SHAPE, seed=0):
    return random_images(count, shape, seed)


@torch.no_grad()
def test_more_samples_make_the_objective_tighter():
    images = frames(4).repeat(200, 1, 1, 1)
    objective = {}
    for samples in (1, 2, 16):
        model = build(VAE, {"samples": samples})
        objective[samples] = model.objective(images).mean().item()
    assert objective[1] < objective[2] < objective[16]
    exact = build(VAE, {}).log_prob(frames(4), samples=4000).mean().item()
    assert objective[16] < exact + 0.1


@torch.no_grad()
def test_fitted_width_is_the_best_of_those_tried():
    torch.manual_seed(0)
    model, images = build(AEF, {"core": "linear"}), frames(64)
    assert model.width == 1
    chosen = model.fit_width(images, samples=8)
    assert chosen == model.width.item() and chosen in torch.tensor(WIDTHS).double()
    y = model.autoencoder.preprocess(images, dequantise=True)
    bounds = [
        importance_log_prob(model.autoencoder, y, model.log_prior, 8, width=w).mean().item()
        for w in (0.1, chosen, 2.0)
    ]
    assert bounds[1] >= max(bounds) - 0.05


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("preprocessing", ["affine", "logit"])
def test_gradients_reach_every_parameter(name, preprocessing):
    torch.manual_seed(0)
    shape, extra = (3, 4, 4), {} if name in PLAIN else {"prior": "coupling"}
    model = make_model(
        name,
        shape,
        3,
        networks="conv",
        width=4,
        preprocessing=preprocessing,
        variance="dependent",
        **extra,
    )
    model.initialise(frames(32, shape))
    model.loss(frames(32, shape)).backward()
    unused = (
        {"autoencoder.encoder.out.weight", "autoencoder.encoder.out.bias"}
        if name in PLAIN
        else set()
    )
    learnt = [(name, tensor) for name, tensor in model.named_parameters() if tensor.requires_grad]
    for parameter, tensor in learnt:
        assert tensor.grad is not None, parameter
        assert (tensor.grad.abs().max() > 0) or parameter in unused, parameter


@pytest.mark.parametrize("options", [{"core": "dct"}, {"core": "corner"}, {"core": "linear"}])
def test_the_decoder_starts_with_the_spread_of_what_it_must_explain(options):
    model, images = build(AEF, options | {"sigma_floor": 0.01}), frames(200)
    model.initialise(images)
    y = model.autoencoder.preprocess(images, dequantise=False)
    spread = model.autoencoder.target(y).square().mean().sqrt()
    torch.testing.assert_close(model.autoencoder.sigma.mean(), spread, rtol=0.02, atol=0)
    assert model.autoencoder.sigma.max() - model.autoencoder.sigma.min() < 1e-9
    sizes = [sum(p.numel() for p in group["params"]) for group in model.groups(1e-3)]
    assert sum(sizes) == sum(p.numel() for p in model.parameters())
    assert sizes[1] == model.autoencoder.raw_sigma.numel()
    assert len(AE((1, 8, 8), 2, width=4, variance="fixed").groups(1.0)) == 1


@pytest.mark.parametrize("name", MODELS)
def test_learning_lowers_the_loss(name):
    torch.manual_seed(0)
    shape = (1, 4, 4)
    data = frames(64, (1, 1, 1)).expand(-1, -1, 4, 4).contiguous()  # one number an image
    model = make_model(name, shape, 2, networks="conv", width=4)
    model.initialise(data)
    optimiser = torch.optim.Adam(model.groups(1e-2))
    losses = []
    for _ in range(60):
        loss = model.loss(data)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("name", MODELS)
def test_images_in_and_out(name):
    model, images = make_model(name, (3, 8, 8), 3, width=4), frames(5, (3, 8, 8))
    model.initialise(images)
    latent = model.encode(images)
    assert latent.shape == (5, 3) and torch.equal(latent, model.encode(images))
    assert torch.equal(model.reconstruct(images), model.decode(latent))
    way = model.interpolate(images[:2], images[2:4], steps=4)
    assert way.shape == (2, 4, 3, 8, 8)
    torch.testing.assert_close(way[:, 0], model.reconstruct(images[:2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(way[:, -1], model.reconstruct(images[2:4]), rtol=0, atol=1e-5)
    if name in PLAIN:
        return
    warm, cold = model.sample(6), model.sample(6, temperature=0.0)
    assert warm.shape == (6, 3, 8, 8) and warm.min() >= 0 and warm.max() <= 1
    assert (cold - cold[0]).abs().max() < 1e-6 < (warm - warm[0]).abs().max()
    assert not torch.equal(model.sample(6, temperature=0.0, deviation=1.0), cold)
    bits = model.bits_per_dim(images)
    assert bits.shape == (5,) and bits.isfinite().all()
    kind = "exact" if name.startswith("aef") and name != "aef-linear" else "bound"
    assert model.likelihood == kind


@torch.no_grad()
def test_samples_have_the_temperature_asked_for():
    """Latents of samples, encoded again, spread as the temperature says."""
    model = build(AEF, {"core": "dct", "prior": "maf"})
    for temperature in (0.5, 1.0):
        torch.manual_seed(0)
        noise = temperature * torch.randn(500, LATENT).double()
        image = model.autoencoder.reconstruct_y(model.from_noise(noise))
        back = model.to_noise(model.autoencoder.encode_y(image).latent)
        assert back.std().item() == pytest.approx(temperature, rel=0.1)
