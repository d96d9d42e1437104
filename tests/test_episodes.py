"""Recorded episodes: written, read back, collected to the bit again, learnt from."""

import json

import pytest
import torch
from small_run import SMALL, book

from aef_worldmodel import episodes
from aef_worldmodel.errors import UserError
from agents import collect
from agents import config as settings
from agents.offline import OfflineTrainer
from agents.scripted import Floor, RandomConfig


def rows(length=5):
    generator = torch.Generator().manual_seed(length)
    return {
        "frame": torch.randint(256, (length, 3, 4, 4), generator=generator).byte(),
        "action": torch.rand(length, 2, generator=generator),
        "reward": torch.rand(length, generator=generator),
        "first": torch.arange(length) == 0,
        "terminal": torch.arange(length) == length - 1,
    }


def test_an_episode_is_read_back(tmp_path):
    for number in (0, 1):
        episodes.write_episode(tmp_path, number, rows(5 + number))
    found = list(episodes.read_episodes(tmp_path))
    assert [len(one["first"]) for one in found] == [5, 6]
    for name, value in rows(5).items():
        assert torch.equal(found[0][name], value) and found[0][name].dtype == value.dtype
    assert not list(tmp_path.glob("*.tmp"))


def test_what_is_no_episode_is_named(tmp_path):
    with pytest.raises(ValueError, match="an episode has frame, action"):
        episodes.write_episode(tmp_path, 0, {"frame": torch.zeros(3)})
    episodes.write_episode(tmp_path, 0, rows())
    path = episodes.episode_path(tmp_path, 0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"episode_000000\.npz is not a recorded episode"):
        episodes.read_episode(path)
    with pytest.raises(UserError, match="holds no recorded episodes"):
        episodes.read_info(tmp_path)
    episodes.write_info(tmp_path, {"format": 99})
    with pytest.raises(UserError, match="format 99"):
        episodes.read_info(tmp_path)


class Stairs:
    """Two worlds; world i ends after 2 + i decisions; a frame counts the decisions."""

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
    played = collect.play(None, Floor(RandomConfig(), 1).policy(True), Stairs(), seed=0)
    assert [len(one["first"]) for one in played] == [3, 4]
    for one in played:
        length = len(one["first"])
        assert one["frame"][:, 0, 0, 0].tolist() == list(range(length))
        assert one["reward"].tolist() == list(range(length))
        assert one["first"].tolist() == [True] + [False] * (length - 1)
        assert one["action"][-1].item() == 0 and one["action"][:-1].abs().min() > 0
    assert played[0]["terminal"].tolist() == [False, False, True]  # ended
    assert not played[1]["terminal"].any()  # cut short


COLLECT = ["env=cartpole-swingup", "env.image_size=32", "env.action_repeat=100",
           "env.restart_every=null", "episodes=3", "hardware=cpu", "hardware.num_envs=2",
           "hardware.threads=1"]  # fmt: skip


def test_collecting_goes_on_where_it_was(tmp_path):
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
    with pytest.raises(settings.ConfigError, match="must have learnt before it plays"):
        collect.main([*COLLECT, f"out={tmp_path / 'x'}", "agent=mpc"])


def test_what_plays_is_told_apart():
    def told(*words):
        return collect.told(settings.load(["out=x", *words], collect.CollectConfig, "collect"), 50)

    assert told() == "random"
    assert told("agent=scripted", "agent.amplitude=0") == "scripted agent.amplitude=0.0"
    of_a_run = "run=there/a", "explore=false"
    assert told(*of_a_run) == "agent of a at 50 frames"
    assert told(*of_a_run[:1], "explore=true") == "agent of a at 50 frames exploring"


OFFLINE = ["env.image_size=32", "env.action_repeat=100", "frames=4000", "pretrain=2",
           "checkpoint_every=100000", "frames_per_update=400"]  # fmt: skip


def test_learning_from_data_alone_resumes_exactly(tmp_path):
    data = tmp_path / "data"
    collect.main([*COLLECT, f"out={data}"])
    config = settings.load([*SMALL, *OFFLINE, f"data={data}"])

    def weights(trainer):
        return torch.cat([p.detach().flatten() for p in trainer.learner.model.parameters()])

    assert OfflineTrainer.usual_recency == 1 and config.recency is None  # no row is newer
    whole = OfflineTrainer(config, tmp_path / "a")
    before = weights(whole).clone()
    assert whole.train(book(whole))
    assert len(whole.replay) == 3 * 11 and whole.updates == 2 + 38 // 4
    assert (weights(whole) != before).float().mean() > 0.5
    first = OfflineTrainer(config, tmp_path / "b")
    log = book(first)
    first._ingest()  # two of the three episodes
    first.stopping = True
    assert not first.train(log)
    second = OfflineTrainer(config, tmp_path / "b")
    second.restore()
    assert second.ingested == 2
    second.train(book(second))
    assert torch.equal(weights(second), weights(whole))
    told = r"was recorded with .*image_size=32 .*env\.crop=\[0,0,0,0\] env\.backend=null"
    with pytest.raises(UserError, match=told):
        OfflineTrainer(settings.load([*SMALL, f"data={data}"]), tmp_path / "c")
    info = json.loads((data / "info.json").read_text())
    del info["env"]["rays"]
    (data / "info.json").write_text(json.dumps(info | {"env": info["env"] | {"samples": 2}}))
    with pytest.raises(UserError, match=r"env\.samples=2 by a version that had other settings"):
        OfflineTrainer(config, tmp_path / "d")


def test_episodes_of_any_length_are_all_kept(tmp_path):
    data, lengths = tmp_path / "data", (3, 9, 7, 5, 4)  # world 0: 3 + 7 + 4; world 1: 9 + 5
    collect.main([*COLLECT, f"out={data}", "episodes=1"])
    rows = episodes.read_episode(episodes.episode_path(data, 0))
    for number, length in enumerate(lengths):
        some = {name: value[:length].clone() for name, value in rows.items()}
        some["reward"][:] = number
        episodes.write_episode(data, number, some)
    words = [*SMALL, *OFFLINE, f"data={data}", "length=6"]
    run = OfflineTrainer(settings.load(words), tmp_path / "run")
    assert run.train(book(run))
    assert run.replay.rows_per_world.tolist() == [14, 14]
    seen = run.replay.sample(500, 6)["reward"].unique().tolist()
    assert seen == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"has 14 rows for a world, fewer than .* length=15"):
        other = OfflineTrainer(settings.load([*words, "length=15"]), tmp_path / "other")
        other.train(book(other))


@pytest.mark.parametrize("damage", [b"", b"PK", b"\x80nonsense"])
def test_a_damaged_episode_is_named(tmp_path, damage):
    path = episodes.episode_path(tmp_path, 0)
    path.write_bytes(damage)
    for read in (episodes.read_episode, episodes.count_rows):
        with pytest.raises(UserError, match="is not a recorded episode"):
            read(path)
