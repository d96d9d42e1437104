"""`python -m agents.probe`: its measures against closed forms, its command on a tiny run."""

import contextlib
import csv
import math
import os
from types import SimpleNamespace

import pytest
import torch

from aef_worldmodel.metrics.image_quality import psnr
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from aef_worldmodel.world_models.base import make_world_model
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.importance import video_bound
from aef_worldmodel.world_models.open_loop import open_loop
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel
from aef_worldmodel.world_models.rssm_config import RSSMConfig
from agents import probe
from agents.config import train as settings
from agents.playing import probing
from agents.training.logging.run_logger import RunLogger
from agents.training.recording import Recording
from agents.training.trainer import Trainer

TINY = [
    "env=cartpole-swingup",
    "env.action_repeat=2",
    "env.random_truncation_every=null",
    "hardware=cpu",
    "hardware.num_envs=2",
    "hardware.threads=1",
    "hardware.precision=float32",
    "world_model.latent_dim=4",
    "world_model.recurrent_dim=8",
    "world_model.hidden_dim=8",
    "world_model.width=4",
    "agent.imagination_batch=4",
    "agent.horizon=2",
    "agent.hidden_dim=8",
    "replay.batch_size=2",
    "replay.sequence_length=6",
    "frames=200",
    "prefill=190",
    "pretrain=1",
    "eval.every=1000000",
]


# -- measures ----------------------------------------------------------------------------


def test_the_bound_of_a_vae_is_its_own_elbo():
    torch.manual_seed(0)
    config = RecurrentConfig(
        autoencoder="vae", latent_dim=4, recurrent_dim=8, hidden_dim=8, width=4
    )
    model = RecurrentWorldModel(config, (3, 16, 16), 2)
    video = torch.randint(256, (2, 5, 3, 16, 16), dtype=torch.uint8), torch.randn(2, 5, 2)
    torch.manual_seed(1)
    bound = video_bound(model, *video)
    torch.manual_seed(1)
    torch.testing.assert_close(bound, model.log_prob(*video).total)


def tiny_learner():
    torch.manual_seed(0)
    config = RecurrentConfig(latent_dim=4, recurrent_dim=8, hidden_dim=8, width=4)
    model = RecurrentWorldModel(config, (3, 16, 16), 2)
    return SimpleNamespace(model=model, device=torch.device("cpu"), autocast=contextlib.nullcontext)


@torch.no_grad()
def test_predictions_from_many_moments_are_those_of_one_at_a_time(monkeypatch):
    learner = tiny_learner()
    frames = torch.randint(256, (2, 62, 3, 16, 16), dtype=torch.uint8)
    episodes = probing.EpisodeBatch(
        frames, torch.rand(2, 62, 2), torch.zeros(2, 62, 1), torch.zeros(2, 62)
    )
    monkeypatch.setattr(probing, "EVERY", 5)
    states = probing.filter_episodes(learner, learner.model, episodes)
    mean = probing.mean_image(episodes)
    found = probing.open_loop_scores(learner, states, episodes, mean)
    for k in (5, 45):
        dreamt, copied = [], []
        for moment in (10, 15):
            dream = open_loop(learner.model, frames, episodes.actions, moment + 1)
            truth = dream.reality[:, moment + k]
            dreamt.append(psnr(dream.imagination[:, moment + k], truth))
            copied.append(psnr(dream.reality[:, moment], truth))
        assert found[f"psnr_{k}"] == pytest.approx(torch.stack(dreamt).mean().item(), abs=1e-4)
        assert found[f"last_frame_psnr_{k}"] == pytest.approx(
            torch.stack(copied).mean().item(), abs=1e-4
        )


@torch.no_grad()
def test_the_likelihood_of_single_frames_is_that_of_a_video_with_another_prior():
    learner = tiny_learner()
    frames = torch.randint(256, (2, 40, 3, 16, 16), dtype=torch.uint8)
    episodes = probing.EpisodeBatch(
        frames, torch.rand(2, 40, 2), torch.zeros(2, 40, 1), torch.zeros(2, 40)
    )
    found = probing.image_likelihood(learner, episodes, episodes)["image_bits_per_dim"]
    latents = learner.model.autoencoder.encode(frames.flatten(0, 1)).latent.double()
    prior = torch.distributions.MultivariateNormal(latents.mean(0), latents.T.cov())
    parts = learner.model.log_prob(frames, episodes.actions)
    nats = prior.log_prob(latents).mean() + (parts.volume + parts.pixels).mean()
    assert found == pytest.approx(8 - nats.item() / (768 * math.log(2)), abs=0.01)
    rival = make_world_model(RSSMConfig(width=4), (3, 16, 16), 2)
    assert not probing.image_likelihood(SimpleNamespace(model=rival), episodes, episodes)


def test_the_control_shares_the_autoencoder_and_nothing_of_the_cell():
    learner = tiny_learner()
    blind = probing.with_untrained_dynamics(learner, 1)
    frames = torch.randint(256, (1, 6, 3, 16, 16), dtype=torch.uint8)
    seeing, other = (m.filter_frames(frames, torch.rand(1, 6, 2)) for m in (learner.model, blind))
    assert torch.equal(seeing.latent, other.latent)
    for mine, untrained in zip(learner.model.cell.parameters(), blind.cell.parameters()):
        if mine.dim() > 1:
            assert not torch.equal(mine, untrained)


