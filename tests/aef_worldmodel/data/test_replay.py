"""Replay buffer: rows come out as they went in, uniformly, and survive a kill at any moment."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import numpy as np
import pytest
import replays
import torch
from replays import FIELDS, STORAGES, check_values, draw, fill, make, rows
from scipy.stats import chisquare

from aef_worldmodel.data import memmap
from aef_worldmodel.utils.errors import UserError


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("added", [9, 26, 70])
def test_sequences_are_consecutive_rows_of_one_env(tmp_path, storage, added):
    replay = make(tmp_path, storage=storage)
    fill(replay, 0, added)
    batch = replay.sample(200, 8, torch.Generator().manual_seed(0))
    value = check_values(batch)  # (B, T)
    assert batch["frame"].shape == (200, 8, 3, 4, 4)
    assert (value.diff(dim=1) == 1).all()
    newest = value % 1000
    assert newest.max() == added - 1 and newest.min() == max(0, added - 20)
    assert len(replay) == 3 * min(added, 20)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("added", [9, 26, 70])
def test_future_rows_end_with_the_newest_of_their_environment(tmp_path, storage, added):
    replay = make(tmp_path, storage=storage)
    fill(replay, 0, added)
    replay.add(rows(added, [1]), torch.tensor([1]))  # one env is ahead
    batch = replay.sample(200, 4, torch.Generator().manual_seed(0))
    value = check_values(batch)[:, :1]  # (B, 1)
    after = replay.future_rows(batch["index"][:, 0], 12, ("reward", "first"))
    assert after["reward"].shape == after["first"].shape == after["valid"].shape == (200, 12)
    newest = torch.where(value // 1000 == 1, added, added - 1)
    expected = value + torch.arange(1, 13)
    assert torch.equal(after["valid"].cpu(), expected % 1000 <= newest)
    valid = after["valid"].cpu()
    assert torch.equal(after["reward"].cpu()[valid].long(), expected[valid])
    assert torch.equal(after["first"].cpu()[valid], expected[valid] % 7 == 0)
    assert not after["reward"].cpu()[~valid].any() and not after["first"].cpu()[~valid].any()
    assert replay.future_rows(batch["index"][:, 0], 0, ("reward",))["reward"].shape == (200, 0)


def test_envs_advance_on_their_own(tmp_path):
    replay = make(tmp_path, envs=3)
    for step in range(40):
        envs = torch.tensor([0, 2]) if step % 3 else torch.tensor([2])
        replay.add(rows(step, envs), envs)
    assert replay.rows_per_env.tolist() == [20, 0, 20]
    batch = replay.sample(100, 4, torch.Generator().manual_seed(0))
    value = check_values(batch)
    assert set((value // 1000).flatten().tolist()) == {0, 2}
    steps = (value % 1000)[value[:, 0] < 1000]
    assert (steps % 3 != 0).all()  # env 0 skipped every third step and nothing replaces them
    assert set(steps.diff(dim=1).flatten().tolist()) == {1, 2}


def test_starts_are_uniform(tmp_path):
    replay = make(tmp_path, envs=2, window=12, slack=3)
    fill(replay, 0, 31)
    for step in range(31, 35):
        replay.add(rows(step, [1]), torch.tensor([1]))
    length, draws = 5, 16000
    starts = replay.sample(draws, length, torch.Generator().manual_seed(1))["reward"][:, 0]
    values, counts = starts.unique(return_counts=True)
    expected = [19 + k for k in range(8)] + [1023 + k for k in range(8)]
    assert values.tolist() == expected
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_starts_are_uniform_over_unequal_envs(tmp_path):
    replay = make(tmp_path, envs=2, window=12, slack=3)
    fill(replay, 0, 4)
    for step in range(4, 9):
        replay.add(rows(step, [1]), torch.tensor([1]))
    starts = replay.sample(8000, 4, torch.Generator().manual_seed(1))["reward"][:, 0]
    values, counts = starts.unique(return_counts=True)
    assert values.tolist() == [0, 1000, 1001, 1002, 1003, 1004, 1005]
    assert chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("recency", [2.0, 3.0])
def test_recent_starts_are_drawn_more_often(tmp_path, recency):
    """Place k of s, newest first, has the share ((k + 1) / s)^(1 / p) - (k / s)^(1 / p)."""
    replay = make(tmp_path, envs=2, window=12, slack=3)
    fill(replay, 0, 31)
    length, draws, places = 5, 16000, 8
    generator = torch.Generator().manual_seed(1)
    starts = replay.sample(draws, length, generator, recency)["reward"][:, 0]
    values, counts = starts.unique(return_counts=True)
    assert values.tolist() == [19 + k for k in range(8)] + [1019 + k for k in range(8)]
    edges = np.linspace(1, 0, places + 1) ** (1 / recency)
    share = -np.diff(edges) / 2
    assert chisquare(counts.numpy(), draws * np.tile(share, 2)).pvalue > 1e-3


@pytest.mark.parametrize("storage", STORAGES)
def test_write_back_changes_those_rows_only(tmp_path, storage):
    replay = make(tmp_path, storage=storage)
    fill(replay, 0, 30)
    batch = replay.sample(1, 4, torch.Generator().manual_seed(3))
    replay.write("recurrent", batch["index"], torch.full((1, 4, 5), -1.0))
    seen = replay.sample(400, 1, torch.Generator().manual_seed(4))
    changed = (seen["recurrent"] == -1).all(-1)
    assert torch.equal(changed, torch.isin(seen["index"], batch["index"]))
    with pytest.raises(ValueError, match="cannot be written"):
        replay.write("reward", batch["index"], batch["reward"])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("begin", [3, 19, 26, 45, 52, 61])
def test_going_back_to_a_state_after_a_kill(tmp_path, storage, begin):
    replay = make(tmp_path, storage=storage)
    fill(replay, 0, begin)
    state = replay.state_dict()
    before = draw(replay)
    fill(replay, begin, begin + 6)  # as many as the slack, into and over the end of the ring
    replay.write("recurrent", draw(replay)["index"], torch.zeros(300, 3, 5))
    replay.flush()
    reopened = make(tmp_path, storage=storage)
    assert len(reopened) == 0
    reopened.load_state_dict(state)
    after = draw(reopened)
    for name in before:
        assert torch.equal(before[name], after[name]), name
    fill(reopened, begin, begin + 40)  # the run continues
    assert check_values(draw(reopened)).max() % 1000 == begin + 39


def test_rows_overwritten_beyond_the_slack_are_left_out(tmp_path):
    replay = make(tmp_path)
    fill(replay, 0, 50)
    state = replay.state_dict()
    fill(replay, 50, 60)  # four more than the slack
    reopened = make(tmp_path)
    reopened.load_state_dict(state)
    assert reopened.rows_per_env.tolist() == [16] * 3
    value = check_values(reopened.sample(300, 2, torch.Generator().manual_seed(0)))
    assert (value % 1000).min() == 34 and (value % 1000).max() == 49
    fill(reopened, 50, 52)
    again = make(tmp_path)  # a second kill: the same rows are still known to be lost
    again.load_state_dict(state)
    assert again.rows_per_env.tolist() == [16] * 3


WRITER = """
import sys, torch
from aef_worldmodel.data.replay import Replay
sys.path.insert(0, {helpers!r})
from replays import make, fill
replay = make({path!r}, slack=10**4)
fill(replay, 0, 37)
torch.save(replay.state_dict(), {state!r})
print("saved", flush=True)
fill(replay, 37, 10**4)
"""


def test_a_killed_process_loses_nothing_older_than_its_checkpoint(tmp_path):
    state = tmp_path / "state.pt"
    code = WRITER.format(
        helpers=os.path.dirname(replays.__file__), path=str(tmp_path), state=str(state)
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "saved\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    replay = make(tmp_path, slack=10**4)
    replay.load_state_dict(torch.load(state, weights_only=True))
    value = check_values(replay.sample(300, 3, torch.Generator().manual_seed(0)))
    assert (value % 1000).min() == 17 and (value % 1000).max() == 36


def test_same_seed_same_sample(tmp_path):
    replay = make(tmp_path)
    fill(replay, 0, 15)
    a, b = (replay.sample(9, 4, torch.Generator().manual_seed(8))["index"] for _ in range(2))
    c = replay.sample(9, 4, torch.Generator().manual_seed(9))["index"]
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_too_few_rows(tmp_path):
    replay = make(tmp_path)
    fill(replay, 0, 3)
    with pytest.raises(ValueError, match=r"no environment has 4 rows.*longest has 3"):
        replay.sample(1, 4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"reward": torch.zeros(2)}, r"'reward' has shape \(2,\), expected \(3,\)"),
        ({"reward": None}, "rows have fields"),
    ],
)
def test_wrong_rows_are_refused(tmp_path, change, message):
    replay = make(tmp_path)
    bad = {k: v for k, v in {**rows(0, range(3)), **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        replay.add(bad)
    assert len(replay) == 0


@pytest.mark.parametrize("window", [20, 40], ids=["as it was", "grown"])
def test_short_and_missing_files_are_named(tmp_path, window):
    fill(make(tmp_path), 0, 3)
    for name, size in [("frame", 3744), ("written", 24)]:
        path = tmp_path / "replay" / f"{name}.bin"
        whole = path.read_bytes()
        path.write_bytes(whole[:20])
        with pytest.raises(UserError, match=rf"{name}\.bin is damaged: it has 20 bytes .* {size} "):
            make(tmp_path, window=window)
        path.unlink()
        with pytest.raises(UserError, match=rf"{name}\.bin is damaged: it has 0 bytes .* {size} "):
            make(tmp_path, window=window)
        assert not path.exists()
        path.write_bytes(whole)


def test_damaged_layout_is_named(tmp_path):
    make(tmp_path)
    (tmp_path / "replay" / "layout.json").write_text("{")
    with pytest.raises(UserError, match=r"layout\.json is damaged"):
        make(tmp_path)


def test_other_fields_and_sizes_are_refused(tmp_path):
    make(tmp_path)
    with pytest.raises(UserError, match=r"layout\.json has fields"):
        make(tmp_path, fields={**FIELDS, "reward": ((2,), torch.float32)})
    with pytest.raises(UserError, match=r"layout\.json has environments 3 but this run needs 4"):
        make(tmp_path, envs=4)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_ring_that_has_not_come_round_grows(tmp_path, storage):
    replay = make(tmp_path, storage=storage)
    fill(replay, 0, 26)
    state = replay.state_dict()
    larger = make(tmp_path, window=40, slack=9, storage=storage)
    larger.load_state_dict(state)
    assert larger.rows_per_env.tolist() == [20] * 3
    fill(larger, 26, 60)
    assert larger.rows_per_env.tolist() == [40] * 3
    value = check_values(draw(larger)) % 1000
    assert (value.diff(dim=1) == 1).all() and value.min() == 20 and value.max() == 59
    state = larger.state_dict()
    again = make(tmp_path, window=40, slack=9, storage=storage)
    again.load_state_dict(state)
    assert torch.equal(draw(again)["frame"], draw(larger)["frame"])


def test_a_ring_that_has_come_round_keeps_its_size(tmp_path):
    replay = make(tmp_path)
    fill(replay, 0, 27)
    state = replay.state_dict()
    for window, slack, kept in [(40, 6, 20), (10, 2, 24), (10, 16, 13), (10, 500, 13)]:
        other = make(tmp_path, window=window, slack=slack)
        other.load_state_dict(state)
        assert (other.rings.rows, other.rings.window) == (26, kept)
        assert other.rows_per_env.tolist() == [min(kept, 20)] * 3
        value = check_values(draw(other)) % 1000
        assert value.max() == 26 and value.min() == 27 - min(kept, 20)


def test_growing_survives_a_kill_before_its_end(tmp_path, monkeypatch):
    replay = make(tmp_path)
    fill(replay, 0, 10)
    state = replay.state_dict()
    monkeypatch.setattr(os, "replace", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(tmp_path, window=40)
    monkeypatch.undo()
    for window in (20, 40):
        other = make(tmp_path, window=window)
        other.load_state_dict(state)
        assert torch.equal(draw(other)["frame"], draw(replay)["frame"])


def test_state_of_another_replay_is_refused(tmp_path):
    replay = make(tmp_path / "a")
    fill(replay, 0, 4)
    state = replay.state_dict()
    with pytest.raises(UserError, match="older than the checkpoint"):
        make(tmp_path / "b").load_state_dict(state)
    with pytest.raises(UserError, match="does not fit"):
        make(tmp_path / "c", envs=2).load_state_dict(state)
    with pytest.raises(UserError, match="does not fit"):
        replay.load_state_dict({"count": state["count"], "size": state["size"]})


def test_small_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(0, 0, 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="smaller replay capacity"):
        make(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_full_disk_while_adding(tmp_path, monkeypatch):
    monkeypatch.setattr(memmap, "BLOCK_ROWS", 8)
    replay = make(tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"frame\.bin \(No space left on device\)"):
        fill(replay, 0, 1)
    assert len(replay) == 0
    monkeypatch.undo()
    fill(replay, 0, 1)
    assert len(replay) == 3


@pytest.mark.parametrize("arguments", [{"envs": 0}, {"window": 0}, {"slack": -1}])
def test_impossible_sizes(tmp_path, arguments):
    with pytest.raises(ValueError, match="a replay needs at least"):
        make(tmp_path, **arguments)
