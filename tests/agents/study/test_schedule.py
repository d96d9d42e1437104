"""Trainings side by side: what is skipped, retried, waited for and stopped."""

import io
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from rich.console import Console
from study_parts import FakeLauncher, leave, planned

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.lock import is_held, locked
from agents.study import board, launchers, schedule
from agents.study.board import Board, seconds_left, summary, table
from agents.study.launchers import ClusterLauncher, ProcessLauncher
from agents.study.schedule import Scheduler
from agents.study.state import Progress, last_words, progress, trained_frames


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(schedule, "PAUSE", 0.0)


def make(tmp_path, codes=(), jobs=3, retries=1, **changes):
    runs = planned(tmp_path, **changes)
    launcher = FakeLauncher(runs, codes)
    return Scheduler(runs, launcher, jobs, retries, threads=1), launcher


def test_everything_is_trained_so_many_at_a_time(tmp_path):
    scheduler, launcher = make(tmp_path)
    assert scheduler.run()
    assert len(launcher.started) == 8 and launcher.most == 3 and launcher.running == 0
    name, words = launcher.started[1]
    assert name == "rssm cartpole-swingup 0" and words["hardware.threads"] == "1"
    assert words["world_model"] == "rssm" and words["seed"] == "0"
    again, second = make(tmp_path)
    assert again.run() and not second.started  # what is done is skipped


def test_what_died_is_continued_and_what_dies_again_has_failed(tmp_path):
    scheduler, launcher = make(tmp_path, [1, 0, -9, 0, 2], jobs=1)
    assert not scheduler.run()
    states = {entry.run.name: (entry.state, entry.attempts) for entry in scheduler.entries}
    assert sum(state == "done" for state, _ in states.values()) == 7
    wrong = [entry for entry in scheduler.entries if entry.state == "failed"]
    assert [entry.attempts for entry in wrong] == [1]  # wrong words do not get better
    assert wrong[0].why == "ended with 2"
    resumed = [words for _, words in launcher.started if "resume" in words]
    assert [words["frames"] for words in resumed] == ["10000"]
    assert [entry.attempts for entry in scheduler.entries[:3]] == [2, 2, 1]


def test_a_run_that_keeps_dying_is_given_up(tmp_path):
    scheduler, launcher = make(tmp_path, [-9] * 99, jobs=8, retries=2)
    assert not scheduler.run()
    assert len(launcher.started) == 8 * 3
    assert {entry.why for entry in scheduler.entries} == {"it was killed by signal 9"}


def test_stopping_lets_every_training_save(tmp_path):
    scheduler, launcher = make(tmp_path, [None, None], jobs=2)
    scheduler.show = lambda entries: setattr(scheduler, "stopping", True)
    assert not scheduler.run()
    states = [entry.state for entry in scheduler.entries]
    assert states == ["stopped", "stopped", *["waiting"] * 6] and launcher.running == 0


def test_an_error_of_the_launcher_leaves_nothing_running(tmp_path):
    scheduler, launcher = make(tmp_path, [None], jobs=2)
    usual = launcher.start

    def start(words, log):
        if launcher.started:
            raise UserError("could not write the log: free some space")
        return usual(words, log)

    launcher.start = start
    with pytest.raises(UserError, match="free some space"):
        scheduler.run()
    assert launcher.running == 0


def test_a_run_that_trains_elsewhere_is_waited_for(tmp_path):
    scheduler, launcher = make(tmp_path, jobs=8)
    run = scheduler.entries[0].run
    leave(run, 4_000)
    lock = ExitStack()
    lock.enter_context(locked(run.folder, "held"))
    assert is_held(run.folder)
    looks = []

    def show(entries):
        looks.append(entries[0].state)
        if len(looks) == 5:
            leave(run, 10_000, (1.0,))
            lock.close()

    scheduler.show = show
    assert scheduler.run()
    assert looks[0] == "elsewhere" and run.name not in [name for name, _ in launcher.started]