# -- the command -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run with a checkpoint and a replay."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = settings.load(TINY)
    trainer = Trainer(config, folder)
    with RunLogger(folder, "test", config.frames) as logger:
        trainer.train(logger)
    settings.save(folder / "config.yaml", config)
    return folder


def test_a_recording_gives_what_was_recorded(run):
    data, trainer = Recording(run), Trainer(settings.load(TINY), run)
    trainer.restore()
    before = (run / "replay" / "frame.bin").read_bytes()
    batch = data.sample(40, 5, torch.Generator().manual_seed(0))
    for name in ("frame", "action", "reward", "first", "terminal"):
        assert torch.equal(batch[name], trainer.replay.data[name][batch["index"]])
    assert batch["index"].diff(dim=1).eq(2).all()  # consecutive rows of one of two worlds
    assert batch["index"].unique().numel() > 60
    data.write(batch["index"], torch.ones(40, 5, 8))
    again = data.sample(40, 5, torch.Generator().manual_seed(0))
    assert (batch["recurrent"] == 0).all() and (again["recurrent"] == 1).all()
    batch["frame"].zero_()
    assert (run / "replay" / "frame.bin").read_bytes() == before
    assert len(data) == 98  # a hundred decisions, the newest of each world left out
    with pytest.raises(UserError, match=r"no environment in .* has 51 rows"):
        data.sample(1, 51, torch.Generator())


def test_a_recording_is_read_by_models_of_another_size(run):
    config, data = settings.load([*TINY, "world_model.recurrent_dim=5"]), Recording(run)
    probe.train(config, data, 2, 0, lambda _: None)
    assert data.recurrent.shape[1] == 5 and data.recurrent.any()


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_measures_every_model_once(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("envs.suite.task.Task.episode_length", 140)  # episodes of 70 decisions
    monkeypatch.setattr("aef_worldmodel.metrics.regression.STEPS", 10)
    monkeypatch.setattr(probing, "EVERY", 5)
    out = tmp_path / "autoencoder.csv"
    words = [
        f"run={run}",
        "updates=2",
        "episodes=2",
        f"out={out}",
        "hardware=cpu",
        "hardware.threads=1",
    ]
    assert probe.main([*words, "seeds=1", "models=[aef,vae,expanded]"]) == 0
    found = rows(out)
    assert [row["model"] for row in found] == ["aef", "vae", "expanded"]
    assert [row["likelihood"] for row in found] == ["exact", "bound", "bound"]
    for row in found:
        lacking = {"image_bits_per_dim"} if row["model"] == "expanded" else set()
        assert all(math.isfinite(float(row[n])) for n in probing.MEASURES if n not in lacking)
        assert row["task"] == "cartpole-swingup" and row["sigma_floor"] == "0.1"
        assert row["commit"] and row["hardware"] and row["command"].startswith("python -m agents.p")
        assert str(run) not in row["command"] and "run=tiny" in row["command"]
    assert [row["pixel_weight"] for row in found] == ["0.004", "0.1", "0.004"]  # files' own
    assert (
        found[0]["last_frame_psnr_5"] == found[1]["last_frame_psnr_5"]
    )  # the same episodes for all
    before = os.stat(out).st_mtime_ns
    assert probe.main([*words, "seeds=1", "models=[aef,vae]"]) == 0  # nothing to do
    assert os.stat(out).st_mtime_ns == before and "0 of 2 to do" in capsys.readouterr().out
    assert probe.main([*words, "seeds=2", "models=[aef]"]) == 0
    assert rows(out)[:3] == found and [r["seed"] for r in rows(out)] == ["0", "0", "0", "1"]
    assert "+-" in capsys.readouterr().out


def test_equal_seeds_make_equal_models(run):
    config, data = settings.load(TINY), Recording(run)
    first, second, other = (
        probe.train(config, data, 2, seed, lambda _: None).model.state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(
        first["autoencoder.encoder.stem.weight"], other["autoencoder.encoder.stem.weight"]
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "run is not set"),
        (["run=nowhere"], "not the folder of a run"),
        (["run=x", "models=[aef,vea]"], "unknown world_model=vea: did you mean"),
        (["run=x", "episodes=1"], "episodes=1 must be at least 2"),
        (["run=x", "updates=0"], "updates=0 must be at least 1"),
    ],
)
def test_what_cannot_be_probed_is_one_sentence(words, sentence):
    with pytest.raises(UserError, match=sentence):
        probe.main(words)


def test_a_folder_without_a_replay_and_a_foreign_table_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read the replay buffer"):
        Recording(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"other.csv"):
        Table(tmp_path / "other.csv", ("task", "seed"))


def test_a_model_keeps_the_sizes_of_the_run_and_its_own_pixel_weight():
    usual = RecurrentConfig(autoencoder="vae", pixel_weight=0.3, width=8, anchor=0.2)
    aef, vae, rssm = (probe.model_config(name, usual) for name in ("aef", "vae", "rssm"))
    assert (aef.autoencoder, aef.pixel_weight, aef.width, aef.anchor) == ("aef", 0.004, 8, 0.2)
    assert (vae.autoencoder, vae.pixel_weight) == ("vae", 0.1)
    assert (rssm.kind, rssm.width, rssm.pixel_weight) == ("rssm", 8, 1.0)
    assert probe.model_config("aef", rssm).width == 8
