"""The commands a newcomer types, run for real on a configuration of seconds."""

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from small_run import SMALL, book, make, weights

from aef_worldmodel.errors import UserError
from aef_worldmodel.persistence import list_checkpoints, load_checkpoint
from agents import config as settings
from agents import evaluate
from agents.learner import NonFinite
from agents.train import hold, main, write_provenance
from agents.trainer import Trainer


def command(*words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, timeout=300, **options
    )


@pytest.mark.parametrize("words", [(), ("env.restart_every=20",)])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, words):
    whole = make(tmp_path / "whole", *words)
    whole.train(book(whole))
    first = make(tmp_path / "parts", *words)
    log = book(first)
    while first.frames < 220:
        first._iterate(log)
    first.stopping = True
    first.train(log)
    second = make(tmp_path / "parts", "seed=0", *words)
    second.restore()
    assert second.counters() == first.counters()
    second.train(book(second))
    assert second.counters() == whole.counters()
    assert torch.equal(weights(second), weights(whole))
    assert torch.equal(second.frame, whole.frame)


def test_a_resumed_run_learns_at_the_rate_it_is_told(tmp_path):
    first = make(tmp_path)
    log = book(first)
    first.stopping = True
    first.train(log)
    second = make(tmp_path, "actor_rate=0.005", "model_rate=0.002")
    second.restore()
    rates = {name: o.param_groups[0]["lr"] for name, o in second.learner.optimisers.items()}
    assert rates == {"model": 0.002, "actor": 0.005, "critic": second.config.critic_rate}


@pytest.mark.parametrize("stop_after", [2, 6])  # in the middle of pretraining, and of an update
def test_stopping_between_updates_changes_nothing(tmp_path, stop_after):
    words = ("frames_per_update=1", "frames=120")
    whole = make(tmp_path / "whole", *words)
    whole.train(book(whole))
    first = make(tmp_path / "parts", *words)
    learn = first.learn

    def stop_then(*arguments, **options):
        first.stopping = first.updates + 1 == stop_after
        return learn(*arguments, **options)

    first.learn = stop_then
    assert not first.train(book(first))
    assert first.updates == stop_after
    second = make(tmp_path / "parts", *words)
    second.restore()
    second.train(book(second))
    assert second.counters() == whole.counters()
    assert torch.equal(weights(second), weights(whole))


def test_killed_at_any_instant_loses_one_interval(tmp_path):
    trainer = make(tmp_path)
    log = book(trainer)
    while trainer.frames < 300:  # the last checkpoint is at 200 frames
        trainer._iterate(log)
    again = make(tmp_path)
    again.restore()
    assert again.frames == 200
    again.train(book(again))
    assert again.frames == 400


def test_every_part_moves(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.trainer.LOG_EVERY", 5)
    trainer = make(tmp_path)
    parts = torch.nn.ModuleList([trainer.learner.model, trainer.learner.agent])
    before = {name: p.detach().clone() for name, p in parts.named_parameters()}
    trainer.train(book(trainer))
    assert trainer.updates == 3 + (198 - 40) // 20  # the last decisions of both worlds earn none
    still = [name for name, p in parts.named_parameters() if torch.equal(p, before[name])]
    assert not still
    with open(tmp_path / "metrics.csv") as file:
        assert csv.DictReader(file).fieldnames[:3] == ["frames", "decisions", "updates"]


def test_learning_waits_for_a_sequence_in_every_world(tmp_path):
    trainer = make(tmp_path, "prefill=1", "frames=80")
    trainer.train(book(trainer))
    rows = trainer.config.length * trainer.env.num_envs
    assert trainer.updates == trainer.config.pretrain + (38 - rows) // 20  # none earned before


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("prefill=400", "frames=400 are over before learning begins, after 400 frames"),
        ("length=100", "frames=400 are over before learning begins, after 400 frames"),
        ("replay_rows=11", "replay_rows=11 keep less of each of 2 worlds than a sequence of len"),
        ("length=5", "length=5 leaves nothing to imagine from"),
    ],
)
def test_a_run_that_would_never_learn_is_refused(tmp_path, word, sentence):
    with pytest.raises(UserError, match=sentence):
        make(tmp_path, word)


