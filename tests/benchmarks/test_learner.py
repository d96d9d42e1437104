"""The time of an update: its parts, and beside another revision."""

import subprocess

import pytest

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from benchmarks import learner

WORDS = ["rounds=1", "hardware=cpu", "hardware.threads=1", "hardware.precision=float32"]
WORDS.append("hardware.compile=false")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Batches of a few rows."""
    monkeypatch.setattr(learner, "SIZE", 2)
    monkeypatch.setattr(learner, "LENGTH", 6)


def test_every_part_of_an_update_is_measured(tmp_path, capsys):
    out = tmp_path / "rows.csv"
    learner.main([*WORDS, f"out={out}"])
    rows = Table(out).rows
    parts = {row["what"].split(",")[0] for row in rows}
    assert parts == {"encoder", "decoder", "update"} and len(rows) == 12
    assert all(float(row["ms"]) > 0 for row in rows)
    assert "learning alone allows" in capsys.readouterr().out


@pytest.mark.skipif(not (learner.ROOT / ".git").exists(), reason="not a git checkout")
def test_another_revision_is_measured_beside_this_checkout(tmp_path, capsys):
    out = tmp_path / "rows.csv"
    learner.main([*WORDS, "against=HEAD", "updates=1", f"out={out}"])
    times = {row["what"]: float(row["ms"]) for row in Table(out).rows}
    for version in ("update", "update at HEAD"):
        parts = [value for what, value in times.items() if what.startswith(f"{version}, ")]
        assert len(parts) == 5 and sum(parts) == pytest.approx(times[version])
        assert times[f"{version}, products"] > 0
    assert times["limit of one thread"] > 0
    printed = capsys.readouterr().out
    assert "ratio" in printed and "GFLOP an update" in printed
    words = ["git", "worktree", "list"]
    trees = subprocess.run(words, cwd=learner.ROOT, capture_output=True, text=True)
    assert "/tree " not in trees.stdout


def test_an_unknown_revision_is_refused():
    with pytest.raises(UserError, match="against=nowhere cannot be checked out"):
        learner.main([*WORDS, "against=nowhere"])


def test_a_process_that_ends_early_is_reported(tmp_path):
    asked = learner.LearnerConfig(
        hardware=learner.HardwareConfig(threads=1, precision="float32", compile=False)
    )
    with (
        learner.Worker("an empty folder", tmp_path, asked.hardware) as worker,
        pytest.raises(UserError, match="the updates of an empty folder ended early"),
    ):
        worker.seconds(1)
