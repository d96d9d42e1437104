"""The table of all agents, made by its own command at tiny sizes."""

import csv

import pytest
from small_run import SMALL

from benchmarks import agents


@pytest.mark.slow
def test_one_command_makes_the_table(tmp_path, capsys):
    pytest.importorskip("cma")
    skipped = ("env=", "frames=", "agent.", "hardware=", "eval.every")
    words = [word for word in SMALL if not word.startswith(skipped)]
    words += [
        "env.action_repeat=100",
        "env.image_size=32",
        "hardware=cpu",
        "prefill=2000",
        "frames_per_update=2000",
        "eval.every=6000",
    ]
    quoted = ",".join(f"'{word}'" for word in words)
    asked = [
        "tasks=[cartpole-swingup]",
        "agents=[imagination,cmaes,mpc,random]",
        "frames=6000",
        "episodes=2",
        f"overrides=[{quoted}]",
        f"runs={tmp_path / 'runs'}",
        "hardware=cpu",
        "hardware.threads=1",
        f"out={tmp_path / 'table.csv'}",
    ]
    assert agents.main(asked) == 0
    with open(tmp_path / "table.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["agent"] for row in rows] == ["imagination", "cmaes", "mpc", "random"]
    for row in rows:
        assert 0 <= float(row["return"]) <= 1000
        assert float(row["decisions_per_s"]) > 0 and float(row["encoder_frames_per_s"]) > 0
    with open(tmp_path / "table_curves.csv", encoding="utf-8") as file:
        curve = list(csv.DictReader(file))
    assert {row["agent"] for row in curve} == {"imagination", "cmaes"}
    assert {int(row["trained_frames"]) for row in curve} == {6000}
    assert max(int(row["frames"]) for row in curve) >= 6000
    before = (tmp_path / "table.csv").read_text()
    assert agents.main(asked) == 0  # nothing is left to do
    assert (tmp_path / "table.csv").read_text() == before
    assert "training_minutes" in capsys.readouterr().out
