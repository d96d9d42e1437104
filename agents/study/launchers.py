"""Where trainings run: processes on this machine, or jobs of a cluster through submitit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from aef_worldmodel.utils.config.cli import split
from aef_worldmodel.utils.config.yaml_files import parse
from aef_worldmodel.utils.errors import UserError, writing

MINUTES = 24 * 60  # of a cluster's job, where no option says another number
INTERRUPTED = -1  # of a job that the cluster ended


class Job(Protocol):
    """A training that has been started."""

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        ...

    def stop(self) -> None:
        """Ask it to save and to end."""
        ...


class Launcher(Protocol):
    """Starts trainings."""

    def start(self, words: Sequence[str], log: Path) -> Job:
        """Start `agents.train` with these words; what it prints is added to the log."""
        ...


class _Process:
    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    def poll(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        self.process.terminate()


class ProcessLauncher:
    """Each training is a process of its own on this machine, apart from the terminal's Ctrl-C."""

    def start(self, words: Sequence[str], log: Path) -> Job:
        """Start `agents.train`. Raises UserError if the log cannot be written."""
        with writing(log), open(log, "a", encoding="utf-8") as file:
            process = subprocess.Popen(
                _command(words), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        return _Process(process)


class ClusterLauncher:
    """Each training is a job of submitit.

    Args:
        folder: where submitit keeps its files.
        cluster: "slurm", or "local" for processes of submitit's own.
        options: words of submitit's `update_parameters`, for instance slurm_partition=cpu.
        threads: CPU cores of a job.

    Raises:
        UserError: submitit is not installed, there is no such cluster here, or an option is wrong.
    """

    def __init__(self, folder: Path, cluster: str, options: Sequence[str], threads: int) -> None:
        try:
            import submitit  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError(
                f"cluster={cluster} needs submitit ({error}): pip install 'submitit>=1.5'"
            ) from error
        given = {key: parse(value) for key, value in split(options)}
        given = {"timeout_min": MINUTES, "cpus_per_task": threads} | given
        try:
            self.executor = submitit.AutoExecutor(folder / "%j", cluster=cluster)
            self.executor.update_parameters(**given)
        except (RuntimeError, NameError, TypeError, AssertionError) as error:
            raise UserError(f"cluster={cluster}: submitit refuses it ({error})") from error

    def start(self, words: Sequence[str], log: Path) -> Job:
        """Submit `agents.train`."""
        return _ClusterJob(self.executor.submit(train_in_job, tuple(words), str(log), os.getcwd()))


class _ClusterJob:
    def __init__(self, job: Any) -> None:
        self.job = job

    def poll(self) -> int | None:
        if not self.job.done():
            return None
        try:
            return int(self.job.result())
        except Exception:  # submitit has several, and the log tells more than they do
            return INTERRUPTED

    def stop(self) -> None:
        self.job.cancel()


def train_in_job(words: Sequence[str], log: str, folder: str) -> int:
    """Run `agents.train` to its end inside a job; return its exit code."""
    with open(log, "a", encoding="utf-8") as file:
        return subprocess.run(
            _command(words), stdout=file, stderr=subprocess.STDOUT, cwd=folder, check=False
        ).returncode


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "agents.train", *words]
