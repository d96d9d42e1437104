"""`python -m agents.probe`: its measures against closed forms, its command on a tiny run."""

import contextlib
import csv
import math
import os
from types import SimpleNamespace

import pytest
import torch

from aef_worldmodel.dream import open_loop, psnr
from aef_worldmodel.errors import UserError
from aef_worldmodel.importance import video_bound
from aef_worldmodel.metrics import (
    effective_rank,
    masked_psnr,
    network_regression,
    r_squared,
    ridge,
)
from aef_worldmodel.world_model import WorldModel, WorldModelConfig
from agents import config as settings
from agents import probe, sight
from agents.logbook import Logbook
from agents.progress import Progress
from agents.provenance import command
from agents.recording import Recording
from agents.results import Results, table
from agents.trainer import Trainer

TINY = [
    "env=cartpole-swingup", "env.action_repeat=2", "env.restart_every=null",
    "hardware=cpu", "hardware.num_envs=2", "hardware.threads=1",
    "hardware.autocast=float32", "world_model.latent_dim=4", "world_model.recurrent_dim=8",
    "world_model.hidden_dim=8", "world_model.width=4", "world_model.decoded_frames=8",
    "agent.starts=4", "agent.horizon=2", "agent.hidden_dim=8", "batch=2", "length=6",
    "frames=200", "prefill=190", "pretrain=1", "eval_every=1000000",
]  # fmt: skip


# -- measures ----------------------------------------------------------------------------


def test_probes_find_what_is_there_and_nothing_else():
    x, noise = torch.randn(3000, 6), torch.randn(3000, 1)
    y = torch.cat([3 + x[:, :1] - 2 * x[:, 1:2], noise, x[:, 2:3] ** 2 - 1], 1)
    fit, test = slice(0, 2000), slice(2000, None)
    linear = r_squared(ridge(x[fit], y[fit], x[test]), y[test].double())
    assert linear[0] > 0.999 and linear[1:].abs().max() < 0.1
    network = r_squared(network_regression(x[fit], y[fit], x[test]), y[test].double())
    assert network[0] > 0.95 and network[2] > 0.8 and network[1] < 0.1


def test_r_squared_by_definition():
    truth = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    assert r_squared(truth, truth)[0] == 1 and r_squared(truth, truth)[1].isnan()
    assert r_squared(torch.full((3, 2), 2.0), truth)[0] == 0
    assert r_squared(truth + 1, truth)[0].item() == pytest.approx(1 - 3 / 8)


def test_effective_rank_counts_dimensions():
    x = torch.randn(20_000, 3)
    assert effective_rank(x) == pytest.approx(3, abs=0.01)
    assert effective_rank(torch.cat([x, x[:, :2]], 1)) == pytest.approx(
        math.exp(0.8 * math.log(2.5) + 0.2 * math.log(5)), abs=0.02
    )
    assert effective_rank(x[:, :1].expand(-1, 4)) == pytest.approx(1, abs=1e-6)


