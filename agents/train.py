"""`python -m agents.train env=cheetah-run`: learns a task from pixels in imagination."""

import signal
from collections.abc import Sequence
from pathlib import Path

import torch

from aef_worldmodel.errors import UserError
from agents import entry
from agents.config import TrainConfig, load, save
from agents.hardware import describe
from agents.logbook import Logbook
from agents.progress import Progress
from agents.trainer import Trainer


def run_folder(config: TrainConfig) -> Path:
    """Where the run is kept: `resume`, `run`, or runs/<task>-<autoencoder>-<seed>.

    Raises UserError if a new run would overwrite another.
    """
    if config.resume:
        return Path(config.resume)
    name = f"{config.env.task}-{config.world_model.autoencoder}-{config.seed}"
    run = Path(config.run or Path("runs") / name)
    if (run / "config.yaml").exists():
        raise UserError(
            f"{run} holds a run already: continue it with resume={run}, or give another "
            "folder with run=..."
        )
    return run


def stop_on_signals(trainer: Trainer, progress: Progress) -> None:
    """Ctrl-C and SIGTERM end the run after the current step; a second one ends it at once."""

    def stop(number: int, frame: object) -> None:
        if trainer.stopping:
            raise KeyboardInterrupt
        trainer.stopping = True
        progress.say("stopping after this step; press Ctrl-C again to stop without saving")

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def main(argv: Sequence[str]) -> int:
    """Trains as the settings say; 130 when interrupted."""
    config = load(argv)
    run = run_folder(config)
    torch.set_num_threads(max(1, config.hardware.threads // 2))  # the learner runs two sides
    trainer = Trainer(config, run)
    minutes = trainer.restore() if config.resume else 0.0
    save(run / "config.yaml", config)
    progress = Progress(f"{config.env.task} in {run}", config.frames, elapsed=60 * minutes)
    progress.say(describe(config.hardware))
    stop_on_signals(trainer, progress)
    resumed = trainer.frames if config.resume else None
    with Logbook(run, progress, resumed) as book:
        done = trainer.train(book)
    if not done:
        progress.say(f"stopped and saved; continue with: python -m agents.train resume={run}")
        return 130
    progress.say(f"done; look at {run}/videos, or: python -m agents.evaluate run={run}")
    return 0


if __name__ == "__main__":
    entry.run(main)
