"""`replay.held_out`: which episodes are kept out, and what is logged of them."""

import pytest
import torch
from small_run import SMALL, logger, make, weights

from aef_worldmodel.data import episodes
from aef_worldmodel.data.batch import Batch
from aef_worldmodel.data.replay import HELD_OUT
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import read_metrics
from agents.config import train as settings
from agents.training import held_out, trainer
from agents.training.offline import OfflineTrainer

SHORT = ["env.random_truncation_every=40", "hardware.threads=1", "log=[csv]", "frames=320"]


def begun(tmp_path, *more):
    return make(tmp_path, *SHORT, *more)


def watch_samples(monkeypatch, run):
    """Return a list that gets the flags of every sequence that an update learns from."""
    seen, sample = [], run.replay.sample

    def watched(*args, held_out=False, **options):
        rows = sample(*args, held_out=held_out, **options)
        if not held_out:
            seen.append(rows[HELD_OUT])
        return rows

    monkeypatch.setattr(run.replay, "sample", watched)
    return seen


def test_one_episode_in_so_many_is_held_out_whole_and_never_learnt_from(tmp_path, monkeypatch):
    run = begun(tmp_path, "replay.held_out=2", "checkpoint_every=1000")
    seen = watch_samples(monkeypatch, run)
    with logger(run) as log:
        run.train(log)
    assert len(seen) >= 8 and not torch.cat([flags.flatten() for flags in seen]).any()
    rows = int(run.replay.size.max())
    first = run.replay.rings.by_row("first")[:rows]  # (rows, N)
    flags = run.replay.rings.by_row(HELD_OUT)[:rows]
    filled = torch.arange(rows)[:, None] < run.replay.size
    numbers, count = [], 0  # of the episodes that begin, in their order
    for t in range(rows):
        for env in range(2):
            if not filled[t, env]:
                continue
            if first[t, env]:
                numbers.append(flags[t, env].item())
                count += 1
            else:
                assert flags[t, env] == flags[t - 1, env]
    assert count == run.episodes_begun >= 6
    assert sum(numbers) in (count // 2, (count + 1) // 2)


@pytest.mark.parametrize("model", ["aef", "vae", "rssm"])
def test_the_logged_terms_are_those_of_a_direct_computation(tmp_path, model):
    extra = [] if model == "aef" else [f"world_model={model}"]
    if model == "rssm":
        extra += ["world_model.hidden_dim=16"]
    own = [w for w in SMALL if not (model == "rssm" and w.startswith("world_model."))]
    config = settings.load([*own, *extra, *SHORT, "replay.held_out=2"])
    run = trainer.Trainer(config, tmp_path)
    assert held_out.terms(run) == {}
    while not run.replay.can_sample(6, held_out=True):
        run.act()
    state, recurrent = torch.get_rng_state(), run.replay.data["recurrent"].clone()
    found = held_out.terms(run)
    assert torch.equal(torch.get_rng_state(), state)  # training goes on as without
    run.replay.data["recurrent"].copy_(recurrent)
    rows = run.replay.sample(2, 6, recency=3.0, held_out=True)
    assert rows[HELD_OUT].all()
    with torch.no_grad():
        direct = run.learner.online.loss(Batch.from_rows(rows)).terms
    assert found == {f"held_out/{name}": value.item() for name, value in direct.items()}
    if model == "aef":
        parts = sum(found[f"held_out/{part}"] for part in ("prior", "volume", "pixels"))
        assert found["held_out/log_prob"] == pytest.approx(parts, rel=1e-5)


def test_a_resumed_run_holds_out_the_same_episodes_and_logs_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    whole = begun(tmp_path / "whole", "replay.held_out=2")
    with logger(whole) as log:
        whole.train(log)
    cut = begun(tmp_path / "cut", "replay.held_out=2")
    with logger(cut) as log:
        while cut.frames < 200:
            cut.iterate(log)
        cut.save(log)
        for _ in range(5):  # played after the checkpoint, then lost
            cut.act()
    again = begun(tmp_path / "cut", "replay.held_out=2")
    again.restore()
    with logger(again) as log:
        again.train(log)
    assert torch.equal(weights(again), weights(whole))
    assert again.episodes_begun == whole.episodes_begun
    size = int(whole.replay.size.max())
    flags = [run.replay.rings.by_row(HELD_OUT)[:size] for run in (whole, again)]
    assert torch.equal(*flags) and flags[0].any()
    last = [read_metrics(tmp_path / name / "metrics.csv")[-1] for name in ("whole", "cut")]
    assert last[0]["held_out/log_prob"] == last[1]["held_out/log_prob"]
    assert last[0]["held_out/log_prob"] != last[0]["train/log_prob"]


def test_a_run_of_which_nothing_is_held_out_yet_is_the_run_without_the_key(tmp_path):
    found = []
    for more in ([], ["replay.held_out=1000"]):
        run = begun(tmp_path / str(len(found)), *more)
        with logger(run) as log:
            run.train(log)
        found.append(weights(run))
        assert (HELD_OUT in run.replay.fields) == bool(more)
    assert torch.equal(*found)


def test_recorded_episodes_are_held_out_whole(tmp_path, monkeypatch):
    begun(tmp_path / "like")  # the frames' shape
    generator = torch.Generator().manual_seed(0)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(5):
        length = 8 + number
        rows = {
            "frame": torch.randint(256, (length, 3, 64, 64), generator=generator).byte(),
            "action": torch.rand(length, 1, generator=generator),
            "reward": torch.full((length,), float(number)),
            "first": torch.arange(length) == 0,
            "terminal": torch.zeros(length, dtype=torch.bool),
        }
        episodes.write_episode(data, number, rows)
    monkeypatch.setattr("agents.training.offline.check_same_task", lambda config: None)
    monkeypatch.setattr("agents.training.offline.read_info", lambda folder: {})
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    own = {word.partition("=")[0] for word in SHORT}
    base = [word for word in SMALL if word.partition("=")[0] not in own]
    offline = [*base, *SHORT, f"data={data}"]
    with pytest.raises(UserError, match="keeps none of the 5 episodes"):
        OfflineTrainer(settings.load([*offline, "replay.held_out=20"]), tmp_path / "none")
    run = OfflineTrainer(settings.load([*offline, "replay.held_out=3"]), tmp_path / "run")
    seen = watch_samples(monkeypatch, run)
    with logger(run) as log:
        run.train(log)
    assert seen and not torch.cat([flags.flatten() for flags in seen]).any()
    kept = run.replay.sample(50, 6, held_out=True)
    assert set(kept["reward"].unique().tolist()) == {1.0, 4.0}
    assert "held_out/log_prob" in read_metrics(tmp_path / "run" / "metrics.csv")[-1]
