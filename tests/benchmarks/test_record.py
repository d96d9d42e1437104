"""The table of returns: a run's evaluations with their provenance, once, and who is in the mean."""

import json

import pytest

from aef_worldmodel.utils.tables import Table
from agents.config import train as settings
from benchmarks import curves, record


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of two evaluations, in a folder with a table of one older row."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cheetah-0"
    folder.mkdir()
    config = settings.load(["env=cheetah-run", "seed=3", "hardware=cpu"])
    settings.save(folder / "config.yaml", config)
    facts = {"command": "python -m agents.train seed=3", "commit": "abc1234", "hardware": "a CPU"}
    (folder / "provenance.json").write_text(json.dumps(facts))
    counted = {"decisions": 5, "updates": 1, "minutes": 1.234567}
    table = Table(folder / "metrics.csv")
    table.add({"frames": 10, **counted, "train/return": 1.0})
    for frames, value in ((10_000, 12.345), (20_000, 23.456)):
        table.add({"frames": frames, **counted, "eval/return": value, "eval/std": 1.0})
    old = {"task": "cheetah-run", "agent": "imagination", "world_model": "partition", "seed": 3}
    Table(record.OUT).add({**old, "frames": 10_000, "in_mean": "true", "commit": "0f2081c"})
    return folder


def test_a_run_is_recorded_once_with_its_origin(run):
    for _ in range(2):
        record.main([str(run)])
    old, first, second = Table(record.OUT).rows
    assert old["commit"] == "0f2081c"
    assert first == {
        "task": "cheetah-run",
        "agent": "imagination",
        "world_model": "aef",
        "seed": "3",
        "frames": "10000",
        "in_mean": "true",
        "commit": "abc1234",
        "episodes": "10",
        "command": "python -m agents.train seed=3",
        "hardware": "a CPU",
        "decisions": "5",
        "updates": "1",
        "minutes": "1.23",
        "return": "12.3",
        "std": "1.0",
    }
    assert (second["frames"], second["return"]) == ("20000", "23.5")


def test_a_run_can_be_kept_out_of_the_mean(run):
    record.main([str(run)])
    record.main([str(run), "in_mean=false"])
    assert [row["in_mean"] for row in Table(record.OUT).rows] == ["true", "false", "false"]


def test_former_and_new_names_are_one_series_and_only_marked_runs_are_averaged(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    same = {"task": "walk", "agent": "imagination", "minutes": 1}
    runs = [("partition", 0, "true", 10), ("aef", 1, "true", 30), ("aef", 2, "false", 500)]
    for model, seed, in_mean, value in runs:
        row = {**same, "world_model": model, "seed": seed, "commit": "a", "in_mean": in_mean}
        for frames in (1_000, 2_000):
            Table("results/returns.csv").add(row | {"frames": frames, "return": value})
    (series,) = curves.ours("walk")
    assert series.label == "AEF world model (ours), latest settings, 2 runs"
    assert [run.returns for run in series.runs] == [[10, 10], [30, 30]]
    assert [run.returns for run in series.others] == [[500, 500]]
    curves.main(["walk"])
    assert (tmp_path / "docs" / "images" / "curve_walk.png").stat().st_size > 10_000