def test_a_folder_without_a_checkpoint_is_begun_anew(tmp_path):
    scheduler, launcher = make(tmp_path, jobs=8)
    leave(scheduler.entries[0].run, 0)
    assert scheduler.run()
    assert "run" in dict(launcher.started)["aef cartpole-swingup 0"]


# -- where trainings stand ---------------------------------------------------------------


def test_progress_is_read_from_metrics_and_checkpoints(tmp_path):
    run = planned(tmp_path)[0]
    assert progress(run.folder).frames == trained_frames(run.folder) == 0
    leave(run, 4_000, (7.0,))
    found = progress(run.folder)
    assert found.score == 7.0 and trained_frames(run.folder) == 4_000
    assert found.speed == pytest.approx(10_000)
    (run.folder / "metrics.csv").write_text("damaged,damaged\n")
    assert progress(run.folder).frames == 0
    assert last_words(tmp_path / "nothing") == "it left no log"


def test_the_table_has_every_run_and_the_time_that_is_left(tmp_path):
    scheduler, _ = make(tmp_path)
    entries = scheduler.entries
    leave(entries[0].run, 10_000, (123.0,))
    entries[0].state, entries[1].state = "done", "running"
    seen = [Progress(10_000, 123.0, 600.0), Progress(4_000, float("nan"), 600.0)]
    seen += [Progress(0, float("nan"), float("nan"))] * 6
    left = seconds_left(entries, seen, 2)
    assert left[:3] == [0.0, 600.0, 1000.0]
    assert summary(entries, seen, 2) == "8 runs: 1 done, 1 running, 6 waiting; left 55:00"
    console = Console(file=io.StringIO(), width=120)
    console.print(table(entries, seen, 2))
    text = console.file.getvalue()
    assert "123" in text and "10:00" in text and "left 55:00" in text


def test_outside_a_terminal_changes_are_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "INTERVAL", 1e9)
    scheduler, _ = make(tmp_path, [2], jobs=8)
    console = Console(file=io.StringIO(), width=200)
    with Board(8, console) as shown:
        scheduler.show = shown.show
        scheduler.run()
    lines = console.file.getvalue().splitlines()
    assert "aef cartpole-swingup 0: failed (ended with 2)" in lines
    assert "rssm cheetah-run 1: done" in lines


# -- launchers ---------------------------------------------------------------------------


def command(code):
    return lambda words: [sys.executable, "-c", code, *words]


def wait(job, seconds=60):
    until = time.monotonic() + seconds
    while job.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    return job.poll()


def test_processes_write_their_log_and_save_when_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(launchers, "_command", command("import sys; print(sys.argv[1:]); exit(3)"))
    log = tmp_path / "run.log"
    assert wait(ProcessLauncher().start(["seed=1"], log)) == 3
    assert "['seed=1']" in log.read_text()
    sleeper = "import time; print('up', flush=True); time.sleep(60)"
    monkeypatch.setattr(launchers, "_command", command(sleeper))
    job = ProcessLauncher().start([], log)
    while "up" not in log.read_text():
        time.sleep(0.05)
    job.stop()
    assert wait(job) == -signal.SIGTERM
    with pytest.raises(UserError, match="could not write"):
        ProcessLauncher().start([], tmp_path / "no" / "folder.log")


def test_submitits_local_jobs_train_as_processes_do(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    launcher = ClusterLauncher(tmp_path / "submitit", "local", ["timeout_min=5"], 1)
    log = tmp_path / "run.log"
    log.touch()
    job = launcher.start(["no-such-word"], log)  # agents.train refuses it
    assert wait(job, 300) == 2
    assert "expected key=value" in log.read_text()
    with pytest.raises(UserError, match="submitit refuses it"):
        ClusterLauncher(tmp_path / "submitit", "local", ["no_such_option=1"], 1)


def test_without_submitit_a_cluster_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="cluster=slurm needs submitit"):
        ClusterLauncher(tmp_path, "slurm", [], 1)


def test_the_command_is_agents_train():
    found = launchers._command(["seed=1"])
    assert found[1:] == ["-m", "agents.train", "seed=1"]
    assert subprocess.run([found[0], "-c", ""], check=False).returncode == 0
