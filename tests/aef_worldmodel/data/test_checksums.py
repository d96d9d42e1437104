"""Checksums of a replay buffer: what was written is read back or refused."""

import random
import shutil

import pytest
import torch
from replays import STORAGES, draw, fill, make, rows

from aef_worldmodel.utils.errors import UserError


def saved(path, steps=30, **options):
    """Return the state of a replay that came round, and what it samples."""
    replay = make(path, **options)
    fill(replay, 0, steps)
    return replay.state_dict(), draw(replay)


def same(first, second):
    return all(torch.equal(first[name].cpu(), second[name].cpu()) for name in first)


def damage(path, rng):
    """Flip a bit, zero or cut a part, or exchange two parts of a file."""
    data = bytearray(path.read_bytes())
    at, size = rng.randrange(len(data)), rng.randint(1, max(1, len(data) // 4))
    kind = rng.choice(["flip", "zero", "cut", "swap"])
    if kind == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "zero":
        data[at : at + size] = bytes(len(data[at : at + size]))
    elif kind == "cut":
        del data[at:]
    else:
        size = min(size, len(data) // 2)
        data[:size], data[-size:] = data[-size:], data[:size]
    path.write_bytes(data)


@pytest.mark.parametrize("storage", STORAGES[:2])
def test_a_damaged_file_is_refused_or_changes_nothing(tmp_path, storage):
    rng, refused = random.Random(0), 0
    state, expected = saved(tmp_path / "whole", storage=storage)
    for i in range(120):
        copy = tmp_path / str(i)
        shutil.copytree(tmp_path / "whole", copy)
        damage(rng.choice(sorted((copy / "replay").iterdir())), rng)
        try:
            again = make(copy, storage=storage)
            again.load_state_dict(state)
        except UserError as error:
            assert str(copy) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert same(draw(again), expected)
        shutil.rmtree(copy)
    assert 60 < refused < 120


def test_a_replay_of_another_run_is_refused(tmp_path):
    state, _ = saved(tmp_path / "one")
    replay = make(tmp_path / "two")
    for step in range(30):
        replay.add(rows(step + 1, range(replay.num_envs)))
    replay.state_dict()
    shutil.rmtree(tmp_path / "one")
    (tmp_path / "two").rename(tmp_path / "one")
    with pytest.raises(UserError, match=r"is damaged \(its rows changed since the checkpoint\)"):
        make(tmp_path / "one").load_state_dict(state)


def test_a_replay_without_checksums_gets_them(tmp_path):
    state, expected = saved(tmp_path)
    state.pop("digest")
    (tmp_path / "replay" / "checksum.bin").unlink()
    replay = make(tmp_path)
    replay.load_state_dict(state)
    assert same(draw(replay), expected)
    state = replay.state_dict()
    again = make(tmp_path)
    again.load_state_dict(state)
    assert same(draw(again), expected)
    frames = tmp_path / "replay" / "frame.bin"
    frames.write_bytes(frames.read_bytes()[:-48] + bytes(48))
    with pytest.raises(UserError, match="1 rows of environment 2 changed"):
        make(tmp_path).load_state_dict(state)
