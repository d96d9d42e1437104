"""The paper's claims at a size that two cores can do: `python -m benchmarks.paper_claims`.

    python -m benchmarks.paper_claims data=[digits]
    python -m benchmarks.paper_claims data=[frames:cartpole-swingup,frames:cheetah-run]
    python -m benchmarks.paper_claims data=[/path/to/mnist] updates=20000 batch=128 width=64
    python -m benchmarks.claims_page

Every model learns at every latent dimension and seed with equal networks, data and updates. Each
training is one row of results/paper_claims/<data>.csv: bits/dim (exact or a bound, as `likelihood`
says), Frechet distance and sharpness of samples, reconstructions. Rows that are there are not made
again, so the command can be stopped and started at will; data sets in commands of their own may run
side by side.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aef_worldmodel.data.datasets import Images, load_images
from aef_worldmodel.image_models import report
from aef_worldmodel.image_models.config import FitConfig
from aef_worldmodel.image_models.trainer import ImageModelTrainer
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, build, check_bounds
from aef_worldmodel.utils.progress import Progress
from aef_worldmodel.utils.registry import suggest
from aef_worldmodel.utils.tables import Table, as_cell
from aef_worldmodel.viz.video import write_png
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.training.provenance import provenance
from benchmarks.claims_page import KEY, MODELS, PICTURED, ROWS, SETTINGS, SHOWN, file_name, mosaic

TASKS = ("cartpole-swingup", "cheetah-run", "walker-walk")
OF_IMAGES = {
    "updates": 1_500,
    "batch": 32,
    "width": 16,
    "rate": 1e-3,
    "variance": "independent",
    "sigma_floor": 0.01,
}
OF_FRAMES = {
    "updates": 500,
    "batch": 16,
    "width": 16,
    "rate": 2e-3,
    "variance": "fixed",
    "sigma_floor": 0.1,
}


@dataclass(frozen=True)
class PaperClaimsConfig:
    """Settings of `python -m benchmarks.paper_claims`; null takes those of the kind of data."""

    data: tuple[str, ...] = ("digits", *(f"frames:{task}" for task in TASKS))
    """Sets of images (docs/reference/images.md)."""
    models: tuple[str, ...] = tuple(MODELS)
    """Models to compare."""
    dims: tuple[int, ...] = (2, 4, 8, 16, 32)
    """Dimensions of the latent."""
    seeds: int = 3
    """How often each is trained: with seeds 0, 1, ..."""
    updates: int | None = None
    """Updates of each model: 1500, or 500 on frames."""
    batch: int | None = None
    """Images of a batch: 32, or 16 of frames."""
    width: int | None = None
    """Channels of the networks: 16."""
    rate: float | None = None
    """Learning rate of Adam: 0.001, or 0.002 on frames."""
    variance: Literal["independent", "fixed", "dependent"] | None = None
    """Variance of the decoder: independent of the latent, or fixed on frames."""
    sigma_floor: float | None = None
    """Smallest standard deviation of the decoder: 0.01, or 0.1 on frames."""
    out: str = ROWS
    """Folder of the rows, and of samples at latent dimension 8."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown model, or a number that makes no sense."""
        for name in self.models:
            if name not in MODELS:
                raise ConfigError(f"unknown model {name} in models: {suggest(name, MODELS)}")
        check_bounds(self, seeds=(1, 1_000))


