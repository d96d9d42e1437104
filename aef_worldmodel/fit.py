"""`python -m aef_worldmodel.fit data=digits model=aef-center latent_dim=2`: trains an image model.

A run's folder holds config.yaml, metrics.csv, tensorboard/, checkpoints/, and at the end
report.json and grids of samples, reconstructions and interpolations as PNG.
"""

import dataclasses
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from aef_worldmodel import entry, report
from aef_worldmodel.datasets import load_images
from aef_worldmodel.errors import UserError
from aef_worldmodel.extractors import load_features
from aef_worldmodel.family import make_model
from aef_worldmodel.fit_config import FitConfig, FitConfigError, load, save
from aef_worldmodel.image_model import ImageModel
from aef_worldmodel.metrics_file import MetricsFile
from aef_worldmodel.persistence import Checkpoint, load_latest, load_weights, save_checkpoint

VALIDATION = 2_048  # images looked at, at most
CLIP = 100.0  # norm of a gradient, of bits a dimension, at most
COUNTERS = ("updates", "best", "best_at")


class Fitting:
    """An image model being trained on images, and where it stands.

    Args:
        config: the settings.
        train: images (N, C, H, W) uint8 to learn from.
        validation: images to choose on.

    Raises:
        ValueError: a model that does not fit the images.
    """

    def __init__(self, config: FitConfig, train: Tensor, validation: Tensor):
        self.config = config
        device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        self.train, self.validation = train.to(device), validation[:VALIDATION].to(device)
        self.model = build_model(config, tuple(train.shape[1:])).to(device)
        self.model.initialise(self.train[:4096])
        self.optimiser = torch.optim.Adam(self.model.groups(config.rate))
        self.kept = self._weights()  # the best so far by the validation images
        self.updates, self.best, self.best_at = 0, float("inf"), 0
        self.stopping = False  # set it to end after the current update

    def update(self) -> float:
        """One gradient step on a random batch; its loss in bits a dimension.

        Raises UserError if it is not finite.
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
        """Mean loss on the validation images under noise that is always the same, in bits a
        dimension; keeps the weights if it is the best. Leaves training's random numbers alone."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            parts = [self.model._bits(self.model.objective(p)) for p in self.validation.split(256)]
        loss = torch.cat(parts).mean().item()
        if loss < self.best:
            self.best, self.best_at, self.kept = loss, self.updates, self._weights()
        return loss

    @property
    def done(self) -> bool:
        """Whether all updates are made or the patience is over."""
        c = self.config
        waited = self.updates - self.best_at
        return self.updates >= c.updates or 0 < c.patience * c.evaluate_every <= waited

    def take_best(self) -> None:
        """Gives the model the weights that were best on the validation images."""
        self.model.load_state_dict(self.kept)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    # -- persistence ---------------------------------------------------------------------

    def state_dict(self) -> dict:
        """Everything an exact continuation needs."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "model": self.model.state_dict(), "kept": self.kept,
            "optimiser": self.optimiser.state_dict(),
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
            "counters": {name: getattr(self, name) for name in COUNTERS},
        }  # fmt: skip

    def load_state_dict(self, state: dict, source: Path) -> None:
        """Continues where `state_dict` was taken. Raises UserError for another architecture."""
        load_weights(self.model, state["model"], source)
        self.optimiser.load_state_dict(state["optimiser"])
        device = self.train.device
        self.kept = {name: value.to(device) for name, value in state["kept"].items()}
        for name in COUNTERS:
            setattr(self, name, state["counters"][name])
        torch.set_rng_state(state["random"]["cpu"])
        if state["random"]["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random"]["cuda"])


def build_model(config: FitConfig, shape: tuple[int, int, int]) -> ImageModel:
    """The untrained model of the settings. Raises FitConfigError if it does not fit the images."""
    c = config
    flows = {name: kind for name in ("core_flow", "prior") if (kind := getattr(c, name))}
    try:
        return make_model(c.model, shape, c.latent_dim, networks=c.networks, width=c.width,
                          variance=c.variance, sigma_floor=c.sigma_floor, noise=c.noise,
                          log_scale_bound=c.log_scale_bound, preprocessing=c.preprocessing,
                          **flows)  # fmt: skip
    except ValueError as error:
        raise FitConfigError(str(error)) from error


class Book:
    """The record of a run: terminal, metrics.csv, TensorBoard."""

    def __init__(self, run: Path, total: int, resumed_at: int | None):
        self.run, self.total = run, total
        self.metrics = MetricsFile(run / "metrics.csv", "updates", resumed_at)
        purge = None if resumed_at is None else resumed_at + 1
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=purge)
        console = Console()
        self.bar = Progress(
            TextColumn("{task.completed:,.0f} of {task.total:,} updates"), BarColumn(),
            TextColumn("{task.fields[told]}"), TimeElapsedColumn(), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("", total=total, told="", completed=resumed_at or 0)

    def tick(self, loss: float) -> None:
        """Shows an update."""
        self.bar.update(self.task, advance=1, told=f"{loss:.3f} bits/dim")

    def look(self, fitting: Fitting, loss: float, validation: float) -> None:
        """Records a look at the validation images, with pictures."""
        row = {"updates": fitting.updates, "train/loss": loss, "validation/loss": validation}
        self.metrics.write(row)
        for name in ("train/loss", "validation/loss"):
            self.board.add_scalar(name, row[name], fitting.updates)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = report.pictures(fitting.model, fitting.validation)
        for name, picture in made.items():
            self.board.add_image(name, picture, fitting.updates, dataformats="HWC")
        best = " (best)" if fitting.best_at == fitting.updates else ""
        self.say(f"update {fitting.updates:,} of {self.total:,}: {loss:.3f} bits/dim, "
                 f"validation {validation:.3f}{best}, left {self.left()}")  # fmt: skip

    def left(self) -> str:
        """Time to the last update at the present pace, as words."""
        seconds = self.bar.tasks[0].time_remaining
        return "?" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02}"

    def say(self, text: str) -> None:
        """Prints a sentence that stays."""
        if self.bar.disable:
            print(text, flush=True)
        else:
            self.bar.console.print(text, markup=False, highlight=False)


def run_folder(config: FitConfig) -> Path:
    """Where the run is kept. Raises UserError if a new one would overwrite another."""
    if config.resume:
        return Path(config.resume)
    data = Path(config.data).stem.replace(":", "-")
    run = Path(config.run or f"runs/{data}-{config.model}-{config.latent_dim}-{config.seed}")
    if (run / "config.yaml").exists():
        raise UserError(
            f"{run} holds a run already: continue it with resume={run}, delete it, or give another "
            "folder with run=..."
        )
    return run


def train(fitting: Fitting, book: Book, checkpoints: Path) -> bool:
    """Updates, looks and checkpoints until done or stopped; returns whether it is done."""
    every, losses = fitting.config.evaluate_every, []
    while not fitting.done and not fitting.stopping:
        losses.append(fitting.update())
        book.tick(losses[-1])
        if fitting.updates % every == 0 or fitting.updates == fitting.config.updates:
            validation = fitting.validate()
            book.look(fitting, sum(losses) / len(losses), validation)
            losses.clear()
            keep(fitting, checkpoints)
    keep(fitting, checkpoints)
    return fitting.done


def keep(fitting: Fitting, checkpoints: Path) -> None:
    """Writes a checkpoint."""
    save_checkpoint(checkpoints, fitting.updates, fitting.state_dict(), {"kind": "fit"})


def stop_on_signals(fitting: Fitting, book: Book) -> None:
    """Ctrl-C and SIGTERM end the run after the current update; a second one ends it at once."""

    def stop(number: int, frame: object) -> None:
        if fitting.stopping:
            raise KeyboardInterrupt
        fitting.stopping = True
        book.say("stopping after this update; press Ctrl-C again to stop without saving")

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def finish(fitting: Fitting, test: Tensor, run: Path) -> dict[str, float | str]:
    """Measures the best weights on the test images; writes report.json and the grids."""
    c, model = fitting.config, fitting.model
    fitting.take_best()
    torch.manual_seed(c.seed)
    features = load_features(c.features) if c.features else None
    numbers = report.measure(model, test.to(fitting.train.device), fitting.train, c.samples,
                             features)  # fmt: skip
    about = {"model": c.model, "data": c.data, "latent_dim": c.latent_dim, "seed": c.seed,
             "updates": fitting.updates, "best_at": fitting.best_at,
             "sigma_floor": c.sigma_floor}  # fmt: skip
    (run / "report.json").write_text(json.dumps(about | numbers, indent=1) + "\n")
    report.write_pictures(run, report.pictures(model, test.to(fitting.train.device)))
    return numbers


def told(numbers: dict[str, float | str]) -> str:
    """The report as lines of words and numbers."""
    kinds = {"exact": "exact", "bound": "an upper bound"}
    lines = []
    for name, value in numbers.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        if name == "bits_per_dim":
            shown = f"{value:.4f} ({kinds[numbers['likelihood']]})"
        lines.append(f"  {name:24s} {shown}")
    return "\n".join(lines)


def resume(fitting: Fitting, checkpoints: Path) -> Checkpoint:
    """Goes to the last good checkpoint. Raises UserError if there is none."""
    found = load_latest(checkpoints)
    fitting.load_state_dict(found.state, found.path)
    return found


def main(words: Sequence[str]) -> int:
    """Trains, reports; 130 when interrupted."""
    config = load(words)
    run = run_folder(config)
    images = load_images(config.data)
    fitting = Fitting(config, images.train, images.validation)
    found = resume(fitting, run / "checkpoints") if config.resume else None
    save(run, dataclasses.replace(config, resume=None))
    book = Book(run, config.updates, fitting.updates if found else None)
    for sentence in (images.source, *(found.skipped if found else ())):
        book.say(sentence)
    size = sum(p.numel() for p in fitting.model.parameters())
    book.say(f"{config.model} with {size:,} parameters in {run}")
    stop_on_signals(fitting, book)
    with book.bar:
        done = train(fitting, book, run / "checkpoints")
    book.board.close()
    if not done:
        book.say(f"stopped and saved; continue: python -m aef_worldmodel.fit resume={run}")
        return 130
    print(told(finish(fitting, images.test, run)))
    print(f"best at update {fitting.best_at:,}; pictures and report.json in {run}")
    return 0


if __name__ == "__main__":
    entry.run(main)
