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
from small_run import SMALL, logger, make, weights

from aef_worldmodel.utils.checkpoint import list_checkpoints, load_checkpoint
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.lock import hold
from aef_worldmodel.utils.tables import read_metrics
from agents import evaluate
from agents.config import train as settings
from agents.optimisation import NonFinite
from agents.train import main
from agents.training import evaluations
from agents.training.logging.run_logger import RunLogger
from agents.training.runs import way_back, write_provenance
from agents.training.trainer import Trainer


def command(*words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, timeout=300, **options
    )


@pytest.mark.parametrize("words", [(), ("env.random_truncation_every=20",)])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, words):
    whole = make(tmp_path / "whole", *words)
    whole.train(logger(whole))
    first = make(tmp_path / "parts", *words)
    log = logger(first)
    while first.frames < 220:
        first.iterate(log)
    first.stopping = True
    first.train(log)
    second = make(tmp_path / "parts", "seed=0", *words)
    second.restore()
    assert second.counters() == first.counters()
    second.train(logger(second))
    assert second.counters() == whole.counters()
    assert torch.equal(weights(second), weights(whole))
    assert torch.equal(second.loop.frame, whole.loop.frame)


def test_a_resumed_run_learns_at_the_rate_it_is_told(tmp_path):
    first = make(tmp_path)
    log = logger(first)
    first.stopping = True
    first.train(log)
    second = make(tmp_path, "lr.actor=0.005", "lr.model=0.002")
    second.restore()
    optimisers = second.learner.agent.optimisers | {"model": second.learner.optimiser}
    rates = {name: o.param_groups[0]["lr"] for name, o in optimisers.items()}
    assert rates == {"model": 0.002, "actor": 0.005, "critic": second.config.lr.critic}


@pytest.mark.parametrize("stop_after", [0, 2, 6])  # at the centre, in pretraining, in updates
def test_stopping_between_updates_changes_nothing(tmp_path, stop_after):
    words = ("frames_per_update=1", "frames=120")
    whole = make(tmp_path / "whole", *words)
    whole.train(logger(whole))
    first = make(tmp_path / "parts", *words)
    learn, centre = first.learn, first.fit_preprocessing

    def stop_then(*arguments, **options):
        first.stopping = first.updates + 1 == stop_after
        return learn(*arguments, **options)

    def centre_then_stop():
        centre()
        first.stopping = stop_after == 0

    first.learn, first.fit_preprocessing = stop_then, centre_then_stop
    assert not first.train(logger(first))
    assert first.updates == stop_after
    second = make(tmp_path / "parts", *words)
    second.restore()
    second.train(logger(second))
    assert second.counters() == whole.counters()
    assert torch.equal(weights(second), weights(whole))


def test_a_run_without_pretraining_learns(tmp_path):
    run = make(tmp_path, "pretrain=0", "frames=200")
    run.train(logger(run))
    assert run.updates == 2  # of 40 frames each, from 80 to 160


def test_an_evaluation_that_is_cut_short_is_played_after_the_resume(tmp_path, monkeypatch):
    words = ("env.action_repeat=20", "frames=400", "eval.every=200", "checkpoint_every=200")
    whole = make(tmp_path / "whole", *words)
    with logger(whole) as log:
        assert whole.train(log)
    first = make(tmp_path / "parts", *words)
    play = evaluations.run_episodes

    def interrupted(*arguments, **options):
        first.stopping = True
        return play(*arguments, **options)

    monkeypatch.setattr(evaluations, "run_episodes", interrupted)
    with logger(first) as log:
        assert not first.train(log) and first.due and first.evaluations == 0
    monkeypatch.undo()
    second = make(tmp_path / "parts", *words)
    second.restore()
    with RunLogger(second.run, "test", 400, resumed_at=second.frames) as log:
        assert second.train(log) and second.evaluations == whole.evaluations
    assert torch.equal(weights(second), weights(whole))
    rows = [(run.run / "metrics.csv").read_text().splitlines() for run in (whole, second)]
    returns = [[row["eval/return"] for row in csv.DictReader(lines)] for lines in rows]
    assert returns[0] == returns[1]


def test_killed_at_any_instant_loses_one_interval(tmp_path):
    trainer = make(tmp_path)
    log = logger(trainer)
    while trainer.frames < 300:  # the last checkpoint is at 200 frames
        trainer.iterate(log)
    again = make(tmp_path)
    again.restore()
    assert again.frames == 200
    again.train(logger(again))
    assert again.frames == 400


def test_a_skipped_evaluation_is_said(tmp_path, capsys):
    trainer = make(tmp_path, "eval.every=100", "pretrain=5", "prefill=120", "frames=200")
    trainer.train(logger(trainer))
    printed = capsys.readouterr().out
    sentence = (
        "no evaluation at 100 frames: the agent begins to learn after 120 frames and 5 updates"
    )
    assert printed.count(sentence) == 1
    evaluated = [row["frames"] for row in read_metrics(tmp_path / "metrics.csv")]
    assert evaluated == [200]


