"""Broken cameras spoil images and nothing else; a filter that doubts them goes on without."""

import pytest
import torch
from small_run import make

from agents.playing.evaluation import run_episodes
from agents.playing.sensor_faults import KINDS, FaultyCamera
from agents.playing.watching import calibrated

DECISIONS = 12


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """Return a run that has taken no update: its likelihood is one all the same."""
    return make(tmp_path_factory.mktemp("run"), "hardware.threads=1")


def play(run, env, observe=None):
    policy = run.learner.agent.policy(False, run.learner.model)
    return run_episodes(run.learner, policy, env, 5, filmed=2, decisions=DECISIONS, observe=observe)


def test_images_are_spoilt_and_nothing_else(trainer):
    zeros = torch.zeros(2, 1)
    env = trainer.env
    for kind in KINDS:
        whole, _ = env.reset(seed=1)
        plain = [env.step(zeros)[:2] for _ in range(4)]
        faulty = FaultyCamera(env, kind, begin=2)
        shown, _ = faulty.reset(seed=1)
        assert torch.equal(shown, whole)
        before = shown
        for step, (frame, reward) in enumerate(plain, 1):
            shown, same = faulty.step(zeros)[:2]
            assert torch.equal(same, reward)
            assert torch.equal(shown, frame) == (step < 2)
            assert step < 2 or kind != "frozen" or torch.equal(shown, before)
            before = shown
    with pytest.raises(ValueError, match=r"kind='fog' share=1\.0: give one of patch, frozen"):
        FaultyCamera(env, "fog")


def test_spoilt_frames_are_doubted_and_whole_ones_are_not(trainer):
    trainer.env.episode_decisions = DECISIONS
    policy = trainer.learner.agent.policy(False, trainer.learner.model)
    doubt = calibrated(trainer.learner, policy, trainer.env, 5, 0.0)
    usual = play(trainer, trainer.env)
    again = play(trainer, trainer.env, doubt.observe)
    assert doubt.doubted == 0 and doubt.seen == 2 * DECISIONS
    assert torch.equal(again.actions, usual.actions)  # free where nothing is spoilt
    faulty = FaultyCamera(trainer.env, "noise", share=0.3)
    play(trainer, faulty, doubt.observe)
    assert 1 <= doubt.doubted <= DECISIONS