@pytest.mark.parametrize(("words", "recency"), [((), 3.0), (("recency=1",), 1.0)])
def test_new_rows_are_drawn_oftener_unless_told(tmp_path, monkeypatch, words, recency):
    trainer, asked = make(tmp_path, *words), []

    def sample(batch, length, recency):
        asked.append(recency)
        raise InterruptedError

    while not trainer.learning:
        trainer.act()
    monkeypatch.setattr(trainer.replay, "sample", sample)
    with pytest.raises(InterruptedError):
        trainer.learn()
    assert asked == [recency]


def test_non_finite_loss_names_the_term_and_the_way_back(tmp_path):
    trainer = make(tmp_path)
    assert "has no checkpoint yet: begin anew" in trainer._way_back()
    log = book(trainer)
    while trainer.frames < 240:
        trainer._iterate(log)
    saved = list_checkpoints(tmp_path / "checkpoints")
    with torch.no_grad():
        trainer.learner.online.reward_head.network[0].weight.fill_(float("nan"))
    with pytest.raises(NonFinite, match=rf"reward_loss.*{saved[-1].name} was kept.*resume="):
        trainer.train(log)
    assert list_checkpoints(tmp_path / "checkpoints") == saved
    again = make(tmp_path)
    again.restore()
    assert torch.isfinite(weights(again)).all()


def test_a_world_that_fails_names_the_way_back(tmp_path):
    words = "env=gym:grey:Fuse-v0", "env.image_size=16", "env.action_repeat=1", "prefill=20"
    words += "hardware.threads=1", "world_model.width=4", "checkpoint_every=80"
    trainer = make(tmp_path, *words)
    with pytest.raises(UserError, match=r"raised OSError: the fuse has blown; nothing after .*160"):
        trainer.train(book(trainer))


def test_checkpoint_of_another_architecture_is_refused(tmp_path):
    trainer = make(tmp_path)
    trainer.train(book(trainer))
    other = make(tmp_path / "other", "world_model.hidden_dim=32")
    path = list_checkpoints(tmp_path / "checkpoints")[-1]
    with pytest.raises(UserError, match="another architecture"):
        other.learner.load_state_dict(load_checkpoint(path).state["learner"], path)


def test_a_run_begins_with_the_eye_of_another(tmp_path):
    seen = make(tmp_path / "seen", "env=cheetah-run")
    seen.train(book(seen))
    run = make(tmp_path / "run", f"eye={tmp_path / 'seen'}")
    theirs = seen.learner.model.eye.state_dict()
    for model in (run.learner.model, run.learner.online):
        assert all(torch.equal(part, theirs[name]) for name, part in model.eye.state_dict().items())
    run.train(book(run))
    learnt = run.learner.model.eye.state_dict()
    assert torch.equal(learnt["mean"], theirs["mean"])
    assert not torch.equal(learnt["raw_sigma"], theirs["raw_sigma"])
    (tmp_path / "seen").rename(tmp_path / "gone")  # a resumed run needs it no more
    resumed = dataclasses.replace(run.config, resume=str(run.run))
    again = Trainer(resumed, run.run)
    again.restore()
    assert torch.equal(weights(again), weights(run))
    with pytest.raises(UserError, match="another architecture"):
        make(tmp_path / "other", f"eye={tmp_path / 'gone'}", "world_model.latent_dim=9")
    with pytest.raises(UserError, match="eye=nowhere is no run"):
        make(tmp_path / "none", "eye=nowhere")


def test_two_processes_cannot_train_one_run(tmp_path):
    with hold(tmp_path), pytest.raises(UserError, match="another process"), hold(tmp_path):
        pass
    with hold(tmp_path):
        pass


