"""The record of a run: every writer receives everything, and a run resumes in its record."""

import errno
import io
from typing import ClassVar

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table, read_metrics
from agents.training.logging.base import LOG_WRITERS, LiveWriter
from agents.training.logging.run_logger import RunLogger

FILM = torch.zeros(6, 20, 30, 3, dtype=torch.uint8)
FILM[:, :, :, 0] = torch.arange(6).view(6, 1, 1) * 50


class Recorder(LiveWriter):
    """Notes every call; a method named in `fails` raises that error instead."""

    fails: ClassVar[dict[str, BaseException]] = {}
    made: ClassVar[list["Recorder"]] = []

    def __init__(self, run, config, resumed_at):
        self.calls = [("init", run.is_dir(), dict(config), resumed_at)]
        Recorder.made.append(self)
        self._note("open")

    def _note(self, name, *values):
        self.calls.append((name, *values))
        if name in Recorder.fails:
            raise Recorder.fails[name]

    def scalars(self, step, values):
        self._note("scalars", step, dict(values))

    def image(self, step, name, picture):
        self._note("image", step, name, tuple(picture.shape))

    def video(self, step, name, film, fps):
        self._note("video", step, name, tuple(film.shape), fps)

    def start(self, title, total_frames, elapsed):
        self._note("start", title, total_frames)

    def tick(self, values):
        self._note("tick", dict(values))

    def print(self, sentence):
        self._note("print", sentence)

    def close(self):
        self._note("close")


@pytest.fixture
def recorder(monkeypatch):
    LOG_WRITERS.register("recorder")(Recorder)
    monkeypatch.setattr(Recorder, "fails", {})
    monkeypatch.setattr(Recorder, "made", [])
    return Recorder


def counters(frames):
    return {"frames": frames, "decisions": frames // 2, "updates": 1}


def test_every_call_reaches_a_writer(tmp_path, recorder):
    logger = RunLogger(
        tmp_path / "a" / "b", "a title", 1_000, ["recorder"], {"seed": 3}, elapsed=60, resumed_at=20
    )
    with logger:
        logger.tick(frames=20, actor=0.5)
        logger.scalars(counters(30) | {"eval/return": 2.5})
        logger.image("strip", FILM[0], 30)
        logger.video("dream", FILM, 30, fps=10)
        logger.print("a sentence")
        assert 60 <= logger.elapsed < 90
    *calls, scalars = sorted(recorder.made[0].calls, key=lambda call: call[0] == "scalars")
    assert calls == [
        ("init", True, {"seed": 3}, 20),
        ("open",),
        ("start", "a title", 1_000),
        ("tick", {"frames": 20, "actor": 0.5}),
        ("image", 30, "strip", (20, 30, 3)),
        ("video", 30, "dream", (6, 20, 30, 3), 10),
        ("print", "a sentence"),
        ("close",),
    ]
    assert scalars[1] == 30 and 1 <= scalars[2].pop("minutes") < 1.5
    assert scalars[2] == counters(30) | {"eval/return": 2.5}


@pytest.mark.parametrize("name", ["open", "scalars", "image", "video", "close"])
def test_a_full_disk_is_one_sentence(tmp_path, recorder, name):
    recorder.fails[name] = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(UserError) as caught,
        RunLogger(tmp_path, "x", 10, ["csv", "recorder"]) as logger,
    ):
        logger.scalars(counters(2))
        logger.image("a", FILM[0], 2)
        logger.video("a", FILM, 2)
    assert str(caught.value) == (
        f"could not write the record of the run in {tmp_path} (No space left on device): free some "
        "space or check the folder's permissions, then resume the run"
    )


def test_the_error_of_the_run_counts_more_than_one_of_closing(tmp_path, recorder):
    recorder.fails["close"] = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(KeyboardInterrupt),
        RunLogger(tmp_path, "x", 10, ["recorder", "recorder"]),
    ):
        raise KeyboardInterrupt
    assert all(writer.calls[-1] == ("close",) for writer in recorder.made)


def test_a_writer_that_cannot_open_closes_those_before_it(tmp_path, recorder):
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(UserError, match="could not write"):
        RunLogger(tmp_path, "x", 10, ["recorder", "csv"])
    assert recorder.made[-1].calls[-1] == ("close",)


def test_an_unknown_writer_is_one_sentence_and_leaves_no_folder(tmp_path):
    with pytest.raises(UserError) as caught:
        RunLogger(tmp_path / "run", "x", 10, ["csv", "tensorbord"])
    assert str(caught.value) == (
        "log=tensorbord: unknown log writer 'tensorbord': did you mean tensorboard?"
    )
    assert not (tmp_path / "run").exists()


def test_sentences_are_printed_if_no_writer_shows_them(tmp_path, capsys):
    with RunLogger(tmp_path, "x", 10, ["csv"]) as logger:
        logger.print("a sentence [really]")
        logger.tick(frames=1)
    assert capsys.readouterr().out == "a sentence [really]\n"
    assert not list(tmp_path.iterdir())


def test_the_terminal_shows_counters_returns_and_losses(tmp_path, capsys):
    with RunLogger(tmp_path, "cheetah", 1_000, ["terminal"], resumed_at=100) as logger:
        logger.print("before the first step")
        logger.tick(frames=200, decisions=100, updates=7, train_return=float("nan"))
        logger.tick(eval_return=214.04, reward_loss=0.25)
    out = capsys.readouterr().out
    assert out.startswith("before the first step\n")
    last = out.splitlines()[-1]
    assert last.startswith("frames 200 of 1,000 (20%) | done: decisions 100  updates 7 | ")
    assert "| return: eval 214 | loss: reward_loss 0.25 | time: frames/s" in last


def test_numbers_are_recorded_twice_and_resume(tmp_path):
    def record(frames, resumed_at=None):
        with RunLogger(
            tmp_path, "x", 99, config={"lr": {"model": 0.1}}, resumed_at=resumed_at
        ) as log:
            for count in frames:
                log.scalars(counters(count) | {"eval/return": 2.5})

    record([10, 20, 30])
    record([25, 35], resumed_at=20)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    steps = [event.step for event in board.Scalars("eval/return")]
    rows = read_metrics(tmp_path / "metrics.csv")
    assert steps == [row["frames"] for row in rows] == [10, 20, 25, 35]
    assert {k: v for k, v in rows[0].items() if k != "minutes"} == counters(10) | {
        "eval/return": 2.5
    }
    assert Table(tmp_path / "metrics.csv").columns[-1] == "minutes"
    assert "_hparams_/session_start_info" in board.summary_metadata


def test_images_and_videos_are_recorded(tmp_path):
    with RunLogger(tmp_path, "x", 99) as logger:
        logger.image("strip", FILM[3], 40)
        logger.video("dream", FILM, 40)
    assert (tmp_path / "pictures" / "strip-000000040.png").is_file()
    assert (tmp_path / "videos" / "dream-000000040.mp4").stat().st_size > 500
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    still, moving = (
        Image.open(io.BytesIO(board.Images(name)[0].encoded_image_string))
        for name in ("strip", "dream")
    )
    assert still.size == (30, 20) and still.getpixel((5, 5))[0] == 150
    assert moving.format == "GIF" and moving.n_frames == 6
    moving.seek(4)
    assert abs(moving.convert("RGB").getpixel((5, 5))[0] - 200) <= 8
