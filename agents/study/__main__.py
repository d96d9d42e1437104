"""`python -m agents.study NAME`: run a grid of trainings, gather them, and write a report.

A study is one YAML file in configs/study: tasks x arms x seeds, each trained for so many frames.
The same command goes on where it was interrupted, skips what is done, and ends with the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds
from aef_worldmodel.utils.config.yaml_files import save
from aef_worldmodel.utils.lock import locked
from aef_worldmodel.utils.signals import stop_on_signals
from agents.config import train as settings
from agents.study.board import Board
from agents.study.gather import gather, write_tables
from agents.study.launchers import ClusterLauncher, Launcher, ProcessLauncher
from agents.study.plan import PlannedRun, Study, check_owner, grid, known_studies, read_study
from agents.study.report import write_report
from agents.study.schedule import Scheduler
from envs.checks import cores


@dataclass(frozen=True)
class StudyConfig:
    """Settings of `python -m agents.study NAME`."""

    out: str | None = None
    """Folder of the runs and the report; null for studies/NAME."""
    jobs: int | None = None
    """Trainings side by side; null for as many as this machine has cores for."""
    threads: int = 1
    """CPU threads of each training."""
    retries: int = 1
    """How often a training that died is continued before it counts as failed."""
    cluster: Literal["none", "local", "slurm"] = "none"
    """Where trainings run: none for processes of this machine, slurm for jobs of a cluster through
    submitit, local for submitit's own processes, to try it."""
    cluster_options: tuple[str, ...] = ()
    """Words of submitit's update_parameters, for instance [slurm_partition=cpu,timeout_min=600]."""
    report_only: bool = False
    """Write the report of what is there, and train nothing."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, threads=(1, 1_024), retries=(0, 1_000))
        if self.jobs is not None:
            check_bounds(self, jobs=(1, 100_000))


def main(argv: Sequence[str]) -> int:
    """Train what is missing and write the report; return 130 when interrupted, 1 if runs failed."""
    name = argv[0] if argv and "=" not in argv[0] and not argv[0].startswith("-") else None
    asked = settings.load(argv[1:] if name else argv, StudyConfig, "study NAME")
    if name is None:
        raise ConfigError(
            f"no study is named: python -m agents.study NAME, of {', '.join(known_studies())}"
        )
    study = read_study(name)
    out = Path(asked.out or Path("studies") / study.name)
    runs = grid(study, out)
    with hold(out):
        for run in runs:
            check_owner(run)
        save(out / "study.yaml", study)
        code = 0 if asked.report_only else train(asked, runs, out)
        if code != 130:
            report(study, runs, out)
        return code


def train(asked: StudyConfig, runs: Sequence[PlannedRun], out: Path) -> int:
    """Train all that is not done; return 130 when interrupted, 1 if some runs failed."""
    jobs = asked.jobs or max(1, cores() // asked.threads)
    with Board(jobs) as board:
        scheduler = Scheduler(
            runs, launcher(asked, out), jobs, asked.retries, asked.threads, board.show
        )

        def stop() -> None:
            scheduler.stopping = True

        stop_on_signals(stop)
        done = scheduler.run()
    failed = [entry for entry in scheduler.entries if entry.state == "failed"]
    for entry in failed:
        print(f"{entry.run.name} failed ({entry.why}): read {entry.log}")
    if scheduler.stopping:
        print("stopped; every training has saved what it can: the same command goes on")
        return 130
    return 0 if done else 1


def launcher(asked: StudyConfig, out: Path) -> Launcher:
    """Return what starts the trainings."""
    if asked.cluster == "none":
        if asked.cluster_options:
            raise ConfigError("cluster_options are of a cluster: give cluster=slurm, or none")
        return ProcessLauncher()
    folder = out / "submitit"
    return ClusterLauncher(folder, asked.cluster, asked.cluster_options, asked.threads)


def report(study: Study, runs: Sequence[PlannedRun], out: Path) -> None:
    """Gather what is there, write tables and report, and say what is missing."""
    results, missing = gather(study, runs)
    write_tables(study, results, out)
    written, notes = write_report(study, results, missing, out)
    for sentence in (*notes, *(f"missing: {line}" for line in missing)):
        print(sentence)
    print(f"written: {', '.join(map(str, written))}")


def hold(out: Path) -> AbstractContextManager[None]:
    """Keep a second process from running the same study; entering raises UserError if one does."""
    return locked(out, f"{out}: another process runs this study; end that first")


if __name__ == "__main__":
    run_command(main)