def test_every_part_moves(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.training.trainer.LOG_EVERY", 5)
    trainer = make(tmp_path)
    parts = torch.nn.ModuleList([trainer.learner.model, trainer.learner.agent.networks])
    before = {name: p.detach().clone() for name, p in parts.named_parameters()}
    trainer.train(logger(trainer))
    assert trainer.updates == 3 + (198 - 40) // 20  # the last decisions of both worlds earn none
    still = [name for name, p in parts.named_parameters() if torch.equal(p, before[name])]
    assert not still
    with open(tmp_path / "metrics.csv", encoding="utf-8") as file:
        assert csv.DictReader(file).fieldnames[:3] == ["frames", "decisions", "updates"]


def test_learning_waits_for_a_sequence_in_every_world(tmp_path):
    trainer = make(tmp_path, "prefill=1", "frames=80")
    trainer.train(logger(trainer))
    rows = trainer.config.replay.sequence_length * trainer.env.num_envs
    assert trainer.updates == trainer.config.pretrain + (38 - rows) // 20  # none earned before


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("prefill=400", "frames=400 end before learning begins, after 400 frames"),
        ("replay.sequence_length=100", "frames=400 end before learning begins, after 400 frames"),
        ("replay.capacity=11", "replay.capacity=11 keeps fewer rows of each of 2 environments"),
        ("replay.sequence_length=5", "replay.sequence_length=5 leaves no row to imagine from"),
    ],
)
def test_a_run_that_would_never_learn_is_refused(tmp_path, word, sentence):
    with pytest.raises(UserError, match=sentence):
        make(tmp_path, word)


@pytest.mark.parametrize(("words", "recency"), [((), 3.0), (("replay.recency=1",), 1.0)])
def test_new_rows_are_drawn_more_often_by_default(tmp_path, monkeypatch, words, recency):
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
    assert "has no checkpoint yet: start again" in way_back(trainer.run, "cheetah-run")
    log = logger(trainer)
    while trainer.frames < 240:
        trainer.iterate(log)
    saved = list_checkpoints(tmp_path / "checkpoints")
    with torch.no_grad():
        trainer.learner.online.reward_head.network[0].weight.fill_(float("nan"))
    with pytest.raises(NonFinite, match=rf"reward_loss.*{saved[-1].name} was kept.*resume="):
        trainer.train(log)
    assert list_checkpoints(tmp_path / "checkpoints") == saved
    again = make(tmp_path)
    again.restore()
    assert torch.isfinite(weights(again)).all()


def test_an_environment_that_fails_ends_a_run_that_saves(tmp_path):
    words = "env=gym:grey:Fuse-v0", "env.image_size=16", "env.action_repeat=1", "prefill=20"
    words += "hardware.threads=1", "world_model.width=4", "checkpoint_every=80"
    trainer = make(tmp_path, *words)
    sentence = r"raised OSError: the fuse has blown; all before is in .*200\.safetensors: once the"
    with pytest.raises(UserError, match=sentence):
        trainer.train(logger(trainer))
    again = make(tmp_path, *words)
    again.restore()
    assert again.frames == 200 and again.updates == trainer.updates
    assert again.train(logger(again))  # its episodes begin again


def test_a_decision_cut_short_counts_the_frames_it_made(tmp_path):
    words = "env=gym:grey:Dusk-v0", "env.image_size=16", "env.action_repeat=10", "frames=200"
    words += "hardware.threads=1", "world_model.width=4", "prefill=100", "hardware.num_envs=1"
    trainer = make(tmp_path, *words)  # an episode: 10, 10 and 5 frames
    trainer.train(logger(trainer))
    assert (trainer.frames, trainer.decisions) == (200, 24)
    again = make(tmp_path, *words)
    again.restore()
    assert (again.frames, again.decisions) == (200, 24)


def test_rewards_too_large_to_tell_apart_are_said_once(tmp_path, capsys):
    words = "env=gym:grey:Rich-v0", "env.image_size=16", "env.action_repeat=1", "frames=120"
    words += "hardware.threads=1", "world_model.width=4", "prefill=20"
    trainer = make(tmp_path, *words)
    with logger(trainer) as log:
        trainer.train(log)
        trainer.overflow.tell(log.print)
    said = "".join(capsys.readouterr())
    sentence = "the targets of the reward head reach 1,000,000: beyond 22,025 it cannot tell them"
    assert said.count(sentence) == 1 and "for instance by 10,000" in said


def test_checkpoint_of_another_architecture_is_refused(tmp_path):
    trainer = make(tmp_path)
    trainer.train(logger(trainer))
    other = make(tmp_path / "other", "world_model.hidden_dim=32")
    path = list_checkpoints(tmp_path / "checkpoints")[-1]
    with pytest.raises(UserError, match="another architecture"):
        other.learner.load_state_dict(load_checkpoint(path).state["learner"], path)


