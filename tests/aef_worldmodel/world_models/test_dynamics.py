"""Filtering, dreaming, and the losses of what lies ahead, each computed twice."""

import pytest
import torch
from small_world import ACTIONS, AUTOENCODERS, CONFIG, LENGTH, SIZE, batch, make

from aef_worldmodel.world_models.base import State, WorldModel
from aef_worldmodel.world_models.objectives import Objective, overshooting
from aef_worldmodel.world_models.open_loop import open_loop


@pytest.mark.parametrize("name", AUTOENCODERS)
@torch.no_grad()
def test_filtering_a_batch_is_observing_step_by_step(name):
    model, data = make(name), batch()
    whole = model.filter_frames(data.frame, data.action, data.first)
    state, action = model.initial(SIZE), torch.randn(SIZE, ACTIONS)
    for t in range(LENGTH):
        first = data.first[:, t] | (t == 0)
        state = model.observe(state, action, data.frame[:, t], first)
        action = data.action[:, t]
        torch.testing.assert_close(state.recurrent, whole.recurrent[:, t], rtol=0, atol=1e-5)
        torch.testing.assert_close(state.latent, whole.latent[:, t], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_an_episodes_beginning_forgets_all_before_it():
    model, data = make(), batch()
    whole = model.filter_frames(data.frame, data.action, data.first).recurrent
    before = model.filter_frames(data.frame[:1, :3], data.action[:1, :3]).recurrent
    after = model.filter_frames(data.frame[:1, 3:], data.action[:1, 3:]).recurrent
    torch.testing.assert_close(whole[:1, :3], before, rtol=0, atol=1e-6)
    torch.testing.assert_close(whole[:1, 3:], after, rtol=0, atol=1e-6)
    assert (whole[0, 3] == 0).all()
    unmasked = model.filter_frames(data.frame, data.action).recurrent
    assert (whole[0, 4] - unmasked[0, 4]).abs().max() > 1e-3  # the mask did something
    torch.testing.assert_close(whole[1:], unmasked[1:])  # and only where it is set


@torch.no_grad()
def test_a_stored_state_continues_a_sequence():
    model, data = make(), batch()
    states = model.filter_frames(data.frame, data.action)
    tail = [x[:, 4:] for x in (states.latent, data.action, torch.zeros_like(data.first))]
    continued = model.filter(*tail, states.recurrent[:, 4])
    torch.testing.assert_close(continued, states.recurrent[:, 4:], rtol=0, atol=1e-6)


@torch.no_grad()
def test_imagining_at_temperature_zero_follows_the_priors_mean():
    model, data = make(), batch()
    actions = iter(data.action.transpose(0, 1))
    start = model.observe(
        model.initial(SIZE),
        torch.zeros(SIZE, ACTIONS),
        data.frame[:, 0],
        torch.ones(SIZE, dtype=torch.bool),
    )
    dreamt, decisions = model.imagine(start, lambda f: (next(actions),), 4, temperature=0.0)
    state = start
    assert dreamt.recurrent.shape == (5, SIZE, 8) and len(decisions) == 4
    for t in range(4):
        recurrent = model.transition(state, data.action[:, t])
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


def overshoot_by_hand(model, states, data, steps):
    """Both means of `overshooting`, a row, a start and a decision at a time."""
    nats, rewards = [], []
    for b in range(SIZE):
        for t in range(LENGTH - steps):
            state = State(states.recurrent[b, t][None], states.latent[b, t][None])
            variance = torch.zeros(CONFIG.latent_dim)
            for k in range(1, steps + 1):
                if data.first[b, t + k]:
                    break
                recurrent = model.transition(state, data.action[b, t + k - 1][None])
                mean, std = model.prior(recurrent, state.latent)[:2]
                state, variance = State(recurrent, mean), variance + std[0].square()
                came = states.latent[b, t + k]
                nats.append(sum(-((came - mean[0]) ** 2) / (2 * variance)))
                real = data.reward[b, t + k][None]
                rewards.append(model.reward_head.loss(state.features, real))
    return torch.stack(nats).mean(), torch.cat(rewards).mean()


@pytest.mark.parametrize("steps", [1, 4])
@torch.no_grad()
def test_overshooting_dreams_end_where_episodes_begin(steps):
    model, data = make(), batch()
    states = model.filter_frames(data.frame, data.action, data.first)
    found = overshooting(model, data, states, steps)
    torch.testing.assert_close(found, overshoot_by_hand(model, states, data, steps))


def test_overshooting_moves_dreams_towards_what_came_but_not_their_spread():
    model, data = make(), batch()
    states = model.filter_frames(data.frame, data.action, data.first)
    latents = states.latent.detach().requires_grad_()
    overshooting(model, data, State(states.recurrent, latents), 2)[0].backward()
    assert (latents.grad[:, -2:] == 0).all()  # only met, never started from
    assert (latents.grad[:, :-2] != 0).any()
    bias = model.prior_net[-1].bias.grad
    assert (bias[: CONFIG.latent_dim] != 0).all() and (bias[CONFIG.latent_dim :] == 0).all()


def test_overshooting_counts_in_the_loss():
    torch.manual_seed(0)
    losses = Objective(overshoot=2)(make(), batch(), pretraining=False)
    torch.manual_seed(0)
    terms, plain = losses.terms, make().loss(batch())
    added = terms["overshoot_reward"] - CONFIG.likelihood_scale * terms["overshoot_latent"]
    torch.testing.assert_close(losses.total, plain.total + added)
    torch.testing.assert_close(terms["loss"], losses.total.detach())


def taught(model):
    """Return the names of the parameters that have a gradient."""
    return {n for n, p in model.named_parameters() if p.grad is not None}


def test_staged_training_learns_the_autoencoder_and_then_the_rest():
    model, objective = make(), Objective(staged=True)
    objective(model, batch(), pretraining=True).total.backward()
    autoencoder = {n for n, _ in model.named_parameters() if n.startswith("autoencoder.")}
    assert taught(model) == autoencoder
    model.zero_grad(set_to_none=True)
    losses = objective(model, batch(), pretraining=False)
    losses.total.backward()
    everything = {n for n, _ in model.named_parameters()}
    assert taught(model) == everything - autoencoder
    assert losses.states.recurrent.shape == (SIZE, LENGTH, 8)


@torch.no_grad()
def test_the_default_loop_filters_as_the_batched_one():
    """`WorldModel.filter_frames` is for models whose posterior needs h; both must agree."""
    model, data = make(), batch()
    start = torch.randn(SIZE, 8)
    whole = model.filter_frames(data.frame, data.action, data.first, start)
    loop = WorldModel.filter_frames(model, data.frame, data.action, data.first, start)
    torch.testing.assert_close(whole.recurrent, loop.recurrent, rtol=0, atol=1e-5)
    torch.testing.assert_close(whole.latent, loop.latent, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_default_imagination_follows_the_same_prediction():
    model, data = make(), batch()
    start = model.begin(data.frame[:, 0], data.first[:, 0])
    for imagine in (type(model).imagine, WorldModel.imagine):
        actions = iter(data.action.transpose(0, 1))
        states, _ = imagine(model, start, lambda f: (next(actions),), 3, temperature=0.0)  # noqa: B023
        state = start
        for t in range(3):
            state = model.predict(state, data.action[:, t])
            torch.testing.assert_close(states.latent[t + 1], state.latent)
            torch.testing.assert_close(states.recurrent[t + 1], state.recurrent)


@torch.no_grad()
def test_open_loop_dream_sees_its_context_and_no_more():
    model, data = make(), batch()
    dream = open_loop(model, data.frame, data.action, 3)
    torch.testing.assert_close(dream.imagination[:, :3], dream.reconstruction[:, :3])
    changed = data.frame.clone()
    changed[:, 3:] = 0
    again = open_loop(model, changed, data.action, 3)
    torch.testing.assert_close(again.imagination, dream.imagination)
    changed[:, 2] = 0
    again = open_loop(model, changed, data.action, 3)
    assert not torch.allclose(again.imagination[:, 3:], dream.imagination[:, 3:])
    for context in (0, LENGTH):
        with pytest.raises(ValueError, match=f"context={context} of {LENGTH} frames"):
            open_loop(model, data.frame, data.action, context)


@torch.no_grad()
def test_open_loop_dream_follows_the_actions_that_were_taken():
    """The frame after a_t shows what a_t did: the same as imagining from the last seen state."""
    model, data = make(), batch()
    states = model.filter_frames(data.frame, data.action)
    start, actions = State(*(part[:, 2] for part in states)), iter(data.action[:, 2:].unbind(1))
    dreamt, _ = model.imagine(start, lambda f: (next(actions),), LENGTH - 3, temperature=0.0)
    expected = model.decode(dreamt.map(lambda part: part[1:].transpose(0, 1)))
    found = open_loop(model, data.frame, data.action, 3).imagination[:, 3:]
    torch.testing.assert_close(found, expected)
