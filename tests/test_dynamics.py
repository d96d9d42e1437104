"""Filtering, dreaming, and the losses of what lies ahead, all told twice."""

import pytest
import torch
from small_world import ACTIONS, CONFIG, EYES, LENGTH, SIZE, batch, make

from aef_worldmodel.dream import open_loop, psnr
from aef_worldmodel.world_model import State


@pytest.mark.parametrize("name", EYES)
@torch.no_grad()
def test_filtering_a_batch_is_observing_step_by_step(name):
    model, data = make(name), batch()
    whole = model.follow(data["frame"], data["action"], data["first"])
    state, action = model.initial(SIZE), torch.randn(SIZE, ACTIONS)
    for t in range(LENGTH):
        first = data["first"][:, t] | (t == 0)
        state = model.observe(state, action, data["frame"][:, t], first)
        action = data["action"][:, t]
        torch.testing.assert_close(state.recurrent, whole.recurrent[:, t], rtol=0, atol=1e-5)
        torch.testing.assert_close(state.latent, whole.latent[:, t], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_an_episodes_beginning_forgets_all_before_it():
    model, data = make(), batch()
    whole = model.follow(data["frame"], data["action"], data["first"]).recurrent
    before = model.follow(data["frame"][:1, :3], data["action"][:1, :3]).recurrent
    after = model.follow(data["frame"][:1, 3:], data["action"][:1, 3:]).recurrent
    torch.testing.assert_close(whole[:1, :3], before, rtol=0, atol=1e-6)
    torch.testing.assert_close(whole[:1, 3:], after, rtol=0, atol=1e-6)
    assert (whole[0, 3] == 0).all()
    unmasked = model.follow(data["frame"], data["action"]).recurrent
    assert (whole[0, 4] - unmasked[0, 4]).abs().max() > 1e-3  # the mask did something
    torch.testing.assert_close(whole[1:], unmasked[1:])  # and only where it is set


@torch.no_grad()
def test_a_stored_state_continues_a_sequence():
    model, data = make(), batch()
    states = model.follow(data["frame"], data["action"])
    tail = [x[:, 4:] for x in (states.latent, data["action"], torch.zeros_like(data["first"]))]
    continued = model.filter(*tail, states.recurrent[:, 4])
    torch.testing.assert_close(continued, states.recurrent[:, 4:], rtol=0, atol=1e-6)


@torch.no_grad()
def test_imagining_at_temperature_zero_follows_the_priors_mean():
    model, data = make(), batch()
    actions = iter(data["action"].transpose(0, 1))
    start = model.observe(
        model.initial(SIZE), torch.zeros(SIZE, ACTIONS), data["frame"][:, 0],
        torch.ones(SIZE, dtype=torch.bool),
    )  # fmt: skip
    dreamt, decisions = model.imagine(start, lambda f: (next(actions),), 4, temperature=0.0)
    state = start
    assert dreamt.recurrent.shape == (5, SIZE, 8) and len(decisions) == 4
    for t in range(4):
        recurrent = model.step(state, data["action"][:, t])
        state = State(recurrent, model.prior(recurrent, state.latent).centre)
        torch.testing.assert_close(dreamt.recurrent[t + 1], state.recurrent)
        torch.testing.assert_close(dreamt.latent[t + 1], state.latent)


@torch.no_grad()
def test_imagined_latents_have_the_priors_moments():
    model = make()
    start = State(torch.randn(1, 8).expand(20_000, 8), torch.randn(1, 5).expand(20_000, 5))
    action = torch.full((20_000, ACTIONS), 0.3)
    for temperature in (1.0, 0.5):
        dreamt, _ = model.imagine(start, lambda f: (action,), 1, temperature)
        mean, std = model.prior(dreamt.recurrent[1][:1], start.latent[:1])[:2]
        scores = (dreamt.latent[1] - mean) / (temperature * std)  # (N, d)
        assert scores.mean(0).abs().max() < 5 / 20_000**0.5
        assert (scores.std(0) - 1).abs().max() < 5 / 40_000**0.5


def overshoot_told_again(model, states, data, steps):
    """Both means of `Dynamics.overshoot`, a row, a start and a decision at a time."""
    nats, rewards = [], []
    for b in range(SIZE):
        for t in range(LENGTH - steps):
            state = State(states.recurrent[b, t][None], states.latent[b, t][None])
            variance = torch.zeros(CONFIG.latent_dim)
            for k in range(1, steps + 1):
                if data["first"][b, t + k]:
                    break
                recurrent = model.step(state, data["action"][b, t + k - 1][None])
                mean, std = model.prior(recurrent, state.latent)[:2]
                state, variance = State(recurrent, mean), variance + std[0].square()
                came = states.latent[b, t + k]
                nats.append(sum(-((came - mean[0]) ** 2) / (2 * variance)))
                real = data["reward"][b, t + k][None]
                rewards.append(model.reward_head.loss(state.features, real))
    return torch.stack(nats).mean(), torch.cat(rewards).mean()


@pytest.mark.parametrize("steps", [1, 4])
@torch.no_grad()
def test_overshooting_dreams_end_where_episodes_begin(steps):
    model, data = make(), batch()
    states = model.follow(data["frame"], data["action"], data["first"])
    found = model.overshoot(states, data, steps)
    torch.testing.assert_close(found, overshoot_told_again(model, states, data, steps))


def test_overshooting_moves_dreams_towards_what_came_but_not_their_spread():
    model, data = make(), batch()
    states = model.follow(data["frame"], data["action"], data["first"])
    latents = states.latent.detach().requires_grad_()
    model.overshoot(State(states.recurrent, latents), data, 2)[0].backward()
    assert (latents.grad[:, -2:] == 0).all()  # only met, never started from
    assert (latents.grad[:, :-2] != 0).any()
    bias = model.prior_net[-1].bias.grad
    assert (bias[: CONFIG.latent_dim] != 0).all() and (bias[CONFIG.latent_dim :] == 0).all()


def test_overshooting_counts_in_the_loss():
    torch.manual_seed(0)
    losses = make(overshoot=2).loss(batch())
    torch.manual_seed(0)
    terms, plain = losses.terms, make().loss(batch())
    added = terms["ahead_reward"] - CONFIG.likelihood_scale * terms["ahead"]
    torch.testing.assert_close(losses.total, plain.total + added)


def inverse_told_again(model, states, data):
    """`Dynamics.inverse`, an action at a time."""
    missed = []
    for b in range(SIZE):
        for t in range(LENGTH - 1):
            if not data["first"][b, t + 1]:
                parts = (states.recurrent[b, t], states.latent[b, t], states.latent[b, t + 1])
                told = model.inverse_head(torch.cat(parts))
                missed.append((data["action"][b, t] - told).square().sum())
    assert len(missed) == SIZE * (LENGTH - 1) - 1  # one action led nowhere
    return torch.stack(missed).mean()


def test_actions_are_told_from_what_they_led_to_and_that_teaches_the_eye():
    model, data = make(inverse_weight=1.0), batch()
    torch.nn.init.normal_(model.inverse_head[-1].weight, std=0.3)
    states = model.follow(data["frame"], data["action"], data["first"])
    found = model.inverse(states, data)
    torch.testing.assert_close(found, inverse_told_again(model, states, data))
    found.backward()
    assert all((p.grad != 0).any() for p in model.eye.encoder.parameters())
    assert len(model.groups()["heads"]) - len(make().groups()["heads"]) == len(
        list(model.inverse_head.parameters())
    )


def test_telling_actions_counts_in_the_loss():
    model, data = make(inverse_weight=0.2), batch()
    torch.manual_seed(0)
    losses = model.loss(data)
    model.inverse_head = None
    torch.manual_seed(0)
    plain = model.loss(data)
    assert losses.terms["inverse"] > 0.5  # an untaught head says 0; actions are of +-1
    torch.testing.assert_close(losses.total, plain.total + 0.2 * losses.terms["inverse"])


@torch.no_grad()
def test_open_loop_dream_sees_its_context_and_no_more():
    model, data = make(), batch()
    dream = open_loop(model, data["frame"], data["action"], 3)
    torch.testing.assert_close(dream.imagination[:, :3], dream.reconstruction[:, :3])
    changed = data["frame"].clone()
    changed[:, 3:] = 0
    again = open_loop(model, changed, data["action"], 3)
    torch.testing.assert_close(again.imagination, dream.imagination)
    changed[:, 2] = 0
    again = open_loop(model, changed, data["action"], 3)
    assert not torch.allclose(again.imagination[:, 3:], dream.imagination[:, 3:])
    for context in (0, LENGTH):
        with pytest.raises(ValueError, match=f"context={context} of {LENGTH} frames"):
            open_loop(model, data["frame"], data["action"], context)


@torch.no_grad()
def test_open_loop_dream_follows_the_actions_that_were_taken():
    """The frame after a_t shows what a_t did: the same as imagining from the last seen state."""
    model, data = make(), batch()
    states = model.follow(data["frame"], data["action"])
    start, actions = State(*(part[:, 2] for part in states)), iter(data["action"][:, 2:].unbind(1))
    dreamt, _ = model.imagine(start, lambda f: (next(actions),), LENGTH - 3, temperature=0.0)
    expected = model.decode(dreamt.latent[1:].transpose(0, 1))
    found = open_loop(model, data["frame"], data["action"], 3).imagination[:, 3:]
    torch.testing.assert_close(found, expected)


def test_psnr_of_a_known_error():
    image = torch.rand(4, 3, 8, 8) * 0.5
    torch.testing.assert_close(psnr(image + 0.1, image), torch.full((4,), 20.0), rtol=0, atol=1e-3)
