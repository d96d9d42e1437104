"""How far a command is, in the terminal: a live panel, or a line now and then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping

from rich import progress as rich_progress
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

SAMPLE_EVERY = 0.25  # seconds between the points that the speed is estimated from
SPEED_WINDOW = 60.0  # seconds over which the speed is averaged

Values = Mapping[str, float | str]


class Progress:
    """A bar, the time left, and the latest numbers in groups.

    In a terminal one panel is redrawn in place; elsewhere (a log file, a pipe) a plain line is
    printed every `interval` seconds. Use it as a context manager, so that the terminal is left in
    order. A terminal that goes away does not end the command.

    Args:
        title: what runs, shown above.
        total: count of units when it is done.
        unit: what is counted, in the plural.
        done: units that earlier parts of a resumed run did.
        elapsed: seconds that earlier parts took.
        interval: seconds between plain lines.
        console: where to write; standard output if None.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        title: str,
        total: int,
        unit: str = "frames",
        *,
        done: int = 0,
        elapsed: float = 0.0,
        interval: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self.console, self.clock = console or Console(), clock
        self.interval = 0.5 if self.console.is_terminal else interval  # seconds between drawings
        self.groups: dict[str, dict[str, float | str]] = {}
        self._begin, self._begin_done, self._earlier = clock(), done, elapsed
        self._sampled = self._drawn = -float("inf")
        self._bar = rich_progress.Progress(
            rich_progress.BarColumn(40),
            rich_progress.TaskProgressColumn(),
            rich_progress.TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
            speed_estimate_period=SPEED_WINDOW,
            get_time=clock,
        )
        self._task = self._bar.add_task("", total=total, completed=done)
        self._live = Live(console=self.console, auto_refresh=False)

    def __enter__(self) -> Progress:
        """Start drawing."""
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Draw the last state and leave the terminal as it was."""
        if self.groups or self.done > self._begin_done:
            self._draw()
        if self.console.is_terminal:
            with contextlib.suppress(OSError):
                self._live.stop()

    def update(self, done: int, /, **groups: Values) -> None:
        """Note the state; cheap enough to call at every step.

        Args:
            done: units so far.
            groups: numbers and words by group ("loss") and name, shown until replaced; NaN, a
                number that is not known yet, is skipped.
        """
        self.done = done
        for group, values in groups.items():
            known = {name: value for name, value in values.items() if value == value}
            if known:
                self.groups.setdefault(group, {}).update(known)
        now = self.clock()
        if now - self._sampled >= SAMPLE_EVERY:
            self._sampled = now
            self._bar.update(self._task, completed=done)
        if now - self._drawn >= self.interval:
            self._draw()

    def print(self, sentence: str) -> None:
        """Print a sentence that stays, above the panel."""
        with contextlib.suppress(OSError):
            self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the start, earlier parts included."""
        return self.clock() - self._begin + self._earlier

    @property
    def speed(self) -> float:
        """Units a second, over the last minute where that has two samples; 0 at first."""
        here = self.clock() - self._begin
        average = (self.done - self._begin_done) / here if here else 0.0
        return self._bar.tasks[0].speed or average

    @property
    def left(self) -> str:
        """Time to the end at the present speed, as `duration`; "?" before it is known."""
        return duration(max(self.total - self.done, 0) / self.speed) if self.speed else "?"

    def rows(self) -> dict[str, dict[str, str]]:
        """Return the groups and the time as text."""
        time = {
            f"{self.unit}/s": f"{self.speed:.4g}",
            "elapsed": duration(self.elapsed),
            "left": self.left,
        }
        shown = {
            group: {name: _as_text(value) for name, value in values.items()}
            for group, values in self.groups.items()
        }
        return {**shown, "time": time}

    def _draw(self) -> None:
        self._drawn = self.clock()
        if self.console.is_terminal:
            self._bar.update(self._task, completed=self.done)
            with contextlib.suppress(OSError):
                self._live.update(self._panel(), refresh=True)
        else:
            self.print(self._line())

    def _line(self) -> str:
        percent = 100 * self.done / self.total
        counted = f"{self.unit} {self.done:,} of {self.total:,} ({percent:.0f}%)"
        parts = [
            f"{group}: {'  '.join(f'{name} {value}' for name, value in values.items())}"
            for group, values in self.rows().items()
        ]
        return " | ".join([counted, *parts])

    def _panel(self) -> Panel:
        table = Table.grid(padding=(0, 2))
        for group, values in self.rows().items():
            text = Text()
            for name, value in values.items():
                text.append(f"{name} ", style="dim").append(value, style="bold").append("   ")
            table.add_row(Text(group, style="dim"), text)
        parts = Group(self._bar, Text(), table)
        return Panel(parts, title=Text(self.title), title_align="left", expand=False)


def duration(seconds: float) -> str:
    """Return seconds as 0:42, 12:07 or 3:05:00."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _as_text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
