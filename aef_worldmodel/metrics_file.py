"""A CSV of measurements that grows while a run lasts, and after it is resumed."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from aef_worldmodel.errors import UserError

Row = dict[str, float]


class MetricsFile:
    """Rows of numbers by name; a name that is new adds a column, what a row lacks stays empty.

    Every row is on disk when `write` returns. A line that a kill cut short is dropped on opening.

    Args:
        path: the file; created with the first row.
        key: the column that orders rows, for instance "frames".
        after: rows whose key is above this are dropped, because the run went back to a checkpoint
            of that moment; None drops every row.

    Raises:
        OSError: the file cannot be written.
        UserError: the file is there and its rows have no such key.
    """

    def __init__(self, path: str | Path, key: str = "frames", after: float | None = None) -> None:
        self.path = Path(path)
        rows = [] if after is None else [r for r in read_metrics(path, key) if r[key] <= after]
        self.columns = list(dict.fromkeys(name for row in rows for name in row))
        if self.path.exists():
            self._rewrite(rows)

    def write(self, row: Mapping[str, float]) -> None:
        """Append a row."""
        new = [name for name in row if name not in self.columns]
        if new:
            rows = read_metrics(self.path)
            self.columns += new
            self._rewrite(rows)
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerow(self._cells(row))

    def _rewrite(self, rows: list[Row]) -> None:
        temporary = self.path.with_suffix(".tmp")
        with open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([self.columns, *(self._cells(row) for row in rows)])
        os.replace(temporary, self.path)

    def _cells(self, row: Mapping[str, float]) -> list[str]:
        return [_written(row[name]) if name in row else "" for name in self.columns]


def read_metrics(path: str | Path, key: str | None = None) -> list[Row]:
    """Rows of a metrics file, without empty cells and without lines that were cut short.

    Raises UserError for a file that holds something else, or whose rows lack the column `key`.
    """
    if not Path(path).exists():
        return []
    text = Path(path).read_text(errors="replace")
    whole = text[: text.rfind("\n") + 1]
    lines = list(csv.reader(whole.splitlines()))
    names = lines[0] if lines else []
    rows = [line for line in lines[1:] if len(line) == len(names)]
    try:
        found = [{n: _number(c) for n, c in zip(names, row) if c != ""} for row in rows]
        if key is not None and not all(key in row for row in found):
            raise ValueError(f"a row has no {key}")
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or delete it to go on without "
                        "what it recorded") from error  # fmt: skip
    return found


def _written(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.7g}"


def _number(cell: str) -> float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)
