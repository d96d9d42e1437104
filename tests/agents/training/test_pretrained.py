"""Trained agents by name, and runs that start from a pretrained encoder."""

import dataclasses
import shutil

import pytest
import torch
from small_run import logger, make, words

from aef_worldmodel import AEFBackbone
from aef_worldmodel.utils.config.schema import ConfigError
from aef_worldmodel.utils.errors import UserError
from agents import evaluate, export, load_agent, train
from agents.config import train as settings
from agents.training import runs
from agents.training.trainer import Trainer

TINY = ("env.action_repeat=20", "env.image_size=16", "frames=1600", "prefill=1400")
NETWORKS = {"model": "aef-dct", "latent_dim": 8, "networks": "patch", "width": 8}


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A folder of pretrained agents with one of seconds in it, as agents.export makes them."""
    folder = tmp_path_factory.mktemp("held")
    run = folder / "run"
    assert train.main(words("imagination", *TINY, f"run={run}")) == 0
    export.main([f"run={run}", f"out={folder / 'pretrained' / 'small-pole'}", "dtype=float16"])
    shutil.rmtree(run)
    return folder / "pretrained"


def test_an_agent_is_loaded_and_played_by_name(held, monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "PRETRAINED", held)
    monkeypatch.chdir(tmp_path)
    assert runs.pretrained_agents() == ["small-pole"]
    agent = load_agent("small-pole")
    action = agent.act(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert action.shape == (2, 1) and agent.config.env.task == "cartpole-swingup"
    assert evaluate.main(["pretrained=small-pole", "episodes=2"]) == 0
    assert (tmp_path / "runs/pretrained/small-pole/evaluation/returns.csv").exists()
    assert not (held / "small-pole" / "evaluation").exists()


def test_unknown_names_get_close_matches(held, monkeypatch):
    monkeypatch.setattr(runs, "PRETRAINED", held)
    for load in (load_agent, lambda name: evaluate.main([f"pretrained={name}"])):
        with pytest.raises(UserError, match=r"'?smal-pole'?: did you mean small-pole\?"):
            load("smal-pole")
    with pytest.raises(UserError, match="not the folder of a run"):
        load_agent("some/where")
    with pytest.raises(ConfigError, match="give either run=RUN_DIR"):
        evaluate.main(["pretrained=small-pole", "run=x"])
    with pytest.raises(ConfigError, match="give either run=RUN_DIR"):
        evaluate.main([])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A backbone of a small run's architecture; `hidden_dim` of one is what a fit has."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder")
    AEFBackbone((3, 64, 64), NETWORKS).save_pretrained(folder)
    return folder


def test_a_run_starts_from_a_pretrained_encoder_and_resumes_without_it(encoder, tmp_path):
    key = f"encoder={encoder}"
    run = make(tmp_path / "run", key, "world_model.hidden_dim=256")
    theirs = AEFBackbone.from_pretrained(encoder).autoencoder.state_dict()
    for model in (run.learner.model, run.learner.online):
        assert all(torch.equal(w, theirs[n]) for n, w in model.autoencoder.state_dict().items())
    run.train(logger(run))
    learnt = run.learner.model.autoencoder.state_dict()
    assert torch.equal(learnt["mean"], theirs["mean"])
    assert not torch.equal(learnt["encoder.stem.weight"], theirs["encoder.stem.weight"])
    moved = dataclasses.replace(run.config, resume=str(run.run), encoder="gone")
    again = Trainer(moved, run.run)
    again.restore()
    now = again.learner.model.autoencoder.state_dict()
    assert all(torch.equal(now[name], learnt[name]) for name in learnt)


def test_an_encoder_of_another_architecture_is_refused(encoder, tmp_path):
    with pytest.raises(UserError, match=r"encoder=.* was saved with another architecture"):
        make(tmp_path / "other", f"encoder={encoder}", "world_model.latent_dim=9")
    with pytest.raises(ConfigError, match="two beginnings of one autoencoder"):
        settings.load(["encoder=dmc", "init_autoencoder_from=x"])