def test_a_run_begins_with_the_autoencoder_of_another(tmp_path):
    seen = make(tmp_path / "seen", "env=cheetah-run")
    seen.train(logger(seen))
    run = make(tmp_path / "run", f"init_autoencoder_from={tmp_path / 'seen'}")
    theirs = seen.learner.model.autoencoder.state_dict()
    for model in (run.learner.model, run.learner.online):
        assert all(
            torch.equal(part, theirs[name]) for name, part in model.autoencoder.state_dict().items()
        )
    run.train(logger(run))
    learnt = run.learner.model.autoencoder.state_dict()
    assert torch.equal(learnt["mean"], theirs["mean"])
    assert not torch.equal(learnt["raw_sigma"], theirs["raw_sigma"])
    (tmp_path / "seen").rename(tmp_path / "gone")  # a resumed run needs it no more
    resumed = dataclasses.replace(run.config, resume=str(run.run))
    again = Trainer(resumed, run.run)
    again.restore()
    assert torch.equal(weights(again), weights(run))
    with pytest.raises(UserError, match="another architecture"):
        make(
            tmp_path / "other",
            f"init_autoencoder_from={tmp_path / 'gone'}",
            "world_model.latent_dim=9",
        )
    with pytest.raises(UserError, match="has no autoencoder of its own"):
        make(tmp_path / "rssm", "world_model=rssm", f"init_autoencoder_from={tmp_path / 'gone'}")
    with pytest.raises(UserError, match="init_autoencoder_from=nowhere: the run has no checkpoint"):
        make(tmp_path / "none", "init_autoencoder_from=nowhere")


def test_two_processes_cannot_train_one_run(tmp_path):
    with hold(tmp_path), pytest.raises(UserError, match="another process"), hold(tmp_path):
        pass
    with hold(tmp_path):
        pass


def test_a_refused_start_leaves_no_folder(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError, match="init_autoencoder_from=nowhere: the run has no checkpoint"):
        main([*SMALL, f"run={run}", "init_autoencoder_from=nowhere"])
    assert not run.exists()
    run.mkdir()
    (run / "mine.txt").touch()
    with pytest.raises(UserError, match="init_autoencoder_from=nowhere: the run has no checkpoint"):
        main([*SMALL, f"run={run}", "init_autoencoder_from=nowhere"])
    assert (run / "mine.txt").exists()


@pytest.mark.parametrize("model", ["vae", "expanded", "ae"])
@pytest.mark.parametrize("objective", ["staged=true", "overshoot=2"])
def test_every_autoencoder_and_objective_runs(tmp_path, model, objective):
    words = f"world_model={model}", f"objective.{objective}"
    trainer = make(tmp_path, *words)
    autoencoder = [p.detach().clone() for p in trainer.learner.model.autoencoder.parameters()]
    trainer.train(logger(trainer))
    assert torch.isfinite(weights(trainer)).all()
    now = list(trainer.learner.model.autoencoder.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(autoencoder, now))


def test_a_minute_from_nothing_to_an_evaluated_agent(tmp_path):
    run = tmp_path / "run"
    words = [*SMALL, f"run={run}", "frames=2400", "eval.every=1600", "checkpoint_every=800"]
    done = command("agents.train", *words)
    assert done.returncode == 0, done.stderr
    with open(run / "metrics.csv", encoding="utf-8") as file:
        returns = [row["eval/return"] for row in csv.DictReader(file) if row["eval/return"]]
    assert len(returns) == 1
    assert list((run / "videos").glob("dream-*.mp4"))
    assert list((run / "videos").glob("episode-*.mp4"))
    assert list((run / "pictures").glob("dream-*.png"))
    longer = command("agents.train", f"resume={run}", "frames=2800")
    assert longer.returncode == 0, longer.stderr
    facts = json.loads((run / "provenance.json").read_text())
    assert facts["command"].startswith("python -m agents.train env=cartpole-swingup")
    assert facts["command"].endswith(" frames on frames=2800")
    played = command("agents.evaluate", f"run={run}", "episodes=2", "hardware=cpu")
    assert played.returncode == 0, played.stderr
    assert "return" in played.stdout
    for name in ("returns.csv", "episode.mp4", "dream.mp4", "dream.png"):
        assert (run / "evaluation" / name).stat().st_size > 0
    with pytest.raises(UserError, match=r"could not write .*returns\.csv \(File exists\)"):
        evaluate.main([f"run={run}", f"out={run / 'evaluation' / 'returns.csv'}"])
    (run / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace("cartpole-swingup", "cheetah-run")
    )
    with pytest.raises(UserError, match=r"config\.yaml were cut short or changed"):
        evaluate.main([f"run={run}"])
    again = command("agents.train", *words)
    assert again.returncode == 1
    assert "already holds a run" in again.stderr
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
    [
        ["agents.train", "env=cheeta-run"],
        ["agents.train", "frmes=10"],
        ["agents.train", "frames=many"],
        ["agents.train", "resume=nowhere"],
        ["agents.evaluate", "run=nowhere"],
        ["agents.evaluate"],
    ],
)
def test_bad_input_is_one_sentence(words):
    done = command(*words)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