def test_masked_psnr_looks_behind_the_mask_only():
    truth, mask = torch.rand(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[0, 0, 1:3] = True
    image = truth + torch.where(mask, 0.1, 0.7)
    score = masked_psnr(image, truth, mask)
    assert score[0].item() == pytest.approx(20, abs=1e-3) and score[1].isnan()


def test_the_bound_of_a_vae_is_its_own_elbo():
    torch.manual_seed(0)
    config = WorldModelConfig("vae", latent_dim=4, recurrent_dim=8, hidden_dim=8, width=4)
    model = WorldModel(config, (3, 16, 16), 2)
    video = torch.randint(256, (2, 5, 3, 16, 16), dtype=torch.uint8), torch.randn(2, 5, 2)
    torch.manual_seed(1)
    bound = video_bound(model, *video)
    torch.manual_seed(1)
    torch.testing.assert_close(bound, model.log_prob(*video).total)


def tiny_learner():
    torch.manual_seed(0)
    config = WorldModelConfig(latent_dim=4, recurrent_dim=8, hidden_dim=8, width=4)
    model = WorldModel(config, (3, 16, 16), 2)
    return SimpleNamespace(
        model=model, device=torch.device("cpu"), autocast=contextlib.nullcontext
    )


@torch.no_grad()
def test_dreams_of_many_moments_are_those_of_one_at_a_time():
    learner = tiny_learner()
    frames = torch.randint(256, (2, 62, 3, 16, 16), dtype=torch.uint8)
    seen = sight.Seen(frames, torch.rand(2, 62, 2), torch.zeros(2, 62, 1))
    sight_every, sight.EVERY = sight.EVERY, 5
    try:
        found = sight.dreams(learner, sight.followed(learner, learner.model, seen), seen)
    finally:
        sight.EVERY = sight_every
    for k in (5, 45):
        dreamt, copied = [], []
        for moment in (10, 15):
            dream = open_loop(learner.model, frames, seen.actions, moment + 1)
            truth = dream.reality[:, moment + k]
            dreamt.append(psnr(dream.imagination[:, moment + k], truth))
            copied.append(psnr(dream.reality[:, moment], truth))
        assert found[f"psnr_{k}"] == pytest.approx(torch.stack(dreamt).mean().item(), abs=1e-4)
        assert found[f"copy_{k}"] == pytest.approx(torch.stack(copied).mean().item(), abs=1e-4)


def test_the_blind_control_shares_the_eye_and_nothing_of_the_cell():
    learner = tiny_learner()
    blind = sight.blinded(learner, 1)
    frames = torch.randint(256, (1, 6, 3, 16, 16), dtype=torch.uint8)
    seeing, other = (m.follow(frames, torch.rand(1, 6, 2)) for m in (learner.model, blind))
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
    with Logbook(folder, Progress("test", config.frames)) as book:
        trainer.train(book)
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
    with pytest.raises(UserError, match=r"no world in .* has 51 rows"):
        data.sample(1, 51, torch.Generator())


def test_a_recording_is_read_by_models_of_another_size(run):
    config, data = settings.load([*TINY, "world_model.recurrent_dim=5"]), Recording(run)
    probe.train(config, data, 2, 0, lambda _: None)
    assert data.recurrent.shape[1] == 5 and data.recurrent.any()


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_measures_every_model_once(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("envs.suite.task.Task.frames", 140)  # episodes of 70 decisions
    monkeypatch.setattr("aef_worldmodel.metrics.STEPS", 10)
    monkeypatch.setattr(sight, "EVERY", 5)
    out = tmp_path / "eye.csv"
    words = [f"run={run}", "updates=2", "episodes=2", f"out={out}", "hardware=cpu",
             "hardware.threads=1"]  # fmt: skip
    assert probe.main([*words, "seeds=1", "models=[aef,vae,expanded]"]) == 0
    found = rows(out)
    assert [row["model"] for row in found] == ["aef", "vae", "expanded"]
    assert [row["likelihood"] for row in found] == ["exact", "bound", "bound"]
    for row in found:
        assert all(math.isfinite(float(row[name])) for name in sight.MEASURES)
        assert row["task"] == "cartpole-swingup" and row["sigma_floor"] == "0.1"
        assert row["commit"] and row["hardware"] and row["command"].startswith("python -m agents.p")
        assert str(run) not in row["command"] and "run=tiny" in row["command"]
    assert [row["pixel_weight"] for row in found] == ["0.004", "0.1", "0.004"]  # files' own
    assert found[0]["copy_5"] == found[1]["copy_5"]  # the same episodes for all
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
    assert not torch.equal(first["eye.encoder.stem.weight"], other["eye.encoder.stem.weight"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "run is not set"),
        (["run=nowhere"], "not the folder of a run"),
        (["run=x", "models=[aef,vea]"], "unknown model vea in models: did you mean"),
        (["run=x", "episodes=1"], "episodes=1 must be at least 2"),
        (["run=x", "updates=0"], "updates=0 must be at least 1"),
    ],
)
def test_what_cannot_be_probed_is_one_sentence(words, sentence):
    with pytest.raises(UserError, match=sentence):
        probe.main(words)


def test_a_folder_without_a_replay_and_a_foreign_table_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read the replay"):
        Recording(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is no table of this command"):
        Results(tmp_path / "other.csv", ("task", "seed"))


def test_tables_and_command_lines(tmp_path):
    results = Results(tmp_path / "deep" / "x.csv", ("model", "seed"))
    for seed, value in enumerate((1.0, 3.0)):
        results.add({"model": "m", "seed": seed, "score": value})
    again = Results(tmp_path / "deep" / "x.csv", ("model", "seed"))
    assert again.rows == results.rows and again.find({"model": "m", "seed": 1})["score"] == "3"
    assert again.find({"model": "m", "seed": 2}) is None
    assert table(again.rows, "model", ["score"]).splitlines()[1] == "score  2.000 +- 1.414"
    older = [{"model": "m", "score": "4", "rank": ""}, {"model": "n"}]
    assert [line.split() for line in table(older, "model", ["score", "rank"]).splitlines()[1:]] == [
        ["score", "4.000", "-"], ["rank", "-", "-"],
    ]  # fmt: skip
    assert command("agents.probe", ["run=/a/b/c", "out=results/x.csv"]) == (
        "python -m agents.probe run=c out=results/x.csv"
    )
