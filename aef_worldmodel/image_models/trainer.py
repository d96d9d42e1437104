"""Training of an image model: updates, early stopping on validation images, checkpoints."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.networks import Shape
from aef_worldmodel.image_models import report
from aef_worldmodel.image_models.config import ConfigError, FitConfig, load
from aef_worldmodel.image_models.model import ImageModel
from aef_worldmodel.image_models.zoo import make_model
from aef_worldmodel.utils.checkpoint import (
    Checkpoint,
    load_latest,
    load_weights,
    restoring,
    save_checkpoint,
)
from aef_worldmodel.utils.config.yaml_files import check_sealed, digest
from aef_worldmodel.utils.errors import UserError

VALIDATION = 2_048  # validation images that are used, at most
CLIP = 100.0  # largest norm of a gradient, of bits a dimension
COUNTERS = ("updates", "best", "best_at")


class Log(Protocol):
    """The part of `run_log.RunLog` that training needs."""

    def update(self, updates: int, loss: float) -> None:
        """Show one update."""

    def evaluation(
        self, updates: int, train: float, validation: float, is_best: bool, made: dict[str, Tensor]
    ) -> None:
        """Record an evaluation."""


class ImageModelTrainer:
    """An image model in training: model, optimiser, counters and the best weights so far.

    Args:
        config: the settings.
        train: training images (N, C, H, W) uint8.
        validation: images that choose the best weights.

    Attributes:
        updates: gradient steps so far.
        best: lowest validation loss, bits a dimension.
        best_at: the update of that loss.
        stopping: set it to stop after the current update.

    Raises:
        ConfigError: the model does not fit the images.
    """

    def __init__(self, config: FitConfig, train: Tensor, validation: Tensor) -> None:
        self.config = config
        device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        self.train, self.validation = train.to(device), validation[:VALIDATION].to(device)
        _, channels, height, width = train.shape
        self.model = build_model(config, (channels, height, width)).to(device)
        self.model.initialise(self.train[:4096])
        self.optimiser = torch.optim.Adam(self.model.groups(config.rate))
        self.best_weights = self._weights()
        self.updates, self.best, self.best_at = 0, float("inf"), 0
        self.stopping = False

    def update(self) -> float:
        """Make one gradient step on a random batch; return its loss in bits a dimension.

        Raises UserError if the loss or its gradient is not finite.
        """
        rows = torch.randint(len(self.train), (self.config.batch,), device=self.train.device)
        loss = self.model.loss(self.train[rows])
        self.optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        if not (loss.isfinite() and norm.isfinite()):
            raise UserError(
                f"the loss became {loss.item()} at update {self.updates}: train with a lower rate, "
                f"for instance rate={self.config.rate / 3:.1g}"
            )
        self.optimiser.step()
        self.updates += 1
        return loss.item()

    @torch.no_grad()
    def validate(self) -> float:
        """Return the mean loss on the validation images in bits a dimension.

        The noise is the same at every call, and training's random numbers are left alone. The
        weights are kept if the loss is the lowest so far.
        """
        with torch.random.fork_rng():
            torch.manual_seed(0)
            parts = [
                self.model.to_bits(self.model.objective(p)) for p in self.validation.split(256)
            ]
        loss = torch.cat(parts).mean().item()
        if loss < self.best:
            self.best, self.best_at, self.best_weights = loss, self.updates, self._weights()
        return loss

    def pictures(self) -> dict[str, Tensor]:
        """Return grids of validation images and samples; leave training's random numbers alone."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return report.pictures(self.model, self.validation)

    @property
    def done(self) -> bool:
        """Whether all updates are made or the patience is over."""
        c = self.config
        waited = self.updates - self.best_at
        return self.updates >= c.updates or 0 < c.patience * c.evaluate_every <= waited

    def restore_best(self) -> None:
        """Load the weights that were best on the validation images."""
        self.model.load_state_dict(self.best_weights)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    # -- checkpoints ---------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an exact continuation needs."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "model": self.model.state_dict(),
            "kept": self.best_weights,
            "optimiser": self.optimiser.state_dict(),
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
            "counters": {name: getattr(self, name) for name in COUNTERS},
        }

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Continue where `state_dict` was taken. Raises UserError for another architecture."""
        load_weights(self.model, renamed(state["model"]), source)
        self.optimiser.load_state_dict(state["optimiser"])
        device = self.train.device
        kept = renamed(state["kept"])
        self.best_weights = {name: value.to(device) for name, value in kept.items()}
        for name in COUNTERS:
            setattr(self, name, state["counters"][name])
        torch.set_rng_state(state["random"]["cpu"])
        if state["random"]["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random"]["cuda"])

    def save(self, checkpoints: Path) -> None:
        """Write a checkpoint. Raises UserError if it cannot be written."""
        shape = list(self.train.shape[1:])
        meta = {"kind": "fit", "shape": shape, "settings": digest(self.config)}
        save_checkpoint(checkpoints, self.updates, self.state_dict(), meta)

    def resume(self, checkpoints: Path) -> Checkpoint:
        """Continue from the last good checkpoint of a folder. Raises UserError if it has none."""
        found = load_fit(checkpoints)
        with restoring(found.path):
            self.load_state_dict(found.state, found.path)
        return found


def train(trainer: ImageModelTrainer, log: Log, checkpoints: Path) -> bool:
    """Update, evaluate and save until the training is done or stopped; return whether it is done.

    Raises UserError if the loss is not finite or a checkpoint cannot be written.
    """
    config, losses = trainer.config, []
    while not trainer.done and not trainer.stopping:
        losses.append(trainer.update())
        log.update(trainer.updates, losses[-1])
        if trainer.updates % config.evaluate_every == 0 or trainer.updates == config.updates:
            validation = trainer.validate()
            is_best = trainer.best_at == trainer.updates
            mean = sum(losses) / len(losses)
            log.evaluation(trainer.updates, mean, validation, is_best, trainer.pictures())
            losses.clear()
            trainer.save(checkpoints)
    trainer.save(checkpoints)
    return trainer.done


def build_model(config: FitConfig, shape: Shape) -> ImageModel:
    """Return the model of the settings for images (C, H, W).

    Raises ConfigError if it does not fit the images.
    """
    c = config
    flows = {name: kind for name in ("core_flow", "prior") if (kind := getattr(c, name))}
    try:
        return make_model(
            c.model,
            shape,
            c.latent_dim,
            networks=c.networks,
            width=c.width,
            variance=c.variance,
            sigma_floor=c.sigma_floor,
            noise=c.noise,
            log_scale_bound=float(c.log_scale_bound),
            preprocessing=c.preprocessing,
            **flows,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def load_model(run: str | Path) -> ImageModel:
    """Return the image model of a run of `python -m aef_worldmodel.fit`, on the CPU.

    The weights are those that were best on the validation images, of the last good checkpoint.
    Raises UserError for a folder that is not a run or has no checkpoint.
    """
    config = load([f"resume={run}"])
    found = load_fit(Path(run) / "checkpoints")
    with restoring(found.path):
        weights = renamed(found.state["kept"])
        channels, height, width = weights["autoencoder.mean"].shape
        model = build_model(config, (channels, height, width))
        load_weights(model, weights, found.path)
    return model


def load_fit(checkpoints: Path) -> Checkpoint:
    """Return the last good checkpoint of a run.

    Raises UserError if there is none, or if config.yaml is not the one that belongs to it.
    """
    found = load_latest(checkpoints, "fit")
    if "settings" in found.meta:
        check_sealed(checkpoints.parent / "config.yaml")
    return found


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by their names today; commit 0f2081c and earlier wrote `eye.` at the front."""
    return {re.sub(r"^eye\.", "autoencoder.", name): value for name, value in weights.items()}
