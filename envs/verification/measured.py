"""Measurements as rows of a CSV file with their hardware, commit and command."""

import csv
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from envs.checks import cores

ORIGIN = ("hardware", "commit", "command")  # columns that `write` adds


def hardware(device: str = "cpu") -> str:
    """Return the GPU, or the processor and the number of its cores that this process may use."""
    cuda = torch.device(device).type == "cuda"
    return processor(device) if cuda else f"{processor(device)}, {cores()} cores"


def processor(device: str = "cpu") -> str:
    """Return the name of the GPU or of the processor."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """Return the checkout's short commit; "unknown" outside a checkout.

    A "+" follows if files under version control differ from the commit.
    """
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def check(path: Path | None, columns: Iterable[str]) -> None:
    """Check that rows of these columns can be written, before they are measured.

    Raises:
        ValueError: the file holds another table.
    """
    if path is None or not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file), [])
    if header != [*columns, *ORIGIN]:
        raise ValueError(f"{path} holds another table: give another file, or delete it.")


def write(path: Path, rows: Sequence[dict], command: str, device: str = "cpu") -> None:
    """Write rows of equal columns to a CSV file; earlier rows of the same command are replaced.

    Args:
        path: the file; it is created if missing.
        rows: column to value.
        command: the command that made the rows, e.g. "python -m envs.verify".
        device: the device it ran on.

    Raises:
        ValueError: the file holds another table.
    """
    check(path, rows[0])
    origin = dict(zip(ORIGIN, (hardware(device), commit(), command), strict=True))
    rows = [{name: _text(value) for name, value in (row | origin).items()} for row in rows]
    others = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            others = [row for row in csv.DictReader(file) if row.get("command") != command]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(others + rows)


def _text(value: Any) -> str:
    """Return a value as the file holds it: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