def test_a_refused_start_leaves_no_folder(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError, match="eye=nowhere is no run"):
        main([*SMALL, f"run={run}", "eye=nowhere"])
    assert not run.exists()
    run.mkdir()
    (run / "mine.txt").touch()
    with pytest.raises(UserError, match="eye=nowhere is no run"):
        main([*SMALL, f"run={run}", "eye=nowhere"])
    assert (run / "mine.txt").exists()


@pytest.mark.parametrize("model", ["vae", "expanded"])
@pytest.mark.parametrize("training", ["joint", "staged"])
def test_every_eye_and_both_trainings_run(tmp_path, model, training):
    words = f"world_model={model}", f"world_model.training={training}"
    trainer = make(tmp_path, *words)
    eye = [p.detach().clone() for p in trainer.learner.model.eye.parameters()]
    trainer.train(book(trainer))
    assert torch.isfinite(weights(trainer)).all()
    now = list(trainer.learner.model.eye.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(eye, now))


def test_a_minute_from_nothing_to_an_evaluated_agent(tmp_path):
    run = tmp_path / "run"
    words = [*SMALL, f"run={run}", "frames=2400", "eval_every=1600", "checkpoint_every=800"]
    done = command("agents.train", *words)
    assert done.returncode == 0, done.stderr
    with open(run / "metrics.csv") as file:
        returns = [row["eval/return"] for row in csv.DictReader(file) if row["eval/return"]]
    assert len(returns) == 1
    assert list((run / "videos").glob("dream-*.mp4"))
    assert list((run / "pictures").glob("dream-*.png"))
    longer = command("agents.train", f"resume={run}", "frames=2800")
    assert longer.returncode == 0, longer.stderr
    facts = json.loads((run / "provenance.json").read_text())
    assert facts["command"].startswith("python -m agents.train env=cartpole-swingup")
    assert facts["command"].endswith(" frames on frames=2800")
    played = command("agents.evaluate", f"run={run}", "episodes=2", "hardware=cpu")
    assert played.returncode == 0, played.stderr
    assert "return" in played.stdout
    for name in ("returns.csv", "dream.mp4", "dream.png"):
        assert (run / "evaluation" / name).stat().st_size > 0
    with pytest.raises(UserError, match=r"could not write .*returns\.csv \(File exists\)"):
        evaluate.main([f"run={run}", f"out={run / 'evaluation' / 'returns.csv'}"])
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace(
        "cartpole-swingup", "cheetah-run"))  # fmt: skip
    with pytest.raises(UserError, match=r"learnt with 1 actions, but .*cheetah-run .* has 6"):
        evaluate.main([f"run={run}"])
    again = command("agents.train", *words)
    assert again.returncode == 1
    assert "holds a run already" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_damaged_note_of_the_origin_is_named(tmp_path):
    write_provenance(tmp_path, ["frames=1"], settings.load([]), None)
    path = tmp_path / "provenance.json"
    for text in ("{", "[]", '{"command": "x"}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"provenance\.json is damaged"):
            write_provenance(tmp_path, [], settings.load([]), 10)
        assert path.read_text() == text


def test_interrupt_saves_and_leaves_with_130(tmp_path):
    run = tmp_path / "run"
    words = [sys.executable, "-m", "agents.train", *SMALL, f"run={run}", "frames=1000000"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not list_checkpoints(run / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"resume={run}" in out
    assert load_checkpoint(list_checkpoints(run / "checkpoints")[-1]).step > 0


@pytest.mark.parametrize(
    "words",
    [["agents.train", "env=cheeta-run"], ["agents.train", "frmes=10"],
     ["agents.train", "frames=many"], ["agents.train", "resume=nowhere"],
     ["agents.evaluate", "run=nowhere"], ["agents.evaluate"]],
)  # fmt: skip
def test_bad_input_is_one_sentence(words):
    done = command(*words)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
