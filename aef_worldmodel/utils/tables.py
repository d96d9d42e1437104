"""CSV tables: rows that grow while a run lasts, and rows that are unique by what they measure."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from aef_worldmodel.utils.errors import UserError, reason, writing
from aef_worldmodel.utils.files import LARGEST_TABLE, as_utf8, atomic_write, read_bytes

DIGITS = 7  # significant digits of a number in a table; a float32 has about as many

Row = dict[str, str]
Numbers = dict[str, float]


class Table:
    """Rows of a CSV file, all on the disk when a method returns.

    A row may have new columns; cells that a row lacks stay empty. A row is appended as one line
    where that is possible, else the file is replaced at once: a kill costs the line that was being
    written and no other.

    Args:
        path: the file; created with the first row.
        key: columns that identify a row, for `find` and `add`; empty if rows need not differ.

    Attributes:
        columns: names of the columns.
        rows: every row as text.

    Raises:
        UserError: the file cannot be read, is damaged other than by a last line without an end,
            or lacks a column of `key`.
    """

    def __init__(self, path: str | Path, key: Sequence[str] = ()) -> None:
        self.path, self.key = Path(path), tuple(key)
        self.columns, self.rows, self._appendable = _read(self.path)
        lacking = [name for name in self.key if name not in self.columns]
        if self.columns and lacking:
            raise UserError(
                f"{path} has no column {' or '.join(lacking)}, so this command did not write it: "
                "give another file"
            )

    def find(self, key: Mapping[str, object]) -> Row | None:
        """Return the row whose key columns equal those of `key`, or None."""
        wanted = self._key(_as_text(key))
        return next((row for row in self.rows if self._key(row) == wanted), None)

    def add(self, *rows: Mapping[str, object]) -> None:
        """Add rows; a row replaces the one with the same key.

        Raises UserError if the file cannot be written.
        """
        new = [_as_text(row) for row in rows]
        keys = {self._key(row) for row in new} if self.key else set()
        kept = [row for row in self.rows if self._key(row) not in keys]
        added = [name for row in new for name in row if name not in self.columns]
        appends = self._appendable and len(kept) == len(self.rows) and not added
        self.columns += dict.fromkeys(added)
        self.rows = kept + new
        if appends:
            self._append(new)
        else:
            self._rewrite()

    def remove(self, unwanted: Callable[[Row], bool]) -> None:
        """Remove the rows for which `unwanted` is true.

        Raises UserError if the file cannot be written.
        """
        kept = [row for row in self.rows if not unwanted(row)]
        if len(kept) < len(self.rows):
            self.rows = kept
            self._rewrite()

    def _key(self, row: Row) -> tuple[str, ...]:
        return tuple(row.get(name, "") for name in self.key)

    def _append(self, rows: Iterable[Row]) -> None:
        with writing(self.path), open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(self._lines(rows))

    def _rewrite(self) -> None:
        with atomic_write(self.path) as file:
            file.write(_line(self.columns) + self._lines(self.rows))
        self._appendable = True

    def _lines(self, rows: Iterable[Row]) -> str:
        return "".join(_line([row.get(name, "") for name in self.columns]) for row in rows)


def open_metrics(path: str | Path, key: str, after: float | None = None) -> Table:
    """Open the metrics of a run, to add rows to them.

    Args:
        path: the file; created with the first row.
        key: the column that orders rows, for instance "frames".
        after: rows whose key is above this are removed, because the run went back to a checkpoint
            of that moment; None starts a new file.

    Raises:
        UserError: the file cannot be read or written, or is damaged.
    """
    if after is None:
        with writing(path):
            Path(path).unlink(missing_ok=True)
    read_metrics(path, key)  # refuse what are not numbers, before anything is removed
    table = Table(path)
    if after is not None:
        table.remove(lambda row: float(row[key]) > after)
    return table


def read_metrics(path: str | Path, key: str | None = None) -> list[Numbers]:
    """Return the rows of a metrics file as numbers, without empty cells; [] without a file.

    Raises:
        UserError: the file is damaged, holds something else, or has rows without the column `key`.
    """
    rows = Table(path).rows
    try:
        found = [{name: _number(cell) for name, cell in row.items() if cell} for row in rows]
        if key is not None and not all(key in row for row in found):
            raise ValueError(f"a row has no {key}")
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return found


def as_cell(value: object) -> str:
    """Return a value as the text of a cell: numbers with `DIGITS` digits, None empty."""
    if value is None:
        return ""
    fraction = isinstance(value, float | np.floating)
    text = f"{value:.{DIGITS}g}" if fraction else str(value)
    return " ".join(as_utf8(text).splitlines())  # a row is a line


def compare(rows: Sequence[Row], across: str, measures: Sequence[str]) -> str:
    """Return a text table for the terminal: mean +- standard deviation of measures.

    Args:
        rows: the rows; a measure is taken over those that have it.
        across: the column whose values head the columns of the text.
        measures: the columns that become its lines.
    """
    heads = list(dict.fromkeys(row[across] for row in rows))
    lines = [["", *heads]]
    for name in measures:
        found = [[r.get(name) for r in rows if r[across] == head] for head in heads]
        lines.append([name, *(_mean([float(v) for v in values if v]) for values in found)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def _mean(values: list[float]) -> str:
    if not values:
        return "-"
    spread = f" +- {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _as_text(row: Mapping[str, object]) -> Row:
    return {name: as_cell(value) for name, value in row.items()}


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _read(path: Path) -> tuple[list[str], list[Row], bool]:
    """Return columns, rows, and whether the file can be appended to."""
    try:
        data = read_bytes(path, LARGEST_TABLE)
    except FileNotFoundError:
        return [], [], False
    except OSError as error:
        raise UserError(f"cannot read {path} ({reason(error)}): give another file") from error
    whole = data[: data.rfind(b"\n") + 1]  # without a last line that was cut short
    try:
        lines = whole.decode("utf-8").split("\n")
        numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
        cells = [_cells(i, line.removesuffix("\r")) for i, line in numbered]
        columns = cells[0] if cells else []
        if len(set(columns)) < len(columns):
            raise ValueError("line 1 names a column twice")
        for (i, _), row in zip(numbered, cells, strict=True):
            if len(row) != len(columns):
                raise ValueError(f"line {i} has {len(row)} cells, not {len(columns)}")
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    rows = [dict(zip(columns, row, strict=True)) for row in cells[1:]]
    return columns, rows, bool(columns) and len(whole) == len(data)


def _cells(number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise ValueError(f"line {number}: {error}") from error


def _damaged(path: str | Path, how: str) -> UserError:
    return UserError(
        f"{path} is damaged ({how}): restore it, or delete it to go on without what it recorded"
    )


def _number(cell: str) -> float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)
