"""The terminal: a panel that is redrawn, or a line now and then."""

import io
import math

import pytest
from rich.console import Console

from aef_worldmodel.utils.progress import Progress, duration


class Clock:
    """Seconds that pass on request."""

    now = 100.0

    def __call__(self):
        return self.now


def make_progress(terminal=False, **options):
    clock, text = Clock(), io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    return Progress("cheetah-run", 1000, console=console, clock=clock, **options), clock, text


def test_a_log_file_gets_a_line_every_ten_seconds():
    shown, clock, text = make_progress()
    with shown:
        for second in range(31):
            shown.update(10 * second, done={"updates": second}, loss={"actor": math.nan})
            clock.now += 1
        shown.update(310, done={"updates": 1031}, loss={"actor": 0.25})
    lines = text.getvalue().splitlines()
    assert [line.partition(" |")[0] for line in lines] == [
        "frames 0 of 1,000 (0%)",
        "frames 100 of 1,000 (10%)",
        "frames 200 of 1,000 (20%)",
        "frames 300 of 1,000 (30%)",
        "frames 310 of 1,000 (31%)",
    ]
    assert "actor" not in lines[3]
    assert lines[4].endswith(
        "| done: updates 1,031 | loss: actor 0.25 | time: frames/s 10  elapsed 0:31  left 1:09"
    )


def test_a_terminal_shows_one_panel():
    shown, clock, text = make_progress(terminal=True)
    with shown:
        shown.update(0)
        clock.now += 50
        shown.update(500, done={"updates": 9}, evaluation={"return": 214.04}, row={"name": "a [b]"})
        shown.print("evaluated [really]")
    drawn = text.getvalue()
    for part in ("cheetah-run", "50%", "500 of 1,000 frames", "updates 9", "return 214"):
        assert part in drawn
    for part in ("frames/s 10", "elapsed 0:50", "left 0:50", "evaluated [really]", "name a [b]"):
        assert part in drawn
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") == 1  # the cursor is given back


def test_speed_follows_the_last_minute_and_time_goes_on_after_a_resume():
    shown, clock, _ = make_progress(elapsed=3600.0, done=50)
    assert shown.speed == 0 and shown.left == "?"
    frames = 50
    for second in range(200):
        frames += 3 if second < 100 else 2
        shown.update(frames)
        clock.now += 1
    assert shown.speed == pytest.approx(2)
    assert shown.elapsed == pytest.approx(3800)
    assert shown.left == duration((1000 - frames) / 2)


def test_slow_steps_have_a_speed_too():
    shown, clock, _ = make_progress(done=100)
    for _ in range(3):
        clock.now += 500
        shown.update(shown.done + 100)
    assert shown.speed == pytest.approx(0.2)


def test_a_terminal_that_goes_away_does_not_end_the_run():
    class Gone(io.StringIO):
        def write(self, *_):
            raise OSError(5, "Input/output error")

    for terminal in (False, True):
        shown = Progress("x", 10, console=Console(file=io.StringIO(), force_terminal=terminal))
        with shown:
            shown.console.file = Gone()
            shown.update(5)
            shown.print("still here")
        assert shown.done == 5


@pytest.mark.parametrize(
    "seconds, text", [(0, "0:00"), (59.9, "0:59"), (727, "12:07"), (11100, "3:05:00")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