def fit_config(asked: PaperClaimsConfig, data: str, model: str, dim: int, seed: int) -> FitConfig:
    """Return the settings of one training. Raises ConfigError for one that cannot be."""
    values: dict[str, Any] = {"data": data, "model": model, "latent_dim": dim, "seed": seed}
    values |= OF_FRAMES if data.startswith(("frames", "env:")) else OF_IMAGES
    values |= {n: getattr(asked, n) for n in SETTINGS if getattr(asked, n) is not None}
    values |= {"patience": 0, "evaluate_every": max(values["updates"] // 10, 1)}
    return build(FitConfig, values)


def key_of(config: FitConfig) -> dict[str, str]:
    """Return the columns that identify a row; data by its name without folders."""
    return {name: as_cell(getattr(config, name)) for name in KEY} | {"data": short(config.data)}


def examine(config: FitConfig, images: Images) -> tuple[dict[str, Any], Tensor]:
    """Train one model for all its updates and measure its best weights.

    Returns the numbers of a row, and SHOWN samples (N, C, H, W) uint8.
    """
    begun = time.monotonic()
    trainer = ImageModelTrainer(config, images.train, images.validation)
    while trainer.updates < config.updates:
        trainer.update()
        if trainer.updates % config.evaluate_every == 0 or trainer.updates == config.updates:
            trainer.validate()
    minutes = (time.monotonic() - begun) / 60
    trainer.restore_best()
    torch.manual_seed(config.seed)
    numbers = report.measure(trainer.model, images.test, images.train, config.samples)
    networks = (trainer.model.autoencoder.encoder, trainer.model.autoencoder.decoder)
    sizes = {
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "parameters_networks": sum(p.numel() for part in networks for p in part.parameters()),
    }
    row = sizes | {"best_at": trainer.best_at, "minutes": minutes} | numbers
    return row, report.draw(trainer.model, SHOWN)


def keep_samples(folder: Path, config: FitConfig, drawn: Tensor, images: Images) -> None:
    """Write the samples that the page shows, beside images of the data."""
    if config.seed == 0 and config.latent_dim == PICTURED:
        folder.mkdir(parents=True, exist_ok=True)
        write_png(folder / f"{config.model}.png", mosaic(drawn))
        write_png(folder / "data.png", mosaic(images.test[:SHOWN]))


def study(configs: Sequence[FitConfig], out: Path, source: dict[str, str]) -> None:
    """Make the rows that are missing."""
    names = {config.data: file_name(short(config.data)) for config in configs}
    tables = {data: Table(out / f"{name}.csv", KEY) for data, name in names.items()}
    missing = [c for c in configs if tables[c.data].find(key_of(c)) is None]
    print(f"{len(missing)} of {len(configs)} to do")
    sets = {data: load_images(data) for data in dict.fromkeys(c.data for c in missing)}
    with Progress("the paper's claims", len(missing), "rows") as progress:
        for done, config in enumerate(missing, 1):
            row, drawn = examine(config, sets[config.data])
            tables[config.data].add(key_of(config) | row | source)
            folder = out / "samples" / names[config.data]
            keep_samples(folder, config, drawn, sets[config.data])
            progress.print(
                f"{short(config.data)} {config.model} d={config.latent_dim} seed {config.seed}: "
                f"{row['bits_per_dim']:.3f} bits/dim ({row['likelihood']}), Frechet "
                f"{row['frechet_samples']:.3g}"
            )
            progress.update(done, model={"name": config.model, "d": config.latent_dim})


def short(data: str) -> str:
    """Return the name of a data set without folders, so that rows do not name a machine's paths."""
    return Path(data).name


def without_folders(word: str) -> str:
    """Return a word of the command line with its paths by their last names."""
    return re.sub(r"[^\[\],=]*/", "", word)


def main(argv: Sequence[str]) -> None:
    """Make the rows, a seed of every data set after the other."""
    asked = settings.load(argv, PaperClaimsConfig, "benchmarks.paper_claims")
    configs = [
        fit_config(asked, data, model, dim, seed)
        for seed in range(asked.seeds)
        for data in asked.data
        for dim in asked.dims
        for model in asked.models
    ]
    hardware = resolve(HardwareConfig(threads=torch.get_num_threads(), precision="float32"))
    words = [without_folders(word) for word in argv]
    study(configs, Path(asked.out), provenance("benchmarks.paper_claims", words, hardware))


if __name__ == "__main__":
    run_command(main)
