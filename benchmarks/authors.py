"""Our AEF beside the authors' code: `python -m benchmarks.authors peer=FOLDER [out=FILE.csv]`.

FOLDER is a checkout of github.com/gisilvs/AEF, which is read and run but no part of this project;
it needs `pip install nflows`. Other packages that it imports and does not use here (wandb,
torchvision, pandas) may be missing. Architecture, data and updates are equal: aef-center, small
networks, latent 8, batch 128, Adam at 1e-3, gradients clipped at 200. The built-in digits at 28x28
stand in for MNIST, so bits/dim are not the paper's. The models take turns, so that they meet equal
load: read the ratio.
"""

import importlib
import importlib.util
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.aef import PartitionAEF
from aef_worldmodel.autoencoders.conv_networks import ConvDecoder, ConvEncoder
from aef_worldmodel.autoencoders.preprocessing import ActNorm, Chain, Logit
from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.image_models.model import ImageModel
from aef_worldmodel.image_models.zoo import AEF
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds
from aef_worldmodel.utils.tables import Table
from agents.config import train as settings
from agents.config.hardware import HardwareConfig
from agents.training.provenance import provenance

SHAPE, LATENT, BATCH, RATE, CLIP, ALPHA = (1, 28, 28), 8, 128, 1e-3, 200.0, 1e-6
SEEDS, WARM_UP = (0, 1, 2), 5  # the first `WARM_UP` updates are not timed
AUTHORS = "authors"


@dataclass(frozen=True)
class AuthorsConfig:
    """Settings of `python -m benchmarks.authors`."""

    peer: str
    """Folder of the checkout."""
    updates: int = 100
    """Updates of each model and seed."""
    out: str | None = None
    """The CSV; null for none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a folder of something else, or too few updates."""
        if not (Path(self.peer) / "models" / "model_database.py").exists():
            raise ConfigError(f"peer={self.peer} is not a checkout of github.com/gisilvs/AEF")
        check_bounds(self, updates=(WARM_UP + 1, None))


def load_database(folder: str) -> Any:
    """Import the module of the checkout that makes models."""
    sys.path.insert(0, folder)
    names = ("wandb", "torchvision", "pandas")
    missing = {name: MagicMock() for name in names if importlib.util.find_spec(name) is None}
    sys.modules.update(missing)
    database = importlib.import_module("models.model_database")
    for name in missing:
        del sys.modules[name]
    return database


class Authors(nn.Module):
    """The authors' model behind the methods of ours."""

    def __init__(self, folder: str):
        super().__init__()
        self.model = load_database(folder).get_model(
            "aef-center", "small", "independent", LATENT, list(SHAPE), ALPHA, "none", "none"
        )

    def initialise(self, frames: Tensor) -> None:
        """Do nothing: the model starts from its first batch by itself."""

    def groups(self, rate: float) -> list[dict]:
        """Return one group: all parameters have the same rate."""
        return [{"params": list(self.parameters()), "lr": rate}]

    def bits_per_dim(self, frames: Tensor) -> Tensor:
        """Return bits/dim of newly dequantised images (N, C, H, W): (N,)."""
        return 8 + self.nats(frames) / (math.prod(SHAPE) * math.log(2))

    def loss(self, frames: Tensor) -> Tensor:
        """Return the number to minimise, nats an image: theirs is not divided by D."""
        return self.nats(frames).mean()

    def nats(self, frames: Tensor) -> Tensor:
        """Return the negative log-likelihood of newly dequantised images, (N,)."""
        return self.model.loss_function((frames.float() + torch.rand(frames.shape)) / 256)


class Ours(ImageModel):
    """The authors' architecture, preprocessing, start and rates, made of our parts."""

    def __init__(self):
        networks = ConvEncoder(SHAPE, LATENT), ConvDecoder(SHAPE, LATENT)
        bijection = Chain([Logit(ALPHA), ActNorm(1)])
        options = {"core": "center", "bijection": bijection, "sigma_floor": 1e-5}
        super().__init__(PartitionAEF(*networks, SHAPE, LATENT, **options))

    def initialise(self, frames: Tensor) -> None:
        """Start ActNorm from images, and sigma_d at softplus(0), as the authors do."""
        self.autoencoder.set_mean(frames)
        nn.init.zeros_(self.autoencoder.raw_sigma)

    groups = Authors.groups

    def loss(self, frames: Tensor) -> Tensor:
        """Return nats an image, so that the clipping of gradients is the authors'."""
        return -self.objective(frames).mean()


def timed_update(model: nn.Module, optimiser: torch.optim.Optimizer, batch: Tensor) -> float:
    """Take one update and return its milliseconds."""
    begin = time.perf_counter()
    loss = model.loss(batch)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimiser.step()
    return 1e3 * (time.perf_counter() - begin)


def make_models(folder: str) -> dict[str, Any]:
    """Return the models that are compared."""
    models = {
        AUTHORS: Authors(folder),
        "ours, their settings": Ours(),
        "ours, defaults": AEF(SHAPE, LATENT, core="center"),
    }
    first, second, _ = map(count_parameters, models.values())
    assert first == second, f"{first} and {second} parameters"
    return models


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers a model learns."""
    return sum(p.numel() for p in model.parameters())


def train(models: dict[str, Any], images: Tensor, updates: int) -> dict[str, list[float]]:
    """Train all models side by side; return the milliseconds of their updates."""
    times: dict[str, list[float]] = {name: [] for name in models}
    optimisers = {name: torch.optim.Adam(m.groups(RATE)) for name, m in models.items()}
    for model in models.values():
        model.train().initialise(images)
    for update in range(updates):
        batch = images[torch.randint(len(images), (BATCH,))]
        for name, model in models.items():
            ms = timed_update(model, optimisers[name], batch)
            if update >= WARM_UP:
                times[name].append(ms)
    return times


def compare(folder: str, seed: int, updates: int) -> list[dict[str, object]]:
    """Train and examine all models; return a row for each."""
    data, rows = load_images("digits"), []
    torch.manual_seed(seed)
    models = make_models(folder)
    times = train(models, data.train, updates)
    for name, model in models.items():
        with torch.no_grad():
            bits = model.eval().bits_per_dim(data.test).mean().item()
        ratio = statistics.median(a / b for a, b in zip(times[AUTHORS], times[name]))
        rows.append(
            {
                "model": name,
                "seed": seed,
                "updates": updates,
                "test_bits_per_dim": f"{bits:.4f}",
                "ms_per_update": f"{statistics.median(times[name]):.1f}",
                "times_as_fast": f"{ratio:.2f}",
                "parameters": count_parameters(model),
            }
        )
        print(*rows[-1].values(), sep="  ", flush=True)
    return rows


def main(argv: Sequence[str]) -> None:
    """Compare, print, and write the rows where asked."""
    asked = settings.load(argv, AuthorsConfig, "benchmarks.authors")
    torch.set_num_threads(1)
    rows = [row for seed in SEEDS for row in compare(asked.peer, seed, asked.updates)]
    if asked.out:
        hardware = HardwareConfig(threads=1, precision="float32")
        words = ["peer=AEF", f"updates={asked.updates}"]
        fixed = {"data": "digits, 28x28", "batch": BATCH}
        fixed |= provenance("benchmarks.authors", words, hardware)
        Table(asked.out, ("model", "seed", "updates")).add(*(row | fixed for row in rows))


if __name__ == "__main__":
    run_command(main)
