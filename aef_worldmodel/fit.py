"""`python -m aef_worldmodel.fit data=digits model=aef-center latent_dim=2`: train an image model.

The folder of a run holds config.yaml, metrics.csv, checkpoints/, tensorboard/ (where TensorBoard is
installed), and at the end report.json and grids of samples, reconstructions and interpolations.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.image_models import report
from aef_worldmodel.image_models.config import FitConfig, load, save
from aef_worldmodel.image_models.run_log import RunLog
from aef_worldmodel.image_models.trainer import ImageModelTrainer, train
from aef_worldmodel.metrics.frechet import Features
from aef_worldmodel.metrics.inception import load_features
from aef_worldmodel.utils.command import as_typed, run_command
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import exists
from aef_worldmodel.utils.lock import hold
from aef_worldmodel.utils.signals import interrupt_on_signals, stop_on_signals

REPORTED = ("model", "data", "latent_dim", "seed", "sigma_floor")  # settings in report.json


def main(argv: Sequence[str]) -> int:
    """Train and report; return 0, or 130 if the run was interrupted."""
    config = load(argv)
    run = run_folder(config)
    with hold(run):
        return fit(config, run)


def fit(config: FitConfig, run: Path) -> int:
    """Train and report in a folder of its own; return as `main`."""
    images = load_images(config.data)
    features = load_features(config.features) if config.features else None
    trainer = ImageModelTrainer(config, images.train, images.validation)
    checkpoints = run / "checkpoints"
    found = trainer.resume(checkpoints) if config.resume else None
    save(run / "config.yaml", dataclasses.replace(config, resume=None, trust=False))
    with RunLog(run, config.updates, trainer.updates if found else None) as log:
        size = sum(p.numel() for p in trainer.model.parameters())
        about = f"{config.model} with {size:,} parameters in {run}"
        for sentence in (images.source, *(found.skipped if found else ()), about):
            log.print(sentence)
        stop_on_signals(lambda: stop(trainer, log))
        done = train(trainer, log, checkpoints)
    interrupt_on_signals()  # all is saved
    if not done:
        trust = ["trust=true"] if config.features else []
        again = as_typed("aef_worldmodel.fit", f"resume={run}", *trust)
        print(f"stopped and saved; continue: {again}")
        return 130
    print(report.format_report(finish(trainer, images.test, run, features)))
    print(f"best at update {trainer.best_at:,}; pictures and report.json in {run}")
    return 0


def run_folder(config: FitConfig) -> Path:
    """Return the folder of the run. Raises UserError if a new run would overwrite another."""
    if config.resume:
        return Path(config.resume)
    data = Path(config.data).stem.replace(":", "-")
    run = Path(config.run or f"runs/{data}-{config.model}-{config.latent_dim}-{config.seed}")
    if exists(run / "config.yaml"):
        raise UserError(
            f"{run} holds a run already: continue it with resume={run}, delete it, or give another "
            "folder with run=..."
        )
    return run


def stop(trainer: ImageModelTrainer, log: RunLog) -> None:
    """Stop after the current update."""
    trainer.stopping = True
    log.print("stopping after this update; press Ctrl-C again to stop without saving")


def finish(
    trainer: ImageModelTrainer, test: Tensor, run: Path, features: Features | None
) -> report.Numbers:
    """Measure the best weights on the test images; write report.json and the grids."""
    config, device = trainer.config, trainer.train.device
    trainer.restore_best()
    torch.manual_seed(config.seed)
    numbers = report.measure(
        trainer.model, test.to(device), trainer.train, config.samples, features
    )
    about = {name: getattr(config, name) for name in REPORTED}
    about |= {"updates": trainer.updates, "best_at": trainer.best_at}
    report.write_report(run, about | numbers, report.pictures(trainer.model, test.to(device)))
    return numbers


if __name__ == "__main__":
    run_command(main)
