"""The recurrent model: a video's likelihood, filtering, dreaming and resets, all told twice."""

import dataclasses
import math

import pytest
import torch
from tiny import shell_basis
from torch.distributions import Normal

from aef_worldmodel.dream import open_loop, psnr
from aef_worldmodel.eye import HALF_LOG_2PI
from aef_worldmodel.world_model import State, WorldModel, WorldModelConfig

SHAPE, ACTIONS, SIZE, LENGTH = (3, 16, 16), 2, 3, 7
CONFIG = WorldModelConfig(
    latent_dim=5, recurrent_dim=8, hidden_dim=16, width=8, decoded_frames=10**6, overshoot=0
)
EYES = {
    "dct": {}, "corner": {"core": "corner"},
    "expanded": {"autoencoder": "expanded"}, "vae": {"autoencoder": "vae"},
    "flow": {"prior_flow": "coupling"}, "pyramid": {"decoder": "pyramid"},
}  # fmt: skip
DETERMINISTIC = ["dct", "corner", "expanded", "pyramid"]


def make(name="dct", **changes):
    """A small world model with every parameter away from its start."""
    torch.manual_seed(0)
    model = WorldModel(dataclasses.replace(CONFIG, **EYES[name], **changes), SHAPE, ACTIONS)
    for head in (model.reward_head.network, model.continue_head, model.prior_net):
        torch.nn.init.normal_(head[-1].weight, std=0.3)
    for parameter in model.prior_flow.parameters() if model.prior_flow else ():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def batch(size=SIZE, length=LENGTH, seed=1):
    """Smooth pictures that move, with an episode's beginning in the middle of the first row."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(size * length, 3, 4, 4, generator=generator)
    frames = torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")
    first = torch.zeros(size, length, dtype=torch.bool)
    first[0, 3] = True
    return {
        "frame": (255 * frames).byte().view(size, length, *SHAPE),
        "action": torch.rand(size, length, ACTIONS, generator=generator) * 2 - 1,
        "reward": torch.randn(size, length, generator=generator),
        "first": first,
        "terminal": torch.zeros(size, length, dtype=torch.bool),
        "recurrent": torch.zeros(size, CONFIG.recurrent_dim),
    }


# -- likelihood --------------------------------------------------------------------------


def stepwise_log_prob(model, frames, actions):
    """log p of each video (B,), one frame at a time in true coordinates, by torch's own normal."""
    eye, total = model.eye, torch.zeros(len(frames))
    state = model.initial(len(frames))
    for t in range(frames.shape[1]):
        y = eye.scale * ((frames[:, t].float() + 0.5) / 256 - eye.mean)
        core, shell = eye.split.split(y)
        mean, raw = eye.encoder(shell)
        log_scale = 4 * torch.tanh(raw / 4)
        latent = mean + log_scale.exp() * core
        total += model.prior(*state).log_prob(latent)
        total += log_scale.sum(-1) + eye.dims * math.log(eye.scale)
        deviation = (y - eye.decoder(latent)) / eye.sigma  # (B, C, H, W)
        free = deviation.flatten(1) @ shell_basis(eye.split).T  # (B, D - d)
        total += Normal(0.0, 1.0).log_prob(free).sum(-1)
        sigma = eye.sigma.expand(SHAPE)[eye.split.mask.bool()] if eye.split.pixelwise else eye.sigma
        total -= sigma.log().expand(free.shape[1]).sum()
        recurrent = model.step(State(state.recurrent, latent), actions[:, t])
        state = State(recurrent, latent)
    return total


@pytest.mark.parametrize("name", ["dct", "corner", "flow", "pyramid"])
@torch.no_grad()
def test_video_likelihood_is_the_sum_over_steps(name):
    model, data = make(name), batch()
    parts = model.log_prob(data["frame"], data["action"], dequantise=False)
    expected = stepwise_log_prob(model, data["frame"], data["action"])
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
    whole = model.log_prob(data["frame"][:1], data["action"][:1], dequantise=False)
    part = model.log_prob(data["frame"][:1, :4], data["action"][:1, :4], dequantise=False)
    for short, long in zip(part, whole):
        torch.testing.assert_close(short, long[:, :4], rtol=1e-5, atol=1e-3)


