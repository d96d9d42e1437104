"""Runs that see states instead of images: every agent, evaluation, resume, playing from Python."""

import numpy as np
import pytest
import torch
from small_run import logger, make, words

from aef_worldmodel.utils.errors import UserError
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.training.runs import load_run
from agents.training.trainer import Trainer

STATES = ["env=gym:CartPole-v1", "env.obs=proprio", "env.action_repeat=1", "hardware.threads=1"]
SHORT = ["frames=160", "prefill=40", "eval.every=120", "checkpoint_every=80"]


def trained(run, agent, *more):
    given = dict(word.split("=", 1) for word in [*words(agent), *STATES, *SHORT, *more])
    given = {"world_model": "states"} | given  # of words that are given twice the last counts
    config = settings.load([f"{key}={value}" for key, value in given.items()])
    trainer = Trainer(config, run)
    with logger(trainer) as log:
        assert trainer.train(log)
    settings.save(run / "config.yaml", config)
    return trainer


@pytest.mark.parametrize("agent", ["imagination", "ppo", "mpc", "cmaes", "random"])
def test_every_agent_learns_from_states(tmp_path, agent):
    trainer = trained(tmp_path, agent)
    assert trainer.learner.model.frame_shape == (4,) and trainer.evaluations == 1
    assert trainer.replay.data["frame"].dtype == torch.float32
    assert not (tmp_path / "videos").exists()  # states are not drawn
    again = Trainer(trainer.config, tmp_path)
    again.restore()
    assert again.counters() == trainer.counters()


@pytest.mark.parametrize(
    "model",
    [
        ["world_model=states", "world_model.autoencoder=aef", "world_model.latent_dim=3"],
        ["world_model=states", "world_model.autoencoder=vae"],
        ["world_model=rssm", "world_model.networks=mlp"],
    ],
    ids=["aef", "vae", "rssm"],
)
def test_other_world_models_see_states(tmp_path, model):
    trained(tmp_path, "random", *model)


def test_our_own_tasks_and_continuous_actions(tmp_path):
    task = ["env=cartpole-swingup", "env.action_repeat=20", "frames=2000", "prefill=800"]
    trainer = trained(tmp_path, "sac", *task, "checkpoint_every=2000")
    assert trainer.learner.model.frame_shape == (5,)


def test_a_trained_agent_plays_states(tmp_path):
    from agents.trained_agent import load_agent

    trained(tmp_path, "imagination")
    assert not load_run(tmp_path, resolve(HardwareConfig())).learner.sees_images
    agent = load_agent(tmp_path)
    assert agent.act(np.zeros((3, 4))).shape == (3,)
    agent.reset()
    assert agent.act(np.zeros(4)).shape == ()
    sentence = r"expected states \(N, 4\) .* got float64 of shape \(1, 5\)"
    with pytest.raises(UserError, match=sentence):
        agent.act(np.zeros(5))


def test_networks_of_images_are_refused_with_the_remedy(tmp_path):
    sentence = "networks=patch see images, and these observations are 4 numbers: give world_model="
    with pytest.raises(UserError, match=sentence):
        make(tmp_path, *STATES)
