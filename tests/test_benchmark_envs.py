"""The benchmark of environments: its rows, and the code a GPU would run, on the CPU."""

import csv

import pytest

from benchmarks import envs as benchmark


def rows(monkeypatch, tmp_path, *words):
    """What the command line writes, dm_control left out."""
    out = tmp_path / "rows.csv"
    monkeypatch.setattr(benchmark, "REFERENCES", ())
    monkeypatch.setattr("sys.argv", ["benchmarks.envs", *words, "--out", str(out)])
    benchmark.main()
    return list(csv.DictReader(out.open()))


def check(row):
    """Rates and times are positive; nothing is compared with."""
    assert float(row["decisions_per_s"]) > 0 and float(row["cpu_ms_per_decision"]) > 0
    parts = [float(row[name]) for name in ("physics_ms", "pictures_ms", "reset_ms")]
    assert min(parts) > 0 and row["ratio"] == "" and row["commit"]


def test_rows_of_the_c_engine(monkeypatch, tmp_path):
    words = ("pendulum-swingup", "--seconds", "0.1", "--worlds", "1", "4x2")
    found = rows(monkeypatch, tmp_path, *words)
    sizes = [(r["engine"], r["worlds"], r["threads"], r["rays"]) for r in found]
    small, large = ("c", "1", "1"), ("c", "4", "2")
    assert sizes == [(*size, n) for n in "124" for size in (small, large)]
    for row in found:
        check(row)


@pytest.mark.slow
def test_rows_of_the_warp_engine(monkeypatch, tmp_path):
    words = ("pendulum-swingup", "--seconds", "0.1", "--engine", "warp", "--worlds", "2")
    words += ("--rays", "2")
    (row,) = rows(monkeypatch, tmp_path, *words)
    assert (row["engine"], row["worlds"]) == ("warp", "2")
    check(row)


def test_sizes_kept_before_a_failure(monkeypatch, tmp_path):
    def full(task, worlds, *rest):
        if worlds > 8:
            raise MemoryError
        return benchmark.row("warp", worlds, 1, 1.0, 1.0)

    monkeypatch.setattr(benchmark, "ours", full)
    with pytest.raises(MemoryError):
        rows(monkeypatch, tmp_path, "--worlds", "4", "8", "16", "--rays", "1")
    kept = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert [row["worlds"] for row in kept] == ["4", "8"]
