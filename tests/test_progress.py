"""What a run tells about itself: numbers, lines, pictures, before and after a resume."""

import errno
import io
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aef_worldmodel.errors import UserError
from agents.logbook import Logbook
from agents.metrics_file import MetricsFile, read_metrics
from agents.progress import Progress, duration


class Clock:
    """Seconds that pass when told to."""

    now = 100.0

    def __call__(self):
        return self.now


def progress(terminal=False, **options):
    clock, text = Clock(), io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    return Progress("cheetah-run", 1000, console=console, clock=clock, **options), clock, text


def test_columns_grow(tmp_path):
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    file.write({"frames": 1, "loss": 0.5})
    file.write({"frames": 2, "eval/return": 7.25})
    file.write({"loss": math.nan, "frames": 3})
    assert path.read_text().splitlines() == [
        "frames,loss,eval/return", "1,0.5,", "2,,7.25", "3,nan,",
    ]  # fmt: skip
    assert read_metrics(path)[:2] == [
        {"frames": 1, "loss": 0.5},
        {"frames": 2, "eval/return": 7.25},
    ]


rows = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "c,d", 'e"f']),
        st.integers(-(10**9), 10**9) | st.integers(-1000, 1000).map(lambda k: k / 8),
        max_size=4,
    ),
    max_size=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, cut=st.integers(0, 6))
def test_metrics_round_trip_through_a_resume(tmp_path, rows, cut):
    path = tmp_path / "metrics.csv"
    path.unlink(missing_ok=True)
    file = MetricsFile(path)
    rows = [{"frames": i, **row} for i, row in enumerate(rows)]
    for row in rows:
        file.write(row)
    assert read_metrics(path) == rows
    resumed = MetricsFile(path, after=cut)
    resumed.write({"frames": 99, "new": 1.5})
    assert read_metrics(path) == [*rows[: cut + 1], {"frames": 99, "new": 1.5}]


@pytest.mark.parametrize("torn", ["3,0.2", "3"])
def test_a_line_cut_short_is_dropped(tmp_path, torn):
    path = tmp_path / "metrics.csv"
    path.write_text(f"frames,loss\n1,0.5\n2,0.25\n{torn}")
    MetricsFile(path, after=10).write({"frames": 3, "loss": 0.125})
    assert path.read_text() == "frames,loss\n1,0.5\n2,0.25\n3,0.125\n"


@pytest.mark.parametrize(
    ("text", "what"), [("loss\n1\n", "a row has no frames"), ("frames\nmany\n", "could not conv")]
)
def test_a_damaged_record_is_named(tmp_path, text, what):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"metrics\.csv is damaged \({what}"):
        MetricsFile(path, after=10)
    assert path.read_text() == text
    path.write_bytes(b"frames\n\xff\n")
    with pytest.raises(UserError, match="is damaged"):
        MetricsFile(path, after=10)


def test_a_new_run_starts_a_new_record(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsFile(path).write({"frames": 5, "old": 1})
    MetricsFile(path).write({"frames": 1})
    assert path.read_text() == "frames\n1\n"


def test_plain_lines_come_every_interval():
    shown, clock, text = progress(interval=10)
    with shown:
        for _ in range(25):
            shown.update(
                round((clock.now - 100) * 20),
                7,
                3,
                train_return=1.25,
                model=0.123456,
                eval_return=math.nan,
            )
            clock.now += 1
    lines = text.getvalue().splitlines()
    assert len(lines) == 4  # at 0, 10 and 20 seconds and at the end
    assert lines[1] == (
        "frames 200 of 1,000 (20%)  decisions 7  updates 3  train return 1.2  model 0.1235  "
        "frames/s 20  elapsed 0:10  left 0:40"
    )
    assert "\x1b" not in text.getvalue()


def test_panel_in_a_terminal():
    shown, clock, text = progress(terminal=True)
    with shown:
        shown.update(0, 0, 0)
        clock.now += 50
        shown.update(500, 250, 9, eval_return=214.04, actor=-1e-7)
        shown.say("evaluated [really]")
    drawn = text.getvalue()
    for part in ("cheetah-run", "500 of 1,000 frames", "50%", "decisions 250", "updates 9"):
        assert part in drawn
    for part in ("eval 214.0", "actor -1e-07", "frames/s 10", "elapsed 0:50", "left 0:50"):
        assert part in drawn
    assert "evaluated [really]" in drawn
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") == 1  # the cursor is given back


def test_speed_follows_the_last_minute_and_time_goes_on_after_a_resume():
    shown, clock, _ = progress(elapsed=3600.0)
    assert shown.speed == 0
    frames = 0
    for second in range(200):
        frames += 100 if second < 100 else 2
        shown.update(frames, 0, 0)
        clock.now += 1
    assert shown.speed == pytest.approx(2)
    assert shown.elapsed == pytest.approx(3800)


@pytest.mark.parametrize(
    "seconds, text", [(0, "0:00"), (59.9, "0:59"), (727, "12:07"), (11100, "3:05:00")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def record(run, frames, resumed_at=None):
    with Logbook(run, progress()[0], resumed_at) as log:
        for count in frames:
            log.write({"frames": count, "decisions": count // 2, "updates": 1, "eval/return": 2.5})
    return EventAccumulator(str(run / "tensorboard")).Reload()


def test_numbers_are_recorded_twice_and_resume(tmp_path):
    record(tmp_path, [10, 20, 30])
    board = record(tmp_path, [25, 35], resumed_at=20)
    steps = [event.step for event in board.Scalars("eval/return")]
    assert steps == [row["frames"] for row in read_metrics(tmp_path / "metrics.csv")]
    assert steps == [10, 20, 25, 35]
    assert read_metrics(tmp_path / "metrics.csv")[0] == {
        "frames": 10, "decisions": 5, "updates": 1, "eval/return": 2.5, "minutes": 0.0,
    }  # fmt: skip


def test_pictures_and_films_are_recorded(tmp_path):
    film = torch.zeros(6, 20, 30, 3, dtype=torch.uint8)
    film[:, :, :, 0] = torch.arange(6).view(6, 1, 1) * 50
    with Logbook(tmp_path, progress()[0]) as log:
        png, mp4 = log.picture("strip", film[3], 40), log.film("dream", film, 40)
    assert png == tmp_path / "pictures" / "strip-000000040.png" and png.is_file()
    assert mp4 == tmp_path / "videos" / "dream-000000040.mp4" and mp4.stat().st_size > 500
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    still, moving = (
        Image.open(io.BytesIO(board.Images(name)[0].encoded_image_string))
        for name in ("strip", "dream")
    )
    assert still.size == (30, 20) and still.getpixel((5, 5))[0] == 150
    assert moving.format == "GIF" and moving.n_frames == 6
    moving.seek(4)
    assert abs(moving.convert("RGB").getpixel((5, 5))[0] - 200) <= 8


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(self, row):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MetricsFile, "write", full)
    with Logbook(tmp_path, progress()[0]) as log, pytest.raises(UserError) as caught:
        log.write({"frames": 1})
    said = f"could not write the record of the run in {tmp_path} (No space left"
    assert str(caught.value).startswith(said)