@torch.no_grad()
def test_a_bound_stays_a_bound_at_the_bins_centres():
    """Without dequantisation the VAE's number must still be its ELBO, from a drawn latent."""
    model, data = make("vae"), batch(1, 4)
    once, twice = (
        model.log_prob(data["frame"], data["action"], dequantise=False) for _ in range(2)
    )
    assert not torch.equal(once.prior, twice.prior)
    eye, y = model.eye, model.eye.preprocess(data["frame"][0], False)
    mean, std = eye.posterior(y)
    many = [model.log_prob(data["frame"], data["action"], False).pixels[0] for _ in range(400)]
    found = torch.stack(many)
    latents = mean + std * torch.randn(400, *mean.shape)
    residual = y - eye.decoded(latents.flatten(0, 1)).view(400, *y.shape)
    expected = eye.gaussian(residual.flatten(0, 1)).view(400, -1)
    error = (found.var(0) / 400 + expected.var(0) / 400).sqrt()
    assert ((found.mean(0) - expected.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("name", EYES)
@torch.no_grad()
def test_dequantisation_noise_is_drawn_anew(name):
    model, data = make(name), batch()
    once, twice = (model.log_prob(data["frame"], data["action"]) for _ in range(2))
    assert not torch.equal(once.total, twice.total)
    torch.testing.assert_close(once.total, twice.total, rtol=0.05, atol=0)


@pytest.mark.parametrize("name", DETERMINISTIC)
@torch.no_grad()
def test_loss_is_made_of_the_likelihood(name, monkeypatch):
    """The training loss beside `log_prob`, on one sequence of one episode and without noise."""
    monkeypatch.setattr("aef_worldmodel.eye.uniform_noise", lambda like: 0.5)
    model, data = make(name), batch(1)
    data["first"][:] = torch.arange(LENGTH) == 0
    terms = model.loss(data).terms
    parts = model.log_prob(data["frame"], data["action"], dequantise=False)
    torch.testing.assert_close(terms["log_prob"], parts.total[0] / LENGTH, rtol=1e-5, atol=1e-3)
    state = model.follow(data["frame"], data["action"])
    anchor = -0.5 * state.latent.square().sum(-1).mean() - CONFIG.latent_dim * HALF_LOG_2PI
    video = terms["log_prob"] + CONFIG.anchor * (anchor - terms["prior"])
    video -= (1 - CONFIG.pixel_weight) * terms["pixels"]
    total = -CONFIG.likelihood_scale * video + terms["reward_loss"] + terms["continue_loss"]
    torch.testing.assert_close(terms["loss"], total, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", EYES)
def test_weighing_pixels_is_blunting_the_decoder(name, monkeypatch):
    """Weight 1/4 teaches encoder, decoder and dynamics what twice the decoder's sigma does."""
    monkeypatch.setattr("aef_worldmodel.eye.uniform_noise", lambda like: 0.5)
    gradients = []
    for weight, sigma in ((0.25, 0.4), (1.0, 0.8)):
        model = make(name, pixel_weight=weight)
        raw = math.log(math.expm1(sigma - CONFIG.sigma_floor))
        model.eye.raw_sigma.data.fill_(raw)
        torch.manual_seed(3)
        model.loss(batch()).total.backward()
        gradients.append({k: p.grad for k, p in model.named_parameters() if "raw_sigma" not in k})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][key], rtol=1e-4, atol=1e-5, msg=key)


@torch.no_grad()
def test_a_row_whose_past_is_not_in_the_sequence_teaches_no_prior():
    """Without the latent before it, a row's prior would be that of another state."""
    model, data = make(decoded_frames=1), batch()
    data["frame"], data["action"] = data["frame"][:, :2], data["action"][:, :2]
    data |= {name: data[name][:, :2] for name in ("reward", "first", "terminal")}
    state = State(data["recurrent"], model.eye.encode(data["frame"][:, 0]).latent)
    latent = model.eye.encode(data["frame"][:, 1]).latent
    mean, std = model.prior(model.step(state, data["action"][:, 0]), state.latent)[:2]
    expected = Normal(mean, std).log_prob(latent).sum(-1).mean()
    losses = [model.loss(data).terms["prior"] for _ in range(64)]  # over dequantisation noise
    spread = torch.stack(losses).std() / 64**0.5
    assert abs(torch.stack(losses).mean() - expected) < 6 * spread + 0.05


def test_decoding_some_frames_estimates_the_pixels_without_bias():
    model, data = make(decoded_frames=5), batch()
    drawn = torch.stack([model.loss(data).terms["pixels"] for _ in range(150)])
    model = make()
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


# -- filtering and dreaming --------------------------------------------------------------


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


# -- learning ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EYES)
def test_gradients_reach_every_parameter(name):
    model = make(name)
    model.loss(batch()).total.backward()
    for parameter, tensor in model.named_parameters():
        assert tensor.grad is not None and tensor.grad.abs().max() > 0, parameter


@pytest.mark.parametrize("name", EYES)
def test_groups_hold_every_parameter_once(name):
    model = make(name)
    grouped = [id(p) for group in model.groups().values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


@pytest.mark.parametrize("part", ["eye", "dynamics"])
def test_stages_teach_their_own_part_alone(part):
    model = make()
    model.loss(batch(), part).total.backward()
    taught = {n for n, p in model.eye.named_parameters() if p.grad is not None}
    assert taught == (set(dict(model.eye.named_parameters())) if part == "eye" else set())
    assert (model.prior_net[0].weight.grad is not None) == (part == "dynamics")


@torch.no_grad()
def test_rewards_of_first_rows_are_not_learnt():
    model, data = make(), batch()
    before = model.loss(data).terms["reward_loss"]
    torch.manual_seed(7)
    changed = data | {"reward": data["reward"] + 5 * data["first"]}
    torch.manual_seed(7)
    assert model.loss(changed).terms["reward_loss"] == pytest.approx(before.item(), abs=0.05)
    torch.manual_seed(7)
    moved = model.loss(data | {"reward": data["reward"] + 5 * ~data["first"]})
    assert abs(moved.terms["reward_loss"] - before) > 0.1


@pytest.mark.parametrize("name", DETERMINISTIC)
@torch.no_grad()
def test_bfloat16_agrees_on_every_term_of_the_likelihood(name):
    """Networks in bfloat16, sums in float32: within 2 % of each term."""
    model, data = make(name), batch()
    exact = model.log_prob(data["frame"], data["action"], dequantise=False)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.log_prob(data["frame"], data["action"], dequantise=False)
    for full, low in zip(exact, rounded):
        assert low.dtype == torch.float32 and not torch.equal(full, low)
        torch.testing.assert_close(low, full, rtol=0.02, atol=0.1)
