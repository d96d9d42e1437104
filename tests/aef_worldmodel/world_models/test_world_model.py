"""The recurrent model: a video's likelihood and how it is learnt, each computed twice."""

import dataclasses
import math

import pytest
import torch
from small_world import (
    AUTOENCODERS,
    CONFIG,
    DETERMINISTIC,
    LENGTH,
    SHAPE,
    batch,
    decode_all,
    make,
)
from tiny import shell_basis
from torch.distributions import Normal

from aef_worldmodel.nn.distributions import HALF_LOG_2PI
from aef_worldmodel.world_models.base import State

# -- likelihood --------------------------------------------------------------------------


def stepwise_log_prob(model, frames, actions):
    """log p of each video (B,), one frame at a time in true coordinates, by torch's own normal."""
    autoencoder, total = model.autoencoder, torch.zeros(len(frames))
    state = model.initial(len(frames))
    for t in range(frames.shape[1]):
        y = autoencoder.scale * ((frames[:, t].float() + 0.5) / 256 - autoencoder.mean)
        core, shell = autoencoder.split.split(y)
        mean, raw = autoencoder.encoder(shell)
        log_scale = 4 * torch.tanh(raw / 4)
        latent = mean + log_scale.exp() * core
        total += model.prior(*state).log_prob(latent)
        total += log_scale.sum(-1) + autoencoder.dims * math.log(autoencoder.scale)
        deviation = (y - autoencoder.decoder(latent)) / autoencoder.sigma  # (B, C, H, W)
        free = deviation.flatten(1) @ shell_basis(autoencoder.split).T  # (B, D - d)
        total += Normal(0.0, 1.0).log_prob(free).sum(-1)
        sigma = (
            autoencoder.sigma.expand(SHAPE)[autoencoder.split.mask.bool()]
            if autoencoder.split.pixelwise
            else autoencoder.sigma
        )
        total -= sigma.log().expand(free.shape[1]).sum()
        recurrent = model.transition(State(state.recurrent, latent), actions[:, t])
        state = State(recurrent, latent)
    return total


