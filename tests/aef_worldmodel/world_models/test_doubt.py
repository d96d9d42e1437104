"""Doubt: free where nothing is doubted, a prediction where a frame is, belief after patience."""

import pytest
import small_world
import torch

from aef_worldmodel.world_models.doubt import Doubt, Watched
from aef_worldmodel.world_models.surprise import Surprise, observe_scored

COUNT, LENGTH = 3, 6


def episodes():
    """Return frames (N, T, C, H, W) and actions (N, T, A)."""
    batch = small_world.batch(COUNT, LENGTH)
    return batch.frame, batch.action


def steps(frames, actions):
    for t in range(LENGTH):
        before = actions[:, t - 1] if t else torch.zeros_like(actions[:, 0])
        yield before, frames[:, t], torch.full((COUNT,), t == 0)


@torch.no_grad()
def filtered(model, observe):
    state, states = model.initial(COUNT), []
    for step in steps(*episodes()):
        state = observe(state, *step)
        states.append(state.features)
    return torch.stack(states)


@pytest.mark.parametrize("name", ["dct", "corner", "vae"])
def test_without_a_threshold_the_states_are_those_of_the_model_digit_for_digit(name):
    model = small_world.make(name)
    usual = filtered(model, model.observe)
    assert torch.equal(filtered(model, Doubt(model, -torch.inf).observe), usual)
    random = torch.get_rng_state()
    assert torch.equal(filtered(model, Watched(model).observe), usual)
    assert torch.equal(torch.get_rng_state(), random)


@torch.no_grad()
def test_a_doubted_frame_is_replaced_by_the_prediction():
    model, (frames, actions) = small_world.make(), episodes()
    watched = Watched(model)
    filtered(model, watched.observe)
    doubt = Doubt.of(model, watched.seen, level=0.0)
    spoilt = frames.clone()
    noise = torch.randint(256, spoilt[1, 3].shape, generator=torch.Generator().manual_seed(0))
    spoilt[1, 3] = noise.byte()
    state, usual = model.initial(COUNT), model.initial(COUNT)
    for t, (before, frame, first) in enumerate(steps(spoilt, actions)):
        expected = model.predict(state, before)
        state = doubt.observe(state, before, frame, first)
        usual = model.observe(usual, before, frames[:, t], first)
        if t == 3:
            assert doubt.doubted == 1
            torch.testing.assert_close(state.latent[1], expected.latent[1])
            torch.testing.assert_close(state.recurrent[1], expected.recurrent[1])
        torch.testing.assert_close(state.latent[0], usual.latent[0])
    assert doubt.seen == COUNT * LENGTH


def test_after_patience_a_frame_is_believed_and_first_frames_always_are():
    model = small_world.make()
    doubt = Doubt(model, torch.inf, patience=2)
    runs = []

    def observe(*step):
        state = doubt.observe(*step)
        runs.append(doubt.run.tolist())
        return state

    filtered(model, observe)
    assert [run[0] for run in runs] == [0, 1, 2, 0, 1, 2]


def test_the_level_is_the_share_of_usual_frames_that_are_doubted():
    model, (frames, actions) = small_world.make(), episodes()
    seen = Surprise(model, COUNT).episodes(frames, actions)
    totals = torch.cat([step.total for step in seen[1:]]).double()
    for level in (0.0, 0.2, 0.5):
        doubt = Doubt.of(model, seen, level)
        assert (totals < doubt.threshold).double().mean().item() <= level
        assert (totals <= doubt.threshold).double().mean().item() > level
    with pytest.raises(ValueError, match="needs frames after the first"):
        Doubt.of(model, seen[:1], 0.1)


@torch.no_grad()
def test_scored_states_are_those_of_observe_for_every_autoencoder():
    for name in small_world.AUTOENCODERS:
        model, (frames, actions) = small_world.make(name), episodes()
        state = model.initial(COUNT)
        for before, frame, first in steps(frames, actions):
            random = torch.get_rng_state()
            usual = model.observe(state, before, frame, first)
            torch.set_rng_state(random)
            state, _ = observe_scored(model, state, before, frame, first)
            assert torch.equal(state.features, usual.features), name
