"""Tables: what is written comes back, a kill costs one line, other damage is refused."""

import errno
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aef_worldmodel.utils import files
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table, as_cell, compare, open_metrics, read_metrics

RESULTS = sorted((Path(__file__).parents[3] / "results").rglob("*.csv"))


def test_columns_grow(tmp_path):
    path = tmp_path / "deep" / "metrics.csv"
    table = open_metrics(path, "frames")
    table.add({"frames": 1, "loss": 0.5})
    table.add({"frames": 2, "eval/return": 7.25})
    table.add({"loss": math.nan, "frames": 3})
    assert path.read_text() == "frames,loss,eval/return\n1,0.5,\n2,,7.25\n3,nan,\n"
    first, second, third = read_metrics(path)
    assert first == {"frames": 1, "loss": 0.5}
    assert second == {"frames": 2, "eval/return": 7.25}
    assert third["frames"] == 3 and math.isnan(third["loss"])


rows = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "c,d", 'e"f']),
        st.integers(-(10**9), 10**9) | st.integers(-1000, 1000).map(lambda k: k / 8),
        max_size=4,
    ),
    max_size=6,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=rows, after=st.integers(-1, 6))
def test_what_is_written_is_read_back_up_to_a_moment(tmp_path, rows, after):
    path = tmp_path / "metrics.csv"
    numbered = [{"frames": i, **row} for i, row in enumerate(rows)]
    table = open_metrics(path, "frames")
    for row in numbered:
        table.add(row)
    assert read_metrics(path) == numbered
    resumed = open_metrics(path, "frames", after=after)
    resumed.add({"frames": 100})
    assert read_metrics(path) == [*numbered[: after + 1], {"frames": 100}]


def test_a_number_keeps_seven_digits():
    values = {
        0.1 + 0.2: "0.3",
        1 / 3: "0.3333333",
        123456789.0: "1.234568e+08",
        10**9: "1000000000",
    }
    assert {value: as_cell(value) for value in values} == values
    others = {10**9: "1000000000", True: "True", None: "", "a\nb": "a b"}
    assert {value: as_cell(value) for value in others} == others
    assert [as_cell(v) for v in (np.float32(1 / 3), np.int64(3))] == ["0.3333333", "3"]


def test_an_appended_row_does_not_rewrite_the_file(tmp_path, monkeypatch):
    table = open_metrics(tmp_path / "metrics.csv", "frames")
    table.add({"frames": 1, "loss": 2.0})
    monkeypatch.setattr(files.os, "replace", lambda *_: pytest.fail("rewritten"))
    table.add({"loss": 3.0, "frames": 2})
    assert len(read_metrics(tmp_path / "metrics.csv")) == 2


@pytest.mark.parametrize("end", ["3,7", '3,"7', "3", "\x00\x00"])
def test_a_last_line_that_was_cut_short_is_dropped(tmp_path, end):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"frames,loss\r\n1,0.5\r\n2,0.25\r\n" + end.encode())
    assert [row["frames"] for row in read_metrics(path, "frames")] == [1, 2]
    open_metrics(path, "frames", after=2).add({"frames": 4, "loss": 1.0})
    assert path.read_text() == "frames,loss\n1,0.5\n2,0.25\n4,1\n"


def test_a_character_cut_in_two_is_dropped_with_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("name\nä\nö".encode()[:-1])
    assert Table(path).rows == [{"name": "ä"}]


@pytest.mark.parametrize(
    "damage, says",
    [
        ('frames,loss\n1,"0.5\n2,0.25\n', "line 2: unexpected end of data"),
        ("frames,loss\n1,0.5,3\n2,0.25\n", "line 2 has 3 cells, not 2"),
        ("frames,loss\n1\n2,0.25\n", "line 2 has 1 cells, not 2"),
        ("frames,loss\n1,much\n2,0.25\n", "could not convert string to float: 'much'"),
        ("frames,loss\n1,0.5\n,0.25\n", "a row has no frames"),
        ("loss\n0.5\n", "a row has no frames"),
        ("frames,frames\n1,2\n", "line 1 names a column twice"),
    ],
)
def test_other_damage_is_refused_and_the_file_left_alone(tmp_path, damage, says):
    path = tmp_path / "metrics.csv"
    path.write_text(damage)
    with pytest.raises(UserError) as caught:
        open_metrics(path, "frames", after=1)
    assert str(caught.value).startswith(f"{path} is damaged ({says}")
    assert "restore it, or delete it" in str(caught.value)
    assert path.read_text() == damage


def test_bytes_that_are_no_text_and_folders_are_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"frames\n\xff\n")
    with pytest.raises(UserError, match="is damaged"):
        read_metrics(path)
    with pytest.raises(UserError, match="cannot read"):
        Table(tmp_path)


def test_rows_are_unique_by_key(tmp_path):
    path = tmp_path / "deep" / "x.csv"
    table = Table(path, ("model", "rate"))
    table.add({"model": "aef", "rate": 0.5, "bits": 3.25})
    table.add({"model": "vae", "rate": 0.5, "bits": 3.5}, {"model": "aef", "rate": 1.0, "bits": 4})
    again = Table(path, ("model", "rate"))
    assert again.rows == table.rows
    assert again.find({"model": "aef", "rate": 1.0, "more": 2}) == table.rows[2]
    assert again.find({"model": "aef", "rate": 2}) is None
    again.add({"model": "aef", "rate": 0.5, "bits": 1.0})
    assert path.read_text() == "model,rate,bits\nvae,0.5,3.5\naef,1,4\naef,0.5,1\n"


def test_an_empty_cell_of_the_key_is_a_value(tmp_path):
    path = tmp_path / "x.csv"
    Table(path, ("run", "settings")).add({"run": "a", "settings": "", "return": 1})
    found = Table(path, ("run", "settings")).find({"run": "a", "settings": ""})
    assert found is not None and found["return"] == "1"


def test_a_table_of_another_command_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("name\n1\n")
    with pytest.raises(UserError, match="has no column task or seed"):
        Table(tmp_path / "other.csv", ("task", "seed"))


def test_removed_rows_leave_the_file(tmp_path):
    table = Table(tmp_path / "x.csv")
    table.add({"a": 1}, {"a": 2}, {"a": 3})
    table.remove(lambda row: row["a"] == "2")
    assert (tmp_path / "x.csv").read_text() == "a\n1\n3\n"


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    table = Table(tmp_path / "x.csv")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(UserError, match=r"could not write .*x\.csv \(No space left"):
        table.add({"a": 1})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_the_kept_results_are_tables(path):
    table = Table(path)
    assert table.rows and all(list(row) == table.columns for row in table.rows)


def test_compare_shows_mean_and_spread():
    rows = [
        {"model": "aef", "bits": "3", "body": ""},
        {"model": "vae", "bits": "4", "body": "7"},
        {"model": "aef", "bits": "5", "body": ""},
    ]
    std = torch.tensor([3.0, 5.0]).std()
    assert compare(rows, "model", ["bits", "body"]).splitlines() == [
        "      aef             vae",
        f"bits  4.000 +- {std:.3f}  4.000",
        "body  -               7.000",
    ]


def test_names_of_an_ascii_locale_are_written_as_utf8(tmp_path):
    name = "b\u00e4r"
    escaped = name.encode().decode("ascii", "surrogateescape")  # as sys.argv spells it there
    table = Table(tmp_path / "x.csv", ["run"])
    table.add({"run": escaped})
    assert Table(tmp_path / "x.csv", ["run"]).find({"run": name}) and table.find({"run": escaped})
