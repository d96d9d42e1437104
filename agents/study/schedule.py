"""Runs a study's trainings side by side until all are done or have failed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aef_worldmodel.utils.lock import is_held
from agents.study.launchers import Job, Launcher
from agents.study.plan import PlannedRun
from agents.study.state import last_words, trained_frames

WRONG_WORDS = 2  # exit code of agents.train for settings that it refuses
PAUSE = 1.0  # seconds between two looks at the jobs


@dataclass
class Entry:
    """A training and where it stands."""

    run: PlannedRun
    state: str = "waiting"  # waiting, running, elsewhere, done, failed or stopped
    attempts: int = 0
    why: str = ""  # of a failure
    job: Job | None = None

    @property
    def log(self) -> Path:
        """The file that everything it prints is added to."""
        return self.run.folder.with_name(f"{self.run.folder.name}.log")

    @property
    def finished(self) -> bool:
        """Whether the last checkpoint has all frames."""
        return trained_frames(self.run.folder) >= self.run.config.frames


class Scheduler:
    """Starts trainings, tries those that died again, and notes which failed.

    Args:
        runs: what to train; those that are done are not started.
        launcher: where.
        jobs: how many side by side.
        retries: how often a training that died is continued from its last checkpoint.
        threads: CPU threads of each.
        show: is given all entries whenever they may have changed.
    """

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        launcher: Launcher,
        jobs: int,
        retries: int,
        threads: int,
        show: Callable[[Sequence[Entry]], None] = lambda entries: None,
    ) -> None:
        self.entries = [Entry(run) for run in runs]
        self.launcher, self.jobs, self.retries = launcher, jobs, retries
        self.threads, self.show = threads, show
        self.stopping = False  # set it to let every training save and end
        for entry in self.entries:
            if entry.finished:
                entry.state = "done"

    def run(self) -> bool:
        """Train all; return whether everything is done. Nothing still runs afterwards."""
        try:
            while self._open() and not self.stopping:
                self._start_next()
                self.show(self.entries)
                time.sleep(PAUSE)
                self._look()
        finally:
            self._stop()
            self.show(self.entries)
        return all(entry.state == "done" for entry in self.entries)

    def _open(self) -> list[Entry]:
        return [e for e in self.entries if e.state in ("waiting", "running", "elsewhere")]

    def _start_next(self) -> None:
        """Start what is waiting, as far as there is room."""
        room = self.jobs - sum(entry.state == "running" for entry in self.entries)
        for entry in self._open():
            if entry.state == "running":
                continue
            if is_held(entry.run.folder):  # by a study that was killed, or by a person
                entry.state = "elsewhere"
            elif entry.finished:
                entry.state = "done"
            elif room > 0:
                self._start(entry)
                room -= 1

    def _start(self, entry: Entry) -> None:
        """Start a training, or continue it from its last checkpoint."""
        folder, common = entry.run.folder, (f"hardware.threads={self.threads}",)
        if trained_frames(folder):
            words = (f"resume={folder}", f"frames={entry.run.config.frames}", *common)
        else:
            if folder.exists():
                shutil.rmtree(folder)  # it ended before its first checkpoint
            words = (*entry.run.words, f"run={folder}", *common, "log=[csv,files]")
        folder.parent.mkdir(parents=True, exist_ok=True)
        entry.job = self.launcher.start(words, entry.log)
        entry.state, entry.attempts = "running", entry.attempts + 1

    def _look(self) -> None:
        """Note which trainings have ended, and how."""
        for entry in self.entries:
            code = entry.job.poll() if entry.job else None
            if code is None:
                continue
            entry.job = None
            if code == 0 and entry.finished:
                entry.state, entry.why = "done", ""
                continue
            entry.why = last_words(entry.log) if code > 0 else f"it was killed by signal {-code}"
            again = code != WRONG_WORDS and entry.attempts <= self.retries
            entry.state = "waiting" if again else "failed"

    def _stop(self) -> None:
        """Let every running training save, and wait for it."""
        running = [entry for entry in self.entries if entry.job]
        for entry in running:
            if entry.job:
                entry.job.stop()
        for entry in running:
            while entry.job and entry.job.poll() is None:
                time.sleep(0.1)
            entry.job, entry.state = None, "done" if entry.finished else "stopped"
