"""Measurements as rows of a CSV that say which command, commit and machine they come from."""

import csv
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch


def hardware(device: str = "cpu") -> str:
    """The name of the GPU, or of the processor and how many of its cores this process may use."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = names[0].split(":")[1].strip() if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def commit() -> str:
    """The commit this runs from, marked if files differ from it; "unknown" outside a checkout."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


ORIGIN = ("hardware", "commit", "command")  # the columns that `write` adds


def check(path: Path | None, columns: Iterable[str]) -> None:
    """Sees that rows of these columns can be written, before they are measured.

    Raises:
        ValueError: the file holds another table.
    """
    if path is None or not path.exists():
        return
    with path.open(newline="") as file:
        found = next(csv.reader(file), [])
    if found != [*columns, *ORIGIN]:
        raise ValueError(f"{path} holds another table: give another file, or delete it.")


def write(path: Path, rows: Sequence[dict], command: str, device: str = "cpu") -> None:
    """Writes rows of equal columns into a CSV; former rows of the same command are replaced.

    Args:
        path: the file; it is made where there is none.
        command: what made the rows, e.g. "python -m envs.verify".
        device: what it ran on.

    Raises:
        ValueError: the file holds another table.
    """
    check(path, rows[0])
    origin = dict(zip(ORIGIN, (hardware(device), commit(), command), strict=True))
    rows = [{name: _written(value) for name, value in (row | origin).items()} for row in rows]
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row.get("command") != command]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept + rows)


def _written(value) -> str:
    """A value as it stands in the file: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
