"""Commands that programs print are executed, and so are those that these print."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from grey import Fuse
from printed import commands, follow, said
from small_run import SMALL

import envs
from aef_worldmodel import fit
from aef_worldmodel.data.episodes import read_info
from aef_worldmodel.utils.errors import UserError
from agents import doctor
from agents.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
OWN = ["env=gym:grey:Lights-v0", "env.action_repeat=1", "env.image_size=16"]
OURS = ["env=cartpole-swingup", "env.action_repeat=20", "env.image_size=16"]
RUN = "runs/it's one"  # a shell needs it quoted
LEARN_AND_PLAY = ["agents.train", "agents.evaluate"]
PLACES = {  # that print a command which a test below executes
    "aef_worldmodel/data/episodes.py",
    "aef_worldmodel/fit.py",
    "agents/collect.py",
    "agents/config/options.py",
    "agents/doctor.py",
    "agents/export.py",
    "agents/plot.py",
    "agents/study/__main__.py",
    "agents/train.py",
    "agents/training/runs.py",
    "agents/training/trainer.py",
    "envs/gymnasium_envs/make.py",
    "envs/gymnasium_envs/vector.py",
    "envs/scenes.py",
    "envs/suite/__init__.py",
    # what was typed, in tables and help texts
    "aef_worldmodel/utils/config/help.py",
    "agents/training/provenance.py",
    "envs/__main__.py",
    "envs/verification/frames.py",
    "envs/verification/images.py",
    "envs/verify.py",
}


def words(*more):
    """Return the words of a run of 400 frames; those given count."""
    base = [*SMALL, *OWN, "hardware.threads=1", "world_model.width=4"]
    return list({word.partition("=")[0]: word for word in [*base, *more]}.values())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


def once(monkeypatch, owner, name, happen):
    """Let something happen to the trainer that a function is first called with, once."""
    whole = getattr(owner, name)

    def call(trainer, *arguments):
        if getattr(trainer, "frames", 240) >= 240 and happen:
            happen.pop()(trainer)
        return whole(trainer, *arguments)

    monkeypatch.setattr(owner, name, call)


def stop(trainer):
    trainer.stopping = True


def spoil(trainer):
    with torch.no_grad():
        trainer.learner.online.reward_head.network[0].weight.fill_(float("nan"))


@pytest.mark.parametrize("env", [OWN, OURS], ids=["own", "ours"])
def test_a_stopped_training_goes_on_and_its_agent_plays(env, monkeypatch, capsys):
    once(monkeypatch, Trainer, "iterate", [stop])
    text = said("agents.train", words(f"run={RUN}", *env), capsys)
    trusted = ["trust=true"] if env is OWN else []
    assert commands(text) == [("agents.train", [f"resume={RUN}", *trusted])]
    assert follow(text, capsys) == LEARN_AND_PLAY
    text = said("agents.export", [f"run={RUN}"], capsys)
    assert follow(text, capsys) == ["agents.evaluate"]


def test_a_run_that_became_infinite_goes_on_from_its_checkpoint(monkeypatch, capsys):
    once(monkeypatch, Trainer, "iterate", [spoil])
    text = said("agents.train", words(f"run={RUN}"), capsys)
    assert "became nan" in text and follow(text, capsys) == LEARN_AND_PLAY


def test_a_run_whose_environment_failed_goes_on(monkeypatch, capsys):
    text = said("agents.train", words(f"run={RUN}", "env=gym:grey:Fuse-v0"), capsys)
    assert "the fuse has blown" in text
    monkeypatch.setattr(Fuse, "press", lambda self, action: 0.0)  # it is mended
    assert follow(text, capsys) == LEARN_AND_PLAY


@pytest.mark.parametrize("env", [OWN, OURS], ids=["own", "ours"])
def test_recorded_episodes_are_learnt_from(env, capsys):
    line = [*env, "out=my data", "episodes=2", "hardware.num_envs=2"]
    assert follow(said("agents.collect", line, capsys), capsys) == LEARN_AND_PLAY


def test_the_doctor_prints_the_command_it_examined(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda words: [])
    line = words(f"run={RUN}", "log=[csv,terminal]")
    text = said("agents.doctor", line, capsys)
    assert commands(text) == [("agents.train", line)]
    assert follow(text, capsys) == LEARN_AND_PLAY


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("features", [(), ("features=my features.pt",)])
def test_a_stopped_image_model_goes_on(features, monkeypatch, capsys):
    torch.jit.script(torch.nn.Flatten()).save("my features.pt")
    np.save("grey.npy", np.random.default_rng(0).integers(0, 255, (240, 8, 8, 1), np.uint8))
    once(monkeypatch, fit, "train", [stop])
    small = ["networks=conv", "width=4", "latent_dim=2", "updates=4", "evaluate_every=2"]
    line = ["data=grey.npy", f"run={RUN}", "samples=2", *small, *features]
    text = said("aef_worldmodel.fit", line, capsys)
    assert follow(text, capsys) == ["aef_worldmodel.fit"]


def test_examples_in_sentences_run(monkeypatch, capsys):
    """Words in capitals stand for what the reader has: here they are that."""
    monkeypatch.setattr(envs, "tasks", lambda: ["cartpole-swingup"])  # not the table of all
    assert said("agents.train", words(f"run={RUN}", "eval.every=200"), capsys)
    Path("configs/study").mkdir(parents=True)
    for name in ("FILE.yaml", "configs/study/NAME.yaml"):
        Path(name).write_text(f'frames: 400\nruns: {{before: ["{RUN}"]}}\n', "utf-8")
    for module, line, follows in (
        ("agents.train", ["env=nonsense"], ["envs"]),
        ("agents.train", ["seed=1,2,3"], ["agents.study"]),
        ("agents.plot", [], ["agents.plot"]),
        ("agents.study", ["out=studies/FILE"], ["agents.study"]),
    ):
        assert follow(said(module, line, capsys), capsys) == follows
    with pytest.raises(UserError) as refusal:
        read_info("FOLDER")
    assert follow(str(refusal.value), capsys) == ["agents.collect", *LEARN_AND_PLAY]


def test_every_module_that_prints_a_command_is_above():
    """Fails for a new place of printing, whose command then needs a test here."""
    found = {p for top in ("agents", "aef_worldmodel", "envs") for p in (ROOT / top).rglob("*.py")}
    assert {path.relative_to(ROOT).as_posix() for path in found if prints(path)} == PLACES


def prints(path):
    """Return whether a module has a command in a string that is no docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    strings = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs)
    calls = (getattr(n.func, "id", "") for n in ast.walk(tree) if isinstance(n, ast.Call))
    return "as_typed" in calls or any("python -m" in str(n.value) for n in strings)
