"""Seeds: no world in two runs or two uses of one; old runs keep theirs."""

import itertools
import json

import pytest
import torch
from small_run import logger, make

import envs
from aef_worldmodel.utils.checkpoint import load_latest
from agents import collect
from agents.training import evaluations, seeds, snapshot
from agents.training.seeds import EVALUATION, HASHED, SPACED, TRAINING
from envs.seeds import LARGEST_SEED, env_seeds, hashed_seed


def test_a_thousand_seeds_of_all_streams_do_not_meet():
    first = [s.envs(seed, 0, 8) for seed in range(1000) for s in seeds.STREAMS.values()]
    later = [s.envs(seed, 8, 8) for seed in range(100) for s in seeds.STREAMS.values()]
    alone = list(range(1000))  # `envs.make(task, 8, seed=0)` and its neighbours
    worlds = [world for seed in first + later + alone for world in env_seeds(seed, 8)]
    count = len(seeds.STREAMS)
    assert len(set(worlds)) == len(worlds) == 8 * ((count + 1) * 1000 + count * 100)
    assert all(0 <= world < LARGEST_SEED for world in worlds)


def test_streams_have_numbers_of_their_own():
    numbers = [stream.number for stream in seeds.STREAMS.values()]
    assert sorted(numbers) == list(range(1, 12))  # a number is never given anew


def test_the_hash_is_the_same_on_every_machine_and_in_every_version():
    assert hashed_seed(0, 3, 20) == 2970862753064607019
    assert env_seeds(7, 2) == [3386250816931739734, 4042502035264064771]


def test_spaced_seeds_are_those_of_version_0_1():
    assert EVALUATION.envs(5, 30, 10, SPACED) == list(range(1_000_030, 1_000_040))
    assert seeds.COLLECTION.envs(3, 8, 2, SPACED) == [5_300_008, 5_300_009]
    assert seeds.EVOLUTION.envs(0, 40, 2, SPACED) == [7_000_040, 7_000_041]
    assert seeds.EVOLUTION_NOISE.of(1, 4, SPACED) == 9_000_004
    assert seeds.EVOLUTION_EVALUATION.envs(1, 0, 2, SPACED) == [8_000_000, 8_000_001]


@pytest.mark.parametrize("task", ["cheetah-run", "cartpole-swingup"])
def test_neighbouring_seeds_begin_in_other_worlds(task):
    options = {"threads": 1, "image_size": 32}
    pictures = [*(envs.make(task, 8, seed=s, **options).reset()[0] for s in (0, 1, 1_000_000))]
    env = envs.make(task, 8, seed=TRAINING.of(1_000_000), **options)
    pictures += [env.reset()[0], env.reset(seed=EVALUATION.of(1_000_000))[0]]
    for one, other in itertools.combinations(pictures, 2):
        assert not any(torch.equal(a, b) for a in one for b in other)


def evaluation_seeds(run, monkeypatch):
    """Return what the evaluation environments of a run are reset with, and its checkpoint."""
    given = []
    monkeypatch.setattr(
        evaluations, "run_episodes", lambda *args, **_: given.append(args[3]) or 1 / 0
    )
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run.evaluate(logger(run))
        run.evaluations += 1
    run.save(logger(run))
    return given, load_latest(run.run / "checkpoints")


def test_a_resumed_old_run_keeps_its_seeds(tmp_path, monkeypatch):
    count = (run := make(tmp_path)).config.eval.episodes
    given, found = evaluation_seeds(run, monkeypatch)
    assert found.meta["seeds"] == HASHED
    assert given == [EVALUATION.of(run.config.seed, k * count) for k in (0, 1)]
    del found.meta["seeds"]  # as version 0.1 saved it
    monkeypatch.setattr(snapshot, "load_checkpoint_of", lambda *_: found)
    old = make(tmp_path)
    old.restore()
    given, found = evaluation_seeds(old, monkeypatch)
    assert found.meta["seeds"] == SPACED
    begins = (1_000_000 + 2 * count, 1_000_000 + 3 * count)
    assert given == [list(range(begin, begin + count)) for begin in begins]


def test_an_old_recording_is_completed_with_its_seeds(tmp_path):
    info = {"format": 1, "env": {}, "policy": "random", "seed": 3, "worlds": 2}
    (tmp_path / "info.json").write_text(json.dumps(info))
    assert collect.check_same(tmp_path, info | {"seeds": HASHED}) == SPACED
    (tmp_path / "info.json").write_text(json.dumps(info | {"seeds": HASHED}))
    assert collect.check_same(tmp_path, info | {"seeds": HASHED}) == HASHED
