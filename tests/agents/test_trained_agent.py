"""A run in three lines of Python: the agent that an evaluation plays, on frames of any kind."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from small_run import words

import envs
from aef_worldmodel.utils.errors import UserError
from agents import evaluate, export, load_agent, train
from agents.config.hardware import HardwareConfig, resolve
from agents.playing.env_factory import make_envs
from agents.playing.evaluation import run_episodes
from agents.training.runs import load_run

SMALL = ("env.action_repeat=20", "env.image_size=16", "frames=1600", "prefill=1400")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run of seconds."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert train.main(words("imagination", *SMALL, f"run={folder}")) == 0
    return folder


def batch(count=2):
    return envs.make("cartpole-swingup", count, image_size=16, action_repeat=20)


def test_it_plays_as_an_evaluation_does(run):
    loaded = load_run(run, resolve(HardwareConfig()))
    env = make_envs(loaded.config.env, 2, loaded.config.hardware)
    policy = loaded.learner.agent.policy(False, loaded.learner.model)
    expected = run_episodes(loaded.learner, policy, env, 7).returns
    agent, env = load_agent(run), batch()
    frames, _ = env.reset(seed=7)
    total, first = torch.zeros(2), None
    for _ in range(env.episode_decisions):
        frames, reward, terminated, truncated, _ = env.step(agent.act(frames, first))
        total, first = total + reward, terminated | truncated
    assert first.all() and torch.equal(total, expected)


def test_actions_come_as_the_frames_do(run):
    frames, _ = batch().reset(seed=0)
    action = load_agent(run).act(frames)
    assert action.shape == (2, 1) and action.dtype == torch.float32
    array = frames.numpy().transpose(0, 2, 3, 1)
    same = load_agent(run).act(array)  # (N, H, W, C)
    assert isinstance(same, np.ndarray)
    np.testing.assert_array_equal(same, action.numpy())
    np.testing.assert_array_equal(load_agent(run).act(array[0]), action[0])
    floats = np.clip(array / np.float32(255), 0, 1)
    np.testing.assert_array_equal(load_agent(run).act(floats), action.numpy())


def test_frames_of_another_size_are_resized_as_in_training(run):
    env = gym.make("aef/cartpole-swingup-v0", image_size=64)
    frame, _ = env.reset(seed=0)
    assert load_agent(run).act(frame).shape == (1,)


def test_it_remembers_until_it_is_told_to_forget(run):
    frames, _ = batch().reset(seed=0)
    agent, states = load_agent(run), []
    for first in (None, None, torch.tensor([True, False])):
        agent.act(frames, first)
        states.append(agent.state.recurrent)
    begun, later, half = states
    assert not begun.any() and later.any(1).all()  # it has seen and done something
    assert torch.equal(half[0], begun[0]) and not torch.equal(half[1], begun[1])
    agent.reset()
    agent.act(frames)
    assert torch.equal(agent.state.recurrent, begun)


@pytest.mark.parametrize(
    "frames, sentence",
    [
        (np.zeros((2, 5), np.uint8), r"got uint8 of shape \(2, 5\)"),
        (np.full((2, 16, 16, 3), 7.0), "float64 values from 7 to 7"),
        (torch.zeros(3, 3, 16, 16, dtype=torch.uint8), "3 frames after 2 of the last call"),
    ],
)
def test_other_frames_are_refused_in_a_sentence(run, frames, sentence):
    agent = load_agent(run)
    agent.act(batch().reset(seed=0)[0])
    with pytest.raises(UserError, match=sentence):
        agent.act(frames)


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="is not the folder of a run"):
        load_agent(tmp_path)


def test_choices_come_as_integers(tmp_path):
    task = "env=gym:grey:Lights-v0"
    line = words("imagination", "env.action_repeat=1", "env.image_size=16", f"run={tmp_path / 'r'}")
    line = [word for word in line if word != "env=cartpole-swingup"]
    assert train.main([task, *line, "frames=300", "prefill=250"]) == 0
    action = load_agent(tmp_path / "r").act(np.zeros((2, 16, 16), np.uint8)[..., None])
    assert action.shape == (2,) and action.dtype == np.int64


# -- weights alone ------------------------------------------------------------------------


def test_an_export_plays_as_its_run_and_is_smaller(run, tmp_path, capsys):
    out = tmp_path / "agent"
    assert export.main([f"run={run}", f"out={out}"]) == 0
    assert f"agents.evaluate run={out}" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert names == {"config.yaml", "provenance.json", "weights.safetensors"}
    (checkpoint, *_) = (run / "checkpoints").iterdir()
    assert (out / "weights.safetensors").stat().st_size < 0.7 * checkpoint.stat().st_size
    frames, _ = batch().reset(seed=0)
    assert torch.equal(load_agent(out).act(frames), load_agent(run).act(frames))
    assert evaluate.main([f"run={out}", "episodes=2", "hardware=cpu"]) == 0


def test_half_precision_halves_the_file_and_plays_nearly_the_same(run, tmp_path):
    for dtype in ("float32", "float16"):
        export.main([f"run={run}", f"out={tmp_path / dtype}", f"dtype={dtype}"])
    whole, half = (
        (tmp_path / dtype / "weights.safetensors").stat().st_size
        for dtype in ("float32", "float16")
    )
    assert half < 0.75 * whole  # names and settings take their part
    frames, _ = batch().reset(seed=0)
    difference = load_agent(tmp_path / "float16").act(frames) - load_agent(run).act(frames)
    assert difference.abs().max() < 0.02


def test_an_export_cannot_be_resumed_but_another_run_begins_with_its_eye(run, tmp_path):
    out, new = tmp_path / "agent", tmp_path / "new"
    export.export(run, out)
    before = sorted(out.rglob("*"))
    with pytest.raises(UserError, match=f"init_autoencoder_from={out}"):
        train.main([f"resume={out}", "frames=9999"])
    assert sorted(out.rglob("*")) == before
    line = words("imagination", *SMALL, f"run={new}", f"init_autoencoder_from={out}")
    assert train.main(line) == 0


def test_an_export_overwrites_nothing(run, tmp_path):
    with pytest.raises(UserError, match="exists already"):
        export.export(run, tmp_path)
    with pytest.raises(UserError, match="run is not set"):
        export.main([])
