"""A CSV of measurements, one row a thing measured, that grows and is never made twice."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from aef_worldmodel.errors import UserError, writing

Row = dict[str, str]


class Results:
    """Rows of a CSV, each the only one of its key.

    Args:
        path: the file; created with the first row.
        key: columns that say what was measured.

    Raises:
        UserError: the file is there and cannot be read, or has no such columns.
    """

    def __init__(self, path: str | Path, key: Sequence[str]):
        self.path, self.key, self.rows = Path(path), tuple(key), []
        if self.path.exists():
            try:
                with open(self.path, newline="") as file:
                    self.rows = list(csv.DictReader(file))
            except (OSError, ValueError) as error:
                raise UserError(f"cannot read {path} ({error}): give another file") from error
        if any(row.get(name) is None for row in self.rows for name in key):
            raise UserError(f"{path} is no table of this command (it lacks one of the columns "
                            f"{', '.join(key)}): give another file")  # fmt: skip

    def find(self, key: Mapping[str, object]) -> Row | None:
        """The row of that key, if it is there."""
        wanted = {name: str(key[name]) for name in self.key}
        same = (row for row in self.rows if wanted == {name: row[name] for name in self.key})
        return next(same, None)

    def add(self, row: Mapping[str, object]) -> None:
        """Appends a row. The file is replaced at once: a kill leaves the former one whole.

        Raises UserError if it cannot be written.
        """
        self.rows.append({name: written(value) for name, value in row.items()})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        temporary = self.path.with_name(self.path.name + ".tmp")
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "w", newline="") as file:
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)
            os.replace(temporary, self.path)


def written(value: object) -> str:
    """A value as it stands in the file: numbers with five digits."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def table(rows: Sequence[Row], columns: str, measures: Sequence[str]) -> str:
    """Measures down, values of the column `columns` across: mean +- standard deviation of the rows
    that have them."""
    heads = list(dict.fromkeys(row[columns] for row in rows))
    lines = [["", *heads]]
    for name in measures:
        found = [[r.get(name) for r in rows if r[columns] == head] for head in heads]
        values = [[float(value) for value in some if value] for some in found]
        lines.append([name, *map(_cell, values)])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines)


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    many = torch.tensor(values, dtype=torch.float64)
    return f"{many.mean():.3f}" + (f" +- {many.std():.3f}" if len(values) > 1 else "")
