"""One live table of a study: what runs, how far it is, and when it will be done."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from aef_worldmodel.utils.progress import duration
from agents.study.schedule import Entry
from agents.study.state import Progress, progress, trained_frames

INTERVAL = 60.0  # seconds between plain lines, where there is no terminal
REDRAWN = 2.0  # seconds between drawings in a terminal
HEADS = ("arm", "task", "seed", "state", "frames", "return", "left")


class Board:
    """Shows a study's entries. Use it as a context manager.

    In a terminal the table is redrawn in place; elsewhere a line is printed when an entry changes
    its state, and a summary now and then.

    Args:
        jobs: trainings side by side, for the time that is left.
        console: where to write; standard output if None.
    """

    def __init__(self, jobs: int, console: Console | None = None) -> None:
        self.jobs, self.console = jobs, console or Console()
        self._live = Live(console=self.console, auto_refresh=False)
        self._states: dict[str, str] = {}
        self._drawn = -math.inf

    def __enter__(self) -> Board:
        """Start drawing."""
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the terminal as it was."""
        if self.console.is_terminal:
            with contextlib.suppress(OSError):
                self._live.stop()

    def show(self, entries: Sequence[Entry]) -> None:
        """Show the entries as they are; called often."""
        changed = [e for e in entries if self._states.get(e.run.name) != e.state]
        self._states = {entry.run.name: entry.state for entry in entries}
        due = time.monotonic() - self._drawn >= (REDRAWN if self.console.is_terminal else INTERVAL)
        if not (changed or due):
            return
        seen = [progress_of(entry) for entry in entries]
        with contextlib.suppress(OSError):
            if self.console.is_terminal:
                self._live.update(table(entries, seen, self.jobs), refresh=True)
            else:
                self._print(changed if self._drawn > 0 else [], entries, seen, due)
        if due or self.console.is_terminal:
            self._drawn = time.monotonic()

    def _print(
        self, changed: Sequence[Entry], entries: Sequence[Entry], seen: list[Progress], due: bool
    ) -> None:
        lines = [f"{e.run.name}: {e.state}{f' ({e.why})' if e.why else ''}" for e in changed]
        if due:
            lines.append(summary(entries, seen, self.jobs))
        for line in lines:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def progress_of(entry: Entry) -> Progress:
    """Return how far an entry is; a training that does not run has its checkpoint's frames."""
    seen = progress(entry.run.folder)
    if entry.state in ("running", "elsewhere"):
        return seen
    return seen._replace(frames=trained_frames(entry.run.folder))


def seconds_left(entries: Sequence[Entry], seen: Sequence[Progress], jobs: int) -> list[float]:
    """Return the seconds that each entry still needs once it runs; NaN before a speed is known."""
    speeds = [p.speed for p in seen if p.speed == p.speed]
    usual = sum(speeds) / len(speeds) if speeds else math.nan
    found = []
    for entry, p in zip(entries, seen, strict=True):
        frames = 0 if entry.state in ("done", "failed") else entry.run.config.frames - p.frames
        speed = p.speed if p.speed == p.speed else usual
        found.append(60 * max(frames, 0) / speed if frames else 0.0)
    return found


def summary(entries: Sequence[Entry], seen: Sequence[Progress], jobs: int) -> str:
    """Return one line: how many are done, and the time that is left."""
    count = {s: sum(e.state == s for e in entries) for s in dict.fromkeys(e.state for e in entries)}
    states = ", ".join(f"{n} {state}" for state, n in count.items())
    total = sum(seconds_left(entries, seen, jobs)) / max(1, jobs)
    return f"{len(entries)} runs: {states}; left {duration(total) if total == total else '?'}"


def table(entries: Sequence[Entry], seen: Sequence[Progress], jobs: int) -> Table:
    """Return the table of all entries, with the summary under it."""
    drawn = Table(caption=summary(entries, seen, jobs), caption_justify="left")
    for head in HEADS:
        drawn.add_column(head, justify="right" if head in ("seed", "frames", "return") else "left")
    for entry, p, left in zip(entries, seen, seconds_left(entries, seen, jobs), strict=True):
        run, score = entry.run, f"{p.score:.0f}" if p.score == p.score else ""
        time_left = "" if not left else duration(left) if left == left else "?"
        state = f"{entry.state}: {entry.why[:60]}" if entry.why else entry.state
        cells = (run.arm, run.task, str(run.seed), state, f"{p.frames:,}", score, time_left)
        drawn.add_row(*cells)
    return drawn
