"""Rows that are held out are never sampled; the others are, as if there were no such rows."""

import pytest
import replays
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replays import FIELDS, STORAGES, check_values, fill, make

from aef_worldmodel.data.replay import HELD_OUT

KEPT = FIELDS | {HELD_OUT: ((), torch.bool)}


def add(replay, begin, end, flag):
    """Add rows whose flags are `flag(environment, step)`."""
    for step in range(begin, end):
        envs = range(replay.num_envs)
        flags = torch.tensor([flag(env, step) for env in envs])
        replay.add(replays.rows(step, envs) | {HELD_OUT: flags})


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_sequences_are_all_of_one_kind_and_every_place_is_found(tmp_path_factory, data):
    added, length = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 6))
    pattern = data.draw(st.lists(st.booleans(), min_size=1, max_size=20))
    replay = make(tmp_path_factory.mktemp("replay"), 2, fields=KEPT, storage="memory")

    def flag(env, step):
        return pattern[(step + 3 * env) % len(pattern)]

    add(replay, 0, added, flag)
    for held_out in (False, True):
        possible = {
            1000 * env + start
            for env in range(2)
            for start in range(max(0, added - 20), added - length + 1)
            if all(flag(env, start + k) == held_out for k in range(length))
        }
        assert replay.can_sample(length, held_out) == bool(possible)
        if not possible:
            with pytest.raises(ValueError, match="to sample"):
                replay.sample(4, length, held_out=held_out)
            continue
        generator = torch.Generator().manual_seed(0)
        drawn = replay.sample(600, length, generator, held_out=held_out)
        value = check_values(drawn)
        assert (value.diff(dim=1) == 1).all() and (drawn[HELD_OUT] == held_out).all()
        assert set(value[:, 0].tolist()) == possible  # 600 draws of at most 40 places
        newer = replay.sample(300, length, generator, recency=3.0, held_out=held_out)
        assert (newer[HELD_OUT] == held_out).all()


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("recency", [1.0, 3.0])
def test_where_nothing_is_held_out_the_draws_are_those_without_the_field(
    tmp_path, storage, recency
):
    plain = make(tmp_path / "plain", storage=storage)
    kept = make(tmp_path / "kept", storage=storage, fields=KEPT)
    fill(plain, 0, 33)
    add(kept, 0, 33, lambda env, step: False)
    draws = [r.sample(50, 4, torch.Generator().manual_seed(3), recency) for r in (plain, kept)]
    assert all(torch.equal(draws[0][name], draws[1][name]) for name in draws[0])


@pytest.mark.parametrize("storage", STORAGES)
def test_the_flags_survive_a_kill(tmp_path, storage):
    def flag(env, step):
        return (step // 4 + env) % 3 == 0

    replay = make(tmp_path, storage=storage, fields=KEPT)
    add(replay, 0, 31, flag)
    state = replay.state_dict()
    before = replay.sample(40, 3, torch.Generator().manual_seed(1), held_out=True)
    newest = replay.newest(HELD_OUT)
    add(replay, 31, 35, lambda env, step: True)  # written after the checkpoint, then lost
    again = make(tmp_path, storage=storage, fields=KEPT)
    again.load_state_dict(state)
    after = again.sample(40, 3, torch.Generator().manual_seed(1), held_out=True)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(again.newest(HELD_OUT), newest)
    assert newest.tolist() == [flag(env, 30) for env in range(3)]
