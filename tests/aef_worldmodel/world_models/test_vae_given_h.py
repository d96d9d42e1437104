"""The VAE whose posterior is given h: it begins as the VAE, and filters causally."""

import dataclasses

import pytest
import torch
from small_world import ACTIONS, CONFIG, SHAPE, SIZE, batch
from small_world import make as make_usual

from aef_worldmodel.world_models.base import State, make_world_model
from aef_worldmodel.world_models.vae_given_h import VAEGivenHConfig

SIZES = {k: v for k, v in vars(CONFIG).items() if k not in ("kind", "autoencoder")}


def make(trained=True):
    torch.manual_seed(0)
    model = make_world_model(VAEGivenHConfig(**SIZES), SHAPE, ACTIONS)
    if trained:
        for head in (model.reward_head.network, model.prior_net, model.posterior_net):
            torch.nn.init.normal_(head[-1].weight, std=0.3)
    return model


@torch.no_grad()
def test_it_begins_as_the_vae():
    usual, model, data = make_usual("vae"), make(trained=False), batch()
    model.load_state_dict(usual.state_dict(), strict=False)
    for a, b in zip(
        model.filter_frames(data.frame, data.action, data.first),
        usual.filter_frames(data.frame, data.action, data.first),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    totals = []
    for each in (model, usual):
        torch.manual_seed(7)
        totals.append(torch.stack([each.loss(data).total for _ in range(3)]))
    torch.testing.assert_close(totals[0], totals[1], rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_filtering_is_observing_step_by_step():
    model, data = make(), batch()
    data.recurrent.normal_()
    whole = model.filter_frames(data.frame, data.action, data.first, data.recurrent[:, 0])
    state, states = model.begin(data.frame[:, 0], data.first[:, 0], data.recurrent[:, 0]), []
    states.append(state)
    for t in range(1, data.first.shape[1]):
        state = model.observe(state, data.action[:, t - 1], data.frame[:, t], data.first[:, t])
        states.append(state)
    steps = State(*(torch.stack(part, 1) for part in zip(*states, strict=True)))
    for a, b in zip(whole, steps, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_posterior_depends_on_what_came_before():
    model, data = make(), batch()
    first = torch.zeros(SIZE, dtype=torch.bool)
    a, b = (model.begin(data.frame[:, 0], first, torch.randn(SIZE, 8)).latent for _ in range(2))
    assert (a - b).abs().max() > 1e-3


@torch.no_grad()
def test_the_bound_draws_from_the_posterior():
    """The mean of its entropy and of its prior are those of draws that were made by hand."""
    model, data = make(), batch().apply(lambda part: part[:1, :1])
    y = model.autoencoder.preprocess(data.frame[0], False)
    mean, log_std = model.posterior(torch.zeros(1, 8), *model.autoencoder.statistics(y))
    draws = mean + log_std.exp() * torch.randn(4_000, mean.shape[1])
    expected = model.prior(torch.zeros(1, 8), torch.zeros(1, 5)).log_prob(draws)
    many = [model.log_prob(data.frame, data.action, dequantise=False) for _ in range(400)]
    prior = torch.stack([parts.prior[0, 0] for parts in many])
    assert abs(prior.mean() - expected.mean()) < 5 * prior.std() / 20
    entropy = log_std.sum() + 5 * (0.5 + 0.5 * torch.tensor(2 * torch.pi).log())
    volume = entropy + model.autoencoder.preprocessing_log_det(y)
    torch.testing.assert_close(many[0].volume[0, 0], volume)


def test_every_parameter_learns():
    model = make()
    model.loss(batch()).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.posterior_net[-1].weight.grad.abs().sum() > 0


def test_another_autoencoder_is_refused():
    with pytest.raises(ValueError, match="autoencoder=aef has no posterior"):
        dataclasses.replace(VAEGivenHConfig(), autoencoder="aef")
