"""Measures of predictions on a world whose every number is known."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from aef_worldmodel.world_models.base import State
from agents.playing.predictions import coverage, prediction_scores

EPISODES, LENGTH, STEP = 2, 60, torch.tensor([1.0, 2.0])


class Ramp:
    """z grows by STEP at each decision; the reward is z_0, and frames brighten by one level."""

    def __init__(self, slower=0.0, offset=0.0, std=0.0):
        self.slower, self.offset, self.std = slower, offset, std

    def predict(self, state, action, temperature=0.0, generator=None):
        noise = temperature * self.std * torch.randn_like(state.latent)
        return State(state.recurrent, state.latent + (1 - self.slower) * STEP + noise)

    def imagine(self, start, policy, horizon, temperature):
        states = [start]
        for _ in range(horizon):
            states.append(self.predict(states[-1], policy(None)[0], temperature))
        return State(*(torch.stack(part) for part in zip(*states, strict=True))), []

    def reward(self, state):
        return state.latent[..., 0] + self.offset

    def decode(self, state):
        level = state.latent[..., :1, None, None]
        return ((level + 0.5) / 256).expand(*level.shape[:-3], 3, 4, 4)


def learner(**options):
    model, device = Ramp(**options), torch.device("cpu")
    return SimpleNamespace(model=model, device=device, autocast=contextlib.nullcontext)


def scores(**options):
    time = torch.arange(LENGTH, dtype=torch.float32)
    latent = (time[:, None] * STEP).expand(EPISODES, -1, -1)
    frames = time.byte()[:, None, None, None].expand(EPISODES, LENGTH, 3, 4, 4)
    rewards = (time + 1).expand(EPISODES, -1)  # the reward of an action arrives with the next frame
    states, actions = State(torch.zeros(EPISODES, LENGTH, 1), latent), torch.zeros(2, LENGTH, 1)
    begins = torch.tensor([10, 14])
    return prediction_scores(learner(**options), states, frames, actions, rewards, begins)


def test_a_perfect_model_has_no_error_and_a_copy_has_the_distance():
    found, std = scores(), torch.arange(LENGTH).float().repeat(EPISODES).std().item()
    for k in (1, 5, 15, 45):
        assert found[f"latent_error_{k}"] == pytest.approx(0, abs=1e-5)
        assert found[f"copied_latent_error_{k}"] == pytest.approx(k / std, rel=1e-5)
        assert found[f"reward_error_{k}"] == 0 and found[f"copied_reward_error_{k}"] == k
    assert found["dream_gap"] == 0
    assert found["moving_psnr_45"] == 100  # its ceiling
    assert found["copied_moving_psnr_45"] == pytest.approx(15.1, abs=0.1)  # 45 levels of 256
    assert found["moving_psnr_1"] != found["moving_psnr_1"]  # nothing has moved by a tenth


def test_errors_grow_as_the_model_falls_behind():
    found, std = (
        scores(slower=0.1, offset=0.5),
        torch.arange(LENGTH).float().repeat(EPISODES).std().item(),
    )
    for k in (1, 5, 15, 45):
        assert found[f"latent_error_{k}"] == pytest.approx(0.1 * k / std, rel=1e-4)
        assert found[f"reward_error_{k}"] == pytest.approx(abs(0.5 - 0.1 * k), abs=1e-4)
    gap = sum(0.5 - 0.1 * k for k in range(1, 46))
    assert found["dream_gap"] == pytest.approx(gap, abs=1e-2)


@pytest.mark.parametrize(("std", "expected"), [(1.0, (0.5, 0.9)), (0.25, (0.13, 0.32))])
def test_coverage_is_that_of_the_priors_spread(std, expected):
    """The truth has a standard deviation of 1; a prior four times too narrow covers too little."""
    torch.manual_seed(1)
    start = State(torch.zeros(4_000, 1), torch.zeros(4_000, 2))
    truth = STEP + torch.randn(4_000, 2)
    found = coverage(learner(std=std), start, torch.zeros(4_000, 1), truth)
    assert found["coverage_50"] == pytest.approx(expected[0], abs=0.03)
    assert found["coverage_90"] == pytest.approx(expected[1], abs=0.03)


def test_coverage_leaves_the_random_numbers_alone():
    state = State(torch.zeros(4, 1), torch.zeros(4, 2))
    torch.manual_seed(3)
    coverage(learner(std=1.0), state, torch.zeros(4, 1), torch.zeros(4, 2))
    after = torch.rand(())
    torch.manual_seed(3)
    assert after == torch.rand(())
