"""What a person sees while an agent learns: a live panel, or a line now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

SPEED_WINDOW = 60.0  # seconds over which frames/s are averaged


class Progress:
    """Counters, returns and losses in the terminal.

    In a terminal one panel is redrawn in place; elsewhere (a log file, a pipe) a plain line is
    printed every `interval` seconds. Use it as a context manager, so that the terminal is left in
    order.

    Args:
        title: what runs, shown above.
        total: frames of the whole run.
        elapsed: seconds earlier parts of a resumed run took.
        interval: seconds between plain lines.
        console: where to write; standard output if None.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        title: str,
        total: int,
        elapsed: float = 0.0,
        interval: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self.clock = title, total, clock
        self.console = console or Console()
        self.live = Live(console=self.console, auto_refresh=False, transient=False)
        self.interval = 0.5 if self.console.is_terminal else interval  # seconds between drawings
        self.values: dict[str, float] = {}
        self.counts = {"frames": 0, "decisions": 0, "updates": 0}
        self._start = clock() - elapsed
        self._drawn = -float("inf")
        self._history: deque[tuple[float, int]] = deque()

    def __enter__(self) -> Progress:
        """Start drawing."""
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Draw what was reached and leave the terminal as it was."""
        if self._history:
            self._draw()
        self.live.stop()

    @property
    def elapsed(self) -> float:
        """Seconds the run has taken, earlier parts included."""
        return self.clock() - self._start

    @property
    def speed(self) -> float:
        """Frames a second over the last minute; 0 before it is known."""
        if len(self._history) < 2:
            return 0.0
        (begin, first), (end, last) = self._history[0], self._history[-1]
        return (last - first) / (end - begin) if end > begin else 0.0

    def update(self, frames: int, decisions: int, updates: int, **values: float) -> None:
        """Note where training is; cheap enough to call every step.

        Args:
            frames: simulator control steps so far, over all worlds.
            decisions: agent steps so far, over all worlds.
            updates: gradient steps so far.
            values: what else to show, by name; shown until replaced ("train_return" and
                "eval_return" among the returns, all others among the losses).
        """
        self.counts = {"frames": frames, "decisions": decisions, "updates": updates}
        self.values.update({k: v for k, v in values.items() if v == v})  # nan: not known yet
        now = self.clock()
        if not self._history or now - self._history[-1][0] >= 0.25:
            self._history.append((now, frames))
        while now - self._history[0][0] > SPEED_WINDOW and len(self._history) > 2:
            self._history.popleft()
        if now - self._drawn >= self.interval:
            self._draw()

    def say(self, text: str) -> None:
        """Print a sentence that stays, above the panel."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        self._drawn = self.clock()
        if self.console.is_terminal:
            self.live.update(self._panel(), refresh=True)
        else:
            self.say(self._line())

    def _eta(self) -> str:
        left = max(self.total - self.counts["frames"], 0)
        return duration(left / self.speed) if self.speed else "?"

    def _returns(self) -> dict[str, str]:
        names = {"train_return": "train", "eval_return": "eval"}
        return {names[k]: f"{self.values[k]:.1f}" for k in names if k in self.values}

    def _losses(self) -> dict[str, str]:
        return {k: f"{v:.4g}" for k, v in self.values.items() if not k.endswith("_return")}

    def _pace(self) -> dict[str, str]:
        times = {"elapsed": duration(self.elapsed), "left": self._eta()}
        return {"frames/s": f"{self.speed:.0f}", **times}

    def _line(self) -> str:
        frames, percent = self.counts["frames"], 100 * self.counts["frames"] / self.total
        counts = {k: f"{v:,}" for k, v in self.counts.items() if k != "frames"}
        returns = {f"{k} return": v for k, v in self._returns().items()}
        parts = {**counts, **returns, **self._losses(), **self._pace()}
        told = "  ".join(f"{name} {value}" for name, value in parts.items())
        return f"frames {frames:,} of {self.total:,} ({percent:.0f}%)  {told}"

    def _panel(self) -> Panel:
        frames = self.counts["frames"]
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(self.total, min(frames, self.total), width=40),
            f"{100 * frames / self.total:.0f}%",
            f"{frames:,} of {self.total:,} frames",
        )
        table = Table.grid(padding=(0, 2))
        counts = {k: f"{v:,}" for k, v in self.counts.items() if k != "frames"}
        rows = {"done": counts, "return": self._returns(), "loss": self._losses()}
        for name, values in {**rows, "time": self._pace()}.items():
            if values:
                table.add_row(Text(name, style="dim"), _told(values))
        return Panel(Group(bar, Text(), table), title=self.title, title_align="left", expand=False)


def duration(seconds: float) -> str:
    """Seconds as 0:42, 12:07 or 3:05:00."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _told(values: dict[str, str]) -> Text:
    text = Text()
    for name, value in values.items():
        text.append(f"{name} ", style="dim").append(value, style="bold").append("   ")
    return text
