"""The state-space model: its loss by hand, filtering step by step, and its size."""

import math

import pytest
import torch
from small_world import ACTIONS, LENGTH, SHAPE, SIZE, batch
from torch.distributions import Normal

from aef_worldmodel import RecurrentConfig, RecurrentWorldModel
from aef_worldmodel.world_models.base import State, make_world_model
from aef_worldmodel.world_models.latents import Categorical, Gaussian
from aef_worldmodel.world_models.rssm import RSSM, RSSMConfig, balanced_kl

KINDS = ["categorical", "gaussian"]
SMALL = {"latent_dim": 3, "recurrent_dim": 8, "hidden_dim": 16, "width": 8}


def make(kind="categorical", **changes):
    """Return a small model with every head away from its start."""
    torch.manual_seed(0)
    config = RSSMConfig(latent=kind, **SMALL | changes)
    model = make_world_model(config, SHAPE, ACTIONS)
    for head in (model.reward_head.network, model.continue_head):
        torch.nn.init.normal_(head[-1].weight, std=0.3)
    return model


def by_steps(model, data):
    """Return the states (B, T, .) from one `observe` after another."""
    length = data.first.shape[1]
    state, states = model.begin(data.frame[:, 0], data.first[:, 0], data.recurrent[:, 0]), []
    for t in range(length):
        if t:
            state = model.observe(state, data.action[:, t - 1], data.frame[:, t], data.first[:, t])
        states.append(state)
    return State(*(torch.stack(part, 1) for part in zip(*states, strict=True)))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_filtering_is_observing_step_by_step(kind):
    model, data = make(kind), batch()
    data.recurrent.normal_()
    found = model.filter_frames(data.frame, data.action, data.first, data.recurrent[:, 0])
    for whole, steps in zip(found, by_steps(model, data), strict=True):
        torch.testing.assert_close(whole, steps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_step_is_the_written_equations(kind):
    model, data = make(kind), batch()
    state = model.begin(data.frame[:, 0], data.first[:, 0], torch.randn(SIZE, 8))
    y = 4 * ((data.frame[:, 1].float() + 0.5) / 256 - model.vision.mean)
    inputs = torch.cat([state.latent, data.action[:, 0]], -1)
    recurrent = model.cell(model.cell.embed(inputs), state.recurrent)
    seen = torch.cat([recurrent, *model.vision.encoder(y)], -1)
    raw = model.posterior_net(seen)
    if kind == "categorical":
        modes = raw.view(SIZE, 3, 16).argmax(-1)
        latent = torch.nn.functional.one_hot(modes, 16).flatten(1).float()
    else:
        latent = raw[:, :3]
    nowhere = torch.zeros(SIZE, dtype=torch.bool)
    found = model.observe(state, data.action[:, 0], data.frame[:, 1], nowhere)
    torch.testing.assert_close(found.recurrent, recurrent)
    torch.testing.assert_close(found.latent, latent)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_an_episodes_beginning_forgets_what_came_before(kind):
    model, data = make(kind), batch()
    whole = model.filter_frames(data.frame, data.action, data.first)
    alone = model.filter_frames(data.frame[:1, 3:], data.action[:1, 3:])
    torch.testing.assert_close(whole.recurrent[:1, 3:], alone.recurrent)
    torch.testing.assert_close(whole.latent[:1, 3:], alone.latent)
    assert not whole.recurrent[0, 3].any()


# -- the loss ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_the_sum_of_its_terms(kind, monkeypatch):
    monkeypatch.setattr("aef_worldmodel.world_models.rssm.DECODED_SHARE", 1)
    model, data = make(kind, pixel_weight=0.7), batch()
    losses = model.loss(data)
    terms, decoded = losses.terms, model.vision.reconstruct_y(losses.states.features.flatten(0, 1))
    image = decoded / 4 + model.vision.mean
    error = (image - (data.frame.flatten(0, 1).float() + 0.5) / 256).square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(terms["pixel_error"], error.detach())
    spread = -Normal(0.0, model.vision.sigma).log_prob(
        4 * (image - (data.frame.flatten(0, 1) + 0.5) / 256)
    )
    total = 0.7 * error + spread.mean() + terms["reward_loss"] + terms["continue_loss"]
    total = total + terms["dynamics"] + 0.1 * terms["representation"]
    torch.testing.assert_close(losses.total, total, rtol=1e-5, atol=1e-4)


def divergent(scale, rows=6):
    """Return a posterior and a prior of one categorical whose divergences grow with `scale`."""
    apart = scale * torch.eye(4, dtype=torch.float64)[:2]
    raw = [row + torch.randn(rows, 4, dtype=torch.float64) * scale / 10 for row in apart]
    raw = [part.requires_grad_() for part in raw]
    return raw, *(Categorical.from_raw(part, 4) for part in raw)


def test_free_nats_are_counted_for_every_row():
    torch.manual_seed(2)
    _, posterior, prior = divergent(1.9, rows=200)
    each = posterior.kl(prior)
    assert (each < 1).any() and (each > 1).any()
    dynamics, representation = balanced_kl(posterior, prior)
    expected = torch.where(each > 1, each, torch.ones_like(each)).mean()
    torch.testing.assert_close(dynamics, expected)
    torch.testing.assert_close(representation, expected)


def test_each_side_of_the_balance_teaches_one_side():
    torch.manual_seed(1)
    raw, posterior, prior = divergent(6.0)
    assert (posterior.kl(prior) > 1).all()
    dynamics, representation = balanced_kl(posterior, prior)
    plain = torch.autograd.grad(posterior.kl(prior).mean(), raw, retain_graph=True)
    for loss, mine in ((dynamics, 1), (representation, 0)):
        grads = torch.autograd.grad(loss, raw, allow_unused=True, retain_graph=True)
        assert grads[1 - mine] is None
        torch.testing.assert_close(grads[mine], plain[mine])


def test_a_divergence_within_the_free_nats_teaches_nothing():
    torch.manual_seed(1)
    raw, posterior, prior = divergent(0.1)
    assert (posterior.kl(prior) < 1).all()
    dynamics, representation = balanced_kl(posterior, prior)
    assert (dynamics, representation) == (1, 1)
    grads = torch.autograd.grad(dynamics + representation, raw)
    assert not grads[0].any() and not grads[1].any()


def test_gaussian_divergence_is_balanced_too():
    posterior = Gaussian(torch.full((2, 1), 3.0), torch.ones(2, 1))
    prior = Gaussian(torch.zeros(2, 1), torch.ones(2, 1))
    assert [side.item() for side in balanced_kl(posterior, prior)] == [4.5, 4.5]


@pytest.mark.parametrize("kind", KINDS)
def test_the_spread_learns_beside_everything_else(kind):
    """Its own loss reaches no other parameter, and no other loss reaches it."""
    model, data = make(kind), batch()
    model.loss(data).total.backward()
    assert all(p.grad is not None for p in model.parameters())
    gradient = model.vision.raw_sigma.grad.clone()
    model.zero_grad()
    states, y = by_steps(model, data), model.vision.preprocess(data.frame.flatten(0, 1), False)
    _, spread = model._image_terms(states, y)
    spread.backward()
    others = [n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()]
    assert others == ["vision.raw_sigma"]
    assert gradient.shape == model.vision.raw_sigma.grad.shape


# -- imagination and likelihood ----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_imagination_is_differentiable_in_the_actions(kind):
    model = make(kind)
    action = torch.zeros(5, ACTIONS, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    states, _ = model.imagine(model.initial(5), lambda _: (action,), 3, generator=generator)
    model.reward(states.map(lambda part: part[-1])).sum().backward()
    assert action.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_prediction_without_noise_is_the_priors_mode(kind):
    model = make(kind)
    state, action = model.begin(batch().frame[:, 0], torch.ones(SIZE).bool()), torch.ones(SIZE, 2)
    once, twice = (model.predict(state, action) for _ in range(2))
    assert torch.equal(once.latent, twice.latent)
    assert torch.equal(once.latent, model.prior(once.recurrent).draw())
    draws = torch.stack([model.predict(state, action, 1.0).latent for _ in range(400)])
    assert draws.std(0).max() > 0.1
    many = draws.view(400, SIZE, -1).mean(0)
    prior = model.prior(once.recurrent)
    mean = prior.log_probs.exp().flatten(-2) if kind == "categorical" else prior.mean
    assert (many - mean).abs().max() < 5 * draws.std(0).max() / 20


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_bound_is_pixels_less_divergence(kind):
    model, data = make(kind), batch()
    parts = model.log_prob(data.frame, data.action, dequantise=False)
    assert parts.total.shape == (SIZE,) and (parts.prior <= 0).all()
    volume = math.prod(SHAPE) * math.log(4)
    torch.testing.assert_close(parts.volume, torch.full((SIZE, LENGTH), volume))
    state = model.initial(SIZE)
    torch.testing.assert_close(
        parts.prior[:, 0],
        -model.posterior(
            state.recurrent, model.embed(model.vision.preprocess(data.frame[:, 0], False))
        ).kl(model.prior(state.recurrent)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_as_many_parameters_as_the_recurrent_aef():
    """Within 3 % at the default sizes, for every number of actions of the tasks."""
    for actions in (1, 6, 21):
        usual = RecurrentWorldModel(RecurrentConfig(), (3, 64, 64), actions)
        budget = sum(p.numel() for p in usual.parameters())
        for kind in KINDS:
            model = RSSM(RSSMConfig(latent=kind), (3, 64, 64), actions)
            count = sum(p.numel() for p in model.parameters())
            print(f"{actions} actions: {kind} {count:,}, recurrent AEF {budget:,}")
            assert abs(count / budget - 1) < 0.03


def test_wrong_sizes_are_one_sentence():
    for wrong in (
        {"hidden_dim": 0},
        {"latent_dim": 0},
        {"recurrent_dim": -1},
        {"pixel_weight": -1.0},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
            RSSMConfig(**wrong)
