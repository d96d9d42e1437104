"""`python -m agents.train env=cheetah-run`: learn a task from pixels in imagination."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from aef_worldmodel.utils.command import as_typed, run_command
from aef_worldmodel.utils.config.schema import ConfigError, to_dict
from aef_worldmodel.utils.lock import hold
from aef_worldmodel.utils.registry import suggest
from aef_worldmodel.utils.signals import stop_on_signals
from agents.config.hardware import describe
from agents.config.train import TrainConfig, load, save
from agents.config.trust import trust_word
from agents.training.logging.base import LOG_WRITERS
from agents.training.logging.run_logger import RunLogger
from agents.training.offline import OfflineTrainer
from agents.training.runs import run_folder, write_provenance
from agents.training.trainer import Trainer


def main(argv: Sequence[str]) -> int:
    """Train as the settings say; return 130 when interrupted."""
    config = load(argv)
    check_writers(config.log)
    run = run_folder(config)
    with hold(run):
        return train(config, run, argv)


def train(config: TrainConfig, run: Path, argv: Sequence[str]) -> int:
    """Train in a folder of its own; return 130 when interrupted."""
    threads = config.hardware.threads or 1
    torch.set_num_threads(max(1, threads // 2))  # two sides of an update share them
    trainer = (OfflineTrainer if config.data else Trainer)(config, run)
    if trainer.learner.overlap.pool is None:
        torch.set_num_threads(threads)  # there is one side
    found = trainer.restore() if config.resume else None
    logger: RunLogger | None = None

    def stop() -> None:
        trainer.stopping = True
        say = print if logger is None else logger.print
        say("stopping after this step; press Ctrl-C again to stop without saving")

    stop_on_signals(stop)
    save(run / "config.yaml", dataclasses.replace(config, trust=False))
    resumed = trainer.frames if config.resume else None
    write_provenance(run, argv, config, resumed)
    minutes, skipped = (found.state["counters"]["minutes"], found.skipped) if found else (0.0, ())
    del found  # it is as large as all that was restored
    logger = RunLogger(
        run,
        f"{config.env.task} in {run}",
        config.frames,
        writers=config.log,
        config=to_dict(config),
        elapsed=60 * minutes,
        resumed_at=resumed,
    )
    with logger:
        notes = (*skipped, *trainer.notes, describe(config.hardware), *observed(trainer))
        for sentence in notes:
            logger.print(sentence)
        done, trusted = trainer.train(logger), trust_word(config.env.task)
        if not done:
            again = as_typed("agents.train", f"resume={run}") + trusted
            logger.print(f"stopped and saved; continue with: {again}")
            return 130
        films = run / "videos"  # of evaluations, if it was long enough for one
        look = f"look at {films}, or: " if films.is_dir() else "evaluate it with: "
        logger.print(f"done; {look}{as_typed('agents.evaluate', f'run={run}')}{trusted}")
    return 0


def observed(trainer: Trainer) -> list[str]:
    """Return what is seen of third-party environments, as a list of one sentence."""
    source = getattr(trainer.env, "source", None)
    return [] if source is None else [f"observations are {source}"]


def check_writers(names: Sequence[str]) -> None:
    """Raise ConfigError for a log writer that does not exist, before a folder is made."""
    for name in names:
        if name not in LOG_WRITERS:
            raise ConfigError(f"unknown log writer {name}: {suggest(name, LOG_WRITERS)}")


if __name__ == "__main__":
    run_command(main)