@pytest.mark.parametrize("name", ["dct", "corner", "pyramid"])
@torch.no_grad()
def test_video_likelihood_is_the_sum_over_steps(name):
    model, data = make(name), batch()
    parts = model.log_prob(data.frame, data.action, dequantise=False)
    expected = stepwise_log_prob(model, data.frame, data.action)
    torch.testing.assert_close(parts.total, expected, rtol=1e-5, atol=0)
    total = sum(part.sum(-1) for part in (parts.prior, parts.volume, parts.pixels))
    torch.testing.assert_close(parts.total, total)
    bits = 8 - expected / (LENGTH * 768 * math.log(2))
    torch.testing.assert_close(parts.bits_per_dim(768), bits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", DETERMINISTIC)
@torch.no_grad()
def test_a_longer_video_adds_its_frames_only(name):
    """log p(x_1..T) - log p(x_1..T-1) is the last frame's own term: the model is causal."""
    model, data = make(name), batch()
    whole = model.log_prob(data.frame[:1], data.action[:1], dequantise=False)
    part = model.log_prob(data.frame[:1, :4], data.action[:1, :4], dequantise=False)
    for short, long in zip(part, whole):
        torch.testing.assert_close(short, long[:, :4], rtol=1e-5, atol=1e-3)


@torch.no_grad()
def test_a_bound_stays_a_bound_at_the_bins_centres():
    """Without dequantisation the VAE's number must still be its ELBO, from a drawn latent."""
    model, data = make("vae"), batch(1, 4)
    once, twice = (model.log_prob(data.frame, data.action, dequantise=False) for _ in range(2))
    assert not torch.equal(once.prior, twice.prior)
    autoencoder, y = model.autoencoder, model.autoencoder.preprocess(data.frame[0], False)
    mean, std = autoencoder.posterior(y)
    many = [model.log_prob(data.frame, data.action, False).pixels[0] for _ in range(400)]
    found = torch.stack(many)
    latents = mean + std * torch.randn(400, *mean.shape)
    residual = y - autoencoder.decoded(latents.flatten(0, 1)).view(400, *y.shape)
    expected = autoencoder.gaussian(residual.flatten(0, 1)).view(400, -1)
    error = (found.var(0) / 400 + expected.var(0) / 400).sqrt()
    assert ((found.mean(0) - expected.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("name", AUTOENCODERS)
@torch.no_grad()
def test_dequantisation_noise_differs_at_every_call(name):
    model, data = make(name), batch()
    once, twice = (model.log_prob(data.frame, data.action) for _ in range(2))
    assert not torch.equal(once.total, twice.total)
    torch.testing.assert_close(once.total, twice.total, rtol=0.05, atol=0)


@pytest.mark.parametrize("name", DETERMINISTIC)
@torch.no_grad()
def test_loss_is_made_of_the_likelihood(name, monkeypatch):
    """The training loss beside `log_prob`, on one sequence of one episode and without noise."""
    monkeypatch.setattr("aef_worldmodel.autoencoders.base.uniform_noise", lambda like: 0.5)
    decode_all(monkeypatch)
    model, data = make(name), batch(1)
    data.first[:] = torch.arange(LENGTH) == 0
    terms = model.loss(data).terms
    parts = model.log_prob(data.frame, data.action, dequantise=False)
    torch.testing.assert_close(terms["log_prob"], parts.total[0] / LENGTH, rtol=1e-5, atol=1e-3)
    state = model.filter_frames(data.frame, data.action)
    anchor = -0.5 * state.latent.square().sum(-1).mean() - CONFIG.latent_dim * HALF_LOG_2PI
    video = terms["log_prob"] + CONFIG.anchor * (anchor - terms["prior"])
    video -= (1 - CONFIG.pixel_weight) * terms["pixels"]
    total = -CONFIG.likelihood_scale * video + terms["reward_loss"] + terms["continue_loss"]
    torch.testing.assert_close(terms["loss"], total, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_weighing_pixels_is_blunting_the_decoder(name, monkeypatch):
    """Weight 1/4 teaches encoder, decoder and dynamics what twice the decoder's sigma does."""
    monkeypatch.setattr("aef_worldmodel.autoencoders.base.uniform_noise", lambda like: 0.5)
    decode_all(monkeypatch)
    gradients = []
    for weight, sigma in ((0.25, 0.4), (1.0, 0.8)):
        model = make(name, pixel_weight=weight)
        raw = math.log(math.expm1(sigma - CONFIG.sigma_floor))
        model.autoencoder.raw_sigma.data.fill_(raw)
        torch.manual_seed(3)
        model.loss(batch()).total.backward()
        gradients.append({k: p.grad for k, p in model.named_parameters() if "raw_sigma" not in k})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][key], rtol=1e-4, atol=1e-5, msg=key)


@torch.no_grad()
def test_a_row_whose_past_is_not_in_the_sequence_teaches_no_prior():
    """Without the latent before it, a row's prior would be that of another state."""
    model, data = make(), batch().apply(lambda part: part[:, :2])
    state = State(data.recurrent[:, 0], model.autoencoder.encode(data.frame[:, 0]).latent)
    latent = model.autoencoder.encode(data.frame[:, 1]).latent
    mean, std = model.prior(model.transition(state, data.action[:, 0]), state.latent)[:2]
    expected = Normal(mean, std).log_prob(latent).sum(-1).mean()
    losses = [model.loss(data).terms["prior"] for _ in range(64)]  # over dequantisation noise
    spread = torch.stack(losses).std() / 64**0.5
    assert abs(torch.stack(losses).mean() - expected) < 6 * spread + 0.05


def test_decoding_some_frames_estimates_the_pixels_without_bias(monkeypatch):
    model, data = make(), batch()
    drawn = torch.stack([model.loss(data).terms["pixels"] for _ in range(150)])
    decode_all(monkeypatch)
    full = torch.stack([model.loss(data).terms["pixels"] for _ in range(10)])
    error = drawn.std() / 150**0.5 + full.std() / 10**0.5
    assert (drawn.mean() - full.mean()).abs() < 5 * error


def test_the_anchored_prior_is_a_lower_bound():
    """(1 - l) log p + l log n <= log of the normalised geometric mixture: its integral is <= 1."""
    z, weight = torch.linspace(-30, 30, 20001, dtype=torch.float64), CONFIG.anchor
    anchor = Normal(torch.zeros((), dtype=z.dtype), 1.0).log_prob(z)
    for mean, std in ((0.0, 1.0), (0.5, 0.3), (4.0, 0.1), (-2.0, 3.0)):
        prior = Normal(torch.tensor(mean, dtype=z.dtype), std).log_prob(z)
        mixed = (1 - weight) * prior + weight * anchor
        integral = mixed.exp().sum().item() * (z[1] - z[0]).item()
        assert integral <= 1 + 1e-9
        assert (integral > 0.999) == ((mean, std) == (0.0, 1.0))  # equal only where p = n


# -- learning ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_gradients_reach_every_parameter(name):
    model = make(name)
    model.loss(batch()).total.backward()
    for parameter, tensor in model.named_parameters():
        assert tensor.grad is not None and tensor.grad.abs().max() > 0, parameter


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_groups_hold_every_parameter_once(name):
    model = make(name)
    grouped = [id(p) for group in model.parameter_groups().values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


@torch.no_grad()
def test_rewards_of_first_rows_are_not_learnt():
    model, data = make(), batch()
    before = model.loss(data).terms["reward_loss"]
    torch.manual_seed(7)
    changed = dataclasses.replace(data, reward=data.reward + 5 * data.first)
    torch.manual_seed(7)
    assert model.loss(changed).terms["reward_loss"] == pytest.approx(before.item(), abs=0.05)
    torch.manual_seed(7)
    moved = model.loss(dataclasses.replace(data, reward=data.reward + 5 * ~data.first))
    assert abs(moved.terms["reward_loss"] - before) > 0.1


@pytest.mark.parametrize("name", DETERMINISTIC)
@torch.no_grad()
def test_bfloat16_agrees_on_every_term_of_the_likelihood(name):
    """Networks in bfloat16, sums in float32: within 2 % of each term."""
    model, data = make(name), batch()
    exact = model.log_prob(data.frame, data.action, dequantise=False)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.log_prob(data.frame, data.action, dequantise=False)
    for full, low in zip(exact, rounded):
        assert low.dtype == torch.float32 and not torch.equal(full, low)
        torch.testing.assert_close(low, full, rtol=0.02, atol=0.1)
