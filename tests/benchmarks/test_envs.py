"""The benchmark of environments: its rows, and the code a GPU would run, on the CPU."""

import pytest

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from benchmarks import envs as benchmark


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Return a function: the rows that words of the command line write, dm_control left out."""
    monkeypatch.setattr(benchmark, "REFERENCES", ())
    out = tmp_path / "rows.csv"

    def made(*words):
        benchmark.main([*words, f"out={out}"])
        return Table(out).rows

    return made


def check(row):
    """Rates and times are positive; nothing is compared with."""
    assert float(row["decisions_per_s"]) > 0 and float(row["cpu_ms_per_decision"]) > 0
    parts = [float(row[name]) for name in ("physics_ms", "pictures_ms", "reset_ms")]
    assert min(parts) > 0 and row["ratio"] == "" and row["commit"]


def test_rows_of_the_c_engine(rows):
    words = ("task=pendulum-swingup", "seconds=0.05")
    found = rows(*words, "sizes=[1,4x2]", "samples=[1,2]")
    sizes = [(r["engine"], r["worlds"], r["threads"], r["rays"]) for r in found]
    small, large = ("c", "1", "1"), ("c", "4", "2")
    assert sizes == [(*size, n) for n in "12" for size in (small, large)]
    for row in found:
        check(row)
    *others, again = rows(*words, "sizes=[1]", "samples=[1]")  # replaces the row of that size
    assert others == found[1:] and (again["worlds"], again["rays"]) == ("1", "1")


@pytest.mark.slow
def test_rows_of_the_warp_engine(rows):
    words = ("task=pendulum-swingup", "seconds=0.1", "engine=warp", "sizes=[2]", "samples=[2]")
    (row,) = rows(*words)
    assert (row["engine"], row["worlds"]) == ("warp", "2")
    check(row)


def test_sizes_before_a_failure_are_kept(rows, monkeypatch, tmp_path):
    def full(asked, count, threads, samples):
        if count > 8:
            raise MemoryError
        return benchmark.row("warp", count, 1, 1.0, 1.0, samples)

    monkeypatch.setattr(benchmark, "ours", full)
    with pytest.raises(MemoryError):
        rows("sizes=[4,8,16]", "samples=[1]")
    assert [row["worlds"] for row in Table(tmp_path / "rows.csv").rows] == ["4", "8"]


def test_rates_are_compared_with_the_references(monkeypatch):
    base = benchmark.row("dm_control default", 1, 1, 50.0, 0.02)
    monkeypatch.setattr(benchmark, "references", lambda asked: [base])
    monkeypatch.setattr(
        benchmark, "ours", lambda asked, n, t, s: benchmark.row("c", n, t, 400.0, 0.002, s)
    )
    first, second = benchmark.run(benchmark.EnvsConfig(sizes=("8x1",), samples=(2,)), None, {})
    assert (first["ratio"], first["cpu_ratio"]) == (1, 1)
    assert second["ratio"] == 8 and second["cpu_ratio"] == pytest.approx(10)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("task=cheetah", "cheetah"), ("sizes=[8by2]", "8by2 is wrong"), ("seconds=0", "above 0")],
)
def test_wrong_words_are_refused(rows, word, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        rows(word)
    assert not (tmp_path / "rows.csv").exists()
