"""Collected episodes repeat to the bit, and agents learn from them."""

import json
import shlex

import pytest
import torch
from point import spec
from small_run import SMALL, logger

from aef_worldmodel.data import episodes
from aef_worldmodel.utils.errors import UserError
from agents import collect, train
from agents.algorithms.fixed import RandomAgent, RandomConfig
from agents.config import train as settings
from agents.training.offline import OfflineTrainer


class Stairs:
    """Two environments; environment i ends after 2 + i decisions; a frame counts them."""

    num_envs, device, episode_decisions = 2, torch.device("cpu"), 4

    def __init__(self):
        from gymnasium.spaces import Box

        self.single_action_space = Box(-1.0, 1.0, (1,))

    def _frame(self, count):
        return torch.as_tensor(count).byte().view(2, 1, 1, 1).expand(2, 3, 4, 4)

    def reset(self, seed=None):
        self.count = torch.zeros(2, dtype=torch.long)
        return self._frame(self.count), {}

    def step(self, action):
        self.count += 1
        done = self.count == torch.tensor([2, 3])
        info = {"final_obs": self._frame(self.count)} if done.any() else {}
        reward = self.count.float()
        self.count[done] = 0
        ended = torch.tensor([True, False])
        return self._frame(self.count), reward, done & ended, done & ~ended, info


def test_rows_of_an_episode_hold_what_the_format_says():
    torch.manual_seed(0)
    played = collect.play(None, RandomAgent(RandomConfig(), spec()).fixed_policy(), Stairs(), 0)
    assert [len(one["first"]) for one in played] == [3, 4]
    for one in played:
        length = len(one["first"])
        assert one["frame"][:, 0, 0, 0].tolist() == list(range(length))
        assert one["reward"].tolist() == list(range(length))
        assert one["first"].tolist() == [True] + [False] * (length - 1)
        assert one["action"][-1].item() == 0 and one["action"][:-1].abs().min() > 0
    assert played[0]["terminal"].tolist() == [False, False, True]  # ended
    assert not played[1]["terminal"].any()  # cut short


COLLECT = [
    "env=cartpole-swingup",
    "env.image_size=32",
    "env.action_repeat=100",
    "env.random_truncation_every=null",
    "episodes=3",
    "hardware=cpu",
    "hardware.num_envs=2",
    "hardware.threads=1",
]


def test_collecting_continues_where_it_was(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert collect.main([*COLLECT, f"out={whole}"]) == 0
    collect.main([*COLLECT, f"out={parts}", "episodes=2"])
    assert collect.main([*COLLECT, f"out={parts}"]) == 0
    for one, other in zip(episodes.read_episodes(whole), episodes.read_episodes(parts)):
        assert len(one["first"]) == 11
        assert all(torch.equal(one[name], other[name]) for name in episodes.FIELDS)
    info = episodes.read_info(whole)
    assert info["policy"] == "random" and info["env"]["task"] == "cartpole-swingup"
    assert info["versions"]["torch"] == torch.__version__
    with pytest.raises(UserError, match="holds episodes with policy=random"):
        collect.main([*COLLECT, f"out={parts}", "agent=scripted"])
    with pytest.raises(settings.ConfigError, match="agent=mpc must learn before it plays"):
        collect.main([*COLLECT, f"out={tmp_path / 'x'}", "agent=mpc"])


def test_the_command_that_collecting_prints_learns_from_what_it_wrote(tmp_path, capsys):
    data = tmp_path / "my data"  # a shell would take it for two words
    collect.main(["env=cheetah-run", *COLLECT[1:], "env.image_size=16", f"out={data}"])
    printed = capsys.readouterr().out.partition("learn from them with ")[2].strip()
    python, _, module, *words = shlex.split(printed)
    assert (python, module) == ("python", "agents.train")
    small = [word for word in SMALL if not word.startswith("env")]
    line = [*words, *small, "frames=4000", "frames_per_update=400", "prefill=0"]
    assert train.main([*line, f"run={tmp_path / 'run'}"]) == 0
    config = settings.read(tmp_path / "run" / "config.yaml")
    assert (config.env.task, config.env.image_size) == ("cheetah-run", 16)


def test_different_policies_have_different_descriptions():
    def described(*words):
        asked = settings.load(["out=x", *words], collect.CollectConfig, "collect")
        return collect.describe_policy(asked, 50)

    assert described() == "random"
    assert described("agent=scripted", "agent.amplitude=0") == "scripted agent.amplitude=0.0"
    of_a_run = "run=there/a", "explore=false"
    assert described(*of_a_run) == "agent of a at 50 frames"
    assert described(*of_a_run[:1], "explore=true") == "agent of a at 50 frames exploring"


OFFLINE = [
    "env.image_size=32",
    "env.action_repeat=100",
    "frames=4000",
    "pretrain=2",
    "checkpoint_every=100000",
    "frames_per_update=400",
]


def test_learning_from_data_alone_resumes_exactly(tmp_path):
    data = tmp_path / "data"
    collect.main([*COLLECT, f"out={data}"])
    config = settings.load([*SMALL, *OFFLINE, f"data={data}"])

    def weights(trainer):
        return torch.cat([p.detach().flatten() for p in trainer.learner.model.parameters()])

    assert OfflineTrainer.usual_recency == 1 and config.replay.recency is None  # no row is newer
    whole = OfflineTrainer(config, tmp_path / "a")
    before = weights(whole).clone()
    assert whole.train(logger(whole))
    assert len(whole.replay) == 3 * 11 and whole.updates == 2 + 38 // 4
    assert (weights(whole) != before).float().mean() > 0.5
    first = OfflineTrainer(config, tmp_path / "b")
    log = logger(first)
    first._ingest()  # two of the three episodes
    first.stopping = True
    assert not first.train(log)
    second = OfflineTrainer(config, tmp_path / "b")
    second.restore()
    assert second.ingested == 2
    second.train(logger(second))
    assert torch.equal(weights(second), weights(whole))
    sentence = r"was recorded with env=cartpole-swingup .*image_size=32 .*; this run asks for"
    with pytest.raises(UserError, match=sentence):
        OfflineTrainer(settings.load([*SMALL, f"data={data}"]), tmp_path / "c")
    info = json.loads((data / "info.json").read_text())
    del info["env"]["samples_per_pixel"]
    (data / "info.json").write_text(json.dumps(info | {"env": info["env"] | {"samples": 2}}))
    with pytest.raises(UserError, match=r"env\.samples=2 by a version with other settings"):
        OfflineTrainer(config, tmp_path / "d")


def test_episodes_of_any_length_are_all_kept(tmp_path):
    data, lengths = tmp_path / "data", (3, 9, 7, 5, 4)  # ring 0: 3 + 7 + 4; ring 1: 9 + 5
    collect.main([*COLLECT, f"out={data}", "episodes=1"])
    rows = episodes.read_episode(episodes.episode_path(data, 0))
    for number, length in enumerate(lengths):
        some = {name: value[:length].clone() for name, value in rows.items()}
        some["reward"][:] = number
        episodes.write_episode(data, number, some)
    words = [*SMALL, *OFFLINE, f"data={data}", "replay.sequence_length=6"]
    run = OfflineTrainer(settings.load(words), tmp_path / "run")
    assert run.train(logger(run))
    assert run.replay.rows_per_env.tolist() == [14, 14]
    seen = run.replay.sample(500, 6)["reward"].unique().tolist()
    assert seen == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"has 14 rows for an environment, fewer than .*length=15"):
        other = OfflineTrainer(
            settings.load([*words, "replay.sequence_length=15"]), tmp_path / "other"
        )
        other.train(logger(other))
