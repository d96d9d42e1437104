"""Evaluation episodes: their likelihood, and open-loop predictions of them."""

import pytest
import small_run
import torch

from agents.playing.evaluation import (
    CONTEXT,
    Episodes,
    film_first_episode,
    held_out_log_prob,
    report_open_loop,
)


def test_the_likelihood_of_evaluation_episodes_is_that_of_their_own_frames(tmp_path):
    learner = small_run.make(tmp_path).learner
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (2, 6, *learner.model.frame_shape), dtype=torch.uint8)
    actions = torch.rand(2, 6, learner.model.action_dim)
    alive = torch.ones(2, 6, dtype=torch.bool)
    alive[1, 2:] = False
    nothing = torch.zeros(2, 6)
    played = Episodes(nothing[:, 0], frames, actions, nothing[..., None], alive, nothing)
    torch.manual_seed(1)
    found = held_out_log_prob(learner, played)
    torch.manual_seed(1)
    with torch.no_grad():
        totals = [learner.model.log_prob(frames[:1], actions[:1]).total]
        totals += [learner.model.log_prob(frames[1:, :2], actions[1:, :2]).total]
    assert found["eval/log_prob"] == pytest.approx(sum(t.item() for t in totals) / 8, rel=1e-5)
    parts = sum(found[f"eval/{name}"] for name in ("prior", "volume", "pixels"))
    assert found["eval/log_prob"] == pytest.approx(parts)
    plain = small_run.make(tmp_path / "plain", "world_model=ae").learner
    assert held_out_log_prob(plain, played) == {}


def test_open_loop_predictions_are_scored_within_an_episode(tmp_path):
    learner = small_run.make(tmp_path).learner
    frames = torch.randint(0, 256, (3, 60, *learner.model.frame_shape), dtype=torch.uint8)
    alive = torch.zeros(3, 60, dtype=torch.bool)
    rest = (
        torch.zeros(3, 60, learner.model.action_dim),
        torch.zeros(3, 60, 0),
        alive,
        torch.ones(3, 60),
    )
    played = Episodes(torch.zeros(3), frames, *rest)
    alive[:, :CONTEXT] = True
    assert report_open_loop(learner, played) is None  # nothing is left to predict
    alive[1, :12] = True
    alive[2, :30] = True
    report = report_open_loop(learner, played)
    assert len(report.film) == 30  # the longest
    assert len(film_first_episode(played)) == CONTEXT  # the first, as long as it lasts
    assert report.scores.keys() == {"open_loop/reconstruction_psnr"} | {
        f"open_loop/{what}_{ahead}" for what in ("psnr", "last_frame_psnr") for ahead in (5, 15)
    }
    other = frames.clone()
    other[~alive] = 0  # what is played after the first episode counts for nothing
    again = report_open_loop(learner, played._replace(frames=other))
    assert again.scores == report.scores and torch.equal(again.film, report.film)
